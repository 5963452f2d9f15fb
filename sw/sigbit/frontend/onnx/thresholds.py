"""Translation of FINN's MultiThreshold, and of the integers around it.

Models that FINN has streamlined hold integers as plain numbers: weights, and inputs whose type is
an annotation of the tensor.
"""

import re
from collections.abc import Mapping
from fractions import Fraction

import numpy as np
import torch
from onnx import ModelProto

from sigbit.frontend.onnx.quantizers import annotate
from sigbit.frontend.onnx.trace import Array, Call, View
from sigbit.ir.annotation import QuantAnnotation

_LAYOUTS = ("", "NC", "NCHW")
_TYPE = re.compile(r"(?P<unsigned>U?)INT(?P<bits>[1-9]|[12][0-9]|3[0-2])")
_LAYERS = ("Conv", "Gemm", "MatMul")
_BITS = 8
"""Maximum bits of integers that are taken for integers of scale 1."""


def multi_threshold(c: Call) -> View:
    """MultiThreshold: ``out_scale`` times the number of thresholds that x reaches, plus
    ``out_bias``."""
    rank = len(c.shape())
    layout = str(c.get("data_layout", ""))
    c.need(
        layout in _LAYOUTS and rank in (2, 4) and len(layout) in (0, rank),
        f"data_layout {layout!r} of a tensor with {rank} axes",
        "put channels first: NC or NCHW",
    )
    c.get("out_dtype")  # follows from the number of thresholds, scale and bias
    scale, bias = float(c.get("out_scale", 1.0)), float(c.get("out_bias", 0.0))
    rows = np.asarray(c.array(1), np.float64)
    channels = c.shape()[1]
    c.need(
        rows.ndim == 2 and len(rows) in (1, channels) and rows.shape[1] > 0,
        f"thresholds of shape {rows.shape} for {channels} channels",
        "give a row of thresholds for each channel, or one for all",
    )
    c.need(bool(np.isfinite(rows).all()), "thresholds that are not finite", "use finite numbers")
    c.need(
        bool((np.diff(rows, axis=1) >= 0).all()),
        "thresholds that do not ascend",
        "sort the thresholds of each channel",
    )
    c.need(scale > 0, f"out_scale={scale:g}", "use a positive out_scale")
    one = torch.ones(1, dtype=torch.float64)
    found = torch.from_numpy(rows)
    if rows.shape[1] == 1 and bias == -scale / 2:
        quantizer = QuantAnnotation(one * scale / 2, 0 * one, 1, True, thresholds=found)
    else:
        zero = -Fraction(bias) / Fraction(scale)
        c.need(
            zero.denominator == 1,
            f"out_bias={bias:g}, which is no multiple of out_scale={scale:g}",
            "use a multiple",
        )
        bits = int(rows.shape[1]).bit_length()
        quantizer = QuantAnnotation(one * scale, one * int(zero), bits, False, thresholds=found)
    return View.of(c.emit(annotate, c.computed(), quantizer))


def integer_input(model: ModelProto, name: str) -> QuantAnnotation | None:
    """Return the quantizer of the input ``name`` of integer type in a model with MultiThreshold;
    None if it has no integer type."""
    if not _has_thresholds(model):
        return None
    for annotation in model.graph.quantization_annotation:
        kinds = {p.key: p.value for p in annotation.quant_parameter_tensor_names}
        found = _TYPE.fullmatch(kinds.get("finn_datatype", ""))
        if annotation.tensor_name == name and found is not None:
            one = torch.ones(1, dtype=torch.float64)
            return QuantAnnotation(one, 0 * one, int(found["bits"]), not found["unsigned"])
    return None


def _has_thresholds(model: ModelProto) -> bool:
    return any(n.op_type == "MultiThreshold" for n in model.graph.node)


def integer_weights(model: ModelProto, arrays: Mapping[str, Array]) -> dict[str, QuantAnnotation]:
    """Return the weights of a model with MultiThreshold that are integers of few bits, each with a
    quantizer of scale 1."""
    if not _has_thresholds(model):
        return {}
    names = {n.input[1] for n in model.graph.node if n.op_type in _LAYERS and len(n.input) > 1}
    most = (1 << _BITS - 1) - 1
    one = torch.ones(1, dtype=torch.float64)
    return {
        name: QuantAnnotation(one, 0 * one, _BITS, True, True)
        for name, array in arrays.items()
        if name in names
        and array.dtype.kind in "fi"
        and bool((array == np.rint(array)).all() and (np.abs(array) <= most).all())
    }
