"""Which number system the array should have: the one that changes a network's outputs least, of
those whose accelerators are small enough.

LUTs are a property of the accelerator, not of a layer's bits: within a budget of LUTs what is
chosen are the array's native formats. Bits of layers can be chosen beside that, for the cycles they
cost (:mod:`~sigbit.quant.post.mixed`).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from sigbit.errors import QuantizationError
from sigbit.ir.floating import FloatGraph
from sigbit.quant.calibration.samples import Calibration, as_chunks
from sigbit.quant.post.mixed import float_outputs, output_error
from sigbit.quant.prepare import PreparedModel
from sigbit_hw.arch.config import ArchConfig

Quantize = Callable[[ArchConfig], PreparedModel]
Area = Callable[[ArchConfig], float]


@dataclass(frozen=True)
class Trial:
    """An accelerator that was considered.

    Parameters
    ----------
    config : ArchConfig
        With its native formats.
    error : float, optional
        Mean squared error of the network's outputs, relative to their mean square; None where the
        network cannot be quantized to it.
    area : float, optional
        What it takes; None where that was not needed.
    refused : str
        Why the network cannot be quantized to it; "" if it can.
    """

    config: ArchConfig
    error: float | None
    area: float | None = None
    refused: str = ""


@dataclass(frozen=True)
class Chosen:
    """The result: the accelerator, and all that were considered, those of least error first."""

    config: ArchConfig
    trials: tuple[Trial, ...]


def choose_number_system(
    graph: FloatGraph,
    calibration: Calibration,
    accelerators: Sequence[ArchConfig],
    quantize: Quantize,
    area: Area,
    budget: float,
) -> Chosen:
    """The accelerator of at most ``budget`` LUTs for which quantization changes the outputs least.

    Areas take long to find: only those of accelerators with less error than the result are, and
    that of the one with the fewest bits, which is taken for the smallest, to begin with.

    Parameters
    ----------
    graph : FloatGraph
        The trained network.
    calibration : Tensor, tuple of Tensor or SampleChunks
        Inputs as the network will see them; errors are those of these.
    accelerators : sequence of ArchConfig
        Candidates.
    quantize : callable
        The network as it is for an accelerator; may raise
        :class:`~sigbit.errors.QuantizationError`.
    area : callable
        LUTs of an accelerator.
    budget : float
        LUTs that there are.
    """
    smallest = min(accelerators, key=lambda c: c.weight_format.bits * c.act_format.bits)
    if (least := area(smallest)) > budget:
        raise QuantizationError(
            f"the budget of {budget:,.0f} LUTs is below {least:,.0f}, those of the smallest "
            f"accelerator, {smallest.name}: allow more, or take an array of fewer lanes"
        )
    samples = as_chunks(calibration)
    reference = float_outputs(graph, samples)
    trials = []
    for config in accelerators:
        try:
            prepared = quantize(config)
        except QuantizationError as reason:
            trials.append(Trial(config, None, refused=str(reason)))
        else:
            trials.append(Trial(config, output_error(prepared, samples, reference)))
    trials.sort(key=lambda t: math.inf if t.error is None else t.error)
    for place, trial in enumerate(trials):
        if trial.error is not None:
            taken = area(trial.config)
            trials[place] = replace(trial, area=taken)
            if taken <= budget:
                return Chosen(trial.config, tuple(trials))
    reasons = dict.fromkeys(f"{t.config.name}: {t.refused}" for t in trials if t.refused)
    raise QuantizationError(
        f"the network suits no accelerator of at most {budget:,.0f} LUTs: {'; '.join(reasons)}"
    )
