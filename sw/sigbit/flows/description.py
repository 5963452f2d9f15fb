"""A float network in figures: its operations, and the part that carries out each."""

from dataclasses import dataclass
from math import prod

from sigbit.flows.host import HostOperation, host_operations
from sigbit.ir.floating import Conv2d, ConvTranspose2d, FloatGraph, Linear, Node, Placeholder, Unary

HOW = {
    "Conv2d": ("array", "multiply-accumulate"),
    "ConvTranspose2d": ("array", "one convolution for each phase; zeros are not multiplied"),
    "Linear": ("array", "multiply-accumulate"),
    "BatchNorm": ("array", "folded into weights and biases, or one more factor for each channel"),
    "Add": ("array", "one more operand of a sum"),
    "Multiply": ("array, table", "((x + y)² - (x - y)²) / 4: two sums, squares by table"),
    "MaxPool2d": ("array", "running maximum; of 8-bit tensors by exact sums"),
    "AvgPool2d": ("array", "depthwise kernel of ones"),
    "Upsample": ("array", "every pixel copied to its places"),
    "Relu": ("table", "exact, with the layer before it"),
    "Concat": ("addressing", "channels of one tensor; copied where lanes do not line up"),
    "Channels": ("addressing", "channels by address; copied where lanes do not line up"),
    "Pad": ("addressing", "part of the padding of what reads it"),
    "Flatten": ("addressing", "nothing to do"),
    "ToImage": ("addressing", "axes of an input, or a vector, as channels and pixels"),
    "FromImage": ("addressing", "axes of an output"),
    "DepthToSpace": ("array", "channels copied to the pixels of their blocks, by weights of 1"),
    "SpaceToDepth": ("array", "pixels of a block copied to channels, by weights of 1"),
    "Mosaic": ("array", "each piece copied to its place"),
    "Interpolate": ("array", "depthwise kernel of fixed integers"),
}
"""Methods for the float graph's operations: the part that carries each out, and the method."""
UNARY = ("table", "exact: 256 entries, with the layer before it")


@dataclass(frozen=True)
class Tensor:
    """An input or output; ``shape`` is without the batch."""

    name: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Operation:
    """All operations of a kind.

    Parameters
    ----------
    operation : str
    count : int
    macs : int
        Multiply-accumulates per sample.
    by, how : str
        The part that carries it out, and the method.
    """

    operation: str
    count: int
    macs: int
    by: str
    how: str


@dataclass(frozen=True)
class Description:
    """A float network.

    Parameters
    ----------
    name : str
    inputs, outputs : tuple of Tensor
    operations : tuple of Operation
    host : tuple of HostOperation
        The host's operations on the outputs.
    quantizers : int
        Tensors with a quantizer in the model.
    macs : int
        Multiply-accumulates per sample.
    parameters : int
    """

    name: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    operations: tuple[Operation, ...]
    host: tuple[HostOperation, ...]
    quantizers: int
    macs: int
    parameters: int


def describe(graph: FloatGraph) -> Description:
    """Describe ``graph``."""
    operations = _operations(graph)
    learned: set[str] = set()
    for node in graph.nodes:
        learned.update(n for a in ("weight", "bias") if (n := getattr(node, a, None)) is not None)
    outputs = zip(graph.output_names, graph.outputs, strict=True)
    return Description(
        name=graph.name,
        inputs=tuple(Tensor(node.name, tuple(node.shape)) for node in graph.inputs),
        outputs=tuple(Tensor(name, tuple(graph[tensor].shape)) for name, tensor in outputs),
        operations=operations,
        host=host_operations(graph.host),
        quantizers=len(graph.quantizers),
        macs=sum(row.macs for row in operations),
        parameters=sum(graph.parameters[name].numel() for name in learned),
    )


def macs(graph: FloatGraph, node: Node) -> int:
    """Count the multiply-accumulates of ``node`` for one sample."""
    if isinstance(node, Conv2d | Linear):
        return prod(graph.parameters[node.weight].shape) * prod(node.shape[1:])
    if isinstance(node, ConvTranspose2d):
        pixels = prod(graph[node.inputs[0]].shape[1:])
        return prod(graph.parameters[node.weight].shape) * pixels
    return 0


def _operations(graph: FloatGraph) -> tuple[Operation, ...]:
    groups: dict[str, list[Node]] = {}
    for node in graph.nodes:
        if not isinstance(node, Placeholder):
            groups.setdefault(_name(graph, node), []).append(node)
    return tuple(
        Operation(name, len(nodes), sum(macs(graph, node) for node in nodes), *_how(nodes[0]))
        for name, nodes in groups.items()
    )


def _name(graph: FloatGraph, node: Node) -> str:
    """Name an operation for people."""
    if isinstance(node, Unary):
        return node.function
    if isinstance(node, Conv2d):
        channels = graph[node.inputs[0]].shape[0]
        kernel = "x".join(map(str, graph.parameters[node.weight].shape[2:]))
        groups = {1: "", channels: ", depthwise"}.get(node.groups, f", {node.groups} groups")
        dilated = "" if node.dilation == (1, 1) else ", dilated"
        return f"Conv2d {kernel}{groups if channels > 1 else ''}{dilated}"
    return type(node).__name__


def _how(node: Node) -> tuple[str, str]:
    return UNARY if isinstance(node, Unary) else HOW[type(node).__name__]
