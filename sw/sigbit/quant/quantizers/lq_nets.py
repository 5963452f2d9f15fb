"""LQ-Nets (arXiv 1807.10029): levels are sums of a learned basis, determined by least squares
(QEM).

Weights: ``B v`` with B in {-1, 1}^K, one basis per output channel; activations: B in {0, 1}^K, one
basis per tensor. Every training step assigns the nearest level, solves ``v* = (B'B + e)^-1 (B'x + e
v)`` and sets ``v <- 0.9 v + 0.1 v*``. Gradients: the identity for weights, that of ``min(x, largest
level)`` for activations.

The accelerator has integers: the basis used, in training as well, is the integer basis whose levels
are in the grid and whose direction is nearest to v; :meth:`LqNets.basis_error` measures the
difference, and is part of a training run's summary.
"""

from functools import cache
from itertools import product

import torch
from torch import Tensor

from sigbit.quant.numbers.grid import LevelGrid, per_channel
from sigbit.quant.numbers.scales import ScaleRule, mse_scale
from sigbit.quant.quantizers.base import Quantizer, rows, straight_through

MOMENTUM, RIDGE = 0.1, 1e-4
_LARGEST = 31
"""Largest sum of an integer basis."""
_SAMPLES = 1 << 14
_NORMAL_MEDIAN = 0.6745

BASIS = ScaleRule("basis", mse_scale)


@cache
def combinations(bits: int, signed: bool) -> Tensor:
    """All rows of B, ``[2**bits, bits]`` (float64)."""
    digits = (-1.0, 1.0) if signed else (0.0, 1.0)
    return torch.tensor(list(product(digits, repeat=bits)), dtype=torch.float64)


@cache
def integer_bases(grid: LevelGrid, bits: int, signed: bool) -> Tensor:
    """Bases ``[n, bits]`` (float64), descending, all of whose levels are in ``grid``; with signs,
    in units of halves, since only sums need to be integers."""
    unit = 2 if signed else 1
    top = unit * min(grid.max, _LARGEST)
    parts = torch.tensor(_partitions(top, bits), dtype=torch.float64)
    levels = parts @ combinations(bits, signed).T
    table = torch.tensor(grid.values, dtype=torch.float64) * unit
    bases = parts[torch.isin(levels, table).all(1)] / unit
    assert len(bases)
    return bases


def _partitions(top: int, parts: int, largest: int | None = None) -> list[tuple[int, ...]]:
    """Descending tuples of positive integers with a sum up to ``top``."""
    first = range(1, min(top - parts + 1, top if largest is None else largest) + 1)
    if parts == 1:
        return [(a,) for a in first]
    return [(a, *rest) for a in first for rest in _partitions(top - a, parts - 1, a)]


def qem(x: Tensor, basis: Tensor, signed: bool, ridge: float) -> Tensor:
    """One least-squares step: v* ``[R, K]`` for ``x`` ``[R, M]`` and ``basis`` ``[R, K]``."""
    b_all = combinations(basis.shape[1], signed).to(x.device)
    levels, order = (basis @ b_all.T).sort(1)
    middles = (levels[:, 1:] + levels[:, :-1]) / 2
    owner = torch.searchsorted(middles.contiguous(), x.double().contiguous(), right=True)
    counts = torch.zeros_like(levels).scatter_add_(1, owner, torch.ones_like(owner).double())
    sums = torch.zeros_like(levels).scatter_add_(1, owner, x.double())
    used = b_all[order]
    gram = torch.einsum("rl,rlj,rlk->rjk", counts, used, used)
    right = torch.einsum("rl,rlj->rj", sums, used) + ridge * basis
    eye = torch.eye(basis.shape[1], dtype=torch.float64, device=x.device)
    solvable = torch.linalg.det(gram + ridge * eye).abs() > 0
    gram = torch.where(solvable[:, None, None], gram + ridge * eye, eye)
    found = torch.linalg.solve(gram, right)
    return torch.where(solvable[:, None], found, basis)


class LqNets(Quantizer):
    """A basis ``[rows, bits]`` for a tensor or each channel; the grid is the set of allowed
    integers."""

    clips = False
    curved = True
    basis: Tensor

    def __init__(
        self, grid: LevelGrid, rule: ScaleRule, channels: int | None, bits: int, *, signed: bool
    ) -> None:
        super().__init__(grid, rule, channels)
        self.bits, self.signed = bits, signed
        self.register_buffer("basis", torch.ones(channels or 1, bits, dtype=torch.float64))

    @torch.no_grad()
    def initialize(self, x: Tensor, values: int) -> None:
        """Powers of two about the median magnitude of a normal ``x``, then ten QEM steps."""
        data = self._thin(rows(x, self.channels is not None))
        count = 2**self.bits - 1
        size = data.double().square().mean(1, keepdim=True)
        if not self.signed:
            positive_share = (data > 0).double().mean(1, keepdim=True).clamp(min=1e-9)
            size = size / positive_share
        start = size.sqrt() * 2 * _NORMAL_MEDIAN / count
        self.basis = start * 2.0 ** torch.arange(self.bits, device=x.device).double().flip(0)
        for _ in range(10):
            self.basis = self._sorted(qem(data, self.basis, self.signed, RIDGE))

    @staticmethod
    def _thin(data: Tensor) -> Tensor:
        return data[:, :: -(-data.shape[1] // _SAMPLES)]

    @staticmethod
    def _sorted(basis: Tensor) -> Tensor:
        return basis.abs().sort(1, descending=True).values

    @torch.no_grad()
    def observe(self, x: Tensor, scale: Tensor | None = None) -> None:
        """One QEM step on weights, or on activations in levels of ``scale``."""
        data = self._thin(rows(x.detach(), self.channels is not None)).double()
        data = data if scale is None else data * scale
        new = qem(data, self.basis, self.signed, RIDGE if self.signed else 0.0)
        self.basis.copy_(self._sorted((1 - MOMENTUM) * self.basis + MOMENTUM * new))

    def integers(self) -> tuple[Tensor, Tensor]:
        """The integer bases ``[rows, bits]`` and the scale of each (0 for a zero basis)."""
        bases = integer_bases(self.grid, self.bits, self.signed).to(self.basis.device)
        unit = bases / bases.norm(dim=1, keepdim=True)
        nearest = bases[(self.basis @ unit.T).argmax(1)]
        return nearest, (nearest * self.basis).sum(1) / nearest.square().sum(1)

    @torch.no_grad()
    def basis_error(self) -> float:
        """Relative difference of the integer bases: ``|v - integers * scale|^2 / |v|^2``, both sums
        over all rows; 0 if v is 0."""
        integers, scale = self.integers()
        error = (self.basis - integers * scale[:, None]).square().sum()
        return float(error / self.basis.square().sum().clamp(min=torch.finfo(torch.float64).tiny))

    def levels(self) -> Tensor:
        """The level table ``[rows, 2**bits]`` (float64), ascending."""
        table = self.integers()[0] @ combinations(self.bits, self.signed).T.to(self.basis.device)
        return table.sort(1).values

    def scale(self, x: Tensor | None = None) -> Tensor:
        """The scale of the integer basis (float64)."""
        scale = self.integers()[1]
        return scale if self.channels is not None else scale[0]

    def quantize(self, x: Tensor, scale: Tensor) -> Tensor:
        """Integers of weights; 0 for channels that are 0."""
        v = x / per_channel(scale.detach(), x).to(x.dtype)
        alive = rows(x.detach(), True).abs().amax(1) > 0
        return straight_through(self._nearest(v) * per_channel(alive.to(x.dtype), x), v)

    @torch.no_grad()
    def _nearest(self, v: Tensor) -> Tensor:
        levels = self.levels().to(v.dtype)
        columns = levels if self.channels is not None else levels[0]
        result = per_channel(columns[..., 0], v).expand_as(v).clone()
        for low, high in zip(columns.unbind(-1)[:-1], columns.unbind(-1)[1:], strict=True):
            step = per_channel(high - low, v)
            result += step * (v >= per_channel((low + high) / 2, v))
        return result

    def round(self, v: Tensor) -> Tensor:
        """Levels of activations ``v`` (units of a level)."""
        return self._nearest(v)

    def curve(self, v: Tensor) -> Tensor:
        """The levels, with the gradient of ``min(v, largest level)`` where v is positive."""
        top = float(self.levels()[0, -1])
        return straight_through(self._nearest(v), v.clamp(0, top))
