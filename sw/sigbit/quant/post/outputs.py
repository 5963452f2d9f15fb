"""Outputs of a quantized network beside those of the float one."""

from collections.abc import Sequence

import torch
from torch import Tensor

from sigbit.ir.floating import FloatGraph
from sigbit.quant.calibration.reference import Reference
from sigbit.quant.calibration.samples import SampleChunks, micro_batches
from sigbit.quant.prepared import PreparedModel


@torch.no_grad()
def float_outputs(graph: FloatGraph, samples: SampleChunks) -> list[tuple[Tensor, ...]]:
    """Outputs of the float network, one tuple for every micro-batch."""
    reference = Reference(graph)
    found = []
    for batch in micro_batches(samples):
        values = reference.of(batch)
        found.append(tuple(values[name] for name in graph.outputs))
    return found


@torch.no_grad()
def output_error(
    model: PreparedModel, samples: SampleChunks, reference: Sequence[tuple[Tensor, ...]]
) -> float:
    """Mean squared error of the outputs on ``samples``, relative to the mean square of
    ``reference``, the float network's :func:`float_outputs`."""
    error = size = 0.0
    for batch, wanted in zip(micro_batches(samples), reference, strict=True):
        outputs = model(*batch)
        outputs = (outputs,) if isinstance(outputs, Tensor) else outputs
        for a, b in zip(outputs, wanted, strict=True):
            error += float((a.reshape(b.shape) - b).double().square().sum())
            size += float(b.double().square().sum())
    return error / max(size, 1e-30)
