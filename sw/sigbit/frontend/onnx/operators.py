"""The translator of every ONNX and QONNX operator that is supported."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.fx import Node as FxNode

from sigbit.frontend.aten.elementwise import sloped
from sigbit.frontend.aten.interpolation import interpolated
from sigbit.frontend.aten.layers import Windows
from sigbit.frontend.aten.operators import TRANSLATORS, Translator
from sigbit.frontend.aten.pooling import averaged, fitted_max_pool
from sigbit.frontend.onnx import elementwise, layers, moves, recurrent, resize, thresholds
from sigbit.frontend.onnx import quantizers as quant
from sigbit.frontend.onnx.trace import Call, OnnxValue, aten
from sigbit.frontend.report import nearest
from sigbit.frontend.translation import Translation, one_sample
from sigbit.frontend.values import Refusal, Value

OnnxTranslator = Callable[[Call], "FxNode | OnnxValue | tuple[FxNode | OnnxValue, ...]"]

OPERATORS: Mapping[str, OnnxTranslator] = {
    "Conv": layers.convolution,
    "ConvTranspose": layers.transposed,
    "Gemm": layers.gemm,
    "MatMul": layers.matmul,
    "BatchNormalization": layers.batch_norm,
    "LayerNormalization": layers.layer_norm,
    "InstanceNormalization": layers.instance_norm,
    "GroupNormalization": layers.group_norm,
    "Einsum": layers.einsum,
    "MaxPool": layers.max_pool_of,
    "AveragePool": layers.average_pool,
    "GlobalAveragePool": layers.global_pool(aten.mean.dim),
    "GlobalMaxPool": layers.global_pool(aten.amax.default),
    "ReduceMean": layers.reduction(aten.mean.dim),
    "ReduceSum": layers.reduction(aten.sum.dim_IntList),
    "ReduceMax": layers.reduction(aten.amax.default),
    "ReduceMin": layers.reduction(aten.amin.default),
    "Pad": layers.pad,
    "Add": elementwise.binary(aten.add.Tensor),
    "Sub": elementwise.binary(aten.sub.Tensor),
    "Mul": elementwise.multiply,
    "Div": elementwise.binary(aten.div.Tensor),
    "Sum": elementwise.total,
    "Pow": elementwise.power,
    "Relu": elementwise.function(aten.relu.default),
    "LeakyRelu": elementwise.function(aten.leaky_relu.default, alpha=0.01),
    "PRelu": elementwise.prelu,
    "Clip": elementwise.clip,
    "Sigmoid": elementwise.function(aten.sigmoid.default),
    "Tanh": elementwise.function(aten.tanh.default),
    "HardSigmoid": elementwise.hard_sigmoid,
    "HardSwish": elementwise.function(aten.hardswish.default),
    "Gelu": elementwise.gelu,
    "Elu": elementwise.function(aten.elu.default, alpha=1.0),
    "Selu": elementwise.selu,
    "Softplus": elementwise.function(aten.softplus.default),
    "Mish": elementwise.function(aten.mish.default),
    "Abs": elementwise.function(aten.abs.default),
    "Neg": elementwise.function(aten.neg.default),
    "Asinh": elementwise.function(aten.asinh.default),
    "Atan": elementwise.function(aten.atan.default),
    "Ceil": elementwise.function(aten.ceil.default),
    "Cos": elementwise.function(aten.cos.default),
    "Cosh": elementwise.function(aten.cosh.default),
    "Erf": elementwise.function(aten.erf.default),
    "Exp": elementwise.function(aten.exp.default),
    "Floor": elementwise.function(aten.floor.default),
    "Round": elementwise.function(aten.round.default),
    "Sin": elementwise.function(aten.sin.default),
    "Sinh": elementwise.function(aten.sinh.default),
    "Celu": elementwise.function(aten.celu.default, alpha=1.0),
    "Softsign": elementwise.function(elementwise.softsign),
    "Swish": elementwise.swish,
    "Shrink": elementwise.shrink,
    "ThresholdedRelu": elementwise.thresholded,
    "Max": elementwise.extreme(aten.maximum.default),
    "Min": elementwise.extreme(aten.minimum.default),
    "Mean": elementwise.average,
    "Log": elementwise.function(aten.log.default),
    "Sqrt": elementwise.function(aten.sqrt.default),
    "Reciprocal": elementwise.function(aten.reciprocal.default),
    "Sign": elementwise.function(aten.sign.default),
    "Where": elementwise.where,
    "Softmax": elementwise.on_host(aten.softmax.int),
    "LogSoftmax": elementwise.on_host(aten.log_softmax.int),
    "ArgMax": elementwise.argmax,
    "Transpose": moves.transpose,
    "Reshape": moves.reshape,
    "Flatten": moves.flatten,
    "Squeeze": moves.squeeze,
    "Unsqueeze": moves.unsqueeze,
    "Gather": moves.gather,
    "Slice": moves.slices,
    "Split": moves.split,
    "Concat": moves.concat,
    "Expand": moves.expand,
    "Tile": moves.tile,
    "Resize": resize.resize,
    "Upsample": resize.resize,
    "Identity": moves.identity,
    "Dropout": moves.identity,
    "Cast": moves.cast,
    "CastLike": moves.cast_like,
    "DepthToSpace": moves.depth_to_space,
    "SpaceToDepth": moves.space_to_depth,
    "Shape": moves.shape_of,
    "LSTM": recurrent.lstm,
    "GRU": recurrent.gru,
    "Quant": quant.quant,
    "IntQuant": quant.quant,
    "BipolarQuant": quant.bipolar,
    "FloatQuant": quant.float_quant,
    "Trunc": quant.trunc,
    "MultiThreshold": thresholds.multi_threshold,
    "QuantizeLinear": quant.quantize_linear,
    "DequantizeLinear": quant.dequantize_linear,
}
"""Translators by the operator's name; QONNX's own operators have their own domain."""

QONNX = frozenset(["Quant", "IntQuant", "BipolarQuant", "FloatQuant", "Trunc", "MultiThreshold"])

_STATIC = "quantize statically: scales that depend on the input are not known beforehand"
_REMEDIES = {
    "LRN": "use BatchNormalization, or leave it out and train again",
    "If": "export the model without data-dependent control flow",
    "Loop": "export the model without data-dependent control flow",
    "Scan": "export the model without data-dependent control flow",
    "ConvInteger": _STATIC,
    "DynamicQuantizeLinear": _STATIC,
    "MatMulInteger": _STATIC,
    "TopK": "take the network's output before it, or use ArgMax",
}


def unknown(op: str) -> Refusal:
    """Return the refusal of an operator without a translator."""
    remedy = _REMEDIES.get(op) or nearest(op, OPERATORS)
    return Refusal("not supported on this accelerator", remedy)


def _refused(t: Translation) -> Value:
    raise Refusal(str(t.node.kwargs["reason"]), str(t.node.kwargs["remedy"]))


def _softsign(t: Translation) -> Value:
    return t.unary(t.known(t.node.args[0]), "softsign")


def _prelu(t: Translation) -> Value:
    """:func:`sigbit.frontend.onnx.elementwise.prelu_of`."""
    source, slope = t.node.args
    assert isinstance(slope, FxNode)
    found = t.values[slope]
    if not isinstance(found, Tensor):
        raise Refusal("slopes that are computed", "make them an initializer")
    value = t.settled(t.known(source))
    return sloped(t, value, one_sample(found, len(t.size(value))))


def _interpolate(t: Translation) -> Value:
    """:func:`sigbit.frontend.onnx.resize.interpolate`."""
    arguments: Any = t.node.args
    source, rows = arguments
    matrices = [torch.tensor(m, dtype=torch.float64) for m in rows]
    windows = Windows(t, source)
    if len(matrices) == 1:
        matrices.append(torch.ones(1, 1, dtype=torch.float64))
    return interpolated(t, windows, matrices)


def _max_pool(t: Translation) -> Value:
    """:func:`sigbit.frontend.onnx.layers.max_pool`."""
    arguments: Any = t.node.args
    source, *given = arguments
    windows = Windows(t, source)
    kernel, stride = (windows.pair(g) for g in given[:2])
    count = len(given[2]) // 2
    begin, end = (windows.pair(g, 0) for g in (given[2][:count], given[2][count:]))
    return fitted_max_pool(t, windows, kernel, stride, (*begin, *end))


def _avg_pool(t: Translation) -> Value:
    """:func:`sigbit.frontend.onnx.layers.avg_pool`."""
    arguments: Any = t.node.args
    source, *given = arguments
    windows = Windows(t, source)
    count = len(given[0])
    axes = layers.axes_of(t.shape_of(windows.tensor)[1 : 1 + count], *given)
    return averaged(t, windows, axes if count == 2 else [*axes, [(0, 1, 1)]])


FUNCTIONS: Mapping[str, Translator] = {
    **TRANSLATORS,
    "softsign": _softsign,
    "annotate": quant.annotated,
    "prelu_of": _prelu,
    "interpolate": _interpolate,
    "max_pool": _max_pool,
    "avg_pool": _avg_pool,
    "refused": _refused,
}
"""Translators of the functions that these emit, by the operation's name."""
