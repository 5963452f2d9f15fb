"""The integers of a quantized model's layers, and their real values, from the scales that the model
stores: batch norms are part of the scale, signs part of the integers."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sigbit.ir.annotation import QuantAnnotation
from sigbit.ir.floating import BatchNorm
from sigbit.quant.layers.sources import kernel, window
from sigbit.quant.plan.plans import LayerPlan, SourcePlan

_NEAR = 1e-3
"""Maximum deviation of a weight from its integer, for rounding errors of its scale."""
_WINDOW = 1 << 20
"""Exclusive upper bound of the divisors of averages."""
_EQUAL = Fraction(1, 1 << 20)
"""Relative difference of two accumulator steps that moves a sum of two bytes by less than 1/4,000
of a level if levels are steps of the sum."""


@dataclass(frozen=True)
class GivenSource:
    """Integer ``weights`` ``[oc, ic / groups, kh, kw]`` (float64) of a source, and the real value
    of one integer step in each output channel."""

    weights: Tensor
    scales: tuple[Fraction, ...]


def given_source(
    source: SourcePlan,
    values: Mapping[str, Tensor],
    quantizers: Mapping[str, QuantAnnotation],
) -> GivenSource | str:
    """Return the integers of ``source`` with the parameters ``values``, some of which
    ``quantizers`` put on a grid; or the reason why it has none."""
    factor = norm_factor(source.norms, values)
    if source.weight is None:
        one = Fraction(abs(source.scale)).limit_denominator(_WINDOW)
        signs = window(source) * (1.0 if source.scale > 0 else -1.0)
        rows = [one] * len(signs)
    else:
        if (quantizer := quantizers.get(source.weight)) is None:
            return "its weights are not quantized"
        weight = values[source.weight].double()
        scale = quantizer.scale.double().abs()
        if scale.numel() > 1 and scale.dim() != weight.dim():
            return "the scales of its weights fit no channels"
        scale = scale if scale.numel() > 1 else scale.reshape(())
        integers = weight / scale
        if not bool(((integers - integers.round()).abs() < _NEAR).all()):
            return "its weights are no integers of their scale"
        plain = SourcePlan(**{**vars(source), "scale": 1.0})
        signs = kernel(plain, integers.round())
        wide = kernel(plain, scale.expand(weight.shape)).flatten(1)
        if not bool((wide == wide[:, :1]).all()):
            return "its weights have several scales in an output channel"
        exact = Fraction(abs(source.scale)).limit_denominator(_WINDOW)
        rows = [Fraction(s) * exact for s in wide[:, 0].tolist()]
        signs = -signs if source.scale < 0 else signs
    if factor is not None:
        signs = signs * factor.sign().view(-1, 1, 1, 1)
        sizes = [abs(Fraction(f)) for f in factor.tolist()]
        rows = [r * s if s else r for r, s in zip(rows, sizes, strict=True)]
    return GivenSource(signs + 0.0, tuple(rows))


def weighed(
    sources: tuple[GivenSource, ...],
    scales: tuple[Fraction, ...],
    grids: Iterable[tuple[int, ...]],
    finest: Fraction,
) -> tuple[GivenSource, ...]:
    """Return two tensors of these ``scales`` with integer factors, chosen so that an accumulator
    step, at least ``finest``, has approximately the same real value for both: from the first of
    ``grids`` (magnitudes, ascending) in which they are equal to within :data:`_EQUAL`, else from
    the last; the smallest of the best factors."""
    a, b = (source.scales[0] * s for source, s in zip(sources, scales, strict=True))
    for magnitudes in grids:
        p, q, error = _ratio(a, b, np.array(magnitudes, np.int64), finest)
        if error <= _EQUAL:
            break
    return tuple(
        GivenSource(s.weights * n, tuple(row / n for row in s.scales))
        for s, n in zip(sources, (p, q), strict=True)
    )


def _ratio(
    a: Fraction, b: Fraction, magnitudes: NDArray[np.int64], finest: Fraction
) -> tuple[int, int, Fraction]:
    """Return the p and q from ``magnitudes`` for which ``a / p`` and ``b / q`` differ least, and
    their relative difference; 1 and 1 at least."""
    first, second = (
        magnitudes[
            (magnitudes == 1) | ((magnitudes > 1) & (magnitudes * float(finest) <= float(step)))
        ]
        for step in (a, b)
    )
    wanted = first * float(b / a)
    after = np.searchsorted(second, wanted).clip(1, max(1, len(second) - 1))
    pairs = [(first, second[np.minimum(after - k, len(second) - 1)]) for k in (0, 1)]
    p, q = (np.concatenate(side) for side in zip(*pairs, strict=True))
    errors = np.abs(1 - p * float(b / a) / q)
    near = np.flatnonzero(errors <= errors.min() + 1e-12)  # of these the exact errors decide
    exact = (
        (abs(1 - Fraction(m) * b / (n * a)), m, n)
        for m, n in zip(p[near].tolist(), q[near].tolist(), strict=True)
    )
    error, m, n = min(exact)
    return m, n, error


def norm_factor(norms: tuple[BatchNorm, ...], values: Mapping[str, Tensor]) -> Tensor | None:
    """Return the product of the batch norms' factors, ``[C]`` (float64)."""
    factor = None
    for norm in norms:
        f = 1 / (values[norm.var].detach().double() + norm.eps).sqrt()
        f = f if norm.weight is None else f * values[norm.weight].detach().double()
        factor = f if factor is None else factor * f
    return factor


def exact_bias(plan: LayerPlan, values: Mapping[str, Tensor], like: Tensor) -> Tensor:
    """Return the real bias ``[oc]`` (float64) of a layer with its batch norms folded in; on the
    device of ``like``."""
    total = torch.zeros(plan.shape[0], dtype=torch.float64, device=like.device)
    for bias in plan.biases:
        if isinstance(bias.term, str):
            value = values[bias.term].detach().double()
            value = value if bias.rows is None else value[list(bias.rows)]
        else:
            factor = norm_factor((bias.term,), values)
            assert factor is not None
            value = -values[bias.term.mean].double() * factor
            if bias.term.bias is not None:
                value = value + values[bias.term.bias].detach().double()
        factor = norm_factor(bias.norms, values)
        total = total + bias.scale * (value if factor is None else value * factor)
    return total


def fewest_terms(weights: Tensor, values: Callable[[int], tuple[int, ...]], most: int) -> int:
    """Return the fewest terms, up to ``most``, whose ``values`` include all ``weights``; 0 if there
    are none."""
    used = set(weights.unique().long().tolist())
    return next((t for t in range(1, most + 1) if used <= set(values(t))), 0)
