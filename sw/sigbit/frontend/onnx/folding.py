"""Results of ONNX nodes that depend on constants alone, by ONNX's own reference implementation.

A file of a few bytes can ask for a tensor of terabytes, or for a loop without end: only operators
whose results have a known size are computed, and only within a budget.
"""

import math
import warnings
from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from onnx import NodeProto, numpy_helper
from onnx.reference import ReferenceEvaluator

from sigbit.frontend.onnx.trace import Array
from sigbit.frontend.values import Refusal

BUDGET = 1 << 26
"""Maximum number of elements of all results of a model, unless four times those of its constants is
more."""
WORK = 1 << 33
"""Maximum number of products of a matrix multiplication."""

_FOLDED = frozenset([
    "Abs", "Add", "And", "ArgMax", "ArgMin", "BitShift", "Cast", "CastLike", "Ceil", "Clip",
    "Concat", "Constant", "ConstantOfShape", "Cos", "CumSum", "DequantizeLinear", "Div", "Equal",
    "Erf", "Exp", "Expand", "EyeLike", "Flatten", "Floor", "Gather", "GatherElements",
    "GatherND", "Gemm", "Greater", "GreaterOrEqual", "HardSigmoid", "HardSwish", "Identity",
    "IsInf", "IsNaN", "LeakyRelu", "Less", "LessOrEqual", "Log", "MatMul", "Max", "Mean", "Min",
    "Mod", "Mul", "Neg", "Not", "OneHot", "Or", "Pad", "Pow", "QuantizeLinear", "Range",
    "Reciprocal", "ReduceL1", "ReduceL2", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd",
    "ReduceSum", "Relu", "Reshape", "Round", "ScatterElements", "ScatterND", "Selu", "Shape",
    "Sigmoid", "Sign", "Sin", "Size", "Slice", "Softmax", "Softplus", "Split", "Sqrt", "Squeeze",
    "Sub", "Sum", "Tanh", "Tile", "Transpose", "Tril", "Trilu", "Unsqueeze", "Where", "Xor",
])  # fmt: skip
_SINCE = {"DequantizeLinear": 19, "QuantizeLinear": 19}
"""First operator sets with an operator in the reference whose implementation holds for earlier ones
as well, since they only gave it more types."""
_INPUT_BOUND = frozenset(["NonZero"])
"""Operators whose results depend on values, but are bounded by the size of the operands."""


class Folder:
    """Computes nodes of a model with ``constants`` elements in its initializers."""

    def __init__(self, opsets: Sequence[onnx.OperatorSetIdProto], constants: int) -> None:
        self._opsets = opsets
        self._left = max(BUDGET, 4 * constants)

    def compute(self, node: NodeProto, feeds: Mapping[str, Array]) -> list[Array]:
        """Return the results of ``node``; raise :class:`Refusal` if they cannot be computed, or are
        too large."""
        if node.op_type not in _FOLDED | _INPUT_BOUND or node.domain not in ("", "ai.onnx"):
            raise Refusal(f"{node.op_type} of constants is not computed", _REMEDY)
        graph = onnx.helper.make_graph(
            [node],
            "constant",
            [onnx.ValueInfoProto(name=n) for n in feeds],
            [onnx.ValueInfoProto(name=o) for o in node.output if o],
        )
        model = onnx.helper.make_model(graph, opset_imports=self._opsets)
        for opset in model.opset_import:
            if opset.domain in ("", "ai.onnx"):
                opset.version = max(opset.version, _SINCE.get(node.op_type, 0))
        try:
            self._pay(node, feeds, model)
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")
                results = ReferenceEvaluator(model).run(None, dict(feeds))
            return [np.asarray(r) for r in results]
        except Refusal:
            raise
        except Exception as error:  # whatever an implementation of an operator trips over
            reason = str(error).strip().split("\n")[0]
            raise Refusal(
                f"of constants, cannot be computed ({type(error).__name__}: {reason})", _REMEDY
            ) from error

    def _pay(self, node: NodeProto, feeds: Mapping[str, Array], model: onnx.ModelProto) -> None:
        """Subtract the size of the results from the budget."""
        if node.op_type in _INPUT_BOUND:
            elements = sum(a.size * max(1, a.ndim) for a in feeds.values())
        else:
            sizes = _sizes(model, feeds)
            if sizes is None:
                raise Refusal("of constants, has a result of unknown size", _REMEDY)
            elements = sum(sizes)
        if node.op_type in ("MatMul", "Gemm"):
            depth = max((s for a in feeds.values() for s in a.shape), default=1)
            if elements * depth > WORK:
                raise Refusal(f"of constants, takes {elements * depth:,} products", _REMEDY)
        if elements > self._left:
            raise Refusal(
                f"of constants, has a result of {elements:,} elements, more than the model holds",
                _REMEDY,
            )
        self._left -= elements


_REMEDY = "fold constants before: onnxruntime or onnxsim do"


def _sizes(model: onnx.ModelProto, feeds: Mapping[str, Array]) -> list[int] | None:
    """Elements of the results, by ONNX's shape inference; None where it cannot tell."""
    known = onnx.ModelProto()
    known.CopyFrom(model)
    del known.graph.input[:]
    known.graph.initializer.extend(
        numpy_helper.from_array(np.ascontiguousarray(a), n)
        if a.size <= 4096 or a.ndim == 1
        else onnx.TensorProto(name=n, dims=a.shape, data_type=_type(a))
        for n, a in feeds.items()
    )
    for output in known.graph.output:
        output.ClearField("type")
    inferred = onnx.shape_inference.infer_shapes(known, data_prop=True, strict_mode=False).graph
    sizes = []
    for value in inferred.output:
        tensor = value.type.tensor_type
        if not tensor.HasField("shape") or not all(
            d.HasField("dim_value") for d in tensor.shape.dim
        ):
            return None
        sizes.append(math.prod(d.dim_value for d in tensor.shape.dim))
    return sizes


def _type(array: Array) -> int:
    return int(onnx.helper.np_dtype_to_tensor_dtype(array.dtype))
