"""Translation of ATen operations, one function each, into nodes of the float graph.

A translator returns the nodes, or the name of an existing tensor for operations that change
nothing, or raises :class:`Refusal`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.fx import Node as FxNode

from sigbit.frontend.source import location
from sigbit.ir import floating
from sigbit.ir.floating import MAX_CONV_KERNEL, MAX_WINDOW

aten = torch.ops.aten


class Refusal(Exception):
    """An operation cannot be translated: why, and what would work."""

    def __init__(self, reason: str, remedy: str) -> None:
        self.reason, self.remedy = reason, remedy
        super().__init__(reason)


@dataclass(frozen=True)
class Translation:
    """One node, the name of its result, its arguments by name, the names of its operands and
    parameters, and shapes of tensors.
    """

    node: FxNode
    name: str
    tensors: Mapping[FxNode, str]
    parameters: Mapping[FxNode, str]
    shape_of: Callable[[str], tuple[int, ...]]

    def argument(self, name: str) -> Any:
        """An argument by its name in the operation's schema, or its default."""
        for i, argument in enumerate(self.node.target._schema.arguments):  # type: ignore[union-attr]
            if argument.name == name:
                if i < len(self.node.args):
                    return self.node.args[i]
                return self.node.kwargs.get(name, argument.default_value)
        raise KeyError(name)

    def tensor(self, name: str) -> str:
        """The computed tensor that is argument ``name``."""
        value = self.argument(name)
        if not isinstance(value, FxNode) or value not in self.tensors:
            raise Refusal(
                f"operand {name!r} is a constant, not a computed tensor",
                "fold constants into a layer's weight or bias",
            )
        return self.tensors[value]

    def parameter(self, name: str) -> str | None:
        """The parameter that is argument ``name``; None where it is absent."""
        value = self.argument(name)
        if value is None:
            return None
        if value not in self.parameters:
            raise Refusal(
                f"operand {name!r} is computed by the network, not a parameter",
                "use a parameter of the module",
            )
        return self.parameters[value]

    def weight(self, name: str) -> str:
        """The parameter that is argument ``name``, which must be there."""
        found = self.parameter(name)
        if found is None:
            raise Refusal(f"operand {name!r} is missing", "give the layer its parameter")
        return found

    def base(self, *inputs: str) -> dict[str, Any]:
        """The fields of :class:`~sigbit.ir.floating.Node`."""
        value: Tensor = self.node.meta["val"]
        return {
            "name": self.name,
            "inputs": inputs,
            "shape": tuple(int(s) for s in value.shape[1:]),
            "location": location(self.node),
        }

    def image(self, name: str) -> str:
        """The computed tensor that is argument ``name``, which must be [batch, C, H, W]."""
        tensor = self.tensor(name)
        if len(self.shape_of(tensor)) != 3:
            raise Refusal(
                "works on [batch, C, H, W] tensors only", "reshape is supported to vectors only"
            )
        return tensor


Result = list[floating.Node] | str


def _pair(value: Any) -> tuple[int, int]:
    value = list(value) if isinstance(value, (list, tuple)) else [value]
    return (int(value[0]), int(value[-1]))


def _check_window(kernel: tuple[int, int], stride: tuple[int, int], limit: int) -> None:
    if max(kernel) > limit:
        raise Refusal(
            f"kernel {kernel} is larger than {limit}x{limit}", f"use kernels up to {limit}x{limit}"
        )
    if not set(stride) <= {1, 2}:
        raise Refusal(f"stride {stride} is not supported", "use stride 1 or 2")


def _convolution(t: Translation) -> Result:
    if (groups := t.argument("groups")) != 1:
        raise Refusal(f"groups={groups} is not supported", "use groups=1")
    if _pair(t.argument("dilation")) != (1, 1):
        raise Refusal(f"dilation {t.argument('dilation')} is not supported", "use dilation 1")
    tensor = t.image("input")
    value: Tensor = t.argument("weight").meta["val"]
    kernel, stride = (int(value.shape[2]), int(value.shape[3])), _pair(t.argument("stride"))
    _check_window(kernel, stride, MAX_CONV_KERNEL)
    padding = t.argument("padding")
    if padding == "same":
        before = [(k - 1) // 2 for k in kernel]
        sides = (before[0], before[1], kernel[0] - 1 - before[0], kernel[1] - 1 - before[1])
    else:
        vertical, horizontal = (0, 0) if padding == "valid" else _pair(padding)
        sides = (vertical, horizontal, vertical, horizontal)
    return [
        floating.Conv2d(
            **t.base(tensor),
            weight=t.weight("weight"),
            bias=t.parameter("bias"),
            stride=stride,
            padding=sides,
        )
    ]


def _linear(t: Translation) -> Result:
    tensor = t.tensor("input")
    if len(t.shape_of(tensor)) != 1:
        raise Refusal("works on [batch, features] tensors only", "flatten from dimension 1 first")
    return [floating.Linear(**t.base(tensor), weight=t.weight("weight"), bias=t.parameter("bias"))]


def _batch_norm(t: Translation) -> Result:
    base = (
        t.base(t.tensor("input"))
        if isinstance(t.node.meta["val"], Tensor)
        else {
            "name": t.name,
            "inputs": (t.tensor("input"),),
            "location": location(t.node),
            "shape": t.shape_of(t.tensor("input")),
        }
    )
    return [
        floating.BatchNorm(
            **base,
            weight=t.parameter("weight"),
            bias=t.parameter("bias"),
            mean=t.weight("running_mean"),
            var=t.weight("running_var"),
            eps=float(t.argument("eps")),
        )
    ]


def _batch_norm_of_batch(t: Translation) -> Result:
    raise Refusal("batch norm without running statistics", "keep track_running_stats=True")


def _relu(t: Translation) -> Result:
    return [floating.Relu(**t.base(t.tensor("self")))]


def _hardtanh(t: Translation) -> Result:
    low, high = float(t.argument("min_val")), float(t.argument("max_val"))
    return _clip(t, low, high)


def _relu6(t: Translation) -> Result:
    return _clip(t, 0.0, 6.0)


def _clamp(t: Translation) -> Result:
    low, high = t.argument("min"), t.argument("max")
    return _clip(
        t, -torch.inf if low is None else float(low), torch.inf if high is None else float(high)
    )


def _clip(t: Translation, low: float, high: float) -> Result:
    if low != 0 or high <= 0:
        raise Refusal(
            f"a clip to [{low:g}, {high:g}] is not supported", "use ReLU or ReLU6: clips from 0 on"
        )
    return [floating.Relu(**t.base(t.tensor("self")), limit=None if high == torch.inf else high)]


def _add(t: Translation) -> Result:
    if t.argument("alpha") != 1:
        raise Refusal(f"addition with alpha={t.argument('alpha')}", "add without alpha")
    a, b = t.tensor("self"), t.tensor("other")
    if t.shape_of(a) != t.shape_of(b):
        raise Refusal(
            f"operands {t.shape_of(a)} and {t.shape_of(b)} differ in shape",
            "add tensors of one shape",
        )
    return [floating.Add(**t.base(a, b))]


def _max_pool(t: Translation) -> Result:
    if _pair(t.argument("dilation")) != (1, 1):
        raise Refusal(f"dilation {t.argument('dilation')} is not supported", "use dilation 1")
    return _pool(t, floating.MaxPool2d)


def _avg_pool(t: Translation) -> Result:
    if t.argument("divisor_override") is not None:
        raise Refusal("divisor_override is not supported", "leave it out")
    if not t.argument("count_include_pad") and any(_pair(t.argument("padding"))):
        raise Refusal(
            "count_include_pad=False with padding is not supported",
            "count the padding, or pad nothing",
        )
    return _pool(t, floating.AvgPool2d)


def _pool(t: Translation, kind: type[floating.MaxPool2d] | type[floating.AvgPool2d]) -> Result:
    if t.argument("ceil_mode"):
        raise Refusal("ceil_mode is not supported", "use ceil_mode=False")
    tensor = t.image("self")
    base = t.base(tensor)
    kernel = _pair(t.argument("kernel_size"))
    stride = _pair(t.argument("stride") or kernel)
    vertical, horizontal = _pair(t.argument("padding"))
    if base["shape"][1:] == (1, 1):
        stride = (1, 1)
    _check_window(kernel, stride, MAX_WINDOW)
    return [
        kind(
            **base,
            kernel=kernel,
            stride=stride,
            padding=(vertical, horizontal, vertical, horizontal),
        )
    ]


def _global_average(t: Translation, base: dict[str, Any], tensor: str) -> floating.AvgPool2d:
    channels, height, width = t.shape_of(tensor)
    _check_window((height, width), (1, 1), MAX_WINDOW)
    return floating.AvgPool2d(
        **(base | {"shape": (channels, 1, 1)}),
        kernel=(height, width),
        stride=(1, 1),
        padding=(0, 0, 0, 0),
    )


def _adaptive_avg_pool(t: Translation) -> Result:
    tensor = t.image("self")
    if _pair(t.argument("output_size")) != (1, 1):
        raise Refusal(
            f"adaptive pooling to {t.argument('output_size')} is not supported", "pool to 1x1"
        )
    return [_global_average(t, t.base(tensor), tensor)]


def _mean(t: Translation) -> Result:
    tensor = t.image("self")
    if sorted(d % 4 for d in t.argument("dim") or ()) != [2, 3]:
        raise Refusal(
            f"mean over dimensions {t.argument('dim')} is not supported",
            "average over height and width",
        )
    base = t.base(tensor)
    if t.argument("keepdim"):
        return [_global_average(t, base, tensor)]
    pool = _global_average(t, base | {"name": f"{t.name}.pool"}, tensor)
    return [pool, floating.Flatten(**(base | {"inputs": (pool.name,)}))]


def _reshape(t: Translation) -> Result:
    tensor = t.tensor("self")
    shape, value = t.shape_of(tensor), t.node.meta["val"]
    new = tuple(int(s) for s in value.shape)
    old: Tensor = t.argument("self").meta["val"]
    if new[0] != old.shape[0]:
        raise Refusal(
            f"a reshape to {list(new)} mixes the samples of a batch", "keep the batch dimension"
        )
    if new[1:] == shape or (
        len(shape) == 3 and shape[1:] == (1, 1) and new[1:] in (shape, shape[:1])
    ):
        return tensor if new[1:] == shape else [floating.Flatten(**t.base(tensor))]
    if shape[1:] == (1, 1) and all(
        u.target in TRANSLATORS and TRANSLATORS[u.target] is _reshape for u in t.node.users
    ):
        return tensor  # on the way from [batch, features, 1, 1] to [batch, features]
    if len(new) != 2:
        raise Refusal(
            f"a reshape to {list(new)} is not supported", "reshape to [batch, features] only"
        )
    if max(shape[1:], default=1) > MAX_WINDOW:
        raise Refusal(
            f"flattening {shape} needs a kernel above {MAX_WINDOW}x{MAX_WINDOW}", "pool first"
        )
    return [floating.Flatten(**t.base(tensor))]


def _identity(t: Translation) -> Result:
    return t.tensor("self" if t.node.target is not aten.dropout.default else "input")


def _dropout(t: Translation) -> Result:
    if t.argument("train"):
        raise Refusal(
            "dropout that stays active in evaluation mode", "use nn.Dropout, or pass self.training"
        )
    return t.tensor("input")


TRANSLATORS: dict[Any, Callable[[Translation], Result]] = {
    aten.conv2d.default: _convolution,
    aten.conv2d.padding: _convolution,
    aten.linear.default: _linear,
    aten.batch_norm.default: _batch_norm,
    aten._native_batch_norm_legit_no_training.default: _batch_norm,
    aten._native_batch_norm_legit.no_stats: _batch_norm_of_batch,
    aten.relu.default: _relu,
    aten.relu6.default: _relu6,
    aten.hardtanh.default: _hardtanh,
    aten.clamp.default: _clamp,
    aten.clamp_min.default: lambda t: _clip(t, float(t.argument("min")), torch.inf),
    aten.add.Tensor: _add,
    aten.max_pool2d.default: _max_pool,
    aten.avg_pool2d.default: _avg_pool,
    aten.adaptive_avg_pool2d.default: _adaptive_avg_pool,
    aten.mean.dim: _mean,
    aten.flatten.using_ints: _reshape,
    aten.view.default: _reshape,
    aten.reshape.default: _reshape,
    aten.squeeze.dims: _reshape,
    aten.squeeze.dim: _reshape,
    aten.dropout.default: _dropout,
    aten.clone.default: _identity,
    aten.contiguous.default: _identity,
    aten.alias.default: _identity,
}
"""The translator of every operation that is supported."""

_REMEDIES = {
    "sigmoid": "use ReLU or ReLU6",
    "tanh": "use ReLU or ReLU6",
    "gelu": "use ReLU or ReLU6",
    "silu": "use ReLU or ReLU6",
    "leaky_relu": "use ReLU or ReLU6",
    "elu": "use ReLU or ReLU6",
    "hardswish": "use ReLU6",
    "softmax": "leave it to the host: it does not change the order of the logits",
    "log_softmax": "leave it to the host: it does not change the order of the logits",
    "cat": "add tensors instead of concatenating them",
    "conv1d": "use Conv2d",
    "conv3d": "use Conv2d",
    "conv_transpose2d": "use Conv2d",
    "layer_norm": "use BatchNorm2d",
    "group_norm": "use BatchNorm2d",
    "mul": "fold constant factors into a layer's weight",
    "div": "fold constant factors into a layer's weight",
    "sub": "negate the weights of a layer and add",
}


def unknown(op: str) -> tuple[str, str]:
    """Reason and remedy for an operation without a translator."""
    name = op.removeprefix("aten.").split(".")[0].strip("_")
    supported = (
        "Conv2d, Linear, BatchNorm, ReLU, ReLU6, add, MaxPool2d, AvgPool2d, global average "
        "pooling, flatten"
    )
    return "not supported on this accelerator", _REMEDIES.get(name, f"supported are {supported}")
