"""Relations between the nodes of a float graph: readers, and values that must be stored."""

from collections.abc import Iterator

from sigbit.frontend.report import UnsupportedNode
from sigbit.ir.floating import (
    Add,
    BatchNorm,
    BelowMax,
    Channels,
    Concat,
    Constant,
    Conv2d,
    DepthToSpace,
    Flatten,
    FloatGraph,
    FromImage,
    GroupSum,
    Linear,
    MatMul,
    MaxPool2d,
    Mosaic,
    Multiply,
    Node,
    Pad,
    Placeholder,
    Relu,
    SpaceToDepth,
    ToImage,
    Transpose,
    Unary,
    Upsample,
)
from sigbit.ir.integer import Axes
from sigbit.quant.plan.plans import Shape

VIEWS = (Flatten, ToImage, FromImage)
"""Nodes that store no new values."""


_STORED = (
    Placeholder,
    MaxPool2d,
    Relu,
    Concat,
    Upsample,
    DepthToSpace,
    SpaceToDepth,
    Mosaic,
    Constant,
    MatMul,
    Transpose,
    BelowMax,
)


class Structure:
    """Queries about the nodes of ``graph``."""

    def __init__(self, graph: FloatGraph) -> None:
        self.graph = graph
        self._readers: dict[str, list[Node]] = {n.name: [] for n in graph.nodes}
        for node in graph.nodes:
            for tensor in node.inputs:
                self._readers[tensor].append(node)

    def origin(self, name: str) -> Node:
        """Return the node whose value ``name`` is, apart from its axes."""
        node = self.graph[name]
        return self.origin(node.inputs[0]) if isinstance(node, VIEWS) else node

    def read_as(self, node: Placeholder) -> Axes:
        """Return the axes of the user's tensor for an input."""
        images = {r.axes for r in self._readers[node.name] if isinstance(r, ToImage)}
        unread = {1: Axes.FEATURES, 2: Axes.SEQUENCE, 3: Axes.IMAGE}[len(node.shape)]
        return next(iter(images), unread)

    def image(self, name: str) -> Shape:
        """Return the shape of a tensor as stored: before flattening, regardless of its user's
        axes."""
        node = self.graph[name]
        if isinstance(node, Placeholder):
            images = [r.shape for r in self._readers[name] if isinstance(r, ToImage)]
            if images:
                channels, height, width = images[0]
                return channels, height, width
        if len(node.shape) == 3 and not isinstance(node, FromImage):
            return (node.shape[0], node.shape[1], node.shape[2])
        if len(node.shape) == 2 and not node.inputs:
            return (node.shape[1], node.shape[0], 1)
        if isinstance(node, (Placeholder, Linear, Channels)):
            return (node.shape[0], 1, 1)
        if isinstance(node, Concat):
            parts = [self.image(i) for i in node.inputs]
            return (sum(p[0] for p in parts), parts[0][1], parts[0][2])
        return self.image(node.inputs[0])

    def only_reader(self, name: str) -> Node | None:
        """Return the only node that reads ``name``; None if there are several, or it is an
        output."""
        readers = self._readers[name]
        if name in self.graph.outputs or len(readers) != 1:
            return None
        return self.only_reader(readers[0].name) if isinstance(readers[0], VIEWS) else readers[0]

    def is_linear(self, node: Node | None) -> bool:
        """Return whether a node continues its operand's expression."""
        return isinstance(node, (BatchNorm, Add)) or is_negation(node)

    def is_tensor(self, node: Node) -> bool:
        """Return whether the value of ``node`` has to exist as a stored tensor."""
        if isinstance(node, (*VIEWS, Pad)):
            return False
        if isinstance(node, Channels) and not self.slices(node):
            return True
        if isinstance(node, _STORED):
            return True
        if isinstance(node, Unary) and not is_negation(node):
            return True
        if self.is_sliced(node) or self.is_spread(node):
            return False
        if node.name in self.graph.quantizers:
            return True
        reader = self.only_reader(node.name)
        return not (isinstance(reader, (Relu, Unary)) or self.is_linear(reader))

    def is_spread(self, node: Node) -> bool:
        """Return whether ``node`` only repeats channels as a factor of a product."""
        return isinstance(node, GroupSum) and isinstance(self.only_reader(node.name), Multiply)

    def is_right(self, product: MatMul, node: Node) -> bool:
        """Return whether ``node`` is the second operand of ``product``, and not the first too."""
        first, second = (self.origin(i).name for i in product.inputs)
        return first != node.name == second

    def is_sliced(self, node: Node) -> bool:
        """Return whether only channels of ``node`` are read, each as a layer of its own."""
        readers = self._readers[node.name]
        return (
            node.name not in self.graph.outputs
            and node.name not in self.graph.quantizers
            and bool(readers)
            and all(isinstance(r, Channels) for r in readers)
            and len({i for r in readers if isinstance(r, Channels) for i in r.index})
            == sum(len(r.index) for r in readers if isinstance(r, Channels))
            and self._has_rows(node)
        )

    def _has_rows(self, node: Node) -> bool:
        """Return whether ``node`` sums dense layers only, whose rows can be computed separately."""
        if isinstance(node, Add):
            parts = [self.graph[i] for i in node.inputs]
            return all(self.only_reader(p.name) is node and self._has_rows(p) for p in parts)
        return isinstance(node, Linear) or (isinstance(node, Conv2d) and node.groups == 1)

    def slices(self, node: Channels) -> bool:
        """Return whether ``node`` is a layer of its own, computed from rows of its operand."""
        return self.is_sliced(self.graph[node.inputs[0]])

    def unsupported(self) -> Iterator[UnsupportedNode]:
        """Yield the nodes without a plan, with reasons."""
        for n in self.graph.nodes:
            flat = len(n.shape) == 1 and bool(n.inputs)
            images = [self.image(i) for i in n.inputs]
            if isinstance(n, BatchNorm) and flat and images[0][1:] != (1, 1):
                yield UnsupportedNode(
                    n.name,
                    "BatchNorm",
                    n.location,
                    "normalizes each pixel of a flattened image on its own",
                    "normalize before flattening",
                )
            elif isinstance(n, Channels) and flat and images[0][1:] != (1, 1):
                yield UnsupportedNode(
                    n.name,
                    "Channels",
                    n.location,
                    "takes single pixels of a flattened image",
                    "take channels before flattening",
                )
            elif isinstance(n, (Add, Multiply, Concat)) and flat:
                sizes = {i[1:] if isinstance(n, Concat) else i for i in images}
                if len(sizes) > 1:
                    yield UnsupportedNode(
                        n.name,
                        type(n).__name__,
                        n.location,
                        f"joins images of different sizes after flattening: {sorted(sizes)}",
                        "join them before flattening, or by linear layers",
                    )
            elif isinstance(n, ToImage) and images[0] != n.shape:
                yield UnsupportedNode(
                    n.name,
                    "ToImage",
                    n.location,
                    f"makes pixels of an image of {images[0]} channels after a layer of vectors",
                    "compute on the image before flattening, or reshape at once",
                )
        states = {state.output for state in self.graph.states}
        for output, name in zip(self.graph.output_names, self.graph.outputs, strict=True):
            if isinstance(n := self.origin(name), Placeholder) and output not in states:
                yield UnsupportedNode(
                    n.name,
                    "output",
                    "",
                    "is the network's input itself",
                    "return what the network computes",
                )


def is_negation(node: Node | None) -> bool:
    """Return whether ``node`` changes the sign, which can be expressed in a source's scale."""
    return isinstance(node, Unary) and node.function == "neg"
