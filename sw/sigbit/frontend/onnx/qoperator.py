"""Operators that compute with integers (QLinearConv, QGemm and similar) in expanded form:
DequantizeLinear of every operand, the operator on real numbers, QuantizeLinear of its result.

Biases are integers of the product of the scales of input and weight. Operators that only move or
choose integers (reshapes, maxima) move the real numbers that they represent. Operators without this
form stay unchanged, with the reason.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from sigbit.frontend.values import Refusal
from sigbit_hw.arch.names import numbered

Array = NDArray[np.generic]
MICROSOFT = "com.microsoft"
"""The domain of ONNX Runtime's own operators."""


@dataclass(frozen=True)
class _Grid:
    """Scale and zero point of a tensor of integers, by the names of constants; "" is a zero point
    of 0."""

    scale: str
    zero: str
    axis: int | None = None


def lowered(model: ModelProto) -> tuple[ModelProto, Mapping[str, Refusal]]:
    """Return ``model`` without operators on integers, as far as possible, and the reasons for the
    remaining ones, by the name of their result."""
    if not any(_key(node) in _LOWERINGS for node in model.graph.node):
        return model, {}
    copy = ModelProto()
    copy.CopyFrom(model)
    lowering = _Lowering(copy)
    lowering.run()
    return copy, lowering.refusals


def _key(node: NodeProto) -> tuple[str, str]:
    return ("" if node.domain == "ai.onnx" else node.domain), node.op_type


@dataclass
class _Lowering:
    model: ModelProto
    refusals: dict[str, Refusal] = field(default_factory=dict)

    def __post_init__(self) -> None:
        graph = self.model.graph
        self.arrays: dict[str, TensorProto] = {t.name: t for t in graph.initializer}
        for node in graph.node:
            if node.op_type == "Constant" and len(node.attribute) == 1 and node.output:
                value = node.attribute[0]
                if value.name == "value":
                    self.arrays[node.output[0]] = value.t
        self.nodes: list[NodeProto] = []
        self.grids: dict[str, _Grid] = {}
        self.real: dict[str, str] = {}
        """Names of the real numbers that tensors of integers represent."""
        self.names = {o for n in graph.node for o in n.output} | set(self.arrays)
        self.names |= {v.name for v in graph.input}

    def run(self) -> None:
        """Rewrite the graph."""
        for node in self.model.graph.node:
            at = len(self.nodes)
            try:
                self._node(node)
            except Refusal as refusal:
                gone = {o for n in self.nodes[at:] for o in n.output}
                self.real = {k: v for k, v in self.real.items() if v not in gone}
                del self.nodes[at:]
                self.nodes.append(node)
                self.refusals.update(dict.fromkeys(node.output, refusal))
        del self.model.graph.node[:]
        self.model.graph.node.extend(self.nodes)

    def _node(self, node: NodeProto) -> None:
        key = _key(node)
        first = node.input[0] if node.input else ""
        if (lowering := _LOWERINGS.get(key)) is not None:
            lowering(self, node)
        elif key == ("", "QuantizeLinear") and len(node.input) > 1 and not self.is_constant(first):
            self.grids[node.output[0]] = _Grid(node.input[1], _optional(node, 2))
            self.nodes.append(node)
        elif key == ("", "DequantizeLinear") and first in self.real:
            real = self.dequantized(first, _Grid(node.input[1], _optional(node, 2)))
            self.emit("Identity", [real], node.output[0])
        elif key in _MOVES and first in self.grids:
            self._move(node)
        else:
            self.nodes.append(node)

    def is_constant(self, name: str) -> bool:
        """Return whether a tensor is an initializer or a Constant."""
        return name in self.arrays

    def array(self, name: str) -> Array:
        """Return the constant with this name; 0 for an omitted zero point."""
        if not name:
            return np.zeros((), np.int64)
        if name not in self.arrays:
            raise Refusal(
                f"operand {name!r}, a scale, a zero point or a bias, is computed by the network",
                "quantize statically, so that it is an initializer",
            )
        return numpy_helper.to_array(self.arrays[name])

    def constant(self, name: str, array: Array) -> str:
        """Add an initializer; return its name."""
        unique = self.unique(name)
        tensor = numpy_helper.from_array(np.ascontiguousarray(array), unique)
        self.model.graph.initializer.append(tensor)
        self.arrays[unique] = tensor
        return unique

    def unique(self, name: str) -> str:
        """Return an unused tensor name."""
        unique = numbered(name, self.names)
        self.names.add(unique)
        return unique

    def emit(
        self,
        op: str,
        inputs: list[str],
        output: str,
        attributes: Mapping[str, Any] | None = None,
        name: str = "",
    ) -> str:
        """Append a node; return its result."""
        node = helper.make_node(op, inputs, [output], name=name, **dict(attributes or {}))
        self.nodes.append(node)
        return output

    def dequantized(self, name: str, grid: _Grid) -> str:
        """Return the real numbers that the integers ``name`` of ``grid`` represent."""
        if not name or not grid.scale:
            raise Refusal("an operand or its scale is missing", "give all operands")
        if (known := self.grids.get(name)) is not None and name in self.real:
            same = all(
                np.array_equal(self.array(a), self.array(b))
                for a, b in ((known.scale, grid.scale), (known.zero, grid.zero))
            )
            if not same:
                raise Refusal(
                    f"reads {name!r} with another scale or zero point than it has",
                    "use those of the operator that computes it",
                )
            return self.real[name]
        sizes = {self.array(n).size for n in (grid.scale, grid.zero)} - {1}
        if len(sizes) > 1 or (sizes and grid.axis is None):
            raise Refusal(
                f"{' and '.join(map(str, sorted(sizes)))} scales or zero points of {name!r}",
                "use one for the tensor",
            )
        count = next(iter(sizes), 1)
        axis: dict[str, Any] = {} if count == 1 else {"axis": grid.axis}
        inputs = [name, *(self._shaped(n, count) for n in (grid.scale, grid.zero) if n)]
        output = self.unique(f"{name}.real")
        self.nodes.append(helper.make_node("DequantizeLinear", inputs, [output], name, **axis))
        if not self.is_constant(name):
            self.real[name] = output
            self.grids.setdefault(name, grid)
        return output

    def _shaped(self, name: str, count: int = 1) -> str:
        """Return a scale or a zero point as one number, or as a vector of ``count``."""
        array = self.array(name)
        wanted = array.reshape(()) if count == 1 else np.broadcast_to(array.reshape(-1), count)
        return name if wanted.shape == array.shape else self.constant(f"{name}.flat", wanted)

    def quantized(self, real: str, name: str, grid: _Grid) -> None:
        """Quantize the tensor ``real`` to the integers ``name`` of ``grid``."""
        for constant in filter(None, (grid.scale, grid.zero)):
            if self.array(constant).size != 1:
                raise Refusal(f"{self.array(constant).size} scales of its result", "use one scale")
        inputs = [real, self._shaped(grid.scale)]
        inputs += [self._shaped(grid.zero)] if grid.zero else []
        self.nodes.append(helper.make_node("QuantizeLinear", inputs, [name], f"{name}.quantize"))
        self.grids[name] = grid

    def _move(self, node: NodeProto) -> None:
        """A move of integers as one of real numbers."""
        grids = [self.grids.get(i) for i in node.input]
        several = node.op_type == "Concat"
        moved = list(node.input) if several else [node.input[0]]
        for name, grid in zip(moved, grids, strict=False):
            if grid is None or not self._same(grid, grids[0]):
                raise Refusal(
                    f"joins integers of different scales ({moved[0]!r}, {name!r})",
                    "use QLinearConcat, or one scale",
                )
        grid = grids[0]
        assert grid is not None
        reals = [self.dequantized(i, grid) for i in moved]
        rest = [] if several else list(node.input[1:])
        if node.op_type == "Pad" and len(rest) > 1 and rest[1]:
            if int(self.array(rest[1])) != int(self.array(grid.zero)):
                raise Refusal("a border of another number than 0", "pad with the zero point")
            rest[1] = ""
        copy = NodeProto()
        copy.CopyFrom(node)
        del copy.input[:], copy.output[:]
        copy.input.extend([*reals, *rest])
        for output in node.output:
            copy.output.append(self.unique(f"{output}.real") if output else "")
            if output:
                self.real[output], self.grids[output] = copy.output[-1], grid
        self.nodes.append(copy)

    def _same(self, a: _Grid, b: _Grid | None) -> bool:
        return b is not None and all(
            np.array_equal(self.array(x), self.array(y))
            for x, y in ((a.scale, b.scale), (a.zero, b.zero))
        )

    def zero_like(self, zero: str, operand: str) -> str:
        """Return the zero point 0 of a result whose type is that of the zero point ``operand``."""
        if zero or not operand:
            return zero
        kind = self.array(operand).dtype
        return self.constant("zero_point", np.zeros((), kind)) if kind != np.uint8 else zero


def _optional(node: NodeProto, index: int) -> str:
    return node.input[index] if index < len(node.input) else ""


def _operands(node: NodeProto, count: int) -> Iterator[str]:
    """Yield the first ``count`` operands; "" for omitted ones."""
    return (_optional(node, i) for i in range(count))


def _attributes(node: NodeProto) -> dict[str, Any]:
    values = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    return {k: v.decode() if isinstance(v, bytes) else v for k, v in values.items()}


def _need(condition: bool, reason: str, remedy: str) -> None:
    if not condition:
        raise Refusal(reason, remedy)


def _bias(low: _Lowering, name: str, x_scale: str, w_scale: str) -> list[str]:
    """Return the operand for the integer bias ``name``, whose scale is the product of two
    scales."""
    if not name:
        return []
    x, w = low.array(x_scale), low.array(w_scale)
    product = (x.reshape(-1).astype(np.float64) * w.reshape(-1).astype(np.float64)).astype(x.dtype)
    scale = low.constant(f"{name}.scale", product if product.size > 1 else product.reshape(()))
    return [low.dequantized(name, _Grid(scale, "", axis=low.array(name).ndim - 1))]


def _result(low: _Lowering, node: NodeProto, op: str, inputs: list[str], grid: _Grid,
            attributes: Mapping[str, Any]) -> None:  # fmt: skip
    real = low.emit(op, inputs, low.unique(f"{node.output[0]}.wide"), attributes, node.name)
    low.quantized(real, node.output[0], grid)


def _convolution(low: _Lowering, node: NodeProto) -> None:
    """QLinearConv."""
    x, xs, xz, w, ws, wz, ys, yz, bias = _operands(node, 9)
    attributes = _attributes(node)
    inputs = [
        low.dequantized(x, _Grid(xs, xz)),
        low.dequantized(w, _Grid(ws, wz, axis=0)),
        *_bias(low, bias, xs, ws),
    ]
    _result(low, node, "Conv", inputs, _Grid(ys, yz), attributes)


def _product(low: _Lowering, node: NodeProto) -> None:
    """QLinearMatMul."""
    a, a_scale, az, b, bs, bz, ys, yz = _operands(node, 8)
    inputs = [
        low.dequantized(a, _Grid(a_scale, az)),
        low.dequantized(b, _Grid(bs, bz, axis=-1)),
    ]
    _result(low, node, "MatMul", inputs, _Grid(ys, yz), _attributes(node))


def _gemm(low: _Lowering, node: NodeProto) -> None:
    """QGemm; without a scale of the result, the result is real."""
    a, a_scale, az, b, bs, bz, c, ys, yz = _operands(node, 9)
    attributes = _attributes(node)
    alpha = attributes.pop("alpha", 1.0)
    _need(alpha == 1.0, f"attribute 'alpha' is {alpha}, only 1.0 is supported", "leave alpha out")
    inputs = [
        low.dequantized(a, _Grid(a_scale, az)),
        low.dequantized(b, _Grid(bs, bz, axis=0 if attributes.get("transB") else 1)),
        *_bias(low, c, a_scale, bs),
    ]
    if ys:
        _result(low, node, "Gemm", inputs, _Grid(ys, yz), attributes)
    else:
        low.emit("Gemm", inputs, node.output[0], attributes, node.name)


def _of_two(op: str) -> "_Lower":
    """QLinearAdd and QLinearMul."""

    def lower(low: _Lowering, node: NodeProto) -> None:
        a, a_scale, az, b, bs, bz, ys, yz = _operands(node, 8)
        inputs = [low.dequantized(a, _Grid(a_scale, az)), low.dequantized(b, _Grid(bs, bz))]
        yz = low.zero_like(yz, az)
        _result(low, node, op, inputs, _Grid(ys, yz), _attributes(node))

    return lower


def _of_one(op: str) -> "_Lower":
    """QLinearAveragePool, QLinearSigmoid and other operators on one tensor."""

    def lower(low: _Lowering, node: NodeProto) -> None:
        x, xs, xz, ys, yz = _operands(node, 5)
        attributes = _attributes(node)
        last = attributes.pop("channels_last", 0)
        _need(not last, "attribute 'channels_last' is 1, only 0 is supported", "put channels first")
        inputs = [low.dequantized(x, _Grid(xs, xz))]
        yz = low.zero_like(yz, xz)
        _result(low, node, op, inputs, _Grid(ys, yz), attributes)

    return lower


def _concatenation(low: _Lowering, node: NodeProto) -> None:
    """QLinearConcat."""
    ys, yz, *rest = node.input
    _need(len(rest) % 3 == 0, f"{len(node.input)} operands", "give three for each tensor")
    triples = [rest[i : i + 3] for i in range(0, len(rest), 3)]
    inputs = [low.dequantized(x, _Grid(s, z)) for x, s, z in triples]
    _result(low, node, "Concat", inputs, _Grid(ys, yz), _attributes(node))


_Lower = Callable[[_Lowering, NodeProto], None]
_LOWERINGS: Mapping[tuple[str, str], _Lower] = {
    ("", "QLinearConv"): _convolution,
    ("", "QLinearMatMul"): _product,
    (MICROSOFT, "QGemm"): _gemm,
    (MICROSOFT, "QLinearAdd"): _of_two("Add"),
    (MICROSOFT, "QLinearAveragePool"): _of_one("AveragePool"),
    (MICROSOFT, "QLinearConcat"): _concatenation,
    (MICROSOFT, "QLinearGlobalAveragePool"): _of_one("GlobalAveragePool"),
    (MICROSOFT, "QLinearLeakyRelu"): _of_one("LeakyRelu"),
    (MICROSOFT, "QLinearMul"): _of_two("Mul"),
    (MICROSOFT, "QLinearSigmoid"): _of_one("Sigmoid"),
}
"""Lowerings by domain and operator."""

_MOVES = frozenset(
    ("", op)
    for op in (
        "Concat", "DepthToSpace", "Expand", "Flatten", "Gather", "Identity", "MaxPool", "Pad",
        "Reshape", "Slice", "SpaceToDepth", "Split", "Squeeze", "Tile", "Transpose", "Unsqueeze",
    )
)  # fmt: skip
"""Operators that only move or choose numbers: the same for integers as for real numbers."""
