"""From ONNX nodes to a graph of ATen operations: values, and the context of an ONNX operator's
translator.

Values that depend on constants alone are computed by ONNX's own reference implementation. A
computed tensor is a node of the graph seen through a *view*: permuted axes and axes of size 1, so
that ``[steps, batch, features]`` tensors around recurrent layers need no operation.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import NodeProto
from torch import Tensor, fx
from torch.fx import Node as FxNode
from torch.fx.node import map_arg

from sigbit.frontend.source import Origin
from sigbit.frontend.values import ELEMENTS_MAX, Refusal, elements_of
from sigbit.ir.annotation import QuantAnnotation

Array = NDArray[np.generic]
aten = torch.ops.aten


@dataclass(frozen=True)
class Constant:
    """A value that does not depend on the inputs; ``quantizer``: the values are results of this
    quantizer, whose scale and zero point broadcast with them."""

    name: str
    array: Array
    quantizer: QuantAnnotation | None = None


@dataclass(frozen=True)
class View:
    """``node`` with its axes in the order ``axes``; None is an axis of size 1."""

    node: FxNode
    axes: tuple[int | None, ...]

    @classmethod
    def of(cls, node: FxNode) -> "View":
        """Return a view of the node that leaves it unchanged."""
        return cls(node, tuple(range(node.meta["val"].dim())))

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape, including the placeholder batch size."""
        own = self.node.meta["val"].shape
        return tuple(1 if a is None else int(own[a]) for a in self.axes)


@dataclass(frozen=True)
class Quantized:
    """Integers between QuantizeLinear and DequantizeLinear: ``tensor`` on a grid."""

    tensor: View
    quantizer: QuantAnnotation
    low: int
    high: int


@dataclass(frozen=True)
class Unknown:
    """The result of an operator that was refused and whose shape is unknown."""


OnnxValue = Constant | View | Quantized | Unknown


class Trace:
    """The graph of ATen operations so far, and the values of the ONNX tensors by name; ``narrow``
    are the model's 16-bit float storage types."""

    def __init__(self, opset: int, narrow: frozenset[int] = frozenset()) -> None:
        self.opset, self.narrow = opset, narrow
        self.graph = fx.Graph()
        self.values: dict[str, OnnxValue] = {}
        self.constants: dict[str, tuple[str, Tensor]] = {}
        self.quantizers: dict[str, QuantAnnotation] = {}
        self._placeholders: dict[int, FxNode] = {}
        self._inputs: FxNode | None = None

    def input(self, name: str, shape: tuple[int, ...], dtype: torch.dtype) -> None:
        """A network input ``[batch, ...]``."""
        node = self._placeholder(torch.empty(shape, dtype=dtype, device="meta"))
        node.meta["origin"] = Origin(name, "input", name)
        self.values[name] = View.of(node)

    def _placeholder(self, value: Tensor) -> FxNode:
        """Add a placeholder in front of the other nodes, as a graph requires."""
        with self.graph.inserting_after(self._inputs) if self._inputs else nullcontext():
            self._inputs = self.graph.placeholder(f"p{len(self.graph.nodes)}")
        self._inputs.meta["val"] = value
        return self._inputs

    def constant(self, constant: Constant) -> FxNode:
        """Return the node for a constant; float16 and bfloat16 become float32."""
        if (known := self._placeholders.get(id(constant))) is not None:
            return known
        value = torch.from_numpy(np.array(constant.array))
        if value.is_floating_point() and value.dtype != torch.float64:
            value = value.float()
        node = self._placeholder(torch.empty_like(value, device="meta"))
        node.meta["onnx_constant"] = constant  # keeps it alive, and with it its id
        self.constants[node.name] = (constant.name, value)
        if constant.quantizer is not None:
            self.quantizers[node.name] = constant.quantizer
        self._placeholders[id(constant)] = node
        return node

    def emit(self, origin: Origin, target: Callable[..., Any], *args: Any, **kwargs: Any) -> FxNode:
        """Add one ATen operation, or a function that the importer knows; raise :class:`Refusal` if
        its operands do not fit."""
        given: Any = map_arg(args, lambda n: n.meta["val"])
        named: Any = map_arg(kwargs, lambda n: n.meta["val"])
        try:
            value = target(*given, **named)
        except (RuntimeError, ValueError, IndexError, TypeError) as error:
            reason = str(error).strip().split("\n")[0]
            raise Refusal(
                f"its operands do not fit: {reason}",
                "check the model with onnx.checker.check_model(model, full_check=True)",
            ) from error
        if (elements := elements_of(value)) > ELEMENTS_MAX:
            raise Refusal(
                f"has a result of {elements:,} elements, at most {ELEMENTS_MAX:,} work",
                "give smaller inputs",
            )
        node = self.graph.call_function(target, args, kwargs)
        node.meta["val"], node.meta["origin"] = value, origin
        return node


def refused(*_: Any, shape: Sequence[int], reason: str, remedy: str) -> Tensor:
    """Placeholder for an operator that cannot be translated; the importer turns it into a
    refusal."""
    return torch.empty(tuple(shape), device="meta")


@dataclass(frozen=True)
class Call:
    """One ONNX node: its typed operands and attributes, and the graph to add to. ``read`` and
    ``operands`` record the attributes and operands that were read; see
    :mod:`sigbit.frontend.accounting`."""

    node: NodeProto
    origin: Origin
    trace: Trace
    attributes: Mapping[str, Any] = field(default_factory=dict)
    read: set[str] = field(default_factory=set)
    operands: set[int] = field(default_factory=set)

    def has(self, index: int) -> bool:
        """Return whether operand ``index`` is given."""
        return index < len(self.node.input) and self.node.input[index] != ""

    def value(self, index: int) -> OnnxValue:
        """Operand ``index``."""
        if not self.has(index):
            raise Refusal(f"operand {index} is missing", "give all operands")
        self.operands.add(index)
        return self.trace.values[self.node.input[index]]

    def is_constant(self, index: int) -> bool:
        """Return whether operand ``index`` is given and constant."""
        return self.has(index) and isinstance(self.value(index), Constant)

    def array(self, index: int) -> Array:
        """Operand ``index``, which must be constant."""
        value = self.value(index)
        if not isinstance(value, Constant):
            raise Refusal(
                f"operand {self.node.input[index]!r} is computed by the network",
                "make it an initializer or a Constant",
            )
        return value.array

    def ints(self, index: int) -> tuple[int, ...]:
        """Return the constant operand ``index`` as integers."""
        return tuple(int(v) for v in np.asarray(self.array(index)).reshape(-1))

    def number(self, index: int, default: float) -> float:
        """Return the constant operand ``index`` as one number."""
        if not self.has(index):
            return default
        array = self.array(index)
        if array.size != 1:
            raise Refusal(
                f"operand {self.node.input[index]!r} has {array.size} values", "use one number"
            )
        return float(array.reshape(-1)[0])

    def view(self, index: int = 0) -> View:
        """Operand ``index``, which must be a computed tensor."""
        value = self.value(index)
        if isinstance(value, Constant):
            raise Refusal(
                f"operand {self.node.input[index]!r} is a constant, not a computed tensor",
                "fold constants into a layer's weight or bias",
            )
        if isinstance(value, Quantized):
            raise Refusal(
                "computes with integers between QuantizeLinear and DequantizeLinear",
                "put DequantizeLinear directly behind QuantizeLinear (and Clip)",
            )
        assert isinstance(value, View)
        return value

    def computed(self, index: int = 0) -> FxNode:
        """Operand ``index`` as a node, its view applied."""
        return self.applied(self.view(index))

    def applied(self, view: View) -> FxNode:
        """Return the node of the tensor that ``view`` shows."""
        node, axes = view.node, [a for a in view.axes if a is not None]
        own = node.meta["val"].dim()
        for axis in sorted(set(range(own)) - set(axes), reverse=True):
            node = self.emit(aten.squeeze.dim, node, axis)
            axes = [a - (a > axis) for a in axes]
        if axes != sorted(axes):
            node = self.emit(aten.permute.default, node, axes)
        for position, axis_of in enumerate(view.axes):
            if axis_of is None:
                node = self.emit(aten.unsqueeze.default, node, position)
        return node

    def operand(self, index: int) -> FxNode:
        """Operand ``index``, computed or constant, as a node."""
        value = self.value(index)
        return self.trace.constant(value) if isinstance(value, Constant) else self.computed(index)

    def optional(self, index: int) -> FxNode | None:
        """Operand ``index`` as a node; None if absent."""
        return self.operand(index) if self.has(index) else None

    def derived(self, index: int, name: str, array: Array) -> FxNode:
        """Add a constant computed from the constant operand ``index``; return its node."""
        value = self.value(index)
        assert isinstance(value, Constant)
        return self.trace.constant(Constant(f"{value.name}.{name}", array))

    def transposed(self, index: int) -> FxNode:
        """Return the constant matrix that is operand ``index``, transposed."""
        value = self.value(index)
        assert isinstance(value, Constant)
        if value.array.ndim > 2:
            value = Constant(value.name, value.array.reshape(value.array.shape[-2:]))
        return self.trace.constant(transpose(f"{value.name}.T", value))

    def shape(self, index: int = 0) -> tuple[int, ...]:
        """Shape of operand ``index``, including the placeholder batch size."""
        value = self.value(index)
        return value.array.shape if isinstance(value, Constant) else self.view(index).shape

    def emit(self, target: Callable[..., Any], *args: Any, **kwargs: Any) -> FxNode:
        """Add an operation of this node."""
        return self.trace.emit(self.origin, target, *args, **kwargs)

    def get(self, name: str, default: Any = None) -> Any:
        """Return an attribute."""
        self.read.add(name)
        return self.attributes.get(name, default)

    def in_training(self) -> bool:
        """Return whether a node's attributes request training mode; before opset 7 they do so
        unless they state otherwise."""
        training = bool(self.get("training_mode", 0))
        return training or (self.trace.opset < 7 and not self.get("is_test", 0))

    def same(self, name: str, value: Any) -> None:
        """Refuse this node if an attribute that duplicates its operands differs from them."""
        given = self.get(name, value)
        self.need(given == value, f"{name} is {given}, the operands say {value}", "mend the model")

    def need(self, condition: bool, reason: str, remedy: str) -> None:
        """Refuse this node unless ``condition``."""
        if not condition:
            raise Refusal(reason, remedy)

    def axis(self, value: int, rank: int | None = None) -> int:
        """Return a non-negative axis of operand 0."""
        rank = len(self.shape(0)) if rank is None else rank
        self.need(-rank <= value < rank, f"axis {value} of a tensor with {rank}", "mend the axis")
        return value % rank


def transpose(name: str, matrix: Constant) -> Constant:
    """Return the transposed matrix, with its quantizer."""

    def turned(value: Tensor) -> Tensor:
        return value if value.numel() == 1 else torch.atleast_2d(value).mT

    quantizer = matrix.quantizer
    if quantizer is not None:
        scale, zero = turned(quantizer.scale), turned(quantizer.zero_point)
        quantizer = replace(quantizer, scale=scale, zero_point=zero)
    return Constant(name, np.ascontiguousarray(matrix.array.T), quantizer)


def attributes_of(node: NodeProto) -> dict[str, Any]:
    """Attributes by name, text decoded."""
    values = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    return {k: v.decode() if isinstance(v, bytes) else v for k, v in values.items()}
