"""Choice of the array's number system: the one that changes a network's outputs least among those
whose accelerators are small enough.

LUTs are a property of the accelerator, not of a layer's bits: within a budget of LUTs, the choice
is that of the array's native formats. Bits of layers can be chosen in addition, according to their
cycles (:mod:`~sigbit.quant.post.mixed`).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from sigbit.errors import QuantizationError
from sigbit.ir.floating import FloatGraph
from sigbit.quant.calibration.samples import Calibration, as_chunks
from sigbit.quant.post.outputs import float_outputs, output_error
from sigbit.quant.prepared import PreparedModel
from sigbit_hw.arch.config import ArchConfig

Quantize = Callable[[ArchConfig], PreparedModel]
Area = Callable[[ArchConfig], float]


@dataclass(frozen=True)
class Trial:
    """An accelerator that was considered.

    Parameters
    ----------
    config : ArchConfig
        Accelerator with its native formats.
    error : float, optional
        Mean squared error of the network's outputs, relative to their mean square; None if the
        network cannot be quantized for it.
    area : float, optional
        Area of the accelerator; None if it was not needed.
    refused : str
        Reason why the network cannot be quantized for it; "" if it can.
    """

    config: ArchConfig
    error: float | None
    area: float | None = None
    refused: str = ""


@dataclass(frozen=True)
class Chosen:
    """The result: the accelerator, and all candidates in ascending order of error."""

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
    """Choose the accelerator of at most ``budget`` LUTs for which quantization changes the outputs
    least.

    Areas take long to determine: only those of accelerators with a smaller error than the result
    are, and first that of the one with the fewest bits, which is assumed to be the smallest.

    Parameters
    ----------
    graph : FloatGraph
        The trained network.
    calibration : Tensor, tuple of Tensor or SampleChunks
        Inputs as the network will see them; errors are measured on them.
    accelerators : sequence of ArchConfig
        Candidates.
    quantize : callable
        Returns the network quantized for an accelerator; may raise
        :class:`~sigbit.errors.QuantizationError`.
    area : callable
        Returns the LUTs of an accelerator.
    budget : float
        Maximum number of LUTs.
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
