"""Translation of quantizers: QONNX operators, and QuantizeLinear, Clip, DequantizeLinear.

Constants become the quantized values themselves; for computed tensors the quantizer becomes an
annotation of the float graph.
"""

import math
from dataclasses import replace

import numpy as np
import onnx
import torch
from torch import Tensor
from torch.fx import Node as FxNode

from sigbit.frontend.onnx.explicit import same_quantizer
from sigbit.frontend.onnx.trace import Array, Call, Constant, OnnxValue, Quantized, View, aten
from sigbit.frontend.translation import Translation
from sigbit.frontend.values import Computed, Refusal, Value
from sigbit.ir import floating
from sigbit.ir.annotation import QuantAnnotation, Rounding

_WIDE = 32
"""Number of bits that no value of a network exceeds."""
_MOST_EXPONENT, _MOST_MANTISSA, _MOST_BIAS = 8, 23, 127
"""Limits of floating-point formats: those of float32."""


def annotate(x: Tensor, quantizer: QuantAnnotation) -> Tensor:
    """Return a computed tensor with a quantizer."""
    return torch.empty_like(x)


def annotated(t: Translation) -> Value:
    """The tensor with its quantizer; a copy of it where others read it unquantized, a ReLU of it
    where the quantizer has no negative values."""
    source, quantizer = t.node.args[0], t.node.args[1]
    assert isinstance(source, FxNode)
    assert isinstance(quantizer, QuantAnnotation)
    value = t.known(source)
    held = _held(t, value, quantizer)
    tensor = held.tensor
    others = [u for u in source.users if u is not t.node and not _same(u, quantizer)]
    own = value.index is None or held.index is not None or tensor != value.tensor
    known = t.build.quantizers.get(tensor)
    if known is None and _rectifies(quantizer) and isinstance(t.build.nodes[tensor], _SIGNED):
        base = t.base(tensor, shape=t.shape_of(tensor))
        tensor = t.build.add(floating.Relu(**base))
        t.build.quantizers[tensor] = quantizer
        return replace(held, tensor=tensor)
    if others or not own or (known is not None and known is not quantizer):
        if known is not None and not others and same_quantizer(known, quantizer):
            return held
        held = t.unary(held, "identity")
    t.build.quantizers[held.tensor] = quantizer
    return held


def _held(t: Translation, value: Computed, quantizer: QuantAnnotation) -> Computed:
    """Return the value in the tensor that is quantized: a sequence, or an input in another order,
    without moving it, if all its elements have one scale."""
    ordered = isinstance(t.build.nodes[value.tensor], floating.ToImage)
    if quantizer.scale.numel() == 1 and (ordered or len(t.size(value)) == 2):
        return t.settled(value)
    return Computed(t.build.tensor(value, t.location, t.dtype))


_SIGNED = (
    floating.Add,
    floating.BatchNorm,
    floating.Conv2d,
    floating.ConvTranspose2d,
    floating.Linear,
    floating.Multiply,
)
"""Results that may be negative; quantizers of positive values behind them act as a ReLU."""


def _rectifies(quantizer: QuantAnnotation) -> bool:
    """Return whether no value below 0 is left, so that the quantizer is a ReLU as well."""
    if quantizer.zero_point.numel() > 1 or quantizer.thresholds is not None:
        return False
    return quantizer.range[0] == float(quantizer.zero_point)


def _same(user: FxNode, quantizer: QuantAnnotation) -> bool:
    return user.target is annotate and same_quantizer(user.args[1], quantizer)


def _tensor(array: Array) -> Tensor:
    return torch.from_numpy(np.array(array, dtype=np.float64))


def _rounding(c: Call, default: str) -> Rounding:
    mode = str(c.get("rounding_mode", default)).upper()
    if (known := _ROUNDINGS.get(mode)) is None:
        raise Refusal(f"rounding mode {mode!r}", f"use {', '.join(_ROUNDINGS)}")
    return known


_ROUNDINGS: dict[str, Rounding] = {
    "ROUND": "ROUND",
    "HALF_EVEN": "ROUND",
    "HALF_UP": "HALF_UP",
    "HALF_DOWN": "HALF_DOWN",
    "UP": "UP",
    "CEIL": "CEIL",
    "FLOOR": "FLOOR",
    "ROUND_TO_ZERO": "ROUND_TO_ZERO",
    "DOWN": "ROUND_TO_ZERO",
}


def _by_channel(c: Call, tensor: Tensor, rank: int) -> Tensor:
    """Return one number, or one per channel, of a parameter that broadcasts with a computed
    tensor."""
    if tensor.numel() == 1:
        return tensor.reshape(1)
    shape = (1,) * (rank - tensor.dim()) + tuple(tensor.shape)
    c.need(
        rank >= 2 and math.prod(shape) == shape[1],
        f"a scale or zero point of shape {tuple(tensor.shape)}",
        "use one for the tensor, or one per channel",
    )
    return tensor.reshape(-1)


def _apply(c: Call, quantizer: QuantAnnotation) -> OnnxValue:
    """Apply the quantizer, whose parameters broadcast with operand 0, to it."""
    value = c.value(0)
    if isinstance(value, Constant):
        x = torch.from_numpy(np.array(value.array))
        result = quantizer.apply(x, *quantizer.parameters(x.dtype)).numpy()
        return Constant(value.name, result, quantizer)
    return View.of(_annotate(c, c.computed(), quantizer))


def _annotate(c: Call, x: FxNode, quantizer: QuantAnnotation) -> FxNode:
    rank = x.meta["val"].dim()
    scale = _by_channel(c, quantizer.scale, rank)
    zero = _by_channel(c, quantizer.zero_point, rank)
    source = None if quantizer.source is None else _by_channel(c, quantizer.source, rank)
    if source is not None:
        scale, source = torch.broadcast_tensors(scale, source)
    return c.emit(annotate, x, replace(quantizer, scale=scale, zero_point=zero, source=source))


def quant(c: Call) -> OnnxValue:
    """Quant (IntQuant)."""
    bits, signed = c.number(3, 8), bool(c.get("signed", 1))
    zero = _tensor(c.array(2))
    c.need(
        bits > 1 or not signed or not bool(zero.any()),
        "one signed bit with a zero point",
        "use BipolarQuant",
    )
    narrow, rounding = bool(c.get("narrow", 0)), _rounding(c, "ROUND")
    quantizer = QuantAnnotation(_tensor(c.array(1)), zero, bits, signed, narrow, rounding)
    return _apply(c, quantizer)


def bipolar(c: Call) -> OnnxValue:
    """BipolarQuant."""
    return _apply(c, QuantAnnotation(_tensor(c.array(1)), torch.zeros(1), 1, True))


def float_quant(c: Call) -> OnnxValue:
    """FloatQuant with saturation."""
    c.need(bool(c.get("saturation", 1)), "saturation=0, which gives infinities", "set saturation=1")
    c.need(bool(c.get("signed", 1)), "signed=0", "use numbers with a sign")
    sizes = {
        "exponent": (c.number(2, 4), 0, _MOST_EXPONENT),
        "mantissa": (c.number(3, 3), 0, _MOST_MANTISSA),
        "exponent bias": (c.number(4, 7), -_MOST_BIAS, _MOST_BIAS),
    }
    for name, (value, low, high) in sizes.items():
        c.need(
            low <= value <= high and value.is_integer(),
            f"{name} of {value:g}",
            f"use an integer from {low} to {high}",
        )
    exponent, mantissa, bias = (int(value) for value, _, _ in sizes.values())
    limit = c.number(5, math.inf)
    c.need(limit > 0, f"largest value of {limit:g}", "use a positive one")
    rounding = _rounding(c, "ROUND")
    return _apply(
        c, QuantAnnotation.floating(_tensor(c.array(1)), exponent, mantissa, bias, limit, rounding)
    )


def trunc(c: Call) -> OnnxValue:
    """Trunc: integers of ``scale`` with their lowest bits cut off. Version 2 (6 operands) gives the
    scale and the bits of the result; version 1 (5 operands) its bits only, and keeps the scale, so
    that the result is smaller by the factor of the removed bits."""
    scale, zero = _tensor(c.array(1)), _tensor(c.array(2))
    rounding = _rounding(c, "FLOOR")
    if len(c.node.input) == 6:
        c.number(3, 8)  # the bits before say what is known of the operand, and change nothing
        out_scale, bits = _tensor(c.array(4)), c.number(5, 8)
        factor = torch.exp2(torch.round(torch.log2(out_scale / scale)))
        signed, narrow = bool(c.get("signed", 1)), bool(c.get("narrow", 0))
        after = QuantAnnotation(out_scale, zero / factor, bits, signed, narrow, rounding)
        return View.of(_annotate(c, c.computed(), replace(after, source=scale)))
    c.need(not bool(zero.any()), "a truncation with a zero point", "use a zero point of 0")
    factor = 2.0 ** (c.number(4, 8) - c.number(3, 8))
    smaller = c.emit(aten.mul.Tensor, c.computed(), factor)
    after = QuantAnnotation(scale, zero, _WIDE, True, False, rounding, source=scale * factor)
    return View.of(_annotate(c, smaller, after))


_RANGES = {
    f"{kind}{bits}": (-(1 << bits - 1), (1 << bits - 1) - 1)
    if kind == "INT"
    else (0, (1 << bits) - 1)
    for kind in ("INT", "UINT")
    for bits in (2, 4, 8, 16, 32)
}


def quantize_linear(c: Call) -> OnnxValue:
    """QuantizeLinear of a computed tensor."""
    c.need(
        not c.get("block_size", 0), "quantization in blocks", "use one scale, or one per channel"
    )
    kind = "UINT8"
    if c.has(2):
        kind = str(c.array(2).dtype).upper()
    elif c.get("output_dtype", 0):
        kind = onnx.TensorProto.DataType.Name(int(c.get("output_dtype")))
    c.need(kind in _RANGES, f"quantization to {kind}", f"use {', '.join(_RANGES)}")
    low, high = _RANGES[kind]
    view = c.view()
    scale = _tensor(c.array(1)).reshape(-1)
    zero = _tensor(c.array(2)).reshape(-1) if c.has(2) else torch.zeros(1, dtype=torch.float64)
    along = int(c.get("axis", 1))
    if scale.numel() > 1:
        axis = c.axis(along)
        c.need(axis == 1, f"scales along axis {axis}", "use one for the tensor, or one per channel")
    quantizer = QuantAnnotation(scale, zero, 8, low < 0, shift_first=False)
    return Quantized(view, quantizer, low, high)


def clip_quantized(c: Call, value: Quantized) -> OnnxValue:
    """Clip between QuantizeLinear and DequantizeLinear."""
    low, high = c.number(1, value.low), c.number(2, value.high)
    return replace(value, low=max(value.low, int(low)), high=min(value.high, int(high)))


def dequantize_linear(c: Call) -> OnnxValue:
    """DequantizeLinear behind QuantizeLinear."""
    value, along = c.value(0), int(c.get("axis", 1))
    if not isinstance(value, Quantized):
        raise Refusal(
            "reads integers that QuantizeLinear has not made",
            "put DequantizeLinear behind QuantizeLinear (and Clip)",
        )
    scale = _tensor(c.array(1)).reshape(-1)
    zero = _tensor(c.array(2)).reshape(-1) if c.has(2) else torch.zeros(1, dtype=torch.float64)
    quantizer = value.quantizer
    if scale.numel() > 1:
        axis = c.axis(along, len(value.tensor.axes))
        c.need(axis == 1, f"scales along axis {axis}", "use one for the tensor, or one per channel")
    c.need(
        torch.equal(scale, quantizer.scale) and torch.equal(zero, quantizer.zero_point),
        "scale or zero point differ from those of QuantizeLinear",
        "use the same for both",
    )
    bits, signed, narrow = _bits(value.low, value.high)
    found = replace(quantizer, bits=bits, signed=signed, narrow=narrow)
    return View.of(_annotate(c, c.applied(value.tensor), found))


def dequantized(c: Call, result: Array) -> OnnxValue:
    """DequantizeLinear of a constant, with its scale recorded."""
    stored, scale = c.array(0), _tensor(c.array(1))
    zero = _tensor(c.array(2)) if c.has(2) else torch.zeros_like(scale)
    if scale.numel() > 1:
        axis = int(c.get("axis", 1)) % stored.ndim
        shape = [-1 if a == axis else 1 for a in range(stored.ndim)]
        scale, zero = scale.reshape(shape), zero.reshape(shape)
    name = c.node.input[0]
    kind = str(stored.dtype).upper()
    if c.get("block_size", 0) or kind not in _RANGES:
        return Constant(name, result)
    low, high = _RANGES[kind]
    bits, signed, narrow = _bits(low, high)
    return Constant(name, result, QuantAnnotation(scale, zero, bits, signed, narrow))


def _bits(low: int, high: int) -> tuple[int, bool, bool]:
    """Bits, signedness and narrowness of the range [low, high]."""
    for bits in range(1, _WIDE + 1):
        half = 1 << bits - 1
        for found in (
            (-half, half - 1, True, False),
            (1 - half, half - 1, True, True),
            (0, 2 * half - 1, False, False),
            (0, 2 * half - 2, False, True),
        ):
            if found[:2] == (low, high):
                return bits, found[2], found[3]
    raise Refusal(
        f"a clip of integers to [{low}, {high}], which no number of bits has",
        "clip to the range of a number of bits, like [-8, 7], [-7, 7] or [0, 15]",
    )
