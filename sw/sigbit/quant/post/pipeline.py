"""``post_training``: folding, equalization, searched scales of tensors and weights, bias
correction, in this order."""

from dataclasses import replace

import torch
from torch import nn

from sigbit.frontend import Batches, as_tuple, import_model
from sigbit.ir.floating import FloatGraph
from sigbit.quant.post.activation_aware import search_weight_scales
from sigbit.quant.post.correction import correct_biases
from sigbit.quant.post.equalization import equalize as equalized
from sigbit.quant.post.folding import fold_batch_norms
from sigbit.quant.prepare import PreparedModel, check_parameters, evaluate, prepare_calibrated
from sigbit.quant.spec import QuantSpec


def post_training(
    model: nn.Module | FloatGraph,
    calibration: Batches,
    spec: QuantSpec | None = None,
    *,
    equalize: bool = False,
    correct_bias: bool = True,
    activation_aware: bool = False,
) -> PreparedModel:
    """A quantized copy of ``model`` that needs no training.

    Parameters
    ----------
    model : nn.Module or FloatGraph
        The trained network; it is not changed.
    calibration : Tensor or tuple of Tensor
        Inputs as the network will see them: tens of images are enough. All its tensors are in
        memory at once.
    spec : QuantSpec, optional
        Formats and bits; the default format with all scales searched for the least squared error
        if absent.
    equalize : bool
        Whether to move ranges between neighbouring layers (Nagel et al. 2019). Scales of weights
        are per channel, so that it matters for activations only; try both.
    correct_bias : bool
        Whether to take the mean error of every layer off its bias.
    activation_aware : bool
        Whether scales of weights are searched for the least error of their layers' results, instead
        of the weights themselves; of the methods "esb" and "uniform". Scales that the model brings
        along are searched anew, too.
    """
    spec = spec or replace(QuantSpec(), weight_scale="mse", act_scale="mse")
    graph = model if isinstance(model, FloatGraph) else import_model(model, calibration)
    check_parameters(graph)
    batches = as_tuple(calibration)
    graph = fold_batch_norms(graph)
    with torch.no_grad():
        if equalize:
            graph = equalized(graph, evaluate(graph, batches))
        values = evaluate(graph, batches)
        prepared = prepare_calibrated(graph, spec, values)
        if activation_aware:
            search_weight_scales(prepared, values, bias_takes_means=correct_bias)
        if correct_bias:
            correct_biases(prepared, values)
    return prepared.eval()
