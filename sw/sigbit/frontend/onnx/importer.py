"""Import of ONNX and QONNX files: every node is translated or reported."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import onnx
import torch
from google.protobuf.message import DecodeError
from onnx import ModelProto, NodeProto, numpy_helper
from onnx.reference import ReferenceEvaluator
from torch.fx import Node as FxNode

from sigbit.frontend.importer import Importer
from sigbit.frontend.onnx import quantizers as quant
from sigbit.frontend.onnx.operators import FUNCTIONS, OPERATORS, QONNX, unknown
from sigbit.frontend.onnx.trace import (
    Array,
    Call,
    Constant,
    OnnxValue,
    Quantized,
    Trace,
    Unknown,
    View,
    attributes_of,
    refused,
    transpose,
)
from sigbit.frontend.report import UnsupportedModel, UnsupportedNode
from sigbit.frontend.source import Origin
from sigbit.frontend.values import Refusal
from sigbit.ir.floating import FloatGraph

Shape = tuple[int, ...]
_FLOATS = {
    onnx.TensorProto.FLOAT: torch.float32,
    onnx.TensorProto.FLOAT16: torch.float32,
    onnx.TensorProto.BFLOAT16: torch.float32,
    onnx.TensorProto.DOUBLE: torch.float64,
}
_BATCH = 2
"""Stands for a batch of any size; more than one, so that what mixes samples shows."""


def import_onnx(
    model: str | Path | ModelProto, shapes: Mapping[str, Shape] | None = None
) -> FloatGraph:
    """The float graph of an ONNX or QONNX model.

    Parameters
    ----------
    model : path or ModelProto
        A file, with its external data beside it, or a model.
    shapes : Mapping, optional
        Shapes of inputs without the batch, for inputs whose dimensions the model leaves open.

    Weights are quantized as the model quantizes them; quantizers of computed tensors become
    :attr:`FloatGraph.quantizers`. Raises :class:`UnsupportedModel` with one row for every node that
    cannot be compiled, and for a file that is no ONNX model.
    """
    if isinstance(model, ModelProto):
        return _OnnxImporter(model, model.graph.name or "model", shapes or {}).run()
    path = Path(model)
    with path.open("rb"):  # names the file in the error if it cannot be read
        pass
    try:
        loaded = onnx.load(path)
    except (DecodeError, onnx.checker.ValidationError, OSError, ValueError) as error:
        reason = str(error).strip().split("\n")[0]
        row = UnsupportedNode(
            str(path),
            "onnx",
            "",
            f"it is not an ONNX model ({type(error).__name__}: {reason})",
            "give a file that torch.onnx.export or onnx.save wrote, with its external data",
        )
        raise UnsupportedModel(path.stem, (row,)) from error
    return _OnnxImporter(loaded, path.stem, shapes or {}).run()


class _OnnxImporter:
    """Translates one model."""

    def __init__(self, model: ModelProto, name: str, shapes: Mapping[str, Shape]) -> None:
        if model.functions:
            from onnx.inliner import inline_local_functions

            model = inline_local_functions(model)
        self._model, self._name, self._shapes = model, name, shapes
        versions = {o.domain: o.version for o in model.opset_import}
        self._trace = Trace(versions.get("", versions.get("ai.onnx", 1)))
        self._known = _inferred(model)
        self._names: set[str] = set()

    def run(self) -> FloatGraph:
        """The graph, or :class:`UnsupportedModel`."""
        for tensor in self._model.graph.initializer:
            self._trace.values[tensor.name] = Constant(tensor.name, numpy_helper.to_array(tensor))
        if rows := tuple(self._inputs()):
            raise UnsupportedModel(self._name, rows)
        for node in self._model.graph.node:
            self._node(node)
        values = [(o.name, self._trace.values.get(o.name)) for o in self._model.graph.output]
        results = tuple(self._output(n, v) for n, v in values if not isinstance(v, Unknown))
        trace = self._trace
        trace.graph.output(results)
        return Importer(trace.graph, trace.constants, self._name, FUNCTIONS, trace.quantizers).run()

    def _inputs(self) -> Iterator[UnsupportedNode]:
        """The network inputs; a row for each that cannot be one."""
        for value in self._model.graph.input:
            if value.name in self._trace.values:
                continue
            kind = value.type.tensor_type
            dims = [d.dim_value or None for d in kind.shape.dim]
            given = self._shapes.get(value.name)
            if given is not None:
                dims = [dims[0] if dims else None, *given]
            unclear = [
                f"{i} ({d.dim_param!r})" if d.dim_param else str(i)
                for i, d in enumerate(kind.shape.dim)
                if i and (i >= len(dims) or dims[i] is None)
            ]
            if kind.elem_type not in _FLOATS or len(dims) not in (2, 3, 4):
                yield UnsupportedNode(
                    value.name,
                    "input",
                    value.name,
                    "an input must be a float tensor [batch, C, H, W], [batch, features] or "
                    "[batch, steps, features]",
                    "give images, vectors or sequences",
                )
            elif unclear:
                yield UnsupportedNode(
                    value.name,
                    "input",
                    value.name,
                    f"dimension {', '.join(unclear)} is dynamic; only the batch may be",
                    "export with fixed sizes, or "
                    f"import_onnx(path, shapes={{{value.name!r}: (…)}}), without the batch",
                )
            else:
                shape = tuple(d or _BATCH for d in dims)
                self._trace.input(value.name, shape, _FLOATS[kind.elem_type])

    def _node(self, node: NodeProto) -> None:
        call = Call(node, self._origin(node), self._trace, attributes_of(node))
        operands = [self._trace.values.get(i) for i in node.input if i]
        outputs = [o for o in node.output if o]
        try:
            known = node.op_type in OPERATORS and _is_standard(node)
            if not known and not all(isinstance(o, Constant) for o in operands):
                raise unknown(node.op_type)
            if any(isinstance(o, Unknown) or o is None for o in operands):
                self._trace.values.update({o: Unknown() for o in outputs})
                return
            results = self._results(call, operands)
        except Refusal as refusal:
            results = [self._stand_in(call, refusal, o) for o in node.output]
        for name, value in zip(node.output, results, strict=False):
            if name:
                self._trace.values[name] = value

    def _results(self, call: Call, operands: list[OnnxValue | None]) -> list[OnnxValue]:
        node = call.node
        if node.op_type not in QONNX and all(isinstance(o, Constant) for o in operands):
            first = operands[0] if operands else None
            if (
                node.op_type == "Transpose"
                and isinstance(first, Constant)
                and first.array.ndim == 2
            ):
                turned = call.get("perm", [1, 0]) == [1, 0]
                return [transpose(node.output[0], first) if turned else first]
            results = self._folded(call)
            if node.op_type == "DequantizeLinear":
                return [quant.dequantized(call, results[0])]
            return [Constant(o, r) for o, r in zip(node.output, results, strict=True)]
        if node.op_type == "Clip" and isinstance(operands[0], Quantized):
            return [quant.clip_quantized(call, operands[0])]
        result = OPERATORS[node.op_type](call)
        several = result if isinstance(result, tuple) else (result,)
        return [View.of(r) if isinstance(r, FxNode) else r for r in several]

    def _folded(self, call: Call) -> list[Array]:
        """What a node computes from constants alone."""
        node = call.node
        names = [i for i in dict.fromkeys(node.input) if i]
        graph = onnx.helper.make_graph(
            [node],
            "constant",
            [onnx.ValueInfoProto(name=n) for n in names],
            [onnx.ValueInfoProto(name=o) for o in node.output if o],
        )
        model = onnx.helper.make_model(graph, opset_imports=self._model.opset_import)
        feeds = {n: call.array(list(node.input).index(n)) for n in names}
        try:
            return [np.asarray(r) for r in ReferenceEvaluator(model).run(None, feeds)]
        except Exception as error:  # whatever an implementation of an operator trips over
            reason = str(error).strip().split("\n")[0]
            raise Refusal(
                f"of constants, cannot be computed ({type(error).__name__}: {reason})",
                "fold constants before: onnxruntime or onnxsim do",
            ) from error

    def _origin(self, node: NodeProto) -> Origin:
        name = (node.name or next((o for o in node.output if o), node.op_type)).strip("/")
        unique, count = name, 1
        while unique in self._names:
            count += 1
            unique = f"{name}_{count}"
        self._names.add(unique)
        return Origin(unique, node.op_type, node.name or unique)

    def _stand_in(self, call: Call, refusal: Refusal, output: str) -> OnnxValue:
        """Keeps the refusal for the importer, and the shape, if it is known, for other nodes."""
        shape = self._known.get(output)
        node = self._trace.emit(
            call.origin,
            refused,
            shape=shape or (_BATCH, 1),
            reason=refusal.reason,
            remedy=refusal.remedy,
        )
        return Unknown() if shape is None else View.of(node)

    def _output(self, name: str, value: OnnxValue | None) -> FxNode | None:
        if not isinstance(value, View):
            return None
        return Call(NodeProto(), Origin(name, "output", name), self._trace).applied(value)


def _is_standard(node: NodeProto) -> bool:
    """Whether an operator's name means what it does in ONNX, or QONNX."""
    return (node.domain in ("", "ai.onnx")) != (node.op_type in QONNX)


def _inferred(model: ModelProto) -> dict[str, Shape]:
    """Shapes that ONNX's own inference finds, with a batch that stands for all."""
    try:
        graph = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    except (onnx.shape_inference.InferenceError, ValueError, RuntimeError):
        graph = model.graph
    shapes: dict[str, Shape] = {}
    for value in (*graph.value_info, *graph.output):
        dims = [d.dim_value or None for d in value.type.tensor_type.shape.dim]
        if dims and all(d is not None for d in dims[1:]):
            shapes[value.name] = tuple(d or _BATCH for d in dims)
    return shapes
