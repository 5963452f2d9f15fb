"""Import of ONNX and QONNX files: every node is translated or reported."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import prod
from pathlib import Path

import onnx
import torch
from onnx import ModelProto, NodeProto, numpy_helper
from torch.fx import Node as FxNode

from sigbit.frontend.accounting import check_onnx
from sigbit.frontend.cutting import cut_import, shortened_import
from sigbit.frontend.importer import Importer
from sigbit.frontend.onnx import quantizers as quant
from sigbit.frontend.onnx.explicit import explicit
from sigbit.frontend.onnx.folding import Folder
from sigbit.frontend.onnx.open_dimensions import check_shapes
from sigbit.frontend.onnx.operators import FUNCTIONS, OPERATORS, QONNX, unknown
from sigbit.frontend.onnx.qoperator import lowered
from sigbit.frontend.onnx.quantizers import annotate
from sigbit.frontend.onnx.reading import check_model, read_model
from sigbit.frontend.onnx.tail import OnnxTail
from sigbit.frontend.onnx.thresholds import integer_input, integer_weights
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
from sigbit.frontend.report import UnreadableModel, UnsupportedModel, UnsupportedNode
from sigbit.frontend.source import Origin
from sigbit.frontend.tail import named_results
from sigbit.frontend.values import ELEMENTS_MAX, Refusal
from sigbit.ir.floating import FloatGraph
from sigbit_hw.arch.names import numbered

Shape = tuple[int, ...]
_FLOATS = {
    onnx.TensorProto.FLOAT: torch.float32,
    onnx.TensorProto.FLOAT16: torch.float32,
    onnx.TensorProto.BFLOAT16: torch.float32,
    onnx.TensorProto.DOUBLE: torch.float64,
}
_NARROW = frozenset([onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16])
_BATCH = 2
"""Placeholder for a batch of any size; more than one, so that operations that mix samples are
detected."""
SIDE_MAX = 1 << 20
"""Maximum number of channels, lines, columns or steps of an input."""


def import_onnx(
    model: str | Path | ModelProto,
    shapes: Mapping[str, Shape] | None = None,
    cuts: Sequence[str] = (),
) -> FloatGraph:
    """Return the float graph of an ONNX or QONNX model.

    Parameters
    ----------
    model : path or ModelProto
        A file, with its external data beside it, or a model.
    shapes : Mapping, optional
        Shapes of inputs without the batch, for inputs whose dimensions the model leaves open.
    cuts : Sequence of str, optional
        Names of tensors behind which the host continues. Without cuts it continues where operators
        are not supported, if it supports all later ones.

    Weights are quantized as the model quantizes them; quantizers of computed tensors become
    :attr:`FloatGraph.quantizers`. Raises :class:`UnsupportedModel` with one row for every node that
    cannot be compiled, :class:`UnreadableModel` for a file that is not an ONNX model, and
    ``UserError`` for invalid cuts and shapes.
    """
    if isinstance(model, ModelProto):
        name = model.graph.name or "model"
        try:
            check_model(model)
        except ValueError as error:
            raise _no_model(name, error) from error
        return _imported(model, name, shapes or {}, cuts)
    path = Path(model)
    try:
        loaded = read_model(path)
    except ValueError as error:
        raise _no_model(str(path), error) from error
    return _imported(loaded, path.stem, shapes or {}, cuts)


def _imported(
    model: ModelProto, name: str, shapes: Mapping[str, Shape], cuts: Sequence[str]
) -> FloatGraph:
    """Return the graph, with the operations behind a cut, or unsupported ones at its end, on the
    host."""
    check_shapes(model, shapes)
    whole = _OnnxImporter(model, name, shapes)

    def front(part: ModelProto) -> _OnnxImporter:
        return _OnnxImporter(part, name, shapes)

    if cuts:
        with whole.reading():
            network = OnnxTail(whole.model, shapes, front)
        return cut_import(network, name, cuts)
    try:
        return whole.run()
    except UnsupportedModel:
        if not whole.refused:
            raise
        with whole.reading():
            network = OnnxTail(whole.model, shapes, front)
        graph = shortened_import(network, name, whole.refused)
        if graph is None:
            raise
        return graph


def _no_model(where: str, error: Exception) -> UnreadableModel:
    """Return the error for a file or a message that is not a model."""
    return UnreadableModel(
        f"{where} is not an ONNX model ({error}): give a file that torch.onnx.export or onnx.save "
        "wrote, with its external data"
    )


class _OnnxImporter:
    """Translates one model."""

    def __init__(self, model: ModelProto, name: str, shapes: Mapping[str, Shape]) -> None:
        self._name, self._shapes = name, shapes
        with self.reading():
            if model.functions:
                from onnx.inliner import inline_local_functions

                model = inline_local_functions(model)
            model, self._kept = lowered(model)
            versions = {o.domain: o.version for o in model.opset_import}
            constants = [numpy_helper.to_array(t) for t in model.graph.initializer]
            self._known = _inferred(model)
        self.model = model
        types = {n.input[1] for n in model.graph.node if n.op_type == "CastLike" and n.input[1:]}
        stored = {t.data_type for t in model.graph.initializer if t.name not in types}
        stored |= {v.type.tensor_type.elem_type for v in model.graph.input}
        self._trace = Trace(versions.get("", versions.get("ai.onnx", 1)), _NARROW & stored)
        arrays = dict(zip((t.name for t in model.graph.initializer), constants, strict=True))
        integers = integer_weights(model, arrays)
        self._trace.values.update(
            (name, Constant(name, array, integers.get(name))) for name, array in arrays.items()
        )
        self._folder = Folder(model.opset_import, sum(array.size for array in constants))
        self._names: set[str] = set()
        self._results_of: dict[str, tuple[str, ...]] = {}
        self.refused = frozenset[str]()
        """The results of the nodes that :meth:`run` refused; none if it refused anything else."""
        self._read = {i for n in model.graph.node for i in n.input}
        self._read |= {o.name for o in model.graph.output}

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Report the errors that a damaged model causes in its readers."""
        try:
            yield
        except _MALFORMED as error:
            reason = str(error).strip().split("\n")[0]
            raise _no_model(self._name, ValueError(f"{type(error).__name__}: {reason}")) from error

    def run(self) -> FloatGraph:
        """Return the graph; raise :class:`UnsupportedModel` if a node cannot be translated."""
        with self.reading():
            if rows := tuple(self._inputs()):
                raise UnsupportedModel(self._name, rows)
            for node in self.model.graph.node:
                self._node(node)
            values = [(o.name, self._trace.values.get(o.name)) for o in self.model.graph.output]
            absent = [name for name, value in values if value is None]
            if absent or not values:
                reason = f"no node computes {absent[0]!r}" if absent else "it has no outputs"
                row = UnsupportedNode(self._name, "graph", "", reason, _MEND)
                raise UnsupportedModel(self._name, (row,))
            results = tuple(self._output(n, v) for n, v in values if not isinstance(v, Unknown))
            trace = self._trace
            trace.graph.output(results)
        importer = Importer(trace.graph, trace.constants, self._name, FUNCTIONS, trace.quantizers)
        try:
            graph = importer.run()
        except UnsupportedModel as error:
            found = [self._tensors_of(row) for row in error.rows]
            self.refused = frozenset(t for each in found for t in each if all(found))
            raise
        return explicit(named_results(graph, [o.name for o in self.model.graph.output]))

    def _tensors_of(self, row: UnsupportedNode) -> tuple[str, ...]:
        """Return the results of the node that a row names, or the output."""
        if row.op == "output":
            return tuple(o.name for o in self.model.graph.output if o.name == row.name)
        return self._results_of.get(row.name, ())

    def _inputs(self) -> Iterator[UnsupportedNode]:
        """Import the network inputs; yield a row for each that is not supported."""
        for value in self.model.graph.input:
            if value.name in self._trace.values:
                continue
            kind = value.type.tensor_type
            dims = [d.dim_value if d.dim_value > 0 else None for d in kind.shape.dim]
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
                    _open_remedy(value.name, dims, unclear),
                )
            elif any(d is not None and not 0 < d <= SIDE_MAX for d in dims):
                yield UnsupportedNode(
                    value.name,
                    "input",
                    value.name,
                    f"has the dimensions {dims}, which must be in [1, {SIDE_MAX}]",
                    "give smaller inputs",
                )
            else:
                shape = tuple(d or _BATCH for d in dims)
                self._trace.input(value.name, shape, _FLOATS[kind.elem_type])
                if (quantizer := integer_input(self.model, value.name)) is not None:
                    call = Call(NodeProto(), Origin(value.name, "input", value.name), self._trace)
                    found = self._trace.values[value.name]
                    assert isinstance(found, View)
                    node = call.emit(annotate, found.node, quantizer)
                    self._trace.values[value.name] = View.of(node)

    def _node(self, node: NodeProto) -> None:
        try:
            call = Call(node, self._origin(node), self._trace, attributes_of(node))
        except _MALFORMED as error:
            call = Call(node, self._origin(node), self._trace)
            results = [self._stand_in(call, _malformed(error), o) for o in node.output]
            self._trace.values.update(zip(node.output, results, strict=True))
            return
        operands = [self._trace.values.get(i) for i in node.input if i]
        outputs = [o for o in node.output if o]
        try:
            if absent := [i for i in node.input if i and i not in self._trace.values]:
                raise Refusal(f"reads {absent[0]!r}, which nothing before it computes", _MEND)
            known = node.op_type in OPERATORS and _is_standard(node)
            if not known and not all(isinstance(o, Constant) for o in operands):
                raise self._kept.get(next(iter(outputs), "")) or unknown(node.op_type)
            if any(isinstance(o, Unknown) for o in operands):
                self._trace.values.update({o: Unknown() for o in outputs})
                return
            results = self._results(call, operands)
        except Refusal as refusal:
            results = [self._stand_in(call, refusal, o) for o in node.output]
        except _MALFORMED as error:
            results = [self._stand_in(call, _malformed(error), o) for o in node.output]
        for i, name in enumerate(node.output):
            if not name:
                continue
            if i < len(results):
                self._trace.values[name] = results[i]
            elif name in self._read:
                why = Refusal(f"its result {i} ({name!r}) is read", "use the first result only")
                self._trace.values[name] = self._stand_in(call, why, name)

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
        check_onnx(node, call.attributes, call.read, call.operands, self._trace.opset)
        several = result if isinstance(result, tuple) else (result,)
        return [View.of(r) if isinstance(r, FxNode) else r for r in several]

    def _folded(self, call: Call) -> list[Array]:
        """Return the results of a node that depends on constants alone."""
        inputs = list(call.node.input)
        names = [i for i in dict.fromkeys(inputs) if i]
        return self._folder.compute(call.node, {n: call.array(inputs.index(n)) for n in names})

    def _origin(self, node: NodeProto) -> Origin:
        name = (node.name or next((o for o in node.output if o), node.op_type)).strip("/")
        unique = numbered(name, self._names)
        self._names.add(unique)
        self._results_of[unique] = tuple(o for o in node.output if o)
        return Origin(unique, node.op_type, node.name or unique)

    def _stand_in(self, call: Call, refusal: Refusal, output: str) -> OnnxValue:
        """Keep the refusal for the importer, and the shape, if known, for other nodes."""
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


def _open_remedy(name: str, dims: list[int | None], unclear: list[str]) -> str:
    """Return the remedy for open dimensions other than the batch."""
    if dims[0] is not None and len(unclear) == 1 and dims[1] is None:
        return "the batch must be the first dimension: export with it in front (batch_first=True)"
    return f"give --input {name}=SHAPE without the batch (import_onnx: shapes=), or fixed sizes"


_MALFORMED = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
    onnx.shape_inference.InferenceError,
)
"""Exceptions raised while reading models whose nodes lack attributes, or have attributes of another
type."""


def _malformed(error: BaseException) -> Refusal:
    reason = str(error).strip().split("\n")[0]
    return Refusal(
        f"its operands or attributes are malformed ({type(error).__name__}: {reason})", _MEND
    )


_MEND = "check the model with onnx.checker.check_model(model, full_check=True)"


def _is_standard(node: NodeProto) -> bool:
    """Return whether an operator's name has its ONNX, or QONNX, meaning."""
    return (node.domain in ("", "ai.onnx")) != (node.op_type in QONNX)


def _inferred(model: ModelProto) -> dict[str, Shape]:
    """Return the shapes that ONNX's own inference computes, with a placeholder batch size."""
    try:
        graph = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    except (onnx.shape_inference.InferenceError, ValueError, RuntimeError):
        graph = model.graph
    shapes: dict[str, Shape] = {}
    for value in (*graph.value_info, *graph.output):
        dims = [d.dim_value or None for d in value.type.tensor_type.shape.dim]
        shape = tuple(d or _BATCH for d in dims)
        if dims and all(d is not None for d in dims[1:]) and min(shape) > 0:
            shapes[value.name] = shape if prod(shape) <= ELEMENTS_MAX else (_BATCH, 1)
    return shapes
