"""No argument of a translated ATen operator is ignored: moved away from its default, the import is
right, or refused by the documented exception.

The schemas are torch's own: an overload or an argument that nothing here tries fails the test.
"""

import operator
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.fx import Graph, Node
from torch.fx.node import map_arg

from sigbit.frontend import UnsupportedModel
from sigbit.frontend.accounting import NEUTRAL_ATEN
from sigbit.frontend.aten.operators import FILLED, MOVES, SAID, TRANSLATORS
from sigbit.frontend.importer import Importer
from sigbit.ir.floating import FloatGraph

aten = torch.ops.aten


def t(*shape: int, seed: int = 3) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


class Input:
    """Stands for the network's input of this shape."""

    def __init__(self, *shape: int) -> None:
        self.tensor = t(*shape, seed=5)


X, V, S = Input(2, 4, 6, 6), Input(2, 6), Input(2, 3, 5)
NORM = {
    "input": X, "weight": t(4), "bias": t(4), "running_mean": t(4), "running_var": t(4).abs() + 1,
    "momentum": 0.1, "eps": 1e-5,
}  # fmt: skip
LSTM = [t(16, 5) / 2, t(16, 4) / 2, t(16) / 2, t(16) / 2]
RECURRENT = {
    "input": S, "has_biases": True, "num_layers": 1, "dropout": 0.0, "train": False,
    "bidirectional": False, "batch_first": True,
}  # fmt: skip
MASK = torch.tensor([True, False, False, True]).reshape(4, 1, 1)
INDEX = torch.tensor([2, 0, 1])

BASE: dict[str, dict[str, Any]] = {
    "conv2d.default": {"input": X, "weight": t(6, 4, 3, 3)},
    "conv2d.padding": {"input": X, "weight": t(6, 4, 3, 3), "padding": "same"},
    "convolution.default": {
        "input": X, "weight": t(6, 4, 3, 3), "bias": None, "stride": [1, 1], "padding": [0, 0],
        "dilation": [1, 1], "transposed": False, "output_padding": [0, 0], "groups": 1,
    },
    "conv1d.default": {"input": S, "weight": t(6, 3, 3)},
    "conv1d.padding": {"input": S, "weight": t(6, 3, 3), "padding": "same"},
    "conv_transpose1d.default": {"input": S, "weight": t(3, 6, 3), "stride": [2]},
    "conv_transpose2d.input": {"input": X, "weight": t(4, 6, 3, 3), "stride": [2, 2]},
    "linear.default": {"input": V, "weight": t(5, 6)},
    "matmul.default": {"self": V, "other": t(6, 5)},
    "mm.default": {"self": V, "mat2": t(6, 5)},
    "bmm.default": {"self": S, "mat2": t(1, 5, 4).expand(2, -1, -1)},
    "scaled_dot_product_attention.default": {"query": S, "key": S, "value": S},
    "layer_norm.default": {"input": S, "normalized_shape": [5], "weight": t(5), "bias": t(5)},
    "native_layer_norm.default": {
        "input": S, "normalized_shape": [5], "weight": t(5), "bias": t(5), "eps": 1e-5,
    },
    "rms_norm.default": {"input": S, "normalized_shape": [5], "weight": t(5)},
    "einsum.default": {"equation": "bij,bkj->bik", "tensors": [S, S]},
    "group_norm.default": {"input": X, "num_groups": 2, "weight": t(4), "bias": t(4)},
    "native_group_norm.default": {
        "input": X, "weight": t(4), "bias": t(4), "N": 2, "C": 4, "HxW": 36, "group": 2,
        "eps": 1e-5,
    },
    "instance_norm.default": {
        "input": X, "weight": t(4), "bias": t(4), "running_mean": None, "running_var": None,
        "use_input_stats": True, "momentum": 0.1, "eps": 1e-5, "cudnn_enabled": False,
    },
    "addmm.default": {"self": t(5), "mat1": V, "mat2": t(6, 5)},
    "batch_norm.default": {**NORM, "training": False, "cudnn_enabled": False},
    "native_batch_norm.default": {**NORM, "training": False},
    "_native_batch_norm_legit_no_training.default": NORM,
    "_native_batch_norm_legit.no_stats": {
        "input": X, "weight": t(4), "bias": t(4), "training": True, "momentum": 0.1, "eps": 1e-5,
    },
    "_native_batch_norm_legit_functional.default": {**NORM, "training": False},
    "max_pool2d.default": {"self": X, "kernel_size": [3, 3], "stride": [2, 2]},
    "max_pool2d_with_indices.default": {"self": X, "kernel_size": [3, 3], "stride": [2, 2]},
    "avg_pool2d.default": {"self": X, "kernel_size": [3, 3], "stride": [2, 2]},
    "adaptive_avg_pool2d.default": {"self": X, "output_size": [2, 3]},
    "_adaptive_avg_pool2d.default": {"self": X, "output_size": [2, 3]},
    "adaptive_max_pool2d.default": {"self": X, "output_size": [2, 3]},
    "max_pool1d.default": {"self": S, "kernel_size": [3], "stride": [2]},
    "max_pool1d_with_indices.default": {"self": S, "kernel_size": [3], "stride": [2]},
    "avg_pool1d.default": {"self": S, "kernel_size": [3], "stride": [2]},
    "adaptive_avg_pool1d.default": {"self": S, "output_size": [2]},
    "adaptive_max_pool1d.default": {"self": S, "output_size": [2]},
    "upsample_linear1d.default": {"self": S, "output_size": [10], "align_corners": False},
    "upsample_linear1d.vec": {
        "input": S, "output_size": [10], "align_corners": False, "scale_factors": None,
    },
    "upsample_bilinear2d.default": {"self": X, "output_size": [12, 18], "align_corners": False},
    "upsample_bilinear2d.vec": {
        "input": X, "output_size": [12, 18], "align_corners": False, "scale_factors": None,
    },
    "lerp.Scalar": {"self": X, "end": t(4, 1, 1), "weight": 0.25},
    "lerp.Tensor": {"self": X, "end": X, "weight": t(4, 1, 1)},
    "masked_fill.Scalar": {"self": X, "mask": MASK, "value": 2.0},
    "masked_fill.Tensor": {"self": X, "mask": MASK, "value": torch.tensor(2.0)},
    "where.self": {"condition": MASK, "self": X, "other": X},
    "where.ScalarOther": {"condition": MASK, "self": X, "other": 2.0},
    "where.ScalarSelf": {"condition": MASK, "self": 2.0, "other": X},
    "true_divide.Tensor": {"self": X, "other": t(4, 1, 1)},
    "true_divide.Scalar": {"self": X, "other": 2.0},
    "mean.default": {"self": X},
    "mean.dim": {"self": X, "dim": [2, 3]},
    "sum.default": {"self": X},
    "sum.dim_IntList": {"self": X, "dim": [2, 3]},
    "amax.default": {"self": X, "dim": [2, 3]},
    "add.Tensor": {"self": X, "other": X},
    "add.Scalar": {"self": X, "other": 2.0},
    "sub.Tensor": {"self": X, "other": X},
    "sub.Scalar": {"self": X, "other": 2.0},
    "rsub.Tensor": {"self": X, "other": t(4, 1, 1)},
    "rsub.Scalar": {"self": X, "other": 2.0},
    "mul.Tensor": {"self": X, "other": X},
    "mul.Scalar": {"self": X, "other": 2.0},
    "div.Tensor": {"self": X, "other": t(4, 1, 1)},
    "div.Scalar": {"self": X, "other": 2.0},
    "div.Tensor_mode": {"self": X, "other": t(4, 1, 1), "rounding_mode": None},
    "floor_divide.default": {"self": X, "other": t(4, 1, 1)},
    "floor_divide.Scalar": {"self": X, "other": 2.0},
    "div.Scalar_mode": {"self": X, "other": 2.0, "rounding_mode": None},
    "pow.Tensor_Scalar": {"self": X, "exponent": 2},
    "pow.Tensor_Tensor": {"self": X, "exponent": torch.tensor(2.0)},
    "pow.Scalar": {"self": 2.0, "exponent": X},
    "square.default": {"self": X},
    "cat.default": {"tensors": [X, X], "dim": 1},
    "relu.default": {"self": X},
    "relu6.default": {"self": X},
    "hardtanh.default": {"self": X},
    "clamp.default": {"self": X, "min": -0.5},
    "clamp.Tensor": {"self": X, "min": torch.tensor(-0.5)},
    "clamp_min.default": {"self": X, "min": -0.5},
    "clamp_min.Tensor": {"self": X, "min": torch.tensor(-0.5)},
    "clamp_max.default": {"self": X, "max": 0.5},
    "clamp_max.Tensor": {"self": X, "max": torch.tensor(0.5)},
    "leaky_relu.default": {"self": X},
    "softplus.default": {"self": X},
    "gelu.default": {"self": X},
    "elu.default": {"self": X},
    "prelu.default": {"self": X, "weight": t(1)},
    **{
        f"{name}.default": {"self": X}
        for name in (
            "abs", "hardsigmoid", "hardswish", "log", "log10", "log1p", "log2", "log_sigmoid",
            "mish", "neg", "reciprocal", "rsqrt", "selu", "sigmoid", "sign", "silu", "sqrt", "tanh",
        )
    },
    "softmax.int": {"self": V, "dim": 1},
    "_softmax.default": {"self": V, "dim": 1, "half_to_float": False},
    "log_softmax.int": {"self": V, "dim": 1},
    "_log_softmax.default": {"self": V, "dim": 1, "half_to_float": False},
    "argmax.default": {"self": V, "dim": 1},
    "dropout.default": {"input": X, "p": 0.5, "train": False},
    "lstm.input": {**RECURRENT, "hx": [torch.zeros(1, 2, 4)] * 2, "params": LSTM},
    "gru.input": {**RECURRENT, "hx": torch.zeros(1, 2, 4), "params": [p[:12] for p in LSTM]},
    "_unsafe_index.Tensor": {"self": X, "indices": [None, INDEX]},
    "index.Tensor": {"self": X, "indices": [None, INDEX]},
    "index_select.default": {"self": X, "dim": 1, "index": INDEX},
    "_unsafe_view.default": {"self": X, "size": [2, 144]},
    "view.default": {"self": X, "size": [2, 144]},
    "view.dtype": {"self": X, "dtype": torch.int32},
    "reshape.default": {"self": X, "shape": [2, 144]},
    "alias.default": {"self": X},
    "detach.default": {"self": X},
    "clone.default": {"self": X},
    "contiguous.default": {"self": X},
    "chunk.default": {"self": X, "chunks": 2, "dim": 1},
    "split.Tensor": {"self": X, "split_size": 2, "dim": 1},
    "split.default": {"self": X, "split_sizes": [1, 3], "dim": 1},
    "split.sizes": {"self": X, "split_size": [1, 3], "dim": 1},
    "split_with_sizes.default": {"self": X, "split_sizes": [1, 3], "dim": 1},
    "tensor_split.sections": {"self": X, "sections": 2, "dim": 1},
    "tensor_split.indices": {"self": X, "indices": [1], "dim": 1},
    "tensor_split.tensor_indices_or_sections": {
        "self": X, "tensor_indices_or_sections": torch.tensor([1]), "dim": 1,
    },
    "unbind.int": {"self": X, "dim": 1},
    "constant_pad_nd.default": {"self": X, "pad": [1, 2]},
    "pad.default": {"self": X, "pad": [1, 2]},
    "expand.default": {"self": Input(2, 4, 1, 1), "size": [2, 4, 3, 2]},
    "repeat.default": {"self": X, "repeats": [1, 2, 1, 1]},
    "repeat_interleave.self_int": {"self": X, "repeats": 2, "dim": 2},
    "repeat_interleave.self_Tensor": {"self": X, "repeats": torch.tensor([2]), "dim": 2},
    "flatten.using_ints": {"self": X, "start_dim": 1},
    "unflatten.int": {"self": V, "dim": 1, "sizes": [6, 1]},
    "movedim.int": {"self": X, "source": 2, "destination": 3},
    "movedim.intlist": {"self": X, "source": [2], "destination": [3]},
    "swapaxes.default": {"self": Input(2, 3, 1, 1), "axis0": 2, "axis1": 3},
    "transpose.int": {"self": Input(2, 3, 1, 1), "dim0": 2, "dim1": 3},
    "permute.default": {"self": Input(2, 3, 1, 1), "dims": [0, 1, 3, 2]},
    "t.default": {"self": V},
    "narrow.default": {"self": X, "dim": 1, "start": 1, "length": 2},
    "narrow.Tensor": {"self": X, "dim": 1, "start": torch.tensor(1), "length": 2},
    "select.int": {"self": S, "dim": 1, "index": 1},
    "slice.Tensor": {"self": X, "dim": 1, "start": 1, "end": 3, "step": 1},
    "squeeze.default": {"self": Input(2, 3, 1, 1)},
    "squeeze.dim": {"self": Input(2, 3, 1, 1), "dim": 3},
    "squeeze.dims": {"self": Input(2, 3, 1, 1), "dim": [2, 3]},
    "unsqueeze.default": {"self": V, "dim": 2},
    **{
        f"{name}.{overload}": {**arguments, "output_size": [10]}
        for name in ("upsample_nearest1d", "_upsample_nearest_exact1d")
        for overload, arguments in (
            ("default", {"self": S}),
            ("vec", {"input": S, "scale_factors": None}),
        )
    },
    "upsample_nearest2d.default": {"self": X, "output_size": [12, 18]},
    "upsample_nearest2d.vec": {"input": X, "output_size": None, "scale_factors": [2.0, 3.0]},
    "channel_shuffle.default": {"self": X, "groups": 2},
    "pixel_shuffle.default": {"self": X, "upscale_factor": 2},
    "pixel_unshuffle.default": {"self": X, "downscale_factor": 2},
    "flip.default": {"self": X, "dims": [1]},
    "roll.default": {"self": X, "shifts": [1], "dims": [1]},
    "_to_copy.default": {"self": X},
    **{
        f"{name}.default": {"self": X}
        for name in (
            "amin", "asinh", "atan", "ceil", "celu", "cos", "cosh", "deg2rad", "erf", "erfc",
            "exp", "exp2", "expm1", "floor", "frac", "hardshrink", "log_sigmoid_forward",
            "rad2deg", "round", "sin", "sinc", "sinh", "softshrink", "trunc",
        )
    },
    "amin.default": {"self": X, "dim": [2, 3]},
    "round.decimals": {"self": X, "decimals": 0},
    "threshold.default": {"self": X, "threshold": 0.5, "value": 0.0},
    "addcmul.default": {"self": X, "tensor1": X, "tensor2": X},
    "gather.default": {
        "self": V, "dim": 1, "index": torch.tensor([[2, 0, 1], [2, 0, 1]]),
    },
    "glu.default": {"self": X, "dim": 1},
    "rrelu.default": {"self": X},
    "type_as.default": {"self": X, "other": t(1)},
    **{
        f"{name}.default": {"self": X, "other": torch.tensor(0.5)}
        for name in ("fmax", "fmin", "maximum", "minimum")
    },
    "stack.default": {"tensors": [V, V], "dim": 2},
    **{f"{name}.default": {"self": X} for name in ("ones_like", "zeros_like")},
    "full_like.default": {"self": X, "fill_value": 2.0},
    "new_full.default": {"self": X, "size": [1], "fill_value": 2.0},
    "new_ones.default": {"self": X, "size": [1]},
    "new_zeros.default": {"self": X, "size": [1]},
}  # fmt: skip
"""A supported call of every overload."""

ALIKE = {
    **{f"{name}_copy": name for name in (
        "alias", "expand", "narrow", "permute", "select", "slice", "split", "squeeze", "t",
        "transpose", "unsqueeze", "view",
    )},
    **{f"unsafe_{name}": name for name in ("chunk", "split", "split_with_sizes")},
    **{f"{name}dropout": "dropout" for name in ("alpha_", "feature_", "feature_alpha_")},
    "_upsample_nearest_exact2d": "upsample_nearest2d",
}  # fmt: skip
"""Operators with the calls of others."""
for new, old in ALIKE.items():
    for overload in getattr(aten, new).overloads():
        if f"{old}.{overload}" in BASE:
            BASE[f"{new}.{overload}"] = BASE[f"{old}.{overload}"]

OTHERS: dict[str, list[Any]] = {
    "approximate": ["tanh"],
    "rounding_mode": ["floor", "trunc"],
    "mode": ["reflect", "replicate"],
    "padding": [[1, 1], [1, 0], "valid"],
    "dtype": [torch.float64, torch.float16, torch.int32],
    "dim": [0, 1, 2, [1], [3], None],
    "dims": [[0, 2, 1, 3], [2], [1, 2]],
    "hx": [[t(1, 2, 4)] * 2, t(1, 2, 4)],
    "num_layers": [2],
    "divisor_override": [5],
    "output_padding": [[1, 1], [1, 0]],
    "scale_factors": [[2.0, 2.0], [1.5, 2.0]],
    "scales_h": [1.5, 2.5],
    "scales_w": [1.5, 2.5],
    "size": [[2, 4, 36], [-1, 144], [1, 288], [2, 4, 6, 6]],
    "shape": [[2, 4, 36], [-1, 144], [1, 288]],
    "sizes": [[2, 3], [6, -1]],
    "output_size": [[3, 2], [4, 4], [6, 6], [18, 12]],
    "groups": [2, 4],
    "repeats": [3, [1, 1, 2, 3], [2, 1, 1, 1]],
    "indices": [[2], [None, None, INDEX], [INDEX[:2] % 2], [None, INDEX, INDEX]],
    "index": [2, INDEX[:2]],
    "split_size": [3, [2, 2]],
    "split_sizes": [[2, 2]],
    "pad": [[1, 0, 2, 1], [0, 0, 0, 0, 1, 1], [-1, 0]],
    "source": [1, [1]],
    "destination": [1, [1]],
    "training": [True],
    "transposed": [True],
    "running_mean": [None],
    "running_var": [None],
    "weight": [t(4), t(6, 2, 3, 3), t(4, 3, 3, 3)],
    "params": [LSTM[:2]],
    "exponent": [3, 0.5, torch.tensor(3.0)],
    "mask": [~MASK, MASK[:1], MASK.reshape(4, 1) & True],
    "condition": [~MASK, MASK[:1], MASK.reshape(4, 1) & True],
}
"""Other values by the argument's name, where its type does not say them."""

TOGETHER: dict[tuple[str, str], dict[str, Any]] = {
    **{
        (name, "groups"): {"groups": 2, "weight": t(6, 2, 3, 3)}
        for name in ("conv2d.default", "conv2d.padding", "convolution.default")
    },
    ("conv1d.default", "groups"): {"groups": 3, "weight": t(6, 1, 3)},
    ("conv1d.padding", "groups"): {"groups": 3, "weight": t(6, 1, 3)},
    ("conv_transpose1d.default", "groups"): {"groups": 3, "weight": t(3, 2, 3)},
    **{
        (f"{name}.vec", "scale_factors"): {"scale_factors": factors, "output_size": None}
        for name, factors in (
            ("upsample_linear1d", [3.0]), ("upsample_bilinear2d", [2.0, 1.5]),
            ("upsample_nearest1d", [2.0]), ("_upsample_nearest_exact1d", [3.0]),
        )
    },
    ("conv2d.padding", "stride"): {"stride": [2, 1], "padding": "valid"},
    ("conv1d.padding", "stride"): {"stride": [2], "padding": "valid"},
    ("convolution.default", "transposed"): {"transposed": True, "weight": t(4, 6, 3, 3)},
    ("convolution.default", "output_padding"): {
        "transposed": True, "weight": t(4, 6, 3, 3), "stride": [2, 2], "output_padding": [1, 0],
    },
    ("lstm.input", "num_layers"): {
        "num_layers": 2, "hx": [torch.zeros(2, 2, 4)] * 2,
        "params": [*LSTM, LSTM[1] / 3, LSTM[1], LSTM[2], LSTM[3]],
    },
    ("gru.input", "num_layers"): {
        "num_layers": 2, "hx": torch.zeros(2, 2, 4),
        "params": [p[:12] for p in [*LSTM, LSTM[1] / 3, LSTM[1], LSTM[2], LSTM[3]]],
    },
    ("lstm.input", "bidirectional"): {
        "bidirectional": True, "hx": [torch.zeros(2, 2, 4)] * 2, "params": LSTM * 2,
    },
    ("gru.input", "bidirectional"): {
        "bidirectional": True, "hx": torch.zeros(2, 2, 4), "params": [p[:12] for p in LSTM * 2],
    },
    ("lstm.input", "batch_first"): {"batch_first": False, "hx": [torch.zeros(1, 3, 4)] * 2},
    ("gru.input", "batch_first"): {"batch_first": False, "hx": torch.zeros(1, 3, 4)},
    **{
        (f"{name}.default", "normalized_shape"): {
            "normalized_shape": [3, 5], "weight": t(3, 5), **more,
        }
        for name, more in (
            ("layer_norm", {"bias": t(3, 5)}), ("native_layer_norm", {"bias": t(3, 5)}),
            ("rms_norm", {}),
        )
    },
    ("instance_norm.default", "use_input_stats"): {
        "use_input_stats": False, "running_mean": t(4), "running_var": t(4).abs(),
    },
    ("einsum.default", "equation"): {"equation": "bij,bkj->bki"},
    ("pad.default", "mode"): {"mode": "reflect", "pad": [1, 1, 1, 1]},
    ("pad.default", "value"): {"value": 2.0, "pad": [1, 1, 1, 1]},
    **{
        (f"{name}.vec", "output_size"): {"output_size": [12, 18], "scale_factors": None}
        for name in ("upsample_nearest2d", "_upsample_nearest_exact2d")
    },
}  # fmt: skip
"""Values that go with others only."""

UNCHECKED = ("batch_first", "bidirectional", "has_biases", "num_layers", "params")
"""Arguments of recurrent layers that torch does not compare with the sizes of its tensors."""

FIXED = {
    ("lstm", "params"): "have the sizes of hx, and biases or not",
    ("gru", "params"): "have the sizes of hx, and biases or not",
    ("lstm", "has_biases"): "follows from params",
    ("gru", "has_biases"): "follows from params",
    ("_softmax", "half_to_float"): "needs a GPU",
    ("_log_softmax", "half_to_float"): "needs a GPU",
    ("einsum", "path"): "two operands have one",
    ("native_group_norm", "N"): "follows from the input",
    ("native_group_norm", "C"): "follows from the input",
    ("native_group_norm", "HxW"): "follows from the input",
    ("repeat_interleave", "output_size"): "follows from repeats",
    ("_native_batch_norm_legit", "training"): "without statistics, those of the batch are taken",
    ("_native_batch_norm_legit_functional", "training"): "has no other translation",
    ("native_batch_norm", "training"): "reads beyond the end of nothing",
}  # fmt: skip
"""Arguments without another value that torch accepts on a CPU."""


def overloads() -> Iterator[OpOverload]:
    """Every functional overload of what has a translator, or only moves elements."""
    for name in sorted(set(TRANSLATORS) | MOVES - {"detach_"} | SAID | FILLED):
        packet = getattr(aten, name)
        for overload in packet.overloads():
            target = getattr(packet, overload)
            schema = str(target._schema)
            named = any(w in schema for w in ("Dimname", "Generator", "out=", "a!", "Storage"))
            if not named and "_out" not in overload and overload != "out":
                yield target


def key(target: OpOverload) -> str:
    return str(target).removeprefix("aten.")


NO_CALL = {
    "_assert_tensor_metadata.default": "torch.export's own note",
    "add.t": "of lists", "mul.left_t": "of lists",
    "where.default": "of indices alone", "where.Scalar": "of a mask alone",
    "einsum.sublist": "of lists",
    "lstm.data": "packed sequences, which torch.export does not keep",
    "gru.data": "packed sequences, which torch.export does not keep",
    "repeat_interleave.Tensor": "of indices alone",
    "conv3d.default": "of five axes, which no input has",
    "conv3d.padding": "of five axes, which no input has",
    "mm.dtype": "of GPUs",
    "bmm.dtype": "of GPUs",
    "addmm.dtype": "of GPUs",
    "index.Tensor_hacked_twin": "of TorchScript",
    "_unsafe_index.Tensor_hacked_twin": "of TorchScript",
    "index.list_Tensor": "of lists",
    "cat.names": "named", "pow.Scalar_out": "",
}  # fmt: skip


def walked() -> list[OpOverload]:
    """Those that take a tensor."""
    return [
        o
        for o in overloads()
        if "Tensor" in str(o._schema).split("->")[0] and key(o) not in NO_CALL
    ]


def test_every_overload_is_tried() -> None:
    assert {key(o) for o in walked()} - set(BASE) == set()


class Call:
    """One call as a graph of its own, with the tensors among its arguments as constants."""

    def __init__(self, target: OpOverload, arguments: dict[str, Any]) -> None:
        self._graph, self._constants = Graph(), dict[str, tuple[str, Tensor]]()
        self._input: Node | None = None
        self.x = torch.empty(0)
        values = {name: self._value(name, v) for name, v in arguments.items()}
        names = [a.name for a in target._schema.arguments if not a.kwarg_only]
        last = max((i for i, name in enumerate(names) if name in values), default=-1)
        defaults = {a.name: a.default_value for a in target._schema.arguments}
        args = tuple(values.pop(n, defaults[n]) for n in names[: last + 1])
        node = self._graph.call_function(target, args, values)
        real: Any = map_arg((args, values), self._tensor)
        with torch.no_grad():
            wanted = target(*real[0], **real[1])
        node.meta["val"] = wanted
        self.wanted, results = [wanted], [node]
        if isinstance(wanted, (list, tuple)):
            count = 1 if len(target._schema.returns) > 1 else len(wanted)
            self.wanted = list(wanted[:count])
            results = [self._graph.call_function(operator.getitem, (node, i)) for i in range(count)]
            for i, result in enumerate(results):
                result.meta["val"] = wanted[i]
        self._graph.output(tuple(results))

    def _value(self, name: str, value: Any) -> Any:
        if isinstance(value, (list, tuple)):
            return [self._value(f"{name}{i}", v) for i, v in enumerate(value)]
        if isinstance(value, Input):
            if self._input is None:
                self._input, self.x = self._graph.placeholder("x"), value.tensor
                self._input.meta["val"] = value.tensor
            return self._input
        if isinstance(value, Tensor):
            node = self._graph.placeholder(f"c_{name}")
            node.meta["val"] = value
            self._constants[node.name] = (name, value)
            return node
        return value

    def _tensor(self, node: Node) -> Tensor:
        if node is self._input:
            return self.x.clone()
        return self._constants[node.name][1].clone()

    def imported(self) -> FloatGraph:
        return Importer(self._graph, self._constants, "call").run()


def tried(target: OpOverload, arguments: dict[str, Any]) -> bool | None:
    """Whether the import is right (True) or refused (False); None where torch itself refuses."""
    try:
        call = Call(target, arguments)
    except Exception:  # torch's own refusals have many types
        return None
    try:
        graph = call.imported()
    except UnsupportedModel as error:
        assert all(r.op and r.reason and r.remedy for r in error.rows)  # noqa: PT017
        return False
    with torch.no_grad():
        got = graph.results({graph.inputs[0].name: call.x})
    assert len(got) == len(call.wanted), (key(target), arguments)
    for a, b in zip(got, call.wanted, strict=True):
        assert a.shape == b.shape, (key(target), arguments)
        torch.testing.assert_close(
            a, b, rtol=1e-5, atol=1e-5, check_dtype=False, equal_nan=True, msg=f"{arguments}"
        )
    return True


def others(argument: Any, value: Any) -> list[Any]:
    """Values that an argument may have instead."""
    found = list(OTHERS.get(argument.name, []))
    if isinstance(value, bool):
        found.append(not value)
    elif isinstance(value, (int, float)):
        found += [value + 1, value + 0.5, value - 1, 2]
    elif isinstance(value, (list, tuple)) and all(isinstance(v, int) for v in value):
        found += [[v + 1 for v in value], [2 for _ in value] or [2, 2]]
    elif isinstance(value, Tensor) and value.dtype != torch.bool:
        found += [value + 1, value.reshape(1, -1), t(2, *value.shape)]
    elif value is None:
        found += [0.25, 2, t(4), t(6), t(5), t(4, 1, 1), torch.tensor(0.5)]
    return found


@pytest.mark.parametrize("name", BASE)
def test_no_argument_is_ignored(name: str) -> None:
    packet, overload = name.split(".")
    target = getattr(getattr(aten, packet), overload)
    base = BASE[name]
    tried(target, base)
    for argument in target._schema.arguments:
        value = base.get(
            argument.name, argument.default_value if argument.has_default_value() else None
        )
        if isinstance(value, Input) or argument.name in NEUTRAL_ATEN:
            continue
        if isinstance(value, list) and any(isinstance(v, Input) for v in value):
            continue
        found = others(argument, value)
        if "batch_norm" in name:  # torch reads beyond the end of what is too small or missing
            found = [o for o in found if isinstance(o, Tensor) and o.shape == (4,)]
            found += [1e-2] if argument.name == "eps" else []
            found += [True] if name == "batch_norm.default" and value is False else []
        if packet in ("lstm", "gru") and argument.name in UNCHECKED:
            found = []
        changes = [{argument.name: o} for o in found]
        if (name, argument.name) in TOGETHER:
            changes.append(TOGETHER[name, argument.name])
        outcomes = [tried(target, base | change) for change in changes]
        some = any(o is not None for o in outcomes)
        assert some or (packet, argument.name) in FIXED, f"no other {argument.name} is tried"
