"""Progressive quantization (Zhuang et al., CVPR 2018, arXiv 1711.00205): low bits through higher
ones, each stage initialized from the one before.

* *Bits*: the network trains at b_1 > b_2 > … before the bits with which it was prepared. In these
  stages weights and activations are on uniform grids of that many bits, whose scale relative to
  the network's own is that of the best grids for a Gaussian; 32 stands for real numbers. It is a
  single run: the parameters, scales and the optimizer's state are carried over.
* *Two stages*: the first part of every stage only lowers the bits of weights; activations keep
  those of the previous stage.

Both can be used separately. :func:`continued` is the transition to a network prepared with another
spec, as needed for learned bits.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import torch
from torch import Tensor

from sigbit.frontend import Batches
from sigbit.ir.floating import FloatGraph
from sigbit.quant.calibration.statistics import observe
from sigbit.quant.layers.layer import QuantLayer
from sigbit.quant.numbers.grid import LevelGrid
from sigbit.quant.numbers.scales import gaussian_scale
from sigbit.quant.prepare import prepare_calibrated
from sigbit.quant.prepared import PreparedModel
from sigbit.quant.spec import QuantSpec
from sigbit.quant.strategies.base import Run, Step, Strategy, check
from sigbit.quant.strategies.relaxed import (
    GridOutput,
    GridWeights,
    RealOutput,
    RealWeights,
    attach,
    detach,
)

REAL = 32
"""Number of bits that stands for real numbers."""
OWN = 0
"""Number of bits that stands for the grids with which the network was prepared."""


class _Ladder:
    """Grids of one layer during the transition: ``weights`` and ``outputs`` by bits."""

    def __init__(self, layer: QuantLayer) -> None:
        self.real_weights, self.real_output = RealWeights(), RealOutput()
        self.grid_weights, self.grid_output = GridWeights(), GridOutput()
        quantizer = layer.weight_quantizer
        self._weights = quantizer.grid if quantizer is not None else None
        self._factor = layer.weight_factor
        self._outputs = layer.grid.levels
        attach([layer], self.real_weights)
        attach([layer], self.grid_weights)
        if not layer.is_output:
            attach([layer], self.real_output)
            attach([layer], self.grid_output)

    @property
    def all(self) -> tuple[RealWeights | RealOutput | GridWeights | GridOutput, ...]:
        """Everything that is attached."""
        return self.real_weights, self.grid_weights, self.real_output, self.grid_output

    def set(self, weight_bits: int, act_bits: int) -> None:
        """Activate grids of this many bits, where they are finer than the network's own."""
        self.real_weights.on, self.real_output.on = weight_bits == REAL, act_bits == REAL
        self._set(self.grid_weights, self._weights, weight_bits)
        self.grid_weights.unit *= self._factor
        self._set(self.grid_output, self._outputs, act_bits)

    @staticmethod
    def _set(switch: GridWeights | GridOutput, own: LevelGrid | None, bits: int) -> None:
        switch.on = False
        if own is None or bits in (OWN, REAL):
            return
        grid = uniform_grid(bits, own.min < 0)
        if len(grid.values) > len(own.values):
            switch.grid = grid
            switch.unit = gaussian_scale(grid) / gaussian_scale(_symmetric(own))
            switch.on = True


def uniform_grid(bits: int, signed: bool) -> LevelGrid:
    """All integers of ``bits`` bits, symmetric about 0 if ``signed``."""
    top = 2 ** (bits - 1) - 1 if signed else 2**bits - 1
    return LevelGrid.uniform(-top if signed else 0, top)


def _symmetric(grid: LevelGrid) -> LevelGrid:
    return grid if grid.floor is None else LevelGrid(grid.magnitudes, grid.min < 0)


class Progressive(Strategy):
    """Bits that decrease in steps.

    Parameters
    ----------
    bits : sequence of int
        Bits of the stages, descending; the network's own follow. 32: real numbers. Empty with
        ``two_stage``: real activations first.
    share : float
        Progress at which the last stage, with the network's own bits, begins; the others divide the
        time before it equally.
    two_stage : bool
        Lower only the bits of weights in the first half of every stage.
    """

    def __init__(
        self, bits: Sequence[int] = (8, 4), *, share: float = 0.5, two_stage: bool = False
    ) -> None:
        super().__init__()
        ladder = list(bits)
        descending = all(a > b for a, b in pairwise(ladder))
        valid = all(b == REAL or 2 <= b <= 8 for b in ladder)
        check(descending and valid, "bits", "descending, each 32 or in [2, 8]", ladder)
        check(bool(ladder) or two_stage, "bits", "not empty, unless two_stage is set", ladder)
        check(0 <= share < 1, "share", "in [0, 1)", share)
        self.bits, self.share, self.two_stage = tuple(ladder), share, two_stage
        self._ladders: list[_Ladder] = []

    def start(self, run: Run) -> None:
        """Attach the grids to all layers."""
        super().start(run)
        self._ladders = [_Ladder(m) for m in run.model.layers if isinstance(m, QuantLayer)]
        self._set(0.0)

    def at(self, progress: float) -> tuple[int, int]:
        """(bits of weights, bits of activations) at ``progress``; 0: the network's own."""
        stages = (*self.bits, OWN)
        share = self.share if self.bits else 0.0
        if progress < share:
            place = progress / share * len(self.bits)
            index, part = int(place), place % 1
        else:
            index, part = len(self.bits), (progress - share) / (1 - share)
        before = stages[index - 1] if index else REAL
        weights_only = self.two_stage and part < 0.5
        return stages[index], before if weights_only else stages[index]

    def _set(self, progress: float) -> None:
        for ladder in self._ladders:
            ladder.set(*self.at(progress))

    def before_step(self, step: Step) -> None:
        """Set the bits of this step."""
        self._set(step.progress)

    def finish(self) -> None:
        """Set the network's own bits."""
        for ladder in self._ladders:
            for relaxation in ladder.all:
                detach(self.run.model, relaxation)


@torch.no_grad()
def continued(
    graph: FloatGraph, model: PreparedModel, spec: QuantSpec, calibration: Batches
) -> PreparedModel:
    """Prepare the network ``model``, as trained so far, with ``spec``: its parameters and
    statistics are kept, scales come from ``calibration``.

    ``graph`` is the float graph from which ``model`` was prepared; it is not changed.
    """
    parameters: dict[str, Tensor] = {
        name: model.parameter_of(name).detach().clone().cpu() for name in graph.parameters
    }
    current = replace(graph, parameters=parameters)
    return prepare_calibrated(current, spec, observe(current, calibration))
