"""``prepare``: a float model as a trainable model that computes with the accelerator's integers."""

from types import MappingProxyType

import torch
from torch import nn

from sigbit.errors import QuantizationError
from sigbit.frontend import Batches, import_model
from sigbit.frontend.states import States
from sigbit.frontend.states import with_states as declared
from sigbit.ir.floating import FloatGraph
from sigbit.quant.calibration.samples import Calibration
from sigbit.quant.calibration.statistics import Statistics, observe
from sigbit.quant.calibration.streams import with_states
from sigbit.quant.plan.fusion import fuse
from sigbit.quant.prepared import PreparedModel
from sigbit.quant.scaling import give_codes, set_scales
from sigbit.quant.spec import QuantSpec


def prepare(
    model: nn.Module | FloatGraph,
    spec: QuantSpec,
    example_inputs: Batches,
    calibration: Calibration | None = None,
    states: States = MappingProxyType({}),
) -> PreparedModel:
    """Return a trainable quantized copy of ``model``, with scales chosen on ``calibration``
    (``example_inputs`` if absent), which is read once, in chunks.

    ``states`` are inputs that a device keeps from one run to the next, each with the output that
    becomes it; so are buffers that the model overwrites. The samples of ``calibration`` are then
    steps in time, of the other inputs alone, or of all inputs with states of the user's own.

    The model itself is not changed. Parameters keep their dtype (float32 or float64). Raises
    :class:`~sigbit.frontend.UnsupportedModel` for operations that the accelerator lacks, before any
    other work, and :class:`QuantizationError` for parameters or a calibration that cannot be
    quantized.
    """
    graph = model if isinstance(model, FloatGraph) else import_model(model, example_inputs)
    graph = declared(graph, states)
    fuse(graph)
    check_parameters(graph)
    samples = with_states(graph, example_inputs if calibration is None else calibration)
    found = observe(graph, samples)
    return prepare_calibrated(graph, spec, found)


@torch.no_grad()
def prepare_calibrated(graph: FloatGraph, spec: QuantSpec, found: Statistics) -> PreparedModel:
    """:func:`prepare` with the float graph's statistics on the calibration samples."""
    prepared = PreparedModel(graph, fuse(graph), spec, dict(found.inputs))
    set_scales(prepared, found)
    give_codes(prepared)
    return prepared


def check_parameters(graph: FloatGraph) -> None:
    """Raise :class:`QuantizationError` unless all parameters are finite floating-point numbers."""
    for name, value in graph.parameters.items():
        if not value.is_floating_point():
            raise QuantizationError(f"parameter {name!r} must be floating point, not {value.dtype}")
        if wrong := int((~torch.isfinite(value)).sum()):
            raise QuantizationError(
                f"parameter {name!r} holds NaN or infinity ({wrong} of {value.numel()} values)"
            )
