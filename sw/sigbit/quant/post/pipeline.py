"""``post_training``: folding, equalization, searched scales of tensors and weights, bias
correction, in this order."""

from dataclasses import replace

from torch import Tensor, nn

from sigbit.frontend import import_model
from sigbit.ir.floating import FloatGraph
from sigbit.quant.calibration.samples import (
    Calibration,
    SampleChunks,
    as_chunks,
    micro_batches,
)
from sigbit.quant.calibration.streams import with_states
from sigbit.quant.post.corrections import Corrections
from sigbit.quant.post.equalization import equalize as equalized
from sigbit.quant.post.folding import fold_batch_norms
from sigbit.quant.prepare import check_parameters
from sigbit.quant.prepared import PreparedModel
from sigbit.quant.spec import QuantSpec


def post_training(
    model: nn.Module | FloatGraph,
    calibration: Calibration,
    spec: QuantSpec | None = None,
    *,
    equalize: bool = False,
    correct_bias: bool = True,
    activation_aware: bool = False,
) -> PreparedModel:
    """Return a quantized copy of ``model`` without training.

    Parameters
    ----------
    model : nn.Module or FloatGraph
        The trained network; it is not changed.
    calibration : Tensor, tuple of Tensor or SampleChunks
        Inputs as the network will see them: tens of images are enough. Samples are read in chunks,
        two or three times; memory use does not grow with their number, and the result does not
        depend on how they are read.
    spec : QuantSpec, optional
        Formats and bits; by default the default format with all scales searched for the least
        squared error.
    equalize : bool
        Move ranges between adjacent layers (Nagel et al. 2019). Scales of weights are per channel,
        so that it affects activations only; try both.
    correct_bias : bool
        Subtract the mean error of every layer from its bias.
    activation_aware : bool
        Search scales of weights for the smallest error of their layers' results rather than of the
        weights themselves; for the methods "esb" and "uniform". Scales that come with the model are
        searched anew as well.
    """
    spec = spec or replace(QuantSpec(), weight_scale="mse", act_scale="mse")
    samples = as_chunks(calibration)
    graph = model if isinstance(model, FloatGraph) else import_model(model, _example(samples))
    samples = with_states(graph, samples)
    check_parameters(graph)
    graph = fold_batch_norms(graph)
    if equalize:
        graph = equalized(graph, samples)
    corrections = Corrections.of(
        graph, samples, bias=correct_bias, activation_aware=activation_aware
    )
    return corrections.quantized(spec)


def _example(samples: SampleChunks) -> tuple[Tensor, ...]:
    """Two samples to trace a module with, or the only one."""
    return tuple(x[:2] for x in next(micro_batches(samples)))
