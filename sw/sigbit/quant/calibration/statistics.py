"""Statistics of the float network's tensors on the calibration samples: ranges, means of channels
in float64, and a sample of the values. They take the same memory for any number of samples."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from sigbit.errors import QuantizationError
from sigbit.ir.floating import FloatGraph, Relu, Unary
from sigbit.quant.calibration.reference import FloatValues, Reference, preactivation, result
from sigbit.quant.calibration.samples import Calibration, as_chunks, micro_batches
from sigbit.quant.plan.fusion import fuse
from sigbit.quant.plan.plans import ScaledPlan, SquarePlan

KEPT = 1 << 17
"""Maximum number of values of a tensor that are kept, evenly distributed over samples and
positions."""
_GOLDEN = 0.6180339887498949


@dataclass(frozen=True)
class Spread:
    """Values of a tensor.

    Parameters
    ----------
    low, high : float
        The smallest and the largest of all values.
    values : Tensor
        ``[n]``: all of them, or about :data:`KEPT` and the two extremes.
    size : int
        Number of values per sample.
    """

    low: float
    high: float
    values: Tensor
    size: int


@dataclass(frozen=True)
class Statistics:
    """Statistics of a float network on calibration samples.

    Parameters
    ----------
    samples : int
    inputs : mapping
        Smallest and largest value of each input.
    results : mapping
        Statistics of the tensors of layers, by layer, and of products inside layers.
    before : mapping
        Smallest and largest value of layers before an activation function other than a ReLU.
    means : mapping
        Means of their channels ``[C]`` (float64).
    rectified : mapping
        Means of channels after the activation function, of layers with a ReLU.
    """

    samples: int
    inputs: Mapping[str, tuple[float, float]]
    results: Mapping[str, Spread]
    before: Mapping[str, tuple[float, float]]
    means: Mapping[str, Tensor]
    rectified: Mapping[str, Tensor]


@torch.no_grad()
def observe(network: FloatGraph | Reference, calibration: Calibration) -> Statistics:
    """Compute the statistics of ``network`` on ``calibration``; they do not depend on how the
    samples are read. Raises :class:`QuantizationError` for samples with NaN or infinity, or if
    there are none."""
    reference = Reference(network) if isinstance(network, FloatGraph) else network
    samples = as_chunks(calibration)
    plans = fuse(reference.graph).layers
    layers = [p for p in plans if isinstance(p, ScaledPlan)]
    results = {p.name: _Observer() for p in layers}
    products = {p.product for p in plans if isinstance(p, SquarePlan)} - results.keys()
    results |= {name: _Observer() for name in sorted(products)}
    before = {p.name: _Means() for p in layers}
    after = {p.name: _Means() for p in layers if isinstance(p.activation, Relu)}
    inputs = {n.name: _Range() for n in reference.graph.inputs}
    count = 0
    for batch in micro_batches(samples):
        values = reference.of(batch)
        for name, seen in inputs.items():
            _check(name, values[name])
            seen.add(values[name])
        for p in layers:
            _observe(p, values, results[p.name], before[p.name], count, len(samples))
            if p.name in after:
                after[p.name].add_means(result(p, values))
        for name in products:
            results[name].add_samples(values[name], count, len(samples))
        count += len(batch[0])
    if not count:
        raise QuantizationError("there are no samples to calibrate with")
    return Statistics(
        count,
        {name: seen.ends for name, seen in inputs.items()},
        {name: seen.spread() for name, seen in results.items()},
        {name: seen.ends for name, seen in before.items()},
        {name: seen.means for name, seen in before.items()},
        {name: seen.means for name, seen in after.items()},
    )


def _observe(
    p: ScaledPlan,
    values: FloatValues,
    of: "_Observer",
    before: "_Means",
    first: int,
    samples: int,
) -> None:
    of.add_samples(result(p, values), first, samples)
    x = preactivation(p, values)
    before.add_means(x)
    if isinstance(p.activation, Unary):
        before.add(x)


def _check(name: str, x: Tensor) -> None:
    if not bool(torch.isfinite(x).all()):
        raise QuantizationError(f"the calibration batch of {name!r} holds NaN or infinity")


class _Range:
    """Smallest and largest value."""

    def __init__(self) -> None:
        self.ends = (float("inf"), float("-inf"))

    def add(self, x: Tensor) -> None:
        low, high = torch.aminmax(x)
        self.ends = min(self.ends[0], float(low)), max(self.ends[1], float(high))


class _Means(_Range):
    """Smallest and largest value, and the means of channels."""

    def __init__(self) -> None:
        super().__init__()
        self._sum: Tensor | None = None
        self._count = 0

    def add_means(self, x: Tensor) -> None:
        """Add a batch to the means."""
        total = x.sum([d for d in range(x.dim()) if d != 1], dtype=torch.float64)
        self._sum = total if self._sum is None else self._sum + total
        self._count += x.numel() // x.shape[1]

    @property
    def means(self) -> Tensor:
        assert self._sum is not None
        return self._sum / self._count


class _Observer(_Range):
    """Range, means and values: of every sample the same number, at positions that differ from
    sample to sample."""

    def __init__(self) -> None:
        super().__init__()
        self._kept: list[Tensor] = []
        self._size, self._whole = 0, True

    def add_samples(self, x: Tensor, first: int, samples: int) -> None:
        """Add a micro-batch; ``first`` is the number of its first sample out of ``samples``."""
        self.add(x)
        rows = x.flatten(1)
        self._size = rows.shape[1]
        quota = max(1, KEPT // samples)
        if quota < self._size:
            self._whole = False
            shift = (torch.arange(first, first + len(rows), dtype=torch.float64) + 0.5) * _GOLDEN
            inside = (torch.arange(quota, dtype=torch.float64) * _GOLDEN + shift[:, None]) % 1
            places = (torch.arange(quota, dtype=torch.float64) + inside) * (self._size / quota)
            rows = rows.gather(1, places.long().clamp_(max=self._size - 1))
        self._kept.append(rows.reshape(-1).clone())

    def spread(self) -> Spread:
        """Spread of the values seen."""
        values = torch.cat(self._kept)
        if not self._whole:
            values = torch.cat([values, values.new_tensor(self.ends)])
        return Spread(*self.ends, values, self._size)
