"""``mixed_precision``: the network that keeps within a cost, or within a loss of accuracy.

Networks on the path from the coarsest to the finest bits (:mod:`~sigbit.quant.post.mixed.path`)
become more expensive and more accurate step by step. A few of them, evenly distributed over the
cost, are quantized with all corrections, and measured as a whole: their cost by the caller's
function, their decisions on samples that are not used otherwise. They are the curve of accuracy
over cost; between two of them, the goal is found by bisection.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from sigbit.errors import QuantizationError
from sigbit.frontend import import_model
from sigbit.ir.floating import FloatGraph
from sigbit.quant.calibration.samples import (
    Calibration,
    Part,
    as_chunks,
    micro_batches,
)
from sigbit.quant.post.corrections import Corrections
from sigbit.quant.post.mixed.path import Move, moves, states
from sigbit.quant.post.mixed.sensitivity import Cost, Sensitivity, Tell, sensitivities
from sigbit.quant.post.mixed.units import Bits, State, Unit, Units
from sigbit.quant.post.reconstruction.judge import Judge, Score
from sigbit.quant.prepare import check_parameters
from sigbit.quant.prepared import PreparedModel
from sigbit.quant.spec import QuantSpec
from sigbit.quant.strategies.base import weighted_layers

Correct = Callable[[Corrections, QuantSpec], Corrections]
SAMPLES = 32
"""Maximum number of samples on which corrections are computed."""
HELD_OUT = 0.5
"""Share of the samples on which networks are compared; they are not used otherwise."""
_STEPS = 8
"""Number of steps of the curve."""


def weight_bits(model: PreparedModel) -> float:
    """Number of bits in which the weights are stored."""
    native, total = model.spec.weight_format.bits, 0
    for layer in weighted_layers(model).values():
        total += layer.kernel_of_method().numel() * layer.terms[0] * native
    return float(total)


@dataclass(frozen=True)
class Goal:
    """Limit that the network must meet; exactly one of the two.

    Parameters
    ----------
    cost : float, optional
        Maximum cost, within which the error is to be small.
    points : float, optional
        Maximum estimated loss of accuracy in percentage points
        (:attr:`~sigbit.quant.post.reconstruction.judge.Score.points`), within which the cost is to
        be small.
    """

    cost: float | None = None
    points: float | None = None

    def __post_init__(self) -> None:
        if (self.cost is None) == (self.points is None):
            raise QuantizationError("a goal is a cost or points of accuracy: give one of them")


@dataclass(frozen=True)
class Point:
    """A network of the curve: its bits by layer, its ``cost``, and its ``score`` on held-out
    samples."""

    bits: Mapping[str, Bits]
    cost: float
    score: Score


@dataclass(frozen=True)
class Mixed:
    """The result.

    Parameters
    ----------
    spec : QuantSpec
        The spec with bits by layer.
    chosen : Point
        The network that the goal asks for.
    curve : tuple of Point
        Networks by ascending cost, ``chosen`` among them.
    sensitivities : tuple of Sensitivity
        Of all weights and tensors whose bits were open.
    samples : int
        Number of held-out samples.
    """

    spec: QuantSpec
    chosen: Point
    curve: tuple[Point, ...]
    sensitivities: tuple[Sensitivity, ...]
    samples: int


@torch.no_grad()
def mixed_precision(
    model: nn.Module | FloatGraph,
    spec: QuantSpec,
    calibration: Calibration,
    weights: Sequence[int],
    activations: Sequence[int],
    goal: Goal,
    cost: Cost = weight_bits,
    *,
    correct: Correct = lambda found, spec: found,
    tell: Tell = lambda what, done, of: None,
) -> Mixed:
    """Choose the bits of all weights and tensors.

    Parameters
    ----------
    model : nn.Module or FloatGraph
        The trained network; it is not changed.
    spec : QuantSpec
        Formats and methods; its bits are the least that a layer gets.
    calibration : Tensor, tuple of Tensor or SampleChunks
        Inputs as the network will see them. Half of them only serve for the comparison of networks.
    weights, activations : sequence of int
        Allowed bits, see :data:`~sigbit.quant.post.mixed.units.Bits`.
    goal : Goal
    cost : callable
        Cost of a prepared network. It is called about once for every unit and choice.
    correct : callable, optional
        Changes the corrections that quantized networks get, by default that of biases; called with
        them and the coarsest spec.
    tell : callable, optional
        Called with the current activity, the steps done, and their number.
    """
    samples = as_chunks(calibration)
    if isinstance(model, FloatGraph):
        graph = model
    else:
        graph = import_model(model, tuple(x[:2] for x in next(micro_batches(samples))))
    check_parameters(graph)
    for name, given in (("weights", weights), ("activations", activations)):
        if not given:
            raise QuantizationError(f"{name} must name at least one number of bits")
    held = round(len(samples) * HELD_OUT)
    seen = Part(samples, 0, len(samples) - held)
    unseen = Part(samples, len(samples) - held, len(samples)) if held else seen
    corrections = correct(Corrections.of(graph, Part(seen, 0, SAMPLES)), spec)
    units = Units(corrections.rounded(spec), spec, weights, activations)
    search = _Search(units, corrections, Judge(graph, unseen), cost, tell)
    least = search.price(units.coarsest)
    if goal.cost is not None and goal.cost < least:
        raise QuantizationError(
            f"the budget of {goal.cost:.12g} is below {least:.12g}, the cost of the cheapest choice"
        )
    found = sensitivities(units, corrections, graph, cost, least, tell)
    search.reach(goal, moves(found), least)
    state, chosen = search.best(goal)
    return Mixed(units.spec(state), chosen, search.curve(), found, len(unseen))


_Key = frozenset[tuple[Unit, int]]


class _Search:
    """Networks on the path; each is priced and measured once."""

    def __init__(
        self, units: Units, corrections: Corrections, judge: Judge, cost: Cost, tell: Tell
    ) -> None:
        self._units, self._corrections, self._judge = units, corrections, judge
        self._cost, self._tell = cost, tell
        self._prices: dict[_Key, float] = {}
        self._points: dict[_Key, Point] = {}

    def price(self, state: State) -> float:
        """The true cost of a network."""
        key = frozenset(state.items())
        if key not in self._prices:
            rounded = self._corrections.rounded(self._units.spec(state))
            self._prices[key] = self._cost(rounded)
        return self._prices[key]

    def measured(self, state: State) -> Point:
        """A network with its score."""
        key = frozenset(state.items())
        if key not in self._points:
            self._tell(f"measuring network {len(self._points) + 1} of the curve", 0, 0)
            spec = self._units.spec(state)
            prepared = self._corrections.quantized(spec, self._units.coarse(state))
            bits = self._units.bits(state)
            self._points[key] = Point(bits, self.price(state), self._judge(prepared))
        return self._points[key]

    def curve(self) -> tuple[Point, ...]:
        """All networks measured so far."""
        return tuple(sorted(self._points.values(), key=lambda p: p.cost))

    def best(self, goal: Goal) -> tuple[State, Point]:
        """Return the network of least error, or of least cost, among those measured so far that
        meet ``goal``."""
        limit, points = goal.cost, goal.points
        kept = [
            (key, p)
            for key, p in self._points.items()
            if (limit is None or p.cost <= limit) and (points is None or p.score.points <= points)
        ]
        key, point = min(kept, key=lambda k: k[1].score.error if points is None else k[1].cost)
        return dict(key), point

    def reach(self, goal: Goal, taken: Sequence[Move], least: float) -> None:
        """Measure networks of all costs on the path of ``taken``, and the last, or the first, one
        that keeps to ``goal``."""
        path = states(self._units.coarsest, taken)
        anchors = _spread([least + sum(m.cost for m in taken[:k]) for k in range(len(path))])
        for k in anchors:
            self.measured(path[k])
        if goal.cost is not None:
            limit = goal.cost
            last = _bisect(anchors, lambda k: self.price(path[k]) > limit)
            if last is not None:
                self.measured(self._filled(path[max(0, last - 1)], taken[last - 1 :], limit))
            return
        points = goal.points
        assert points is not None
        first = _bisect(anchors, lambda k: self.measured(path[k]).score.points <= points)
        if first is None:
            best = min((self.measured(path[k]).score for k in anchors), key=lambda s: s.points)
            raise QuantizationError(
                f"the network is estimated to lose {best.points:.2f} ± "
                f"{best.points_deviation:.2f} points of accuracy with the most bits, more than "
                f"{points:g}: allow more points, or take another accelerator"
            )
        self.measured(path[first])

    def _filled(self, state: State, rest: Sequence[Move], limit: float) -> State:
        """``state`` with those of the moves ``rest`` for which there is room below ``limit``."""
        room = limit - self.price(state)
        fuller = dict(state)
        for move in rest:
            place = move.unit.choices.index
            if move.cost <= room and place(move.bits) > place(fuller[move.unit]):
                fuller[move.unit] = move.bits
                room -= move.cost
        return fuller if self.price(fuller) <= limit else state


def _spread(prices: Sequence[float]) -> list[int]:
    """Numbers of networks, first and last among them, whose prices are evenly distributed."""
    first, last = prices[0], prices[-1]
    found = {0, len(prices) - 1}
    for step in range(1, _STEPS):
        aim = first + (last - first) * step / _STEPS
        found.add(min(range(len(prices)), key=lambda k: abs(prices[k] - aim)))
    return sorted(found)


def _bisect(anchors: Sequence[int], holds: Callable[[int], bool]) -> int | None:
    """The smallest number for which ``holds``, which from some number on is true, is found to be
    true; None if it is not for the last one of the ascending ``anchors``."""
    low = -1
    for high in anchors:
        if holds(high):
            break
        low = high
    else:
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high
