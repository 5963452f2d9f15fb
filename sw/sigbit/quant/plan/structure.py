"""What the nodes of a float graph are to each other: who reads whom, what has to be stored."""

from collections.abc import Iterator

from sigbit.frontend.report import UnsupportedNode
from sigbit.ir.floating import (
    Add,
    BatchNorm,
    Channels,
    Concat,
    Conv2d,
    Flatten,
    FloatGraph,
    Linear,
    MaxPool2d,
    Multiply,
    Node,
    Pad,
    Padding,
    Placeholder,
    Relu,
    Select,
    Unary,
    Upsample,
)
from sigbit.quant.plan.plans import Shape


class Structure:
    """Questions about the nodes of ``graph``."""

    def __init__(self, graph: FloatGraph) -> None:
        self.graph = graph
        self._readers: dict[str, list[Node]] = {n.name: [] for n in graph.nodes}
        for node in graph.nodes:
            for tensor in node.inputs:
                self._readers[tensor].append(node)

    def origin(self, name: str) -> Node:
        """The node whose value ``name`` is, but for flattening."""
        node = self.graph[name]
        return self.origin(node.inputs[0]) if isinstance(node, Flatten) else node

    def image(self, name: str) -> Shape:
        """The shape of a tensor as it is stored: before flattening, sequences as (features, steps,
        1)."""
        node = self.graph[name]
        if len(node.shape) == 3:
            return (node.shape[0], node.shape[1], node.shape[2])
        if len(node.shape) == 2:
            return (node.shape[1], node.shape[0], 1)
        if isinstance(node, (Placeholder, Linear, Select, Channels)):
            return (node.shape[0], 1, 1)
        if isinstance(node, Concat):
            parts = [self.image(i) for i in node.inputs]
            return (sum(p[0] for p in parts), parts[0][1], parts[0][2])
        return self.image(node.inputs[0])

    def only_reader(self, name: str) -> Node | None:
        """The one node that reads ``name``; None if there are others, or it is an output."""
        readers = self._readers[name]
        if name in self.graph.outputs or len(readers) != 1:
            return None
        return self.only_reader(readers[0].name) if isinstance(readers[0], Flatten) else readers[0]

    def is_linear(self, node: Node | None) -> bool:
        """Whether a node continues its operand's expression."""
        return isinstance(node, (BatchNorm, Add)) or is_negation(node)

    def is_tensor(self, node: Node) -> bool:
        """Whether the value of ``node`` has to exist as a stored tensor."""
        if isinstance(node, (Flatten, Pad, Select)):
            return False
        if isinstance(node, Channels) and not self.slices(node):
            return True
        if isinstance(node, (Placeholder, MaxPool2d, Relu, Concat, Upsample)):
            return True
        if isinstance(node, Unary) and not is_negation(node):
            return True
        if self.is_sliced(node):
            return False
        if node.name in self.graph.quantizers:
            return True
        reader = self.only_reader(node.name)
        return not (isinstance(reader, (Relu, Unary)) or self.is_linear(reader))

    def is_sliced(self, node: Node) -> bool:
        """Whether only channels of ``node`` are read, each a layer of its own."""
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
        """Whether ``node`` sums only dense layers, of which rows can be computed alone."""
        if isinstance(node, Add):
            parts = [self.graph[i] for i in node.inputs]
            return all(self.only_reader(p.name) is node and self._has_rows(p) for p in parts)
        return isinstance(node, Linear) or (isinstance(node, Conv2d) and node.groups == 1)

    def slices(self, node: Channels) -> bool:
        """Whether ``node`` is a layer of its own, of rows of its operand."""
        return self.is_sliced(self.graph[node.inputs[0]])

    def border(self, node: Pad | Select) -> Padding:
        """The padding with which ``node`` is read from its operand."""
        if isinstance(node, Pad):
            return node.padding
        steps = self.graph[node.inputs[0]].shape[0]
        return (-node.step, 0, node.step + 1 - steps, 0)

    def unsupported(self) -> Iterator[UnsupportedNode]:
        """The nodes that have no plan, and why."""
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
            elif isinstance(n, (BatchNorm, Concat, Channels)) and len(n.shape) == 2:
                yield UnsupportedNode(
                    n.name,
                    type(n).__name__,
                    n.location,
                    "works along the steps of a sequence",
                    "select the steps first",
                )
        for name in self.graph.outputs:
            if isinstance(n := self.origin(name), Placeholder):
                yield UnsupportedNode(
                    n.name,
                    "output",
                    "",
                    "is the network's input itself",
                    "return what the network computes",
                )
            elif len(n.shape) == 2:
                yield UnsupportedNode(
                    n.name,
                    "output",
                    n.location,
                    "is a sequence",
                    "return images or vectors, such as single steps",
                )


def is_negation(node: Node | None) -> bool:
    """Whether ``node`` changes the sign, which a source's scale does."""
    return isinstance(node, Unary) and node.function == "neg"
