"""Products of two tensors of few levels: one table of all pairs of levels instead of two squares
and their difference.

The index of a pair is one sum, ``a + width * b`` of levels a and b. The product of two tensors of
one plane is therefore one pass over the array, rounded once.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from sigbit.quant.plan.annotated import Given
from sigbit.quant.plan.plans import (
    GatherPlan,
    LayerPlan,
    MaskPlan,
    MaxPoolPlan,
    MovePlan,
    NetworkPlan,
    PairPlan,
    Plan,
    ProductPlan,
    SourcePlan,
    SquarePlan,
    inherited,
)
from sigbit.quant.plan.precision import Precision
from sigbit.quant.spec import ActGrid, QuantSpec
from sigbit_hw.arch.numerics import TABLE_ENTRIES


def pair_width(a: ActGrid, b: ActGrid) -> int | None:
    """Return the factor of the second levels in the index of a pair; None if there are more pairs
    than a table has entries."""
    width, count = a.high - a.low + 1, b.high - b.low + 1
    return width if width * count <= TABLE_ENTRIES else None


def paired(plan: NetworkPlan, spec: QuantSpec, given: Given) -> NetworkPlan:
    """Return ``plan`` with products of few levels as tables of pairs; those whose levels a
    quantized model or a method prescribes stay as they are."""
    kept: set[str] = set()
    while True:
        result = replace(plan, layers=tuple(_Rewriter(plan, spec, given, kept).layers()))
        levels = _Levels(result, Precision(result, spec, given))
        wide = {p.product for p in result.layers if isinstance(p, PairPlan) and not levels.few(p)}
        if not wide:  # tables may have changed which tensors share a grid
            return result
        kept |= wide


class _Levels:
    """Levels of the tensors of a plan."""

    def __init__(self, plan: NetworkPlan, precision: Precision) -> None:
        self._by_name = {p.name: p for p in plan.layers}
        self._precision = precision

    def few(self, p: SquarePlan | PairPlan) -> bool:
        """Return whether a table has an entry for every pair of levels of the operands."""
        a, b = (self._grid(s.tensor) for s in p.sources)
        return a is not None and b is not None and pair_width(a, b) is not None

    def _grid(self, tensor: str) -> ActGrid | None:
        """Return the grid of a tensor; None if it is not that of layers."""
        match p := self._by_name[tensor]:
            case LayerPlan() | ProductPlan() | PairPlan():
                return self._precision.grid(tensor)
            case MovePlan(rectified=False) | MaxPoolPlan() | MaskPlan() | GatherPlan():
                known = all(self._grid(t) is not None for t in inherited(p))
                return self._precision.grid(tensor) if known else None
        return None


@dataclass(frozen=True)
class _Product:
    """A product: its first square, and the only layer that reads both."""

    square: SquarePlan
    reader: LayerPlan

    @property
    def whole(self) -> bool:
        """True if the layer is the product and nothing else."""
        return self.reader.unit and self.reader.activation is None


class _Rewriter:
    """Replaces the products of few levels, except those in ``kept``."""

    def __init__(self, plan: NetworkPlan, spec: QuantSpec, given: Given, kept: set[str]) -> None:
        self._plan = plan
        self._by_name = {p.name: p for p in plan.layers}
        precision = Precision(plan, spec, given)
        levels = _Levels(plan, precision)
        self._found: dict[str, _Product] = {}
        for p in plan.layers:
            if isinstance(p, SquarePlan) and p.sign > 0 and p.product not in kept:
                readers = plan.readers(p.name)
                reader = readers[0]
                if len(readers) > 1 or not isinstance(reader, LayerPlan) or not levels.few(p):
                    continue
                if not any(map(precision.prescribes, (p.product, reader.name))):
                    self._found[p.product] = _Product(p, reader)

    def layers(self) -> Iterator[Plan]:
        """Yield the plans, tables in the place of squares or of the layers that are products."""
        for p in self._plan.layers:
            if isinstance(p, SquarePlan) and p.product in self._found:
                if p.sign > 0 and not self._found[p.product].whole:
                    yield _pair(p, p.product, inner=True)
            elif isinstance(p, LayerPlan):
                yield self._layer(p)
            else:
                yield p

    def _layer(self, p: LayerPlan) -> Plan:
        own = [f for f in self._found.values() if f.reader is p]
        if own and own[0].whole:
            return replace(_pair(own[0].square, p.name, inner=False), weights=p.weights)
        if not own:
            return p
        products = {f.square.name: f.square.product for f in own}
        sources = tuple(
            replace(s, tensor=products.get(s.tensor, s.tensor))
            for s in p.sources
            if not self._is_second(s)
        )
        return replace(p, sources=sources, kind="add" if p.kind == "multiply" else p.kind)

    def _is_second(self, source: SourcePlan) -> bool:
        p = self._by_name[source.tensor]
        return isinstance(p, SquarePlan) and p.sign < 0 and p.product in self._found


def _pair(p: SquarePlan, name: str, *, inner: bool) -> PairPlan:
    return PairPlan(name, p.shape, p.sources, p.product, p.negative, inner, p.location)
