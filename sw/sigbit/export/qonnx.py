"""The integer graph as an ONNX model of standard operators, exact in every runtime.

Inputs and outputs are *stored* integers in float32 (``real = scale * (stored + zero)``); scales and
zeros of all tensors are in the model's metadata, entry ``sigbit``. Every tensor of the integer
graph has its name there. Convolutions work on levels (stored + zero), so that padding is 0, in
float32 where all sums stay below 2**24 and in float64 elsewhere: both are exact.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import DTypeLike, NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from sigbit.export.files import write_file
from sigbit.ir.arrays import narrow
from sigbit.ir.integer import (
    Conv,
    Gather,
    Input,
    IntegerGraph,
    MaxPool,
    Node,
    Source,
    TensorType,
)
from sigbit_hw.arch import numerics
from sigbit_hw.arch.host_schema import host_document

OPSET, IR_VERSION = 18, 10
"""Versions that runtimes have had for years."""

_EXACT = 1 << 24
"""All integers up to here are float32 numbers."""

Array = NDArray[Any]
Padding = tuple[int, int, int, int]


def export_qonnx(graph: IntegerGraph, path: str | Path, *, layers: bool = False) -> None:
    """Write :func:`onnx_model` to ``path``, whole or not at all."""
    write_file(Path(path), onnx_model(graph, layers=layers).SerializeToString())


def onnx_model(graph: IntegerGraph, *, layers: bool = False) -> ModelProto:
    """``graph`` as an ONNX model; with ``layers`` every tensor is an output.

    Executed by any ONNX runtime, outputs equal those of :meth:`IntegerGraph.evaluate`.
    """
    return _Exporter(graph).model(layers)


class _Exporter:
    """Builds the nodes of one model."""

    def __init__(self, graph: IntegerGraph) -> None:
        self._graph = graph
        self._nodes: list[NodeProto] = []
        self._constants: dict[str, TensorProto] = {}
        self._used = {n.name for n in graph.nodes}

    def model(self, layers: bool) -> ModelProto:
        """The whole model."""
        graph = self._graph
        for node in graph.nodes:
            self._node(node)
        names = dict.fromkeys(graph.outputs)
        if layers:
            names |= dict.fromkeys(n.name for n in graph.nodes if not isinstance(n, Input))
        outputs = [self._output(name) for name in names]
        body = helper.make_graph(
            self._nodes,
            graph.name,
            [self._info(n.name, n.type) for n in graph.inputs],
            outputs,
            list(self._constants.values()),
        )
        model = helper.make_model(
            body,
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name="sigbit",
            doc_string=__doc__,
        )
        helper.set_model_props(model, {"sigbit": json.dumps(self._metadata())})
        onnx.checker.check_model(model)
        return model

    def _metadata(self) -> dict[str, Any]:
        graph = self._graph
        tensors: dict[str, Any] = {
            n.name: {"scale": n.type.scale, "zero": n.type.zero, "planes": n.type.planes}
            for n in graph.nodes
        }
        for node in graph.inputs:
            tensors[node.name] |= {"low": node.low, "high": node.high}
        formats = {"weights": str(graph.weight_format), "activations": str(graph.act_format)}
        host = host_document(graph.host)[0]["steps"]
        return {"name": graph.name, "formats": formats, "tensors": tensors, "host": host}

    def _info(self, name: str, kind: TensorType) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, ("batch", *kind.shape))

    def _output(self, name: str) -> onnx.ValueInfoProto:
        """An input that is an output needs a name of its own."""
        node = self._graph[name]
        if isinstance(node, Input):
            name = self._add("Identity", name, result=self._unique(f"{name}.output"))
        return self._info(name, node.type)

    def _unique(self, name: str) -> str:
        unique, count = name, 1
        while unique in self._used:
            count += 1
            unique = f"{name}_{count}"
        self._used.add(unique)
        return unique

    def _add(self, op: str, *operands: str, result: str = "", **attributes: Any) -> str:
        """Append a node; the name of its result."""
        result = result or self._unique(f"{operands[0]}.{op.lower()}")
        self._nodes.append(helper.make_node(op, operands, [result], result, **attributes))
        return result

    def _constant(self, name: str, value: Array) -> str:
        name = self._unique(name)
        self._constants[name] = numpy_helper.from_array(np.ascontiguousarray(value), name)
        return name

    def _ints(self, *values: int) -> str:
        """A vector of int64; equal ones are stored once."""
        name = "ints." + "_".join(map(str, values))
        if name not in self._constants:
            self._used.add(name)
            self._constants[name] = numpy_helper.from_array(np.array(values, np.int64), name)
        return name

    def _node(self, node: Node) -> None:
        if isinstance(node, Conv):
            self._conv(node)
        elif isinstance(node, MaxPool):
            padded = self._bordered(node.tensor, node.padding, float(self._graph.act_format.min))
            self._add(
                "MaxPool",
                padded,
                result=node.name,
                kernel_shape=list(node.kernel),
                strides=list(node.stride),
            )
        elif isinstance(node, Gather):
            sizes = [self._graph[t].type.shape[0] for t in node.tensors]
            starts = np.cumsum([0, *sizes[:-1]])
            index = starts[node.channels[:, 0]] + node.channels[:, 1]
            joined = node.tensors[0]
            if len(node.tensors) > 1:
                joined = self._add("Concat", *node.tensors, axis=1)
            chosen = self._constant(f"{node.name}.index", index.astype(np.int64))
            self._add("Gather", joined, chosen, result=node.name, axis=1)

    def _conv(self, node: Conv) -> None:
        """Sum of convolutions, then ``table[requantize(...)]``."""
        base = node.base
        reach = np.zeros(len(base), np.int64)
        for source in node.sources:
            kind = self._graph[source.tensor].type
            values = self._graph.act_grid(kind.planes).values
            largest = int(np.abs(np.asarray(values) + kind.zero).max())
            rows = source.weights.reshape(len(base), -1)
            base = base - kind.zero * rows.sum(1) * numerics.UNIT
            reach = reach + np.abs(rows).sum(1) * (largest + abs(kind.zero))
        exact = bool((reach < _EXACT).all())
        dtype = np.dtype(np.float32 if exact else np.float64)
        parts = [self._source(node, i, s, dtype) for i, s in enumerate(node.sources)]
        total = parts[0]
        for part in parts[1:]:
            total = self._add("Add", total, part)
        if dtype != np.float64:
            total = self._add("Cast", total, to=TensorProto.DOUBLE)
        self._requantize(node, total, base)

    def _requantize(self, node: Conv, total: str, base: Array) -> None:
        """Division in float64, whose floor is that of the integers (``numerics.STEP_MAX``)."""

        def channels(name: str, values: Array) -> str:
            return self._constant(f"{node.name}.{name}", values[:, None, None])

        def number(name: str, value: float) -> str:
            return self._constant(f"{node.name}.{name}", np.asarray(value, np.float64))

        total = self._add("Add", total, channels("base", base / numerics.UNIT))
        step = channels("step", node.step / numerics.UNIT)
        y = self._add("Floor", self._add("Div", total, step))
        y = self._add("Clip", y, number("y_low", numerics.Y_MIN), number("y_high", numerics.Y_MAX))
        if node.tie.any():
            whole = self._add("Equal", self._add("Mul", y, step), total)
            tie = self._add("And", whole, channels("tie", node.tie.astype(bool)))
            half = self._add("Floor", self._add("Mul", y, number("half", 0.5)))
            even = self._add("Mul", half, number("two", 2.0))
            y = self._add("Where", tie, even, y)
        index = self._add("Add", y, number("first", -numerics.Y_MIN))
        index = self._add("Cast", index, to=TensorProto.INT64)
        table = np.roll(node.table, -numerics.Y_MIN).astype(np.float32)
        stored = self._constant(f"{node.name}.table", table)
        self._add("Gather", stored, index, result=node.name, axis=0)

    def _source(self, node: Conv, index: int, source: Source, dtype: np.dtype[Any]) -> str:
        """One convolution of levels."""
        kind = self._graph[source.tensor].type
        name = f"{node.name}.{index}"
        x = source.tensor
        to = helper.np_dtype_to_tensor_dtype(dtype)
        if dtype != np.float32:
            x = self._add("Cast", x, to=to)
        if kind.zero:
            x = self._add("Add", x, self._constant(f"{name}.zero", np.asarray(kind.zero, dtype)))
        x = self._spread(x, kind.shape, source.upsampling)
        padding = source.padding
        if min(padding) < 0:
            x, padding = self._bordered(x, padding, 0.0, dtype), (0, 0, 0, 0)
        weights = self._constant(f"{name}.weights", narrow(source.weights))
        return self._add(
            "Conv",
            x,
            self._add("Cast", weights, to=to),
            strides=list(source.stride),
            dilations=list(source.dilation),
            group=source.groups,
            pads=list(padding),
            kernel_shape=list(source.weights.shape[2:]),
        )

    def _spread(self, x: str, shape: tuple[int, int, int], upsampling: tuple[int, int]) -> str:
        """Zeros between the pixels."""
        if upsampling == (1, 1):
            return x
        (channels, height, width), (u, v) = shape, upsampling
        x = self._add("Reshape", x, self._ints(0, channels, height, 1, width, 1))
        x = self._add("Pad", x, self._ints(*[0] * 9, u - 1, 0, v - 1))
        x = self._add("Reshape", x, self._ints(0, channels, height * u, width * v))
        ends = self._ints((height - 1) * u + 1, (width - 1) * v + 1)
        return self._add("Slice", x, self._ints(0, 0), ends, self._ints(2, 3))

    def _bordered(
        self, x: str, padding: Padding, value: float, dtype: DTypeLike = np.float32
    ) -> str:
        """A border of ``value``, cut off where negative."""
        top, left, bottom, right = padding
        if min(padding) < 0:
            starts = self._ints(max(-top, 0), max(-left, 0))
            ends = self._ints(*(e if e < 0 else 1 << 31 for e in (bottom, right)))
            x = self._add("Slice", x, starts, ends, self._ints(2, 3))
        if max(padding) <= 0:
            return x
        top, left, bottom, right = (max(p, 0) for p in padding)
        pads = self._ints(0, 0, top, left, 0, 0, bottom, right)
        border = self._constant(f"{x}.border", np.asarray(value, dtype))
        return self._add("Pad", x, pads, border)
