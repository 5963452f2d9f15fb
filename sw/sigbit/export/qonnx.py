"""The integer graph as an ONNX model of standard operators, exact in every runtime.

Inputs and outputs are real values in float32, under the names and in the shapes of the network's
user, or *stored* integers in float32, ``[batch, C, H, W]`` (``real = scale * (stored + zero)``).
Tensors of stored integers that are an input or an output are called ``NAME.stored``, others have
their name of the integer graph; scales and zeros of all are in the model's metadata, entry
``sigbit``. Convolutions work on levels (stored + zero), so that padding is 0, in float32 where all
sums stay below 2**24 and in float64 elsewhere: both are exact.
"""

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import DTypeLike
from onnx import ModelProto, TensorProto, ValueInfoProto, helper

from sigbit.export.files import write_file
from sigbit.export.onnx_ends import dequantize, quantize
from sigbit.export.onnx_nodes import Array, Nodes
from sigbit.ir.arrays import narrow
from sigbit.ir.integer import (
    Constant,
    Conv,
    Gather,
    Input,
    IntegerGraph,
    Matmul,
    MaxPool,
    Node,
    Source,
)
from sigbit_hw.arch import numerics
from sigbit_hw.arch.host_schema import host_document

OPSET, IR_VERSION = 18, 10
"""Versions that runtimes have supported for years."""

_EXACT = 1 << 24
"""Limit up to which all integers are exact in float32."""

_REAL = "real values"
_CODES = "stored integers: real = scale * (stored + zero)"

Padding = tuple[int, int, int, int]


def export_qonnx(graph: IntegerGraph, path: str | Path, **options: Any) -> None:
    """Write :func:`onnx_model` with ``options`` to ``path`` atomically."""
    write_file(Path(path), onnx_model(graph, **options).SerializeToString())


def onnx_model(
    graph: IntegerGraph, *, layers: bool = False, stored: bool = False, batch: int | None = None
) -> ModelProto:
    """Return ``graph`` as an ONNX model, with the same results in any ONNX runtime.

    Parameters
    ----------
    layers : bool
        Every tensor is an output too, as stored integers.
    stored : bool
        Inputs and outputs are stored integers, as in :meth:`IntegerGraph.evaluate`, instead of
        the real values of :class:`~sigbit.quant.IntegerModel`.
    batch : int, optional
        Samples of every input; any number if not given. With it all tensors have known shapes.
    """
    return _Exporter(graph, stored, batch).model(layers)


class _Exporter(Nodes):
    """Builds the nodes of one model."""

    def __init__(self, graph: IntegerGraph, stored: bool, batch: int | None) -> None:
        super().__init__((*(n.name for n in graph.nodes), *graph.output_names))
        self._graph, self._stored, self._batch = graph, stored, batch
        self._ends = {n.name for n in graph.inputs} | {*graph.outputs, *graph.output_names}
        self._names = {
            n.name: self.unique(f"{n.name}.stored") if n.name in self._ends else n.name
            for n in graph.nodes
        }

    def model(self, layers: bool) -> ModelProto:
        """Return the whole model."""
        graph = self._graph
        for node in graph.nodes:
            self._node(node)
        for node in self.nodes:
            node.input[:] = [self._names.get(i, i) for i in node.input]
            node.output[:] = [self._names.get(o, o) for o in node.output]
            node.name = node.output[0]
        inputs, outputs = self._stored_ends() if self._stored else self._real_ends()
        if layers:
            there = {o.name for o in outputs}
            rest = (n for n in graph.nodes if not isinstance(n, Input))
            outputs += [
                self._info(self._names[n.name], n.type.shape, _CODES)
                for n in rest
                if self._names[n.name] not in there
            ]
        body = helper.make_graph(
            self.nodes, graph.name, inputs, outputs, list(self.constants.values())
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
        return model if self._batch is None else onnx.shape_inference.infer_shapes(model)

    def _stored_ends(self) -> tuple[list[ValueInfoProto], list[ValueInfoProto]]:
        """Return inputs and outputs as stored integers; an input that is an output needs a name of
        its own."""
        graph = self._graph
        inputs = [self._info(self._names[n.name], n.type.shape, _CODES) for n in graph.inputs]
        outputs = []
        for tensor in dict.fromkeys(graph.outputs):
            name, node = self._names[tensor], graph[tensor]
            if isinstance(node, Input):
                name = self.add("Identity", name, result=self.unique(f"{tensor}.output"))
            outputs.append(self._info(name, node.type.shape, _CODES))
        return inputs, outputs

    def _real_ends(self) -> tuple[list[ValueInfoProto], list[ValueInfoProto]]:
        """Return inputs and outputs as real values in the shapes of the network's user."""
        graph, inner = self._graph, self.nodes
        inputs, outputs = [], []
        self.nodes = []
        for node in graph.inputs:
            quantize(self, node.name, node, self._names[node.name])
            inputs.append(self._info(node.name, node.axes.shape(node.type.shape), _REAL))
        self.nodes += inner
        for name, tensor, axes in zip(
            graph.output_names, graph.outputs, graph.output_axes, strict=True
        ):
            result = name if name not in {i.name for i in inputs} else self.unique(f"{name}.output")
            kind = graph[tensor].type
            dequantize(self, self._names[tensor], kind, axes, result)
            outputs.append(self._info(result, axes.shape(kind.shape), _REAL))
        return inputs, outputs

    def _metadata(self) -> dict[str, Any]:
        graph = self._graph
        tensors: dict[str, Any] = {
            n.name: {"scale": n.type.scale, "zero": n.type.zero, "planes": n.type.planes}
            for n in graph.nodes
        }
        for node in graph.inputs:
            tensors[node.name] |= {"low": node.low, "high": node.high}
        formats = {"weights": str(graph.weight_format), "activations": str(graph.act_format)}
        return {
            "name": graph.name,
            "values": "stored" if self._stored else "real",
            "formats": formats,
            "tensors": {self._names[name]: facts for name, facts in tensors.items()},
            "outputs": list(graph.output_names),
            "host": host_document(graph.host)[0],
            "preprocessing": graph.preprocessing and asdict(graph.preprocessing),
            "classes": list(graph.classes),
        }

    def _info(self, name: str, shape: tuple[int, ...], what: str) -> ValueInfoProto:
        sizes = ("batch" if self._batch is None else self._batch, *shape)
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, sizes, what)

    def _node(self, node: Node) -> None:
        if isinstance(node, Conv):
            self._conv(node)
        elif isinstance(node, Matmul):
            self._matmul(node)
        elif isinstance(node, Constant):
            values = self.constant(f"{node.name}.values", node.values[None].astype(np.float32))
            batch = self.add("Shape", self._graph.inputs[0].name, start=0, end=1)
            shape = self.add("Concat", batch, self.ints(*node.type.shape), axis=0)
            self.add("Expand", values, shape, result=node.name)
        elif isinstance(node, MaxPool):
            padded = self._bordered(node.tensor, node.padding, float(self._graph.act_format.min))
            self.add(
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
                joined = self.add("Concat", *node.tensors, axis=1)
            chosen = self.constant(f"{node.name}.index", index.astype(np.int64))
            self.add("Gather", joined, chosen, result=node.name, axis=1)

    def _conv(self, node: Conv) -> None:
        """Add a sum of convolutions, then ``table[requantize(...)]``."""
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
            total = self.add("Add", total, part)
        if dtype != np.float64:
            total = self.add("Cast", total, to=TensorProto.DOUBLE)
        self._requantize(node, total, base)

    def _matmul(self, node: Matmul) -> None:
        """Add a product of two tensors in float64, then ``table[requantize(...)]``."""
        factors = []
        for tensor in (node.left, node.right):
            channels, *size = self._graph[tensor].type.shape
            flat = self.add("Reshape", tensor, self.ints(0, channels, math.prod(size)))
            factors.append(self.add("Cast", flat, to=TensorProto.DOUBLE))
        rows = self.add("Transpose", factors[1], perm=[0, 2, 1])
        total = self.add("MatMul", rows, factors[0])
        total = self.add("Reshape", total, self.ints(0, *node.type.shape))
        self._requantize(node, total, node.base)

    def _requantize(self, node: Conv | Matmul, total: str, base: Array) -> None:
        """Divide in float64, whose floor equals that of the integers (``numerics.STEP_MAX``)."""

        def channels(name: str, values: Array) -> str:
            return self.constant(f"{node.name}.{name}", values[:, None, None])

        def number(name: str, value: float) -> str:
            return self.constant(f"{node.name}.{name}", np.asarray(value, np.float64))

        total = self.add("Add", total, channels("base", base / numerics.UNIT))
        step = channels("step", node.step / numerics.UNIT)
        y = self.add("Floor", self.add("Div", total, step))
        y = self.add("Clip", y, number("y_low", numerics.Y_MIN), number("y_high", numerics.Y_MAX))
        if node.tie.any():
            whole = self.add("Equal", self.add("Mul", y, step), total)
            tie = self.add("And", whole, channels("tie", node.tie.astype(bool)))
            half = self.add("Floor", self.add("Mul", y, number("half", 0.5)))
            even = self.add("Mul", half, number("two", 2.0))
            y = self.add("Where", tie, even, y)
        index = self.add("Add", y, number("first", -numerics.Y_MIN))
        index = self.add("Cast", index, to=TensorProto.INT64)
        table = np.roll(node.table, -numerics.Y_MIN).astype(np.float32)
        stored = self.constant(f"{node.name}.table", table)
        self.add("Gather", stored, index, result=node.name, axis=0)

    def _source(self, node: Conv, index: int, source: Source, dtype: np.dtype[Any]) -> str:
        """Add one convolution of levels."""
        kind = self._graph[source.tensor].type
        name = f"{node.name}.{index}"
        x = source.tensor
        to = helper.np_dtype_to_tensor_dtype(dtype)
        if dtype != np.float32:
            x = self.add("Cast", x, to=to)
        if kind.zero:
            x = self.add("Add", x, self.constant(f"{name}.zero", np.asarray(kind.zero, dtype)))
        x = self._spread(x, kind.shape, source.upsampling)
        padding = source.padding
        if min(padding) < 0:
            x, padding = self._bordered(x, padding, 0.0, dtype), (0, 0, 0, 0)
        weights = self.constant(f"{name}.weights", narrow(source.weights))
        return self.add(
            "Conv",
            x,
            self.add("Cast", weights, to=to),
            strides=list(source.stride),
            dilations=list(source.dilation),
            group=source.groups,
            pads=list(padding),
            kernel_shape=list(source.weights.shape[2:]),
        )

    def _spread(self, x: str, shape: tuple[int, int, int], upsampling: tuple[int, int]) -> str:
        """Insert zeros between the pixels."""
        if upsampling == (1, 1):
            return x
        (channels, height, width), (u, v) = shape, upsampling
        x = self.add("Reshape", x, self.ints(0, channels, height, 1, width, 1))
        x = self.add("Pad", x, self.ints(*[0] * 9, u - 1, 0, v - 1))
        x = self.add("Reshape", x, self.ints(0, channels, height * u, width * v))
        ends = self.ints((height - 1) * u + 1, (width - 1) * v + 1)
        return self.add("Slice", x, self.ints(0, 0), ends, self.ints(2, 3))

    def _bordered(
        self, x: str, padding: Padding, value: float, dtype: DTypeLike = np.float32
    ) -> str:
        """Add a border of ``value``; negative padding cuts off pixels."""
        top, left, bottom, right = padding
        if min(padding) < 0:
            starts = self.ints(max(-top, 0), max(-left, 0))
            ends = self.ints(*(e if e < 0 else 1 << 31 for e in (bottom, right)))
            x = self.add("Slice", x, starts, ends, self.ints(2, 3))
        if max(padding) <= 0:
            return x
        top, left, bottom, right = (max(p, 0) for p in padding)
        pads = self.ints(0, 0, top, left, 0, 0, bottom, right)
        border = self.constant(f"{x}.border", np.asarray(value, dtype))
        return self.add("Pad", x, pads, border)
