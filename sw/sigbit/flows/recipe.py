"""Bits of every layer by a budget of cycles, bytes or accuracy."""

from collections.abc import Mapping
from dataclasses import dataclass

from sigbit.compiler import compile_graph
from sigbit.flows.budget import Limit
from sigbit.flows.formats import act_bits, weight_bits
from sigbit.flows.progress import Tell
from sigbit.ir.floating import FloatGraph
from sigbit.quant import PreparedModel, QuantSpec, convert
from sigbit.quant.calibration.samples import SampleChunks
from sigbit.quant.post import mixed_precision
from sigbit.quant.post.mixed import Correct, Point
from sigbit_hw.arch.config import ArchConfig


@dataclass(frozen=True)
class CurvePoint:
    """A network of other bits, with all corrections but learning.

    Parameters
    ----------
    cost : float
        Cycles or bytes.
    points : float
        Estimated loss of accuracy in percentage points, on calibration samples that were held out.
    deviation : float
        Its standard error, from the number of samples.
    agreement : float
        Share of the decisions there that agree with the float network.
    error : float
        Relative squared error of the outputs there.
    chosen : bool
    bits : mapping
        As in :class:`ChosenBits`.
    """

    cost: float
    points: float
    deviation: float
    agreement: float
    error: float
    chosen: bool
    bits: Mapping[str, tuple[int, int]]


@dataclass(frozen=True)
class BitsSensitivity:
    """Sensitivity of the outputs to the bits of weights or of a tensor.

    Parameters
    ----------
    kind : str
        "weights" or "activations".
    layers : tuple of str
        Layers that share the weights, or whose tensors share a grid.
    choices : tuple of (int, float, float)
        Terms or planes, relative squared error of the outputs if only they are so few, and the
        cycles or bytes that they add to the cheapest network.
    """

    kind: str
    layers: tuple[str, ...]
    choices: tuple[tuple[int, float, float], ...]


@dataclass(frozen=True)
class ChosenBits:
    """Bits of the layers by a budget.

    Parameters
    ----------
    what : str
        "cycles", "bytes" or "accuracy".
    limit : float
    unit : str
        Unit of costs: "cycles" or "bytes".
    cost, points, deviation, agreement, error
        Those of the chosen network, see :class:`CurvePoint`.
    samples : int
        Number of held-out calibration samples.
    bits : mapping
        Terms of weights and planes of activations, by layer.
    curve : tuple of CurvePoint
        Networks that were measured, by ascending cost.
    sensitivities : tuple of BitsSensitivity
    """

    what: str
    limit: float
    unit: str
    cost: float
    points: float
    deviation: float
    agreement: float
    error: float
    samples: int
    bits: Mapping[str, tuple[int, int]]
    curve: tuple[CurvePoint, ...]
    sensitivities: tuple[BitsSensitivity, ...]


def within(
    limit: Limit,
    graph: FloatGraph,
    samples: SampleChunks,
    spec: QuantSpec,
    config: ArchConfig,
    correct: Correct,
    tell: Tell,
) -> tuple[QuantSpec, ChosenBits]:
    """Return ``spec`` with the bits of all weights and tensors that ``limit`` asks for, among all
    that the accelerator has and ``spec`` does not exceed; and the result of the search.

    Every choice is compiled once, and every network of the curve. ``correct`` as in
    :func:`~sigbit.quant.post.mixed.mixed_precision`.
    """

    def cost(prepared: PreparedModel) -> float:
        return limit.cost(compile_graph(convert(prepared).graph, config))

    found = mixed_precision(
        graph,
        spec,
        samples,
        tuple(weight_bits(config).values()),
        tuple(act_bits(config).values()),
        limit.goal,
        cost,
        correct=correct,
        tell=tell,
    )
    points = {id(p): _point(p, p is found.chosen) for p in found.curve}
    chosen = points[id(found.chosen)]
    return found.spec, ChosenBits(
        what=limit.what,
        limit=limit.amount,
        unit=limit.unit,
        cost=chosen.cost,
        points=chosen.points,
        deviation=chosen.deviation,
        agreement=chosen.agreement,
        error=chosen.error,
        samples=found.samples,
        bits=chosen.bits,
        curve=tuple(points.values()),
        sensitivities=tuple(
            BitsSensitivity(
                s.unit.kind,
                s.unit.layers,
                tuple((c.bits, c.error, c.cost) for c in s.choices),
            )
            for s in found.sensitivities
        ),
    )


def _point(p: Point, chosen: bool) -> CurvePoint:
    s = p.score
    return CurvePoint(
        p.cost, s.points, s.points_deviation, s.agreement, s.error, chosen, dict(p.bits)
    )
