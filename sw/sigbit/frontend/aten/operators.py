"""The translator of every ATen operation that is supported."""

import math
from collections.abc import Callable, Mapping
from types import FunctionType
from typing import Any

from sigbit.frontend.aten import (
    attention,
    concat,
    einsum,
    elementwise,
    interpolation,
    layers,
    norms,
    pooling,
    recurrent,
    reductions,
)
from sigbit.frontend.report import nearest
from sigbit.frontend.translation import Translation
from sigbit.frontend.values import Value

Translator = Callable[[Translation], Value]

TRANSLATORS: Mapping[str, Translator] = {
    "conv2d": layers.convolution,
    "convolution": layers.any_convolution,
    "conv1d": layers.convolution,
    "conv3d": layers.unsupported_convolution,
    "conv_transpose1d": layers.transposed,
    "conv_transpose2d": layers.transposed,
    "linear": layers.linear,
    "matmul": layers.matmul,
    "mm": layers.matmul,
    "bmm": layers.matmul,
    "scaled_dot_product_attention": attention.attention,
    "einsum": einsum.einsum,
    "layer_norm": norms.layer_norm,
    "native_layer_norm": norms.native_layer_norm,
    "rms_norm": norms.rms_norm,
    "group_norm": norms.group_norm,
    "native_group_norm": norms.native_group_norm,
    "instance_norm": norms.instance_norm,
    "addmm": layers.addmm,
    "batch_norm": layers.batch_norm,
    "_native_batch_norm_legit_no_training": layers.batch_norm,
    "_native_batch_norm_legit": layers.batch_norm_of_batch,
    "_native_batch_norm_legit_functional": layers.batch_norm_of_batch,
    "native_batch_norm": layers.batch_norm,
    "max_pool2d": pooling.max_pool,
    "max_pool1d": pooling.max_pool,
    "max_pool2d_with_indices": pooling.max_pool,
    "max_pool1d_with_indices": pooling.max_pool,
    "avg_pool2d": pooling.avg_pool,
    "avg_pool1d": pooling.avg_pool,
    "adaptive_avg_pool2d": pooling.adaptive_avg_pool,
    "adaptive_avg_pool1d": pooling.adaptive_avg_pool,
    "_adaptive_avg_pool2d": pooling.adaptive_avg_pool,
    "adaptive_max_pool2d": pooling.adaptive_max_pool,
    "adaptive_max_pool1d": pooling.adaptive_max_pool,
    "mean": reductions.reduction,
    "sum": reductions.reduction,
    "amax": reductions.reduction,
    "amin": reductions.least,
    "add": elementwise.add,
    "sub": elementwise.add,
    "rsub": elementwise.add,
    "mul": elementwise.multiply,
    "div": elementwise.divide,
    "floor_divide": elementwise.floor_divide,
    "pow": elementwise.power,
    "square": elementwise.square,
    "deg2rad": elementwise.times(math.pi / 180),
    "rad2deg": elementwise.times(180 / math.pi),
    "cat": concat.concat,
    "stack": concat.stack,
    "relu": elementwise.relu,
    "relu6": lambda t: elementwise.clipped(t, 0, 6),
    "hardtanh": elementwise.clip("min_val", "max_val"),
    "clamp": elementwise.clip("min", "max"),
    "clamp_min": elementwise.clip("min", ""),
    "clamp_max": elementwise.clip("", "max"),
    "maximum": elementwise.extreme(True),
    "fmax": elementwise.extreme(True),
    "minimum": elementwise.extreme(False),
    "fmin": elementwise.extreme(False),
    "celu": elementwise.function("celu", "alpha"),
    "hardshrink": elementwise.function("hardshrink", "lambd"),
    "softshrink": elementwise.function("softshrink", "lambd"),
    "threshold": elementwise.function("threshold", "threshold", "value"),
    "log_sigmoid": elementwise.log_sigmoid,
    "log_sigmoid_forward": elementwise.log_sigmoid,
    "lerp": elementwise.lerp,
    "where": elementwise.where,
    "masked_fill": elementwise.masked_fill,
    "true_divide": elementwise.divide,
    "leaky_relu": elementwise.function("leaky_relu", "negative_slope"),
    "softplus": elementwise.function("softplus", "beta", "threshold"),
    "gelu": elementwise.gelu,
    "elu": elementwise.elu,
    "prelu": elementwise.prelu,
    **{
        name: elementwise.function(name)
        for name in (
            "abs",
            "asinh",
            "atan",
            "ceil",
            "cos",
            "cosh",
            "erf",
            "erfc",
            "exp",
            "exp2",
            "expm1",
            "floor",
            "frac",
            "hardsigmoid",
            "hardswish",
            "mish",
            "log",
            "log10",
            "log1p",
            "log2",
            "neg",
            "reciprocal",
            "round",
            "rsqrt",
            "selu",
            "sigmoid",
            "sign",
            "silu",
            "sin",
            "sinc",
            "sinh",
            "sqrt",
            "tanh",
            "trunc",
        )
    },
    "softmax": elementwise.softmax,
    "_softmax": elementwise.softmax,
    "log_softmax": elementwise.on_host("LogSoftmax"),
    "_log_softmax": elementwise.on_host("LogSoftmax"),
    "argmax": elementwise.on_host("ArgMax"),
    "addcmul": elementwise.addcmul,
    "glu": elementwise.glu,
    "rrelu": elementwise.rrelu,
    "upsample_linear1d": interpolation.linear,
    "upsample_bilinear2d": interpolation.linear,
    "dropout": elementwise.dropout,
    "alpha_dropout": elementwise.dropout,
    "feature_alpha_dropout": elementwise.dropout,
    "feature_dropout": elementwise.dropout,
    "type_as": elementwise.same_type,
    "lstm": recurrent.lstm,
    "gru": recurrent.gru,
}
"""Translators by the operation's name, without its overload."""

MOVES = frozenset(
    [
        "_unsafe_index",
        "_upsample_nearest_exact2d",
        "_unsafe_view",
        "alias",
        "alias_copy",
        "chunk",
        "clone",
        "constant_pad_nd",
        "contiguous",
        "detach",
        "detach_",
        "expand",
        "expand_copy",
        "flatten",
        "gather",
        "index",
        "index_select",
        "movedim",
        "narrow",
        "narrow_copy",
        "pad",
        "permute",
        "permute_copy",
        "repeat",
        "repeat_interleave",
        "reshape",
        "select",
        "select_copy",
        "slice",
        "slice_copy",
        "split",
        "split_copy",
        "split_with_sizes",
        "squeeze",
        "squeeze_copy",
        "swapaxes",
        "t",
        "t_copy",
        "tensor_split",
        "transpose",
        "transpose_copy",
        "unbind",
        "unflatten",
        "unsqueeze",
        "unsafe_chunk",
        "unsafe_split",
        "unsafe_split_with_sizes",
        "unsqueeze_copy",
        "upsample_nearest1d",
        "upsample_nearest2d",
        "_upsample_nearest_exact1d",
        "view",
        "view_copy",
        "channel_shuffle",
        "pixel_shuffle",
        "pixel_unshuffle",
        "flip",
        "roll",
        "_to_copy",
    ]
)
"""Operations that only move elements: their movement is found by running them on indices."""

FILLED = frozenset(["full_like", "new_full", "new_ones", "new_zeros", "ones_like", "zeros_like"])
"""Operations whose results depend only on the shapes of their operands: they are constants."""

SAID = frozenset(["_assert_tensor_metadata"])
"""Assertions and notes of torch.export about tensors, which compute nothing."""

_REMEDIES = {
    "upsample_bicubic2d": "use bilinear or nearest-neighbour upsampling",
}


def op_name(target: Any) -> str:
    """Return the operation's name: ``conv2d`` for ``aten.conv2d.default``, or a function's name."""
    if isinstance(target, FunctionType):
        return target.__name__
    return str(target).removeprefix("aten.").split(".")[0]


def unknown(op: str) -> tuple[str, str]:
    """Reason and remedy for an operation without a translator."""
    refused = {k for k, t in TRANSLATORS.items() if t is layers.unsupported_convolution}
    supported = (k for k in set(TRANSLATORS) - refused if not k.startswith("_"))
    name = op_name(op)
    return ("not supported on this accelerator", _REMEDIES.get(name) or nearest(name, supported))
