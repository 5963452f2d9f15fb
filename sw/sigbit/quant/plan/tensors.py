"""Stored tensors: the plan of each, values that are views of them, and copies of those that are not
stored as their readers need them."""

from dataclasses import dataclass, replace

import torch

from sigbit.ir.floating import (
    MAX_WINDOW,
    UNARY,
    BatchNorm,
    FloatGraph,
    Node,
    Pad,
    Padding,
    Relu,
    Unary,
)
from sigbit.quant.plan.plans import (
    NO_PADDING,
    BiasPlan,
    ConstantPlan,
    GatherPlan,
    InputPlan,
    LayerPlan,
    MaskPlan,
    MaxPoolPlan,
    MovePlan,
    Plan,
    ProductPlan,
    Shape,
    SourcePlan,
    SquarePlan,
    TransposePlan,
)
from sigbit.quant.plan.structure import VIEWS, Structure

_SMALL_NEGATIVE = 0.5
"""Functions with a small negative range, which get the grid with few negative levels."""


@dataclass(frozen=True)
class Expression:
    """A sum of sources and biases, or, if it is a ``product``, the difference of two quarter
    squares."""

    sources: tuple[SourcePlan, ...]
    biases: tuple[BiasPlan, ...] = ()
    product: bool = False

    def normalized(self, norm: BatchNorm) -> "Expression":
        """Return this expression followed by a batch norm."""
        return Expression(
            tuple(replace(s, norms=(*s.norms, norm)) for s in self.sources),
            (*(replace(b, norms=(*b.norms, norm)) for b in self.biases), BiasPlan(norm)),
            self.product,
        )

    def negated(self) -> "Expression":
        """Return the negative of this expression."""
        return Expression(
            tuple(replace(s, scale=-s.scale) for s in self.sources),
            tuple(replace(b, scale=-b.scale) for b in self.biases),
            self.product,
        )

    def rows(self, index: tuple[int, ...]) -> "Expression":
        """Return the channels ``index`` of this expression."""

        def chosen(rows: tuple[int, ...] | None) -> tuple[int, ...]:
            return index if rows is None else tuple(rows[i] for i in index)

        return Expression(
            tuple(replace(s, rows=chosen(s.rows)) for s in self.sources),
            tuple(replace(b, rows=chosen(b.rows)) for b in self.biases),
        )


def own_scale(plan: Plan) -> bool:
    """Return whether the scale of a tensor is not free: those that share one read copies of it. A
    state has that of its next value."""
    own = isinstance(plan, InputPlan) and not plan.state
    return own or isinstance(plan, ConstantPlan | TransposePlan)


class Tensors:
    """Tensors of ``graph`` by name, in the order of their computation; ``alias`` names the tensor
    that a node which computes nothing has the value of."""

    def __init__(self, graph: FloatGraph, structure: Structure) -> None:
        self.plans: dict[str, Plan] = {}
        self.alias: dict[str, str] = {}
        self._graph, self._structure = graph, structure

    def view(self, name: str) -> tuple[str, Padding]:
        """Return the stored tensor that holds the value of node ``name``, and the border for
        reading it."""
        node = self._graph[name]
        if isinstance(node, VIEWS):
            return self.view(node.inputs[0])
        if isinstance(node, Pad):
            return self.bordered(node.inputs[0], node.padding)
        return self.alias.get(name, name), NO_PADDING

    def bordered(self, name: str, border: Padding) -> tuple[str, Padding]:
        """Return the stored tensor and the padding for the value ``name`` with a ``border``; pixels
        that were cut off are not restored."""
        tensor, padding = self.view(name)
        if any(a < 0 < b for a, b in zip(padding, border, strict=True)):
            tensor, padding = self.stored(name), NO_PADDING
        return tensor, _sum(padding, border)

    def stored(self, name: str) -> str:
        """Return the stored tensor that holds the value of node ``name``, copied if it is only a
        view, or a network input."""
        tensor, padding = self.view(name)
        plan = self.plans[tensor]
        if own_scale(plan):
            copy = f"{tensor}.native"
            if copy not in self.plans:
                self.layer(copy, plan.shape, Expression((self.plain(tensor),)), None, "")
            tensor = copy
        if not any(padding):
            return tensor
        node = self._structure.origin(name)
        if node.name not in self.plans:
            source = replace(self.plain(tensor), padding=padding)
            self.plans[node.name] = MovePlan(
                node.name, self._structure.image(node.name), (source,), "copy", node.location
            )
        return node.name

    def plain(self, tensor: str, padding: Padding = NO_PADDING) -> SourcePlan:
        """Return the source that reads ``tensor`` as it is."""
        channels = self.plans[tensor].shape[0]
        return SourcePlan(tensor=tensor, channels=channels, groups=channels, padding=padding)

    def layer(
        self,
        name: str,
        shape: Shape,
        expression: Expression,
        activation: Relu | Unary | None,
        location: str,
    ) -> None:
        """Add the layer ``name``: an expression and the activation after it."""
        sources = tuple(sorted(expression.sources, key=lambda s: not s.trained))
        if isinstance(activation, Relu):
            negative = 0.0
        elif activation is not None:
            negative = _negative_range(activation)
        else:
            positive = not expression.biases and all(
                not s.trained and not s.norms and s.scale > 0 and not self.negative(s.tensor)
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
        self.plans[name] = LayerPlan(
            name, shape, sources, expression.biases, activation, negative, kind, location
        )

    def broadcast(self, tensor: str, shape: Shape, node: Node) -> str:
        """Add a copy of ``tensor`` (channels, 1, 1) at every pixel of ``shape``, in as many steps
        as window sizes require; return its name."""
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
            if name not in self.plans:
                self.repeat(name, tensor, (shape[0], height, width), factor, node.location)
            tensor = name
        return tensor

    def repeat(
        self, name: str, tensor: str, shape: Shape, factor: tuple[int, ...], location: str
    ) -> None:
        """Add a tensor with every pixel of ``tensor`` ``factor`` times, cut to ``shape``."""
        height, width = self.plans[tensor].shape[1:]
        source = replace(
            self.plain(tensor),
            kernel=(factor[0], factor[1]),
            upsampling=(factor[0], factor[1]),
            padding=(
                factor[0] - 1,
                factor[1] - 1,
                factor[0] - 1 - (height * factor[0] - shape[1]),
                factor[1] - 1 - (width * factor[1] - shape[2]),
            ),
        )
        self.plans[name] = MovePlan(name, shape, (source,), "upsample", location)

    def negative(self, tensor: str) -> float:
        """Return the range of a tensor below 0, as :attr:`LayerPlan.negative`."""
        match plan := self.plans[tensor]:
            case LayerPlan() | ProductPlan():
                return plan.negative
            case MovePlan(rectified=True):
                return 0.0
            case MovePlan():
                return self.negative(plan.sources[0].tensor)
            case TransposePlan() | MaskPlan():
                return self.negative(plan.tensor)
            case MaxPoolPlan():
                return self.negative(plan.tensor)
            case GatherPlan():
                return max(self.negative(t) for t in plan.tensors)
            case SquarePlan():
                return 0.0
        return 1.0


def _negative_range(function: Unary) -> float:
    """Return the range of a function below 0, relative to that above, as
    :attr:`LayerPlan.negative`; from its values at -100 to 100."""
    x = torch.linspace(-100, 100, 20001, dtype=torch.float64)
    y = UNARY[function.function](x, *function.parameters)
    y = y[y.isfinite()]
    least = float(y.min())
    if least >= 0:
        return 0.0
    return 1 / 8 if least > -_SMALL_NEGATIVE and float(y.max()) > 10 * -least else 1.0


def _sum(a: Padding, b: Padding) -> Padding:
    return (a[0] + b[0], a[1] + b[1], a[2] + b[2], a[3] + b[3])
