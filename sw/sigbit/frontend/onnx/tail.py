"""Nodes of an ONNX model behind a cut, as host steps that use ONNX's own functions.

The host sees one sample at a time, so that shapes are those with a batch of one.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, numpy_helper

from sigbit.frontend.accounting import NEUTRAL_ONNX, onnx_schema
from sigbit.frontend.cut import Operation
from sigbit.frontend.cutting import Front
from sigbit.frontend.onnx.folding import Folder
from sigbit.frontend.onnx.trace import attributes_of
from sigbit.frontend.source import Origin
from sigbit.frontend.tail import Tail, unknown
from sigbit.frontend.values import Refusal
from sigbit_hw.arch.host import FUNCTIONS

_OPERANDS: Mapping[str, tuple[tuple[str, int], ...]] = {
    "Clip": (("min", 1), ("max", 2)),
    "ReduceMax": (("axes", 1),),
    "ReduceMean": (("axes", 1),),
    "ReduceMin": (("axes", 1),),
    "ReduceSum": (("axes", 1),),
    "Reshape": (("shape", 1),),
    "Slice": (("starts", 1), ("ends", 2), ("axes", 3)),
    "Split": (("split", 1),),
    "Squeeze": (("axes", 1),),
    "TopK": (("k", 1),),
    "Unsqueeze": (("axes", 1),),
    "ConstantOfShape": (("value", 1),),
}
"""Attributes, some of earlier operator sets, that become operands of the host's functions."""
_SAME = {"Dropout": "Identity"}
_SINCE_LAST_AXIS = 13
"""First operator set with softmax over one axis; earlier ones use several axes at once."""


class OnnxTail:
    """A model as a graph to cut, and its nodes as steps; see
    :class:`~sigbit.frontend.cutting.Cuttable`. ``front`` imports a part of it."""

    def __init__(
        self,
        model: ModelProto,
        given: Mapping[str, tuple[int, ...]],
        front: Callable[[ModelProto], Front],
    ) -> None:
        self._whole, self._front = model, front
        one = _of_one_sample(model, given)
        graph = one.graph
        self.opset = {o.domain: o.version for o in model.opset_import}.get("", 1)
        self.shapes = _shapes(one)
        self._static = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
        self.inputs = [i.name for i in graph.input if i.name not in self._static]
        self.outputs = [o.name for o in graph.output]
        folder = Folder(model.opset_import, sum(a.size for a in self._static.values()))
        self.nodes: list[NodeProto] = []
        for node in graph.node:
            if not self._fold(node, folder):
                self.nodes.append(node)
        self.operations = [
            Operation(
                tuple(i for i in n.input if i and i not in self._static),
                tuple(o for o in n.output if o),
            )
            for n in self.nodes
        ]

    def _fold(self, node: NodeProto, folder: Folder) -> bool:
        """Fold a node that depends on constants and shapes alone; return whether its results are
        now known."""
        operands = [i for i in node.input if i]
        if node.op_type == "Shape" and operands and operands[0] in self.shapes:
            shape = np.array(self.shapes[operands[0]], np.int64)
            start, end = (attributes_of(node).get(k) for k in ("start", "end"))
            self._static[node.output[0]] = shape[start:end]
            return True
        if not all(i in self._static for i in operands):
            return False
        try:
            results = folder.compute(node, {i: self._static[i] for i in operands})
        except Refusal:
            return False
        self._static.update({n: r for n, r in zip(node.output, results, strict=True) if n})
        return True

    @property
    def sides(self) -> Mapping[str, tuple[int, ...]]:
        """Shapes of tensors without the batch, as far as they are known."""
        return {n: s[1:] for n, s in self.shapes.items()}

    def where(self, index: int) -> Origin:
        """Return the source location of node ``index``: its name."""
        node = self.nodes[index]
        name = node.name or next((o for o in node.output if o), node.op_type)
        return Origin(name, node.op_type, name)

    def front(self, boundary: tuple[str, ...]) -> Front:
        """Return the import of the part that computes ``boundary``."""
        return self._front(accelerated(self._whole, boundary))

    def steps(self, behind: Sequence[int]) -> tuple[Tail, dict[int, Refusal]]:
        """Return the nodes ``behind`` as steps, and the reason for each node that cannot be one."""
        _need_one_sample(self._whole)
        tail, refused = Tail(), {}
        for index in behind:
            try:
                self._step(self.nodes[index], tail)
            except Refusal as refusal:
                refused[index] = refusal
        return tail, refused

    def _step(self, node: NodeProto, tail: Tail) -> None:
        function = _SAME.get(node.op_type, node.op_type)
        if node.domain not in ("", "ai.onnx") or function not in FUNCTIONS:
            raise Refusal(*unknown())
        attributes = attributes_of(node)
        operands = list(node.input[:1] if function == "Identity" else node.input)
        for name, place in _OPERANDS.get(function, ()):
            if name in attributes:
                value = attributes.pop(name)
                array = numpy_helper.to_array(value) if hasattr(value, "dims") else np.array(value)
                operands += [""] * (place + 1 - len(operands))
                operands[place] = f"{node.output[0]}.{name}"
                self._static[operands[place]] = array
        if function in ("Softmax", "LogSoftmax") and self.opset < _SINCE_LAST_AXIS:
            self._need_last_axis(node, attributes)
        options = self._options(node, function, attributes)
        names = [tail.constant(o, self._static[o]) if o in self._static else o for o in operands]
        while names and not names[-1]:
            names.pop()
        results = list(node.output)
        while results and not results[-1]:
            results.pop()
        tail.add(function, names, results, options, node.name or results[0])

    def _need_last_axis(self, node: NodeProto, attributes: dict[str, Any]) -> None:
        rank = len(self.shapes.get(node.input[0], ()))
        axis = int(attributes.setdefault("axis", 1))
        if not rank or axis % rank != rank - 1:
            raise Refusal(
                "of several dimensions at once, as before opset 13",
                "convert the model to opset 13 or later",
            )

    def _options(self, node: NodeProto, function: str, attributes: dict[str, Any]) -> Any:
        """Return the attributes that the host's function has; all others must be at their
        defaults."""
        schema = onnx_schema(node, self.opset)
        options = {}
        for name, value in attributes.items():
            if name in FUNCTIONS[function].options:
                options[name] = tuple(value) if isinstance(value, list) else value
                continue
            default = schema.attributes[name].default_value if schema is not None else None
            if {("", name), (node.op_type, name)} & NEUTRAL_ONNX:
                continue
            if default is None or onnx.helper.get_attribute_value(default) != value:
                raise Refusal(
                    f"attribute {name!r} is {value}, which the host has not", f"leave {name} out"
                )
        return options


def _need_one_sample(model: ModelProto) -> None:
    """Refuse a model for batches of several samples."""
    constants = {t.name for t in model.graph.initializer}
    for value in model.graph.input:
        dims = value.type.tensor_type.shape.dim
        if value.name not in constants and dims and dims[0].dim_value > 1:
            raise Refusal(
                f"the model takes batches of {dims[0].dim_value}, the host one sample at a time",
                "export it with an open batch, or one of 1",
            )


def _of_one_sample(model: ModelProto, given: Mapping[str, tuple[int, ...]]) -> ModelProto:
    """Return the model with a batch of one, and shapes as ``given`` without it."""
    copy = ModelProto()
    copy.CopyFrom(model)
    constants = {t.name for t in model.graph.initializer}
    for value in copy.graph.input:
        if value.name not in constants:
            sizes = (1, *given.get(value.name, ()))
            for dim, size in zip(value.type.tensor_type.shape.dim, sizes, strict=False):
                dim.dim_value = size
    for known in (*copy.graph.value_info, *copy.graph.output):
        known.type.tensor_type.ClearField("shape")
    return copy


def _shapes(model: ModelProto) -> dict[str, tuple[int, ...]]:
    """Return the shapes that ONNX's own inference computes."""
    try:
        graph = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    except (onnx.shape_inference.InferenceError, ValueError, RuntimeError):
        graph = model.graph
    found = {}
    for value in (*graph.input, *graph.value_info, *graph.output):
        if value.type.tensor_type.HasField("shape"):
            dims = [d.dim_value for d in value.type.tensor_type.shape.dim]
            if all(d > 0 for d in dims):
                found[value.name] = tuple(dims)
    return found


def accelerated(model: ModelProto, boundary: tuple[str, ...]) -> ModelProto:
    """Return the part of ``model`` that computes ``boundary``, its results."""
    copy = ModelProto()
    copy.CopyFrom(model)
    needed, kept = set(boundary), []
    for node in reversed(model.graph.node):
        if needed.intersection(node.output):
            kept.append(node)
            needed.update(node.input)
    del copy.graph.node[:], copy.graph.output[:]
    copy.graph.node.extend(reversed(kept))
    known = {v.name: v for v in (*model.graph.value_info, *model.graph.output)}
    copy.graph.output.extend(known.get(n, onnx.ValueInfoProto(name=n)) for n in boundary)
    return copy
