"""From the float graph to plans: nodes combined into one accumulation and one table.

A *linear expression* is a sum of convolutions, pooled averages, products and plain tensors, with
batch norms in between; a layer is such an expression, followed by at most one activation function.
An expression ends where its value is needed as a tensor: at an activation, a pooling maximum, an
output, or at the second reader. Borders, crops and steps of a sequence are read through a source's
padding.
"""

from dataclasses import dataclass, replace

import torch

from sigbit.frontend.report import UnsupportedModel
from sigbit.ir.floating import (
    MAX_WINDOW,
    UNARY,
    Add,
    AvgPool2d,
    BatchNorm,
    BelowMax,
    Channels,
    Concat,
    Constant,
    Conv2d,
    ConvTranspose2d,
    DepthToSpace,
    FloatGraph,
    FromImage,
    GroupSum,
    Interpolate,
    Linear,
    MatMul,
    MaxPool2d,
    Mosaic,
    Multiply,
    Node,
    Pad,
    Padding,
    Placeholder,
    Relu,
    SpaceToDepth,
    Transpose,
    Unary,
    Upsample,
)
from sigbit.ir.integer import Axes
from sigbit.quant.plan.maxima import below_maximum
from sigbit.quant.plan.plans import (
    NO_PADDING,
    BiasPlan,
    Blocks,
    ConstantPlan,
    GatherPlan,
    InputPlan,
    LayerPlan,
    MaskPlan,
    MaxPoolPlan,
    MovePlan,
    NetworkPlan,
    Ones,
    Plan,
    ProductPlan,
    Separable,
    Shape,
    SourcePlan,
    SquarePlan,
    TransposePlan,
)
from sigbit.quant.plan.structure import VIEWS, Structure, is_negation

_SMALL_NEGATIVE = 0.5
"""Functions with a small negative range, which get the grid with few negative levels."""


def _own_scale(plan: Plan) -> bool:
    """Return whether the scale of a tensor is not free: those that share one read copies of it. A
    state has that of its next value."""
    own = isinstance(plan, InputPlan) and not plan.state
    return own or isinstance(plan, ConstantPlan | TransposePlan)


def fuse(graph: FloatGraph) -> NetworkPlan:
    """Return the plans of ``graph``; raise :class:`UnsupportedModel` for nodes without a plan."""
    return _Fuser(graph).run()


@dataclass(frozen=True)
class _Expression:
    sources: tuple[SourcePlan, ...]
    biases: tuple[BiasPlan, ...] = ()
    product: bool = False

    def normalized(self, norm: BatchNorm) -> "_Expression":
        return _Expression(
            tuple(replace(s, norms=(*s.norms, norm)) for s in self.sources),
            (*(replace(b, norms=(*b.norms, norm)) for b in self.biases), BiasPlan(norm)),
            self.product,
        )

    def negated(self) -> "_Expression":
        return _Expression(
            tuple(replace(s, scale=-s.scale) for s in self.sources),
            tuple(replace(b, scale=-b.scale) for b in self.biases),
            self.product,
        )

    def rows(self, index: tuple[int, ...]) -> "_Expression":
        def chosen(rows: tuple[int, ...] | None) -> tuple[int, ...]:
            return index if rows is None else tuple(rows[i] for i in index)

        return _Expression(
            tuple(replace(s, rows=chosen(s.rows)) for s in self.sources),
            tuple(replace(b, rows=chosen(b.rows)) for b in self.biases),
        )


class _Fuser:
    def __init__(self, graph: FloatGraph) -> None:
        self._graph = graph
        self._plans: dict[str, Plan] = {}
        self._alias: dict[str, str] = {}
        self._early: dict[str, Relu] = {}
        self._structure = Structure(graph)
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
        outputs = tuple((self._stored(name), self._axes(name)) for name in self._graph.outputs)
        states = tuple((name, self._stored(tensor)) for name, tensor in self._graph.kept)
        return NetworkPlan(tuple(self._plans.values()), outputs, states)

    def _view(self, name: str) -> tuple[str, Padding]:
        """Return the stored tensor that holds the value of node ``name``, and the border for
        reading it."""
        node = self._graph[name]
        if isinstance(node, VIEWS):
            return self._view(node.inputs[0])
        if isinstance(node, Pad):
            return self._bordered(node.inputs[0], node.padding)
        return self._alias.get(name, name), NO_PADDING

    def _bordered(self, name: str, border: Padding) -> tuple[str, Padding]:
        """Return the stored tensor and the padding for the value ``name`` with a ``border``; pixels
        that were cut off are not restored."""
        tensor, padding = self._view(name)
        if any(a < 0 < b for a, b in zip(padding, border, strict=True)):
            tensor, padding = self._stored(name), NO_PADDING
        return tensor, _sum(padding, border)

    def _axes(self, name: str) -> Axes:
        """Return the axes of an output."""
        node = self._graph[name]
        if isinstance(node, FromImage):
            return node.axes
        return Axes.IMAGE if len(node.shape) == 3 else Axes.FEATURES

    def _stored(self, name: str) -> str:
        """Return the stored tensor that holds the value of node ``name``, copied if it is only a
        view, or a network input."""
        tensor, padding = self._view(name)
        plan = self._plans[tensor]
        if _own_scale(plan):
            copy = f"{tensor}.native"
            if copy not in self._plans:
                self._layer(copy, plan.shape, _Expression((self._plain(tensor),)), None, "")
            tensor = copy
        if not any(padding):
            return tensor
        node = self._structure.origin(name)
        if node.name not in self._plans:
            source = replace(self._plain(tensor), padding=padding)
            self._plans[node.name] = MovePlan(
                node.name, self._structure.image(node.name), (source,), "copy", node.location
            )
        return node.name

    def _plain(self, tensor: str, padding: Padding = NO_PADDING) -> SourcePlan:
        channels = self._plans[tensor].shape[0]
        return SourcePlan(tensor=tensor, channels=channels, groups=channels, padding=padding)

    def _expression(self, name: str) -> _Expression:
        """Return the linear expression that node ``name`` computes, down to stored tensors."""
        node = self._graph[name]
        match node:
            case _ if isinstance(node, VIEWS):
                return self._expression(node.inputs[0])
            case Conv2d():
                tensor, padding = self._bordered(node.inputs[0], node.padding)
                height, width = self._graph.parameters[node.weight].shape[2:]
                source = replace(
                    self._plain(tensor),
                    weight=node.weight,
                    kernel=(height, width),
                    stride=node.stride,
                    padding=padding,
                    groups=node.groups,
                    dilation=node.dilation,
                )
                return _Expression((source,), _bias(node.bias))
            case ConvTranspose2d():
                return self._transposed(node)
            case Linear():
                tensor, padding = self._view(node.inputs[0])
                _, height, width = self._structure.image(node.inputs[0])
                source = replace(
                    self._plain(tensor, padding),
                    weight=node.weight,
                    kernel=(height, width),
                    groups=1,
                )
                return _Expression((source,), _bias(node.bias))
            case Interpolate():
                tensor, padding = self._bordered(node.inputs[0], NO_PADDING)
                if any(padding):
                    tensor = self._stored(node.inputs[0])
                source = replace(
                    self._plain(tensor, node.padding),
                    kernel=(len(node.lines), len(node.columns)),
                    taps=Separable(node.lines, node.columns),
                    stride=node.stride,
                    upsampling=node.factor,
                    scale=1 / node.divisor,
                )
                return _Expression((source,))
            case AvgPool2d():
                tensor, padding = self._bordered(node.inputs[0], node.padding)
                source = replace(
                    self._plain(tensor, padding),
                    kernel=node.kernel,
                    stride=node.stride,
                    scale=1 / node.divisor,
                )
                return _Expression((source,))
            case GroupSum():
                tensor, padding = self._view(node.inputs[0])
                source = replace(
                    self._plain(tensor, padding),
                    taps=Ones(node.copies),
                    groups=node.groups,
                    scale=node.factor,
                )
                return _Expression((source,))
            case BatchNorm():
                return self._operand(node.inputs[0]).normalized(node)
            case Unary():
                return self._operand(node.inputs[0]).negated()
            case Channels():
                return self._expression(node.inputs[0]).rows(node.index)
            case Add():
                parts = [self._operand(i) for i in node.inputs]
                return _Expression(
                    tuple(s for p in parts for s in p.sources),
                    tuple(b for p in parts for b in p.biases),
                )
            case Multiply():
                return self._product(node)
        raise AssertionError(f"{node.name} is not linear")

    def _transposed(self, node: ConvTranspose2d) -> _Expression:
        tensor, border = self._view(node.inputs[0])
        if min(border) < 0:
            tensor, border = self._stored(node.inputs[0]), NO_PADDING
        height, width = self._graph.parameters[node.weight].shape[2:]
        reach = ((height - 1) * node.dilation[0], (width - 1) * node.dilation[1])
        top, left, bottom, right = (
            r + b * s - c
            for r, b, s, c in zip(reach * 2, border, node.stride * 2, node.crop, strict=True)
        )
        source = replace(
            self._plain(tensor),
            weight=node.weight,
            kernel=(height, width),
            padding=(top, left, bottom, right),
            groups=node.groups,
            dilation=node.dilation,
            upsampling=node.stride,
            transposed=True,
        )
        return _Expression((source,), _bias(node.bias))

    def _product(self, node: Multiply) -> _Expression:
        """Return a product as the difference of two quarter squares."""
        shape = self._structure.image(node.name)
        operands: list[SourcePlan] = []
        for name in node.inputs:
            if self._structure.is_spread(self._graph[name]):
                operands += self._expression(name).sources
                continue
            if self._structure.image(name) == shape:
                tensor, padding = self._view(name)
            else:
                tensor, padding = self._broadcast(self._stored(name), shape, node), NO_PADDING
            operands.append(self._plain(tensor, padding))
        negative = any(self._negative(s.tensor) for s in operands)
        halves = []
        for sign, half in ((1, "sum"), (-1, "difference")):
            name = f"{node.name}.{half}"
            if name not in self._plans:
                self._plans[name] = SquarePlan(
                    name, shape, tuple(operands), sign, node.name, float(negative), node.location
                )
            halves.append(replace(self._plain(name), scale=float(sign)))
        return _Expression(tuple(halves), product=True)

    def _broadcast(self, tensor: str, shape: Shape, node: Node) -> str:
        """Return a copy of ``tensor`` (channels, 1, 1) at every pixel of ``shape``, in as many
        steps as window sizes require."""
        height = width = 1
        for step in range(1, 99):
            if (height, width) == shape[1:]:
                break
            factor = tuple(
                min(MAX_WINDOW // 4, -(-want // have))
                for want, have in zip(shape[1:], (height, width), strict=True)
            )
            height, width = min(shape[1], height * factor[0]), min(shape[2], width * factor[1])
            name = f"{node.name}.broadcast{step}"
            if name not in self._plans:
                self._repeat(name, tensor, (shape[0], height, width), factor, node.location)
            tensor = name
        return tensor

    def _repeat(
        self, name: str, tensor: str, shape: Shape, factor: tuple[int, ...], location: str
    ) -> None:
        """Repeat every pixel of ``tensor`` ``factor`` times, cut to ``shape``."""
        height, width = self._plans[tensor].shape[1:]
        source = replace(
            self._plain(tensor),
            kernel=(factor[0], factor[1]),
            upsampling=(factor[0], factor[1]),
            padding=(
                factor[0] - 1,
                factor[1] - 1,
                factor[0] - 1 - (height * factor[0] - shape[1]),
                factor[1] - 1 - (width * factor[1] - shape[2]),
            ),
        )
        self._plans[name] = MovePlan(name, shape, (source,), "upsample", location)

    def _operand(self, name: str) -> _Expression:
        node = self._structure.origin(name)
        if isinstance(node, Pad) or self._structure.is_tensor(node):
            return _Expression((self._plain(*self._view(node.name)),))
        return self._expression(node.name)

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
                plans = below_maximum(node, self._stored(node.inputs[0]), shape)
                self._plans |= {p.name: p for p in plans}
            case GroupSum() if self._averages(node):
                tensor = self._stored(node.inputs[0])
                size = self._plans[tensor].shape[0] // node.groups
                source = replace(self._plain(tensor), taps=Ones(1), groups=node.groups)
                self._plans[name] = MovePlan(
                    name, shape, (source,), "average", node.location, divisor=size
                )
            case MaxPool2d():
                self._plans[name] = MaxPoolPlan(
                    name,
                    shape,
                    self._stored(node.inputs[0]),
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
                self._repeat(name, self._stored(node.inputs[0]), shape, node.factor, node.location)
            case DepthToSpace() | SpaceToDepth():
                self._plans[name] = self._rearranged(node, shape)
            case Mosaic():
                self._plans[name] = self._mosaic(node, shape)
            case Relu() | Unary() if not is_negation(node):
                operand = self._structure.origin(node.inputs[0])
                if isinstance(node, Relu) and self._is_noop(node, operand):
                    self._alias[name] = self._view(operand.name)[0]
                else:
                    copies = isinstance(node, Unary) and node.function == "identity"
                    function = None if copies else node
                    self._layer(name, shape, self._operand(operand.name), function, node.location)
            case _:
                self._layer(
                    name, shape, self._expression(name), self._early.get(name), node.location
                )

    def _matmul(self, node: MatMul, shape: Shape) -> None:
        left, padding = self._view(node.inputs[0])
        left = self._stored(node.inputs[0]) if any(padding) else left
        if _own_scale(self._plans[left]):
            left = self._stored(node.inputs[0])
        right = self._digits(node.inputs[1], node)
        positive = not self._negative(left) and not self._negative(right)
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
        tensor, padding = self._view(name)
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
            expression = _Expression((self._plain(tensor, padding),))
            self._layer(copy, self._structure.image(name), expression, None, reader.location)
            plan = self._plans[copy]
            assert isinstance(plan, LayerPlan)
            self._plans[copy] = replace(plan, weights=True)
        return copy

    def _averages(self, node: GroupSum) -> bool:
        """Return whether ``node`` is the mean of channels, which keeps their scale."""
        size = self._structure.image(node.inputs[0])[0] // node.groups
        return node.copies == 1 and node.factor * size == 1

    def _rearranged(self, node: DepthToSpace | SpaceToDepth, shape: Shape) -> MovePlan:
        tensor, (height, width) = self._stored(node.inputs[0]), node.factor
        to_space = isinstance(node, DepthToSpace)
        source = replace(
            self._plain(tensor),
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
            tensor, padding = self._bordered(name, border)
            if _own_scale(self._plans[tensor]):
                tensor, padding = self._stored(name), border
            sources.append(self._plain(tensor, padding))
        return MovePlan(node.name, shape, tuple(sources), "mosaic", node.location, pieces=True)

    def _gather(self, node: Concat | Channels, shape: Shape) -> None:
        """Add channels of stored tensors; channels of gathered tensors are taken from their
        source."""
        rows: list[tuple[str, int]] = []
        for name in node.inputs:
            plan = self._plans[self._stored(name)]
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
        plan = self._plans[self._view(operand.name)[0]]
        while isinstance(plan, MaxPoolPlan):
            plan = self._plans[plan.tensor]
        if not isinstance(plan, LayerPlan) or plan.negative:
            return False
        limit = plan.activation.limit if isinstance(plan.activation, Relu) else None
        return relu.limit is None or (limit is not None and limit <= relu.limit)

    def _layer(
        self,
        name: str,
        shape: Shape,
        expression: _Expression,
        activation: Relu | Unary | None,
        location: str,
    ) -> None:
        sources = tuple(sorted(expression.sources, key=lambda s: not s.trained))
        if isinstance(activation, Relu):
            negative = 0.0
        elif activation is not None:
            negative = _negative(activation)
        else:
            positive = not expression.biases and all(
                not s.trained and not s.norms and s.scale > 0 and not self._negative(s.tensor)
                for s in sources
            )
            negative = 0.0 if positive else 1.0
        if sources[0].weight is not None:
            conv = self._graph.parameters[sources[0].weight].dim() == 4
            kind = "conv" if conv else "linear"
        elif expression.product:
            kind = "multiply"
        else:
            kind = "avgpool" if any(s.kernel != (1, 1) for s in sources) else "add"
            kind = "interpolate" if any(s.taps is not None for s in sources) else kind
        self._plans[name] = LayerPlan(
            name, shape, sources, expression.biases, activation, negative, kind, location
        )

    def _negative(self, tensor: str) -> float:
        match plan := self._plans[tensor]:
            case LayerPlan() | ProductPlan():
                return plan.negative
            case MovePlan(rectified=True):
                return 0.0
            case MovePlan():
                return self._negative(plan.sources[0].tensor)
            case TransposePlan() | MaskPlan():
                return self._negative(plan.tensor)
            case MaxPoolPlan():
                return self._negative(plan.tensor)
            case GatherPlan():
                return max(self._negative(t) for t in plan.tensors)
            case SquarePlan():
                return 0.0
        return 1.0


def _reaches_zero(node: Node) -> bool:
    """Return whether a function is 0 at 0, which is in its table."""
    if not isinstance(node, Unary):
        return True
    x = torch.zeros(1, dtype=torch.float64)
    return bool(UNARY[node.function](x, *node.parameters) == 0)


def _negative(node: Unary) -> float:
    x = torch.linspace(-100, 100, 20001, dtype=torch.float64)
    y = UNARY[node.function](x, *node.parameters)
    y = y[y.isfinite()]
    least = float(y.min())
    if least >= 0:
        return 0.0
    return 1 / 8 if least > -_SMALL_NEGATIVE and float(y.max()) > 10 * -least else 1.0


def _sum(a: Padding, b: Padding) -> Padding:
    return (a[0] + b[0], a[1] + b[1], a[2] + b[2], a[3] + b[3])


def _bias(name: str | None) -> tuple[BiasPlan, ...]:
    return () if name is None else (BiasPlan(name),)
