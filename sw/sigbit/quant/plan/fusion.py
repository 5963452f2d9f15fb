"""From the float graph to plans: nodes combined into one accumulation and one table.

A *linear expression* is a sum of convolutions, pooled averages, products and plain tensors, with
batch norms in between; a layer is such an expression, followed by at most one activation function.
An expression ends where its value is needed as a tensor: at an activation, a pooling maximum, an
output, or at the second reader. Borders, crops and steps of a sequence are read through a source's
padding.
"""

from dataclasses import replace

import torch

from sigbit.frontend.report import UnsupportedModel
from sigbit.ir.floating import (
    UNARY,
    BelowMax,
    Channels,
    Concat,
    Constant,
    DepthToSpace,
    FloatGraph,
    FromImage,
    GroupSum,
    MatMul,
    MaxPool2d,
    Mosaic,
    Node,
    Pad,
    Placeholder,
    Relu,
    SpaceToDepth,
    Transpose,
    Unary,
    Upsample,
)
from sigbit.ir.integer import Axes
from sigbit.quant.plan.expressions import Expressions
from sigbit.quant.plan.maxima import below_maximum
from sigbit.quant.plan.plans import (
    NO_PADDING,
    Blocks,
    ConstantPlan,
    GatherPlan,
    InputPlan,
    LayerPlan,
    MaxPoolPlan,
    MovePlan,
    NetworkPlan,
    Ones,
    ProductPlan,
    Shape,
    TransposePlan,
)
from sigbit.quant.plan.structure import Structure, is_negation
from sigbit.quant.plan.tensors import Expression, Tensors, own_scale


def fuse(graph: FloatGraph) -> NetworkPlan:
    """Return the plans of ``graph``; raise :class:`UnsupportedModel` for nodes without a plan."""
    return _Fuser(graph).run()


class _Fuser:
    def __init__(self, graph: FloatGraph) -> None:
        self._graph = graph
        self._structure = Structure(graph)
        self._tensors = Tensors(graph, self._structure)
        self._plans = self._tensors.plans
        self._expressions = Expressions(graph, self._structure, self._tensors)
        self._early: dict[str, Relu] = {}
        self._states = {state.input for state in graph.states}

    def run(self) -> NetworkPlan:
        if rows := tuple(self._structure.unsupported()):
            raise UnsupportedModel(self._graph.name, rows)
        for node in self._graph.nodes:
            if (
                isinstance(node, MaxPool2d)
                and isinstance(reader := self._structure.only_reader(node.name), Relu)
                and self._structure.only_reader(node.inputs[0]) is node
                and not isinstance(self._graph[node.inputs[0]], Pad)
                and not {node.name, node.inputs[0]} & set(self._graph.quantizers)
            ):
                self._early[node.inputs[0]] = reader  # max and ReLU commute
        for node in self._graph.nodes:
            if self._structure.is_tensor(node):
                self._materialize(node)
        outputs = tuple(
            (self._tensors.stored(name), self._axes(name)) for name in self._graph.outputs
        )
        states = tuple((name, self._tensors.stored(tensor)) for name, tensor in self._graph.kept)
        return NetworkPlan(tuple(self._plans.values()), outputs, states)

    def _axes(self, name: str) -> Axes:
        """Return the axes of an output."""
        node = self._graph[name]
        if isinstance(node, FromImage):
            return node.axes
        return Axes.IMAGE if len(node.shape) == 3 else Axes.FEATURES

    def _materialize(self, node: Node) -> None:
        name, shape = node.name, self._structure.image(node.name)
        match node:
            case Placeholder():
                axes, state = self._structure.read_as(node), name in self._states
                self._plans[name] = InputPlan(name, shape, axes, state)
            case Constant():
                self._plans[name] = ConstantPlan(name, shape, node.value, node.location)
            case MatMul():
                self._matmul(node, shape)
            case Transpose():
                tensor = self._digits(node.inputs[0], node)
                self._plans[name] = TransposePlan(
                    name, shape, tensor, node.location, self._is_right(node)
                )
            case BelowMax():
                plans = below_maximum(node, self._tensors.stored(node.inputs[0]), shape)
                self._plans |= {p.name: p for p in plans}
            case GroupSum() if self._averages(node):
                tensor = self._tensors.stored(node.inputs[0])
                size = self._plans[tensor].shape[0] // node.groups
                source = replace(self._tensors.plain(tensor), taps=Ones(1), groups=node.groups)
                self._plans[name] = MovePlan(
                    name, shape, (source,), "average", node.location, divisor=size
                )
            case MaxPool2d():
                self._plans[name] = MaxPoolPlan(
                    name,
                    shape,
                    self._tensors.stored(node.inputs[0]),
                    node.kernel,
                    node.stride,
                    node.padding,
                    node.location,
                )
            case Concat() | Channels() if isinstance(node, Concat) or not self._structure.slices(
                node
            ):
                self._gather(node, shape)
            case Upsample():
                self._tensors.repeat(
                    name, self._tensors.stored(node.inputs[0]), shape, node.factor, node.location
                )
            case DepthToSpace() | SpaceToDepth():
                self._plans[name] = self._rearranged(node, shape)
            case Mosaic():
                self._plans[name] = self._mosaic(node, shape)
            case Relu() | Unary() if not is_negation(node):
                operand = self._structure.origin(node.inputs[0])
                if isinstance(node, Relu) and self._is_noop(node, operand):
                    self._tensors.alias[name] = self._tensors.view(operand.name)[0]
                else:
                    copies = isinstance(node, Unary) and node.function == "identity"
                    function = None if copies else node
                    self._tensors.layer(
                        name,
                        shape,
                        self._expressions.operand(operand.name),
                        function,
                        node.location,
                    )
            case _:
                self._tensors.layer(
                    name, shape, self._expressions.of(name), self._early.get(name), node.location
                )

    def _matmul(self, node: MatMul, shape: Shape) -> None:
        left, padding = self._tensors.view(node.inputs[0])
        left = self._tensors.stored(node.inputs[0]) if any(padding) else left
        if own_scale(self._plans[left]):
            left = self._tensors.stored(node.inputs[0])
        right = self._digits(node.inputs[1], node)
        positive = not self._tensors.negative(left) and not self._tensors.negative(right)
        self._plans[node.name] = ProductPlan(
            node.name,
            shape,
            left,
            right,
            node.factor,
            0.0 if positive and node.factor > 0 else 1.0,
            node.location,
            self._is_right(node),
        )

    def _is_right(self, node: Node) -> bool:
        """Return whether only one product reads ``node``, on its right, or one transposition, so
        that it can have weight digits."""
        reader = self._structure.only_reader(node.name)
        return not set(self._graph.quantizers) & {node.name} and (
            (isinstance(reader, MatMul) and self._structure.is_right(reader, node))
            or isinstance(reader, Transpose)
        )

    def _digits(self, name: str, reader: Node) -> str:
        """Return the tensor of weight digits with the value of node ``name``, a copy unless the
        layer that computes it has no other readers, and can be 0."""
        node = self._structure.origin(name)
        tensor, padding = self._tensors.view(name)
        plan = self._plans[tensor]
        if isinstance(plan, LayerPlan | ProductPlan | TransposePlan) and plan.weights:
            return tensor
        own = isinstance(plan, LayerPlan) and not any(padding) and plan.name == node.name
        if own and self._is_right(node) and _reaches_zero(node):
            assert isinstance(plan, LayerPlan)
            self._plans[tensor] = replace(plan, weights=True)
            return tensor
        copy = f"{node.name}.weights"
        if copy not in self._plans:
            expression = Expression((self._tensors.plain(tensor, padding),))
            self._tensors.layer(
                copy, self._structure.image(name), expression, None, reader.location
            )
            plan = self._plans[copy]
            assert isinstance(plan, LayerPlan)
            self._plans[copy] = replace(plan, weights=True)
        return copy

    def _averages(self, node: GroupSum) -> bool:
        """Return whether ``node`` is the mean of channels, which keeps their scale."""
        size = self._structure.image(node.inputs[0])[0] // node.groups
        return node.copies == 1 and node.factor * size == 1

    def _rearranged(self, node: DepthToSpace | SpaceToDepth, shape: Shape) -> MovePlan:
        tensor, (height, width) = self._tensors.stored(node.inputs[0]), node.factor
        to_space = isinstance(node, DepthToSpace)
        source = replace(
            self._tensors.plain(tensor),
            kernel=node.factor,
            taps=Blocks(to_space),
            groups=min(shape[0], self._plans[tensor].shape[0]),
            stride=(1, 1) if to_space else node.factor,
            upsampling=node.factor if to_space else (1, 1),
            padding=(height - 1, width - 1) * 2 if to_space else NO_PADDING,
        )
        return MovePlan(node.name, shape, (source,), "rearrange", node.location)

    def _mosaic(self, node: Mosaic, shape: Shape) -> MovePlan:
        sources = []
        for name, (line, column) in zip(node.inputs, node.places, strict=True):
            _, height, width = self._structure.image(name)
            border = (line, column, shape[1] - line - height, shape[2] - column - width)
            tensor, padding = self._tensors.bordered(name, border)
            if own_scale(self._plans[tensor]):
                tensor, padding = self._tensors.stored(name), border
            sources.append(self._tensors.plain(tensor, padding))
        return MovePlan(node.name, shape, tuple(sources), "mosaic", node.location, pieces=True)

    def _gather(self, node: Concat | Channels, shape: Shape) -> None:
        """Add channels of stored tensors; channels of gathered tensors are taken from their
        source."""
        rows: list[tuple[str, int]] = []
        for name in node.inputs:
            plan = self._plans[self._tensors.stored(name)]
            if isinstance(plan, GatherPlan):
                rows += [(plan.tensors[t], c) for t, c in plan.channels]
            else:
                rows += [(plan.name, c) for c in range(plan.shape[0])]
        if isinstance(node, Channels):
            rows = [rows[i] for i in node.index]
        tensors = tuple(dict.fromkeys(t for t, _ in rows))
        place = {t: i for i, t in enumerate(tensors)}
        channels = tuple((place[t], c) for t, c in rows)
        self._plans[node.name] = GatherPlan(node.name, shape, tensors, channels, node.location)

    def _is_noop(self, relu: Relu, operand: Node) -> bool:
        if relu.name in self._graph.quantizers or not self._structure.is_tensor(operand):
            return False
        plan = self._plans[self._tensors.view(operand.name)[0]]
        while isinstance(plan, MaxPoolPlan):
            plan = self._plans[plan.tensor]
        if not isinstance(plan, LayerPlan) or plan.negative:
            return False
        limit = plan.activation.limit if isinstance(plan.activation, Relu) else None
        return relu.limit is None or (limit is not None and limit <= relu.limit)


def _reaches_zero(node: Node) -> bool:
    """Return whether a function is 0 at 0, which is in its table."""
    if not isinstance(node, Unary):
        return True
    x = torch.zeros(1, dtype=torch.float64)
    return bool(UNARY[node.function](x, *node.parameters) == 0)
