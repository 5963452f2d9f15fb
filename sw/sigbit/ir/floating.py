"""The float graph: a network as importers produce it, before quantization, and its evaluation.

Shapes are those of one sample: ``(channels, height, width)`` of an image, ``(features,)`` of a
vector, ``(steps, features)`` of a sequence.
Parameters are held by name in :attr:`FloatGraph.parameters`; nodes refer to them, so that sharing
survives.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import torch
import torch.nn.functional as F
from torch import Tensor

from sigbit.ir.integer import GraphError, window

MAX_WINDOW = 31
"""Largest height and width of a kernel or pooling window, and of a linear layer's input before
flattening."""

Padding = tuple[int, int, int, int]
"""(top, left, bottom, right)."""


@dataclass(frozen=True, kw_only=True)
class Node:
    """What all nodes have: a name, the names of the tensors read, the shape produced, where the
    user wrote it.
    """

    name: str
    inputs: tuple[str, ...] = ()
    shape: tuple[int, ...]
    location: str = ""


@dataclass(frozen=True, kw_only=True)
class Placeholder(Node):
    """A network input."""


@dataclass(frozen=True, kw_only=True)
class Conv2d(Node):
    """Convolution by the parameter ``weight`` ``[out, in / groups, kh, kw]``, padded with 0."""

    weight: str
    bias: str | None
    stride: tuple[int, int]
    padding: Padding
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1


@dataclass(frozen=True, kw_only=True)
class ConvTranspose2d(Node):
    """Transposed convolution by ``weight`` ``[in, out / groups, kh, kw]``: pixel (y, x) adds its
    kernel from (y * stride - top, x * stride - left) on; ``crop`` (top, left, bottom, right) is cut
    off the full result, negative where zeros are appended."""

    weight: str
    bias: str | None
    stride: tuple[int, int]
    crop: Padding
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1


@dataclass(frozen=True, kw_only=True)
class Linear(Node):
    """Matrix product by the parameter ``weight`` ``[out, in]`` on a vector."""

    weight: str
    bias: str | None


@dataclass(frozen=True, kw_only=True)
class BatchNorm(Node):
    """``(x - mean) / sqrt(var + eps) * weight + bias`` a channel."""

    weight: str | None
    bias: str | None
    mean: str
    var: str
    eps: float


@dataclass(frozen=True, kw_only=True)
class Relu(Node):
    """``min(max(x, 0), limit)``; no limit is a plain ReLU."""

    limit: float | None = None


@dataclass(frozen=True, kw_only=True)
class Unary(Node):
    """``UNARY[function](x, *parameters)`` element by element."""

    function: str
    parameters: tuple[float, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Add(Node):
    """Sum of two tensors of one shape."""


@dataclass(frozen=True, kw_only=True)
class Multiply(Node):
    """Product, element by element, of two tensors of one shape, or of an image and a
    ``(channels, 1, 1)`` tensor."""


@dataclass(frozen=True, kw_only=True)
class Concat(Node):
    """Tensors one behind the other along channels or features."""


@dataclass(frozen=True, kw_only=True)
class Channels(Node):
    """Channels (or features) ``index`` of a tensor, in this order: split, slice, shuffle."""

    index: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Pad(Node):
    """A border of zeros around an image, negative where it is cut off."""

    padding: Padding


@dataclass(frozen=True, kw_only=True)
class Upsample(Node):
    """Every pixel repeated ``factor`` = (lines, columns) times: nearest neighbour."""

    factor: tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class Select(Node):
    """Step ``step`` of a sequence, as a vector."""

    step: int


@dataclass(frozen=True, kw_only=True)
class MaxPool2d(Node):
    """Maximum over windows; padding never wins."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: Padding


@dataclass(frozen=True, kw_only=True)
class AvgPool2d(Node):
    """Sum over windows of a zero-padded image, divided by ``divisor``."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: Padding
    divisor: int


@dataclass(frozen=True, kw_only=True)
class Flatten(Node):
    """``(channels, height, width)`` as a vector in that order."""


UNARY: Mapping[str, Callable[..., Tensor]] = MappingProxyType(
    {
        "clamp": torch.clamp,
        "elu": F.elu,
        "gelu": F.gelu,
        "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
        "hardsigmoid": F.hardsigmoid,
        "hardswish": F.hardswish,
        "leaky_relu": F.leaky_relu,
        "neg": torch.neg,
        "sigmoid": torch.sigmoid,
        "silu": F.silu,
        "softplus": F.softplus,
        "tanh": torch.tanh,
    }
)
"""The functions of :class:`Unary`; parameters are those of torch, in its order."""


@dataclass(frozen=True)
class FloatGraph:
    """Nodes in topological order, parameters by name, names of the output tensors."""

    name: str
    nodes: tuple[Node, ...]
    parameters: Mapping[str, Tensor]
    outputs: tuple[str, ...]
    _by_name: dict[str, Node] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_by_name", {n.name: n for n in self.nodes})
        verify(self)

    def __getitem__(self, name: str) -> Node:
        return self._by_name[name]

    @property
    def inputs(self) -> tuple[Placeholder, ...]:
        """The network inputs."""
        return tuple(n for n in self.nodes if isinstance(n, Placeholder))

    def consumers(self, name: str) -> tuple[Node, ...]:
        """The nodes that read tensor ``name``, one entry a use."""
        return tuple(n for n in self.nodes for i in n.inputs if i == name)

    def evaluate(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Every tensor ``[batch, *shape]`` by node name, from the inputs; batch norm uses its
        running statistics.
        """
        values: dict[str, Tensor] = {}
        for node in self.nodes:
            x = [values[i] for i in node.inputs]
            values[node.name] = (
                inputs[node.name] if isinstance(node, Placeholder) else self._apply(node, x)
            )
        return values

    def _apply(self, node: Node, x: list[Tensor]) -> Tensor:
        p = self.parameters
        match node:
            case Conv2d():
                return F.conv2d(
                    pad(x[0], node.padding),
                    p[node.weight],
                    _get(p, node.bias),
                    node.stride,
                    0,
                    node.dilation,
                    node.groups,
                )
            case ConvTranspose2d():
                full = F.conv_transpose2d(
                    x[0],
                    p[node.weight],
                    None,
                    node.stride,
                    0,
                    0,
                    node.groups,
                    node.dilation,
                )
                top, left, bottom, right = node.crop
                y = pad(full, (-top, -left, -bottom, -right))
                bias = _get(p, node.bias)
                return y if bias is None else y + bias[:, None, None]
            case Linear():
                return F.linear(x[0], p[node.weight], _get(p, node.bias))
            case BatchNorm():
                return F.batch_norm(
                    x[0],
                    p[node.mean],
                    p[node.var],
                    _get(p, node.weight),
                    _get(p, node.bias),
                    eps=node.eps,
                )
            case Relu():
                return x[0].clamp(0, node.limit)
            case Unary():
                return UNARY[node.function](x[0], *node.parameters)
            case Add():
                return x[0] + x[1]
            case Multiply():
                return x[0] * x[1]
            case Concat():
                return torch.cat(x, dim=1)
            case Channels():
                return x[0][:, list(node.index)]
            case Pad():
                return pad(x[0], node.padding)
            case Upsample():
                vertical, horizontal = node.factor
                return x[0].repeat_interleave(vertical, 2).repeat_interleave(horizontal, 3)
            case Select():
                return x[0][:, node.step]
            case MaxPool2d():
                return F.max_pool2d(pad(x[0], node.padding, -torch.inf), node.kernel, node.stride)
            case AvgPool2d():
                x0 = pad(x[0], node.padding)
                return F.avg_pool2d(x0, node.kernel, node.stride, divisor_override=node.divisor)
            case Flatten():
                return x[0].flatten(1)
        raise GraphError(f"{node.name}: no evaluation of {type(node).__name__}")


def _get(parameters: Mapping[str, Tensor], name: str | None) -> Tensor | None:
    return None if name is None else parameters[name]


def pad(x: Tensor, padding: Padding, value: float = 0) -> Tensor:
    """``x`` ``[..., H, W]`` with a border of ``value``; ``x`` itself where there is none."""
    top, left, bottom, right = padding
    return F.pad(x, (left, right, top, bottom), value=value) if any(padding) else x


def parameter_names(node: Node) -> Iterator[str]:
    """Names of the parameters that a node reads."""
    for attribute in ("weight", "bias", "mean", "var"):
        if (name := getattr(node, attribute, None)) is not None:
            yield name


def _expected_shape(
    graph: FloatGraph, node: Node, shapes: list[tuple[int, ...]]
) -> tuple[int, ...] | str:
    """The shape a node produces, or what is wrong with its operands."""
    parameter = {
        a: tuple(graph.parameters[getattr(node, a)].shape)
        for a in ("weight", "bias", "mean", "var")
        if getattr(node, a, None) is not None
    }
    shape = shapes[0]
    match node:
        case Conv2d() | ConvTranspose2d() | MaxPool2d() | AvgPool2d() | Pad() | Upsample() if (
            len(shape) != 3
        ):
            return f"needs a (channels, height, width) input, not {shape}"
        case Conv2d():
            out, channels, *kernel = parameter["weight"]
            if channels * node.groups != shape[0] or out % node.groups:
                return (
                    f"weights for {node.groups} groups of {channels} channels cannot read "
                    f"{shape[0]} channels"
                )
            return (
                out,
                *window(shape[1:], tuple(kernel), node.stride, node.padding, node.dilation),
            )
        case ConvTranspose2d():
            channels, out, *kernel = parameter["weight"]
            if channels != shape[0] or channels % node.groups:
                return f"weights for {channels} channels cannot read {shape[0]} channels"
            full = (
                (n - 1) * s + (k - 1) * d + 1
                for n, s, k, d in zip(shape[1:], node.stride, kernel, node.dilation, strict=True)
            )
            height, width = full
            top, left, bottom, right = node.crop
            return (out * node.groups, height - top - bottom, width - left - right)
        case Pad():
            top, left, bottom, right = node.padding
            return (shape[0], shape[1] + top + bottom, shape[2] + left + right)
        case Upsample():
            return (shape[0], shape[1] * node.factor[0], shape[2] * node.factor[1])
        case MaxPool2d() | AvgPool2d():
            return (shape[0], *window(shape[1:], node.kernel, node.stride, node.padding))
        case Linear():
            out, features = parameter["weight"]
            return (
                (out,)
                if shape == (features,)
                else f"weights for {features} features cannot read {shape}"
            )
        case BatchNorm():
            wrong = {a: s for a, s in parameter.items() if s != shape[:1]}
            return f"parameters {wrong} do not fit {shape[0]} channels" if wrong else shape
        case Add():
            return (
                shape
                if shapes[0] == shapes[1]
                else f"operands {shapes[0]} and {shapes[1]} differ in shape"
            )
        case Multiply():
            small = (shape[0], 1, 1)
            fits = shapes[0] == shapes[1] or (len(shape) == 3 and shapes[1] == small)
            return shape if fits else f"operands {shapes[0]} and {shapes[1]} do not fit together"
        case Concat():
            if len({s[1:] for s in shapes}) != 1:
                return f"operands {shapes} differ in more than their channels"
            return (sum(s[0] for s in shapes), *shape[1:])
        case Channels():
            if not all(0 <= i < shape[0] for i in node.index):
                return f"channels {node.index} do not exist among {shape[0]}"
            return (len(node.index), *shape[1:])
        case Select():
            if len(shape) != 2 or not 0 <= node.step < shape[0]:
                return f"step {node.step} of {shape} does not exist"
            return shape[1:]
        case Unary():
            return shape if node.function in UNARY else f"unknown function {node.function!r}"
        case Flatten():
            return (int(torch.Size(shape).numel()),)
        case Relu():
            return shape
    return f"unknown node type {type(node).__name__}"


def verify(graph: FloatGraph) -> None:
    """Raise :class:`GraphError` unless names, operand counts, parameters and shapes of every node
    fit together.
    """
    seen: dict[str, Node] = {}
    for node in graph.nodes:
        if node.name in seen:
            raise GraphError(f"{node.name}: a second node of this name")
        operands = {Placeholder: 0, Add: 2, Multiply: 2, Concat: len(node.inputs)}.get(
            type(node), 1
        )
        if len(node.inputs) != operands or (isinstance(node, Concat) and not operands):
            raise GraphError(
                f"{node.name}: {type(node).__name__} has {operands} operands, "
                f"not {len(node.inputs)}"
            )
        for tensor in node.inputs:
            if tensor not in seen:
                raise GraphError(f"{node.name}: reads {tensor!r}, which is not an earlier node")
        for parameter in parameter_names(node):
            if parameter not in graph.parameters:
                raise GraphError(f"{node.name}: parameter {parameter!r} does not exist")
        if not 1 <= len(node.shape) <= 3 or min(node.shape) < 1:
            raise GraphError(
                f"{node.name}: shape must be (channels, height, width), (features,) or "
                f"(steps, features), not {node.shape}"
            )
        if not isinstance(node, Placeholder):
            expected = _expected_shape(graph, node, [seen[t].shape for t in node.inputs])
            if isinstance(expected, str):
                raise GraphError(f"{node.name}: {expected}")
            if expected != node.shape:
                raise GraphError(f"{node.name}: gives {expected}, not {node.shape}")
        seen[node.name] = node
    for name in graph.outputs:
        if name not in seen:
            raise GraphError(f"output {name!r} is not a node")
