"""Choice of a grid's scale: the distribution difference aligner (DDA), a search, or learning.

DDA models the data as Gaussian with mean 0: the scale is ``sigma`` times a constant of the grid,
the one that minimizes ``E[(z - s Q(z / s))^2]`` for z ~ N(0, 1). In the notation of the ESB paper
the constant is ``alpha * 2**-k``.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from sigbit.errors import QuantizationError
from sigbit.quant.numbers.grid import LevelGrid, round_to_grid

BINS, MAX_EXACT = 1 << 12, 1 << 14
"""Number of intervals of the histogram that replaces a tensor of more than ``MAX_EXACT`` values."""

_MANY_LEVELS = 32
"""Grids with this many magnitudes clip little, so that their best scale is near the largest
value."""

OUTLIERS = 1e-3
"""Fraction of values that the rule "percentile" leaves beyond the largest level."""

_AT_ONCE = 1 << 16
"""Number of values that a search computes at a time, over all scales."""

MAX_SAMPLES = 1 << 17
"""Maximum number of values per tensor, or per channel, that a search uses, evenly distributed over
it."""


def gaussian_error(grid: LevelGrid, scales: Tensor) -> Tensor:
    """``E[(z - s Q(z / s))^2]`` for z ~ N(0, 1) and each of ``scales`` (float64), in closed form.

    Grids without negative values apply to the positive half of the distribution, which has the same
    error.
    """
    levels = torch.tensor(grid.magnitudes, dtype=torch.float64) * scales[:, None]
    edges = torch.cat(
        [
            torch.zeros_like(levels[:, :1]),
            (levels[:, 1:] + levels[:, :-1]) / 2,
            torch.full_like(levels[:, :1], 40.0),
        ],
        1,
    )
    density = torch.exp(-(edges**2) / 2) / math.sqrt(2 * math.pi)
    cumulative = torch.erf(edges / math.sqrt(2)) / 2
    a, b = slice(None, -1), slice(1, None)
    mass = cumulative[:, b] - cumulative[:, a]
    first = density[:, a] - density[:, b]
    second = mass + edges[:, a] * density[:, a] - edges[:, b] * density[:, b]
    return 2 * (second - 2 * levels * first + levels**2 * mass).sum(1)


@cache
def gaussian_scale(grid: LevelGrid) -> float:
    """The scale with the smallest :func:`gaussian_error`: a scan over all clipping points, refined
    around the best one."""
    low, high = math.log(0.2 / grid.max), math.log(12.0 / grid.max)
    for _ in range(4):
        candidates = torch.linspace(low, high, 513, dtype=torch.float64)
        best = int(gaussian_error(grid, candidates.exp()).argmin())
        step = (high - low) / 512
        low, high = float(candidates[best]) - step, float(candidates[best]) + step
    return math.exp((low + high) / 2)


def _rows(x: Tensor, channels: bool) -> Tensor:
    """``[rows, values]`` float64: one row per channel, or a single row; thinned evenly to
    :data:`MAX_SAMPLES`."""
    rows = (x.detach().flatten(1) if channels else x.detach().reshape(1, -1)).double()
    if rows.shape[1] > MAX_SAMPLES:
        rows = rows[:, torch.arange(MAX_SAMPLES, device=x.device) * rows.shape[1] // MAX_SAMPLES]
    return rows


def _shaped(scales: Tensor, channels: bool) -> Tensor:
    return scales if channels else scales[0]


def dda_scale(x: Tensor, grid: LevelGrid, channels: bool = False) -> Tensor:
    """The Gaussian-optimal scale (float64) of ``x``: scalar, or ``[C]`` with ``channels``.

    sigma is the root mean square, which does not subtract the mean, since the grids have no offset.
    For a grid without negative values it is taken over the positive values of ``x`` only, so that
    zeros from a ReLU do not reduce it.
    """
    rows = _rows(x, channels)
    if grid.signed:
        power = rows.square().mean(1)
    else:
        positive = rows.clamp(min=0)
        power = positive.square().sum(1) / (positive > 0).sum(1).clamp(min=1)
    return _shaped(power.sqrt() * gaussian_scale(grid), channels)


def histogram(x: Tensor) -> tuple[Tensor, Tensor]:
    """Means and counts ``[1, BINS]`` (float64) of the values of ``x`` in equal intervals around
    0."""
    flat = x.detach().reshape(-1)
    top = float(flat.abs().max())
    if not top > 0:
        return torch.zeros(1, 1, dtype=torch.float64), torch.ones(1, 1, dtype=torch.float64)
    index = ((flat / top + 1) * (BINS / 2)).long().clamp_(0, BINS - 1)
    counts = torch.bincount(index, minlength=BINS).double()
    sums = torch.bincount(index, flat.double(), minlength=BINS)
    return (sums / counts.clamp(min=1))[None], counts[None]


def mse_scale(
    x: Tensor, grid: LevelGrid, channels: bool = False, importance: Tensor | None = None
) -> Tensor:
    """The scale (float64) with the least squared error on ``x`` itself, by a search over clipping
    points; on its histogram if ``x`` has many values per scale. The squares are multiplied by
    ``importance`` (same shape as ``x``, not negative)."""
    if importance is not None:
        rows, weights = _rows(x, channels), _rows(importance, channels)
    elif channels or x.numel() <= MAX_EXACT:
        rows = _rows(x, channels)
        weights = torch.ones(1, 1, dtype=torch.float64, device=x.device)
    else:
        rows, weights = histogram(x)
    top = (rows.abs() if grid.signed else rows).amax(1).clamp(min=0)
    best = top / float(grid.max)
    least = torch.full_like(best, torch.inf)
    least_exponent = -5.0 if len(grid.magnitudes) < _MANY_LEVELS else -2.0
    coarse = torch.arange(least_exponent, 1.0, 0.2)
    for exponents in (coarse, torch.linspace(-0.2, 0.2, 21)):
        centre = top / float(grid.max) if exponents is coarse else best
        for some in exponents.split(max(1, _AT_ONCE // rows.numel())):
            scales = centre * 2.0 ** some[:, None].to(centre)
            wide = torch.where(scales > 0, scales, 1.0)[:, :, None]
            errors = (rows - round_to_grid(rows / wide, grid) * wide).square_()
            found = errors.mul_(weights).mean(2).min(0)
            scale = scales.gather(0, found.indices[None])[0]
            better = found.values < least
            best, least = torch.where(better, scale, best), torch.where(better, found.values, least)
    return _shaped(best, channels)


def percentile_scale(x: Tensor, grid: LevelGrid, channels: bool = False) -> Tensor:
    """The scale (float64) at which a fraction :data:`OUTLIERS` of the values saturates; of the
    positive values if the grid has no others."""
    rows = _rows(x, channels)
    found = []
    for row in rows.abs() if grid.signed else rows:
        kept = row if grid.signed else row[row > 0]
        count = max(1, math.ceil((1 - OUTLIERS) * kept.numel()))
        found.append(kept.kthvalue(count).values if kept.numel() else row.new_zeros(()))
    return _shaped(torch.stack(found) / float(grid.max), channels)


def range_scale(x: Tensor, grid: LevelGrid, channels: bool = False) -> Tensor:
    """The scale (float64) at which nothing saturates: largest magnitude over largest level."""
    rows = _rows(x, channels) if channels else x.detach().reshape(1, -1).double()
    top = (rows.abs() if grid.signed else rows).amax(1).clamp(min=0)
    return _shaped(top / float(grid.max), channels)


@dataclass(frozen=True)
class ScaleRule:
    """A rule for choosing scales: ``choose(x, grid, channels)``, and the treatment of the result
    during training.

    ``tracks``: chosen again from the weights of every step; ``learned``: the initial value of a
    trained parameter; neither: fixed. Scales of activations are chosen from the calibration batch
    and never track.
    """

    name: str
    choose: Callable[[Tensor, LevelGrid, bool], Tensor]
    tracks: bool = False
    learned: bool = False


SCALE_RULES = {
    rule.name: rule
    for rule in (
        ScaleRule("dda", dda_scale, tracks=True),
        ScaleRule("mse", mse_scale),
        ScaleRule("learned", mse_scale, learned=True),
        ScaleRule("range", range_scale),
        ScaleRule("percentile", percentile_scale),
    )
}
"""The rules by name."""


OUTPUT_RULE = ScaleRule("output", lambda x, grid, channels: range_scale(x, grid, channels) * 1.25)
"""Rule for network outputs: a quarter above the calibration's range, because training shifts it."""


def scale_rule(name: str) -> ScaleRule:
    """Return the rule ``name``; raises :class:`QuantizationError` if there is none."""
    if name not in SCALE_RULES:
        raise QuantizationError(f"scale rule must be one of {sorted(SCALE_RULES)}, not {name!r}")
    return SCALE_RULES[name]
