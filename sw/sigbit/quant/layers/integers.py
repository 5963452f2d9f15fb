"""The integers of a quantized model's layers, and their real values, from the scales that the model
stores: batch norms are part of the scale, signs part of the integers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction

import torch
from torch import Tensor

from sigbit.ir.annotation import QuantAnnotation
from sigbit.ir.floating import BatchNorm
from sigbit.quant.layers.sources import kernel, window
from sigbit.quant.plan.plans import LayerPlan, SourcePlan

_NEAR = 1e-3
"""Maximum deviation of a weight from its integer, for rounding errors of its scale."""
_WINDOW = 1 << 20
"""Exclusive upper bound of the divisors of averages."""


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
    sources: tuple[GivenSource, ...], scales: tuple[Fraction, ...], magnitudes: tuple[int, ...]
) -> tuple[GivenSource, ...]:
    """Return two tensors of these ``scales`` with integer factors from ``magnitudes``, chosen so
    that an accumulator step has approximately the same real value for both; the smallest of the
    best factors."""
    a, b = (source.scales[0] * s for source, s in zip(sources, scales, strict=True))
    positive = [m for m in magnitudes if m > 0]
    pairs = ((p, min(positive, key=lambda q: abs(p * b - q * a))) for p in positive)
    p, q = min(pairs, key=lambda pair: (abs(1 - pair[0] * b / (pair[1] * a)), pair))
    return tuple(
        GivenSource(s.weights * n, tuple(row / n for row in s.scales))
        for s, n in zip(sources, (p, q), strict=True)
    )


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
