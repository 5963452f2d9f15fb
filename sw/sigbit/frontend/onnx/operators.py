"""The translator of every ONNX and QONNX operator that is supported."""

from collections.abc import Callable, Mapping
from typing import Any

from torch.fx import Node as FxNode

from sigbit.frontend.aten.layers import fitted_max_pool
from sigbit.frontend.aten.operators import TRANSLATORS, Translator
from sigbit.frontend.onnx import elementwise, layers, moves, recurrent, resize, thresholds
from sigbit.frontend.onnx import quantizers as quant
from sigbit.frontend.onnx.trace import Call, OnnxValue, aten
from sigbit.frontend.translation import Translation
from sigbit.frontend.values import Computed, Refusal, Value

OnnxTranslator = Callable[[Call], "FxNode | OnnxValue | tuple[FxNode | OnnxValue, ...]"]

OPERATORS: Mapping[str, OnnxTranslator] = {
    "Conv": layers.convolution,
    "ConvTranspose": layers.transposed,
    "Gemm": layers.gemm,
    "MatMul": layers.matmul,
    "BatchNormalization": layers.batch_norm,
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
"""By the operator's name; QONNX's own are of a domain of theirs."""

QONNX = frozenset(["Quant", "IntQuant", "BipolarQuant", "FloatQuant", "Trunc", "MultiThreshold"])

_STATIC = "quantize statically: scales that depend on the input are not known beforehand"
_REMEDIES = {
    "LayerNormalization": "use BatchNormalization",
    "InstanceNormalization": "use BatchNormalization",
    "GroupNormalization": "use BatchNormalization",
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
    """The refusal of an operator without a translator."""
    remedy = _REMEDIES.get(op, f"supported are {', '.join(sorted(OPERATORS))}")
    return Refusal("not supported on this accelerator", remedy)


def _refused(t: Translation) -> Value:
    raise Refusal(str(t.node.kwargs["reason"]), str(t.node.kwargs["remedy"]))


def _softsign(t: Translation) -> Value:
    source = t.known(t.node.args[0])
    return Computed(t.unary(t.build.tensor(source, t.location, t.dtype), "softsign"))


def _max_pool(t: Translation) -> Value:
    arguments: Any = t.node.args
    source, *window = arguments
    kernel, stride, padding = (tuple(w) for w in window)
    tensor = t.build.tensor(t.known(source), t.location, t.dtype)
    return fitted_max_pool(t, tensor, kernel, stride, padding)


FUNCTIONS: Mapping[str, Translator] = {
    **TRANSLATORS,
    "softsign": _softsign,
    "annotate": quant.annotated,
    "max_pool": _max_pool,
    "refused": _refused,
}
"""Translators of what these emit, by the operation's name."""
