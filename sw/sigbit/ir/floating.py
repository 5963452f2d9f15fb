"""The float graph: a network as importers produce it, before quantization, and its evaluation.

Shapes are those of one sample: ``(channels, height, width)`` or, after flattening, ``(features,)``.
Parameters are held by name in :attr:`FloatGraph.parameters`; nodes refer to them, so that sharing
survives.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from sigbit.ir.integer import GraphError, window

MAX_CONV_KERNEL = 11
"""Largest height and width of a convolution kernel."""
MAX_WINDOW = 31
"""Largest height and width of a pooling window, and of a linear layer's input before flattening."""

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
    """Dense convolution by the parameter ``weight`` ``[out, in, kh, kw]``, padded with 0."""

    weight: str
    bias: str | None
    stride: tuple[int, int]
    padding: Padding


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
class Add(Node):
    """Sum of two tensors of one shape."""


@dataclass(frozen=True, kw_only=True)
class MaxPool2d(Node):
    """Maximum over windows; padding never wins."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: Padding


@dataclass(frozen=True, kw_only=True)
class AvgPool2d(Node):
    """Mean over windows, padding counted as zeros."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: Padding


@dataclass(frozen=True, kw_only=True)
class Flatten(Node):
    """``(channels, height, width)`` as a vector in that order."""


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
                    pad(x[0], node.padding), p[node.weight], _get(p, node.bias), node.stride
                )
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
            case Add():
                return x[0] + x[1]
            case MaxPool2d():
                return F.max_pool2d(pad(x[0], node.padding, -torch.inf), node.kernel, node.stride)
            case AvgPool2d():
                return F.avg_pool2d(pad(x[0], node.padding), node.kernel, node.stride)
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
        case Conv2d() | MaxPool2d() | AvgPool2d() if len(shape) != 3:
            return f"needs a (channels, height, width) input, not {shape}"
        case Conv2d():
            out, channels, kh, kw = parameter["weight"]
            if channels != shape[0]:
                return f"weights for {channels} channels cannot read {shape[0]} channels"
            return (out, *window((shape[1], shape[2]), (kh, kw), node.stride, node.padding))
        case MaxPool2d() | AvgPool2d():
            return (shape[0], *window((shape[1], shape[2]), node.kernel, node.stride, node.padding))
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
        operands = {Placeholder: 0, Add: 2}.get(type(node), 1)
        if len(node.inputs) != operands:
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
        if len(node.shape) not in (1, 3) or min(node.shape) < 1:
            raise GraphError(
                f"{node.name}: shape must be (channels, height, width) or (features,), "
                f"not {node.shape}"
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
