"""From the float graph to layers: which nodes one accumulation and one table can do together.

A *linear expression* is a sum of convolutions, pooled averages and plain tensors, with batch norms
in between; a layer is such an expression, followed by at most one ReLU. An expression ends where
its value is needed as a tensor: at an activation, a pooling maximum, an output, or at the second
reader.
"""

from dataclasses import dataclass, replace

from sigbit.frontend.report import UnsupportedModel, UnsupportedNode
from sigbit.ir.floating import (
    Add,
    AvgPool2d,
    BatchNorm,
    Conv2d,
    Flatten,
    FloatGraph,
    Linear,
    MaxPool2d,
    Node,
    Padding,
    Placeholder,
    Relu,
)


@dataclass(frozen=True)
class SourcePlan:
    """One operand: ``tensor`` convolved with the parameter ``weight`` (dense), or a depthwise
    window of ``constant``; then the batch norms ``norms`` in order."""

    tensor: str
    weight: str | None
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: Padding
    constant: float = 1.0
    norms: tuple[BatchNorm, ...] = ()

    @property
    def dense(self) -> bool:
        """Whether the weights are a trained kernel over all channels."""
        return self.weight is not None


@dataclass(frozen=True)
class BiasPlan:
    """An addend a channel: a bias parameter, or the offset of a batch norm; then the batch norms
    ``norms`` in order.
    """

    term: str | BatchNorm
    norms: tuple[BatchNorm, ...] = ()


@dataclass(frozen=True)
class LayerPlan:
    """``activation(sum of sources + biases)`` as tensor ``name`` of ``shape`` (channels, height,
    width).
    """

    name: str
    shape: tuple[int, int, int]
    sources: tuple[SourcePlan, ...]
    biases: tuple[BiasPlan, ...]
    activation: Relu | None
    nonnegative: bool
    kind: str
    location: str

    @property
    def averages(self) -> bool:
        """Whether the layer only averages (or copies) one tensor, so that its weights are ones."""
        return (
            len(self.sources) == 1
            and not self.sources[0].dense
            and not self.sources[0].norms
            and not self.biases
        )


@dataclass(frozen=True)
class MaxPoolPlan:
    """Maximum over windows of ``tensor``."""

    name: str
    shape: tuple[int, int, int]
    tensor: str
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: Padding
    nonnegative: bool
    location: str


@dataclass(frozen=True)
class InputPlan:
    """A network input."""

    name: str
    shape: tuple[int, int, int]


Plan = InputPlan | LayerPlan | MaxPoolPlan


@dataclass(frozen=True)
class NetworkPlan:
    """Layers in order, and for every output of the float graph its tensor and its shape for the
    user.
    """

    layers: tuple[Plan, ...]
    outputs: tuple[tuple[str, tuple[int, ...]], ...]

    def readers(self, tensor: str) -> tuple[Plan, ...]:
        """The layers that read ``tensor``."""
        return tuple(p for p in self.layers if tensor in tensors_of(p))


def tensors_of(plan: Plan) -> tuple[str, ...]:
    """Tensors that a layer reads."""
    if isinstance(plan, LayerPlan):
        return tuple(s.tensor for s in plan.sources)
    return (plan.tensor,) if isinstance(plan, MaxPoolPlan) else ()


def fuse(graph: FloatGraph) -> NetworkPlan:
    """The layers of ``graph``; :class:`UnsupportedModel` for what has no layer."""
    return _Fuser(graph).run()


@dataclass(frozen=True)
class _Expression:
    sources: tuple[SourcePlan, ...]
    biases: tuple[BiasPlan, ...] = ()

    def normalized(self, norm: BatchNorm) -> "_Expression":
        return _Expression(
            tuple(replace(s, norms=(*s.norms, norm)) for s in self.sources),
            (*(replace(b, norms=(*b.norms, norm)) for b in self.biases), BiasPlan(norm)),
        )


class _Fuser:
    def __init__(self, graph: FloatGraph) -> None:
        self._graph = graph
        self._plans: dict[str, Plan] = {}
        self._alias: dict[str, str] = {}
        self._early: dict[str, Relu] = {}

    def run(self) -> NetworkPlan:
        self._refuse_unfusable()
        for node in self._graph.nodes:
            if (
                isinstance(node, MaxPool2d)
                and isinstance(reader := self._only_reader(node.name), Relu)
                and self._only_reader(node.inputs[0]) is node
            ):
                self._early[node.inputs[0]] = reader  # max and ReLU commute
        for node in self._graph.nodes:
            if self._is_tensor(node):
                self._materialize(node)
        outputs = tuple(
            (self._tensor(name), self._graph[name].shape) for name in self._graph.outputs
        )
        return NetworkPlan(tuple(self._plans.values()), outputs)

    def _refuse_unfusable(self) -> None:
        rows = [
            UnsupportedNode(
                n.name,
                "BatchNorm",
                n.location,
                "normalizes each pixel of a flattened image on its own",
                "normalize before flattening",
            )
            for n in self._graph.nodes
            if isinstance(n, BatchNorm)
            and len(n.shape) == 1
            and self._image(n.inputs[0])[1:] != (1, 1)
        ]
        rows += [
            UnsupportedNode(
                n.name,
                "output",
                "",
                "is the network's input itself",
                "return what the network computes",
            )
            for name in self._graph.outputs
            if isinstance(n := self._origin(name), Placeholder)
        ]
        if rows:
            raise UnsupportedModel(self._graph.name, tuple(rows))

    def _origin(self, name: str) -> Node:
        node = self._graph[name]
        return self._origin(node.inputs[0]) if isinstance(node, Flatten) else node

    def _image(self, name: str) -> tuple[int, int, int]:
        """The shape of a tensor before flattening."""
        node = self._graph[name]
        if len(node.shape) == 3:
            return (node.shape[0], node.shape[1], node.shape[2])
        if isinstance(node, (Placeholder, Linear)):
            return (node.shape[0], 1, 1)
        return self._image(node.inputs[0])

    def _only_reader(self, name: str) -> Node | None:
        readers = self._graph.consumers(name)
        if name in self._graph.outputs or len(readers) != 1:
            return None
        return self._only_reader(readers[0].name) if isinstance(readers[0], Flatten) else readers[0]

    def _is_tensor(self, node: Node) -> bool:
        """Whether the value of ``node`` has to exist as a stored tensor."""
        if isinstance(node, (Placeholder, MaxPool2d, Relu)):
            return True
        if isinstance(node, Flatten):
            return False
        return not isinstance(self._only_reader(node.name), (Relu, BatchNorm, Add))

    def _tensor(self, name: str) -> str:
        """The stored tensor that holds the value of node ``name``."""
        node = self._graph[name]
        if isinstance(node, Flatten):
            return self._tensor(node.inputs[0])
        return self._alias.get(name, name)

    def _expression(self, name: str) -> _Expression:
        """The linear expression that node ``name`` computes, down to stored tensors."""
        node = self._graph[name]
        match node:
            case Flatten():
                return self._expression(node.inputs[0])
            case Conv2d():
                kernel = tuple(self._graph.parameters[node.weight].shape[2:])
                source = SourcePlan(
                    self._tensor(node.inputs[0]),
                    node.weight,
                    (kernel[0], kernel[1]),
                    node.stride,
                    node.padding,
                )
                return _Expression((source,), _bias(node.bias))
            case Linear():
                _, height, width = self._image(node.inputs[0])
                source = SourcePlan(
                    self._tensor(node.inputs[0]), node.weight, (height, width), (1, 1), (0, 0, 0, 0)
                )
                return _Expression((source,), _bias(node.bias))
            case AvgPool2d():
                source = SourcePlan(
                    self._tensor(node.inputs[0]),
                    None,
                    node.kernel,
                    node.stride,
                    node.padding,
                    1 / (node.kernel[0] * node.kernel[1]),
                )
                return _Expression((source,))
            case BatchNorm():
                return self._operand(node.inputs[0]).normalized(node)
            case Add():
                parts = [self._operand(i) for i in node.inputs]
                return _Expression(
                    tuple(s for p in parts for s in p.sources),
                    tuple(b for p in parts for b in p.biases),
                )
        raise AssertionError(f"{node.name} is not linear")

    def _operand(self, name: str) -> _Expression:
        node = self._origin(name)
        if self._is_tensor(node):
            return _Expression(
                (SourcePlan(self._tensor(node.name), None, (1, 1), (1, 1), (0, 0, 0, 0)),)
            )
        return self._expression(node.name)

    def _materialize(self, node: Node) -> None:
        name, shape = node.name, self._image(node.name)
        if isinstance(node, Placeholder):
            self._plans[name] = InputPlan(name, shape)
        elif isinstance(node, MaxPool2d):
            tensor = self._native(self._tensor(node.inputs[0]), node.location)
            self._plans[name] = MaxPoolPlan(
                name,
                shape,
                tensor,
                node.kernel,
                node.stride,
                node.padding,
                self._nonnegative(tensor),
                node.location,
            )
        elif isinstance(node, Relu):
            operand = self._origin(node.inputs[0])
            if self._is_tensor(operand) and self._is_noop(node, self._tensor(operand.name)):
                self._alias[name] = self._tensor(operand.name)
                return
            self._layer(name, shape, self._operand(operand.name), node, node.location)
        else:
            self._layer(name, shape, self._expression(name), self._early.get(name), node.location)

    def _is_noop(self, relu: Relu, tensor: str) -> bool:
        plan = self._plans[tensor]
        while isinstance(plan, MaxPoolPlan):
            plan = self._plans[plan.tensor]
        if not isinstance(plan, LayerPlan) or not plan.nonnegative:
            return False
        limit = plan.activation.limit if plan.activation else None
        return relu.limit is None or (limit is not None and limit <= relu.limit)

    def _layer(
        self,
        name: str,
        shape: tuple[int, int, int],
        expression: _Expression,
        activation: Relu | None,
        location: str,
    ) -> None:
        sources = tuple(sorted(expression.sources, key=lambda s: not s.dense))
        positive = not expression.biases and all(
            not s.dense and not s.norms and self._nonnegative(s.tensor) for s in sources
        )
        if sources[0].dense:
            kind = (
                "conv" if self._graph.parameters[sources[0].weight or ""].dim() == 4 else "linear"
            )
        else:
            kind = "avgpool" if any(s.kernel != (1, 1) for s in sources) else "add"
        self._plans[name] = LayerPlan(
            name,
            shape,
            sources,
            expression.biases,
            activation,
            activation is not None or positive,
            kind,
            location,
        )

    def _native(self, tensor: str, location: str) -> str:
        """``tensor``, or for a network input a copy of it in the native format, which is what
        maxima are taken of.
        """
        plan = self._plans[tensor]
        if not isinstance(plan, InputPlan):
            return tensor
        name = f"{tensor}.native"
        if name not in self._plans:
            source = SourcePlan(tensor, None, (1, 1), (1, 1), (0, 0, 0, 0))
            self._layer(name, plan.shape, _Expression((source,)), None, location)
        return name

    def _nonnegative(self, tensor: str) -> bool:
        plan = self._plans[tensor]
        return not isinstance(plan, InputPlan) and plan.nonnegative


def _bias(name: str | None) -> tuple[BiasPlan, ...]:
    return () if name is None else (BiasPlan(name),)
