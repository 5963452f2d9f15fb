"""Quantizers of a quantized model for the layers and tensors of a plan, and the resulting codes of
its layers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import torch
from torch import Tensor

from sigbit.ir.annotation import QuantAnnotation
from sigbit.ir.floating import FloatGraph, Relu, Unary
from sigbit.quant.layers.given import GivenCodes, reach
from sigbit.quant.layers.integers import (
    GivenSource,
    exact_bias,
    fewest_terms,
    given_source,
    weighed,
)
from sigbit.quant.layers.layer import QuantLayer
from sigbit.quant.numbers.grid import LevelGrid
from sigbit.quant.plan.annotated import Given, by_plan, levels_of
from sigbit.quant.plan.plans import InputPlan, LayerPlan, NetworkPlan, inherited
from sigbit.quant.spec import DIGITS, ActGrid, QuantSpec, given_grid

Tensors = tuple[float, ActGrid]
"""Scale and grid of a tensor."""
_FINE = 6
"""Maximum number of binary digits of an output below an accumulator step."""


@dataclass(frozen=True)
class Quantized:
    """By stored tensor the ``quantizers`` of a quantized model; by layer the integers of its
    ``sources``, or the reason why they have none; and the choices ``given`` by them."""

    quantizers: Mapping[str, QuantAnnotation]
    sources: Mapping[str, tuple[GivenSource, ...] | str]
    given: Given

    @classmethod
    def of(cls, graph: FloatGraph, plan: NetworkPlan, spec: QuantSpec) -> "Quantized":
        """Return the quantizers of ``graph`` for ``plan`` with the formats of ``spec``."""
        quantizers = by_plan(graph, plan)
        levels: dict[str, LevelGrid] = {}
        scales: dict[str, Tensor] = {}
        held: dict[str, Tensor] = {}  # those of tensors that inherit one, too
        terms: dict[str, tuple[int, ...]] = {}
        sources: dict[str, tuple[GivenSource, ...] | str] = {}
        for p in plan.layers:
            if isinstance(p, (LayerPlan, InputPlan)) and p.name in quantizers:
                quantizer = quantizers[p.name]
                positive = isinstance(p, LayerPlan) and p.negative == 0
                found = levels_of(quantizer, positive)
                if not isinstance(found, str) and given_grid(spec, found) is not None:
                    levels[p.name] = found
                    scales[p.name] = held[p.name] = quantizer.scale.reshape(()).double()
            above = [held.get(t) for t in inherited(p)]
            if (
                above
                and above[0] is not None
                and all(s is not None and torch.equal(s, above[0]) for s in above)
            ):
                held[p.name] = above[0]
            if isinstance(p, LayerPlan) and (quantizers or graph.parameter_quantizers):
                own = [
                    given_source(s, graph.parameters, graph.parameter_quantizers) for s in p.sources
                ]
                parts = tuple(s for s in own if isinstance(s, GivenSource))
                why = next((s for s in own if isinstance(s, str)), "")
                agree = not why and _agree(p, parts, held)
                if not (why or agree) and _plain(p) and all(s.tensor in held for s in p.sources):
                    some = range(spec.most_terms, max(DIGITS) + 1)
                    values = (spec.weight_grid(t).magnitudes for t in some)
                    units = tuple(Fraction(float(held[s.tensor])) for s in p.sources)
                    finest = Fraction(
                        float(spec.finest_step(scales[p.name])) if p.name in scales else 0
                    )
                    parts, agree = weighed(parts, units, values, finest), True
                sources[p.name] = why or parts
                needed = _terms(p, parts if agree else own[:1], spec)
                if needed is not None:
                    terms[p.name] = needed
        return cls(quantizers, sources, Given(levels, scales, terms))

    def codes(
        self, p: LayerPlan, module: QuantLayer, tensors: Mapping[str, Tensors]
    ) -> GivenCodes | str:
        """Return the model's codes for a layer that reads ``tensors``; or the reason why there are
        none."""
        quantizer, sources = self.quantizers[p.name], self.sources[p.name]
        if isinstance(sources, str):
            return sources
        if isinstance(p.activation, Unary):
            return f"it has the activation function {p.activation.function}"
        for source, terms in zip(sources, module.terms, strict=True):
            grid = module.spec.weight_grid(terms)
            if not set(source.weights.unique().long().tolist()) <= set(grid.values):
                largest = int(source.weights.abs().max())
                return f"its integers, up to {largest:,}, are not on the grid of its weights"
        absent = [s.tensor for s in p.sources if s.tensor not in tensors]
        if absent:
            return f"the model does not say what {absent[0]} is quantized to"
        scales, grids = zip(*(tensors[s.tensor] for s in p.sources), strict=True)
        return GivenCodes.of(
            quantizer,
            sources,
            exact_bias(p, module.values, module.out_quantizer.log_scale).cpu(),
            scales,
            grids,
            module.grid,
            module.spec.params,
            positive=p.negative == 0,
            rectified=isinstance(p.activation, Relu),
            limit=p.activation.limit if isinstance(p.activation, Relu) else None,
        )

    def output_scale(
        self, p: LayerPlan, module: QuantLayer, tensors: Mapping[str, Tensors]
    ) -> Tensor | None:
        """Return the scale at which the levels of an output that the model does not quantize
        distinguish all its accumulators; None if there is none."""
        sources, grid = self.sources.get(p.name, ""), module.grid
        plain = p.activation is None and grid.levels.is_uniform
        if isinstance(sources, str) or not plain or any(s.tensor not in tensors for s in p.sources):
            return None
        scales, grids = zip(*(tensors[s.tensor] for s in p.sources), strict=True)
        steps = {
            row * Fraction(s) for g, s in zip(sources, scales, strict=True) for row in g.scales
        }
        if len(steps) != 1:
            return None
        step = float(steps.pop())
        bias = (exact_bias(p, module.values, module.out_quantizer.log_scale) / step).tolist()
        rows = list(zip(reach(tuple(s.weights for s in sources), grids), bias, strict=True))
        least, most = min(low + b for (low, _), b in rows), max(high + b for (_, high), b in rows)
        for digits in range(_FINE, -1, -1):
            if grid.low <= least * 2**digits and most * 2**digits <= grid.high:
                return torch.tensor(step / 2**digits, dtype=torch.float64)
        return None


def _agree(p: LayerPlan, parts: tuple[GivenSource, ...], scales: Mapping[str, Tensor]) -> bool:
    """Return whether an accumulator step has the same real value for all sources."""
    if len(parts) == 1:
        return True
    steps = [
        tuple(row * Fraction(float(scales[s.tensor])) for row in part.scales)
        for part, s in zip(parts, p.sources, strict=True)
        if s.tensor in scales
    ]
    return len(steps) == len(parts) and all(s == steps[0] for s in steps)


def _plain(p: LayerPlan) -> bool:
    """Return whether a layer is the sum of two tensors."""
    return len(p.sources) == 2 and all(s.pointwise and not s.norms for s in p.sources)


def _terms(
    p: LayerPlan, known: Sequence[GivenSource | str], spec: QuantSpec
) -> tuple[int, ...] | None:
    """Return the weight terms of a layer's sources, the first of which are ``known``."""

    def values(terms: int) -> tuple[int, ...]:
        return spec.weight_grid(terms).values

    found = [
        fewest_terms(k.weights, values, max(DIGITS)) for k in known if isinstance(k, GivenSource)
    ]
    if len(found) < len(known) or not all(found):
        return None
    if len(known) < len(p.sources) and not p.sources[0].trained:
        return None
    return (*found, *(spec.extra_terms(found[0]) for _ in p.sources[len(known) :]))
