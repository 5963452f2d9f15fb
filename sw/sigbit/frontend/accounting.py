"""Check that no argument is ignored: every argument that a translator of an operation has not read
must be at its default, or is refused by name.

Translators read arguments through :class:`~sigbit.frontend.translation.Translation` and
:class:`~sigbit.frontend.onnx.trace.Call`, which record the arguments that were read; the importers
then call :func:`check_aten` and :func:`check_onnx`. An operator that gains an argument in a new
release is refused where that argument is given, and works as before where it is not.
"""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import onnx
from onnx import AttributeProto, NodeProto
from torch import Tensor
from torch._ops import OpOverload
from torch.fx import Node as FxNode

from sigbit.frontend.values import Refusal

NEUTRAL_ATEN = frozenset([
    "allow_tf32", "benchmark", "cudnn_enable", "cudnn_enabled",  # how torch computes
    "deterministic",
    "copy", "device", "layout", "memory_format", "non_blocking", "pin_memory",  # where it stores
    "generator", "momentum",  # of training
])  # fmt: skip
"""Arguments that do not change the values of a network in evaluation mode."""

NEUTRAL_ONNX = frozenset([
    ("", "consumed_inputs"),  # a hint of the first operator sets
    ("BatchNormalization", "momentum"), ("Dropout", "ratio"), ("Dropout", "seed"),  # of training
    ("Cast", "round_mode"), ("Cast", "saturate"),  # of casts to 8-bit floats, which are refused
    ("FloatQuant", "has_inf"), ("FloatQuant", "has_nan"),  # of what does not saturate: refused
    ("FloatQuant", "has_subnormal"),  # qonnx itself ignores it
    ("MaxPool", "storage_order"),  # of indices, which are refused
    ("QuantizeLinear", "saturate"),  # of 8-bit floats, which are refused
    ("Resize", "roi"),  # of tf_crop_and_resize, which is refused
])  # fmt: skip
"""Attributes and operands that do not change the values of accepted nodes: (operator or "",
name)."""


def given(node: FxNode) -> Iterator[tuple[Any, Any]]:
    """Yield the arguments of a node's schema that it gives, with their values."""
    assert isinstance(node.target, OpOverload)
    for i, argument in enumerate(node.target._schema.arguments):
        if i < len(node.args):
            yield argument, node.args[i]
        elif argument.name in node.kwargs:
            yield argument, node.kwargs[argument.name]


def check_aten(node: FxNode, read: Collection[str]) -> None:
    """Raise :class:`Refusal` if an argument that was not read is not at its default; functions
    without a schema are the importers' own."""
    if not isinstance(node.target, OpOverload):
        return
    for argument, value in given(node):
        if argument.name in read or argument.name in NEUTRAL_ATEN:
            continue
        if argument.name == "dtype" and (value is None or _kept(node)):
            continue
        has_default = argument.has_default_value()
        if has_default and _equal(value, argument.default_value):
            continue
        allowed = f"{argument.default_value} is" if has_default else "no value is"
        raise Refusal(
            f"argument {argument.name!r} is {value}, only {allowed} supported",
            f"leave {argument.name} out" if has_default else "use another operation",
        )


def _kept(node: FxNode) -> bool:
    """Return whether a node's result has the same type as its operand."""
    results = node.meta["val"]
    first = results if isinstance(results, Tensor) else results[0]
    return all(first.dtype == n.meta["val"].dtype for n in node.all_input_nodes[:1])


def check_onnx(
    node: NodeProto,
    attributes: Mapping[str, Any],
    read: Collection[str],
    operands: Collection[int],
    opset: int,
) -> None:
    """Raise :class:`Refusal` if an attribute that was not read is not at its default, or an
    operand that is given was not read; operators without a schema have no defaults."""
    schema = onnx_schema(node, opset)
    defaults = {} if schema is None else {k: a.default_value for k, a in schema.attributes.items()}
    for name, value in attributes.items():
        if name in read or {("", name), (node.op_type, name)} & NEUTRAL_ONNX:
            continue
        default = _default(defaults.get(name))
        if default is not None and _equal(value, default):
            continue
        allowed = "no value is" if default is None else f"{default} is"
        raise Refusal(
            f"attribute {name!r} is {value}, only {allowed} supported", f"leave {name} out"
        )
    for i, tensor in enumerate(node.input):
        name = operand_name(schema, i)
        if tensor and i not in operands and (node.op_type, name) not in NEUTRAL_ONNX:
            raise Refusal(
                f"operand {name!r} is given ({tensor!r}) but not supported", f"leave {name} out"
            )


def onnx_schema(node: NodeProto, opset: int) -> onnx.defs.OpSchema | None:
    """Return the schema of an operator of ONNX's own domain; None for others."""
    if node.domain not in ("", "ai.onnx") or not onnx.defs.has(node.op_type):
        return None
    try:
        return onnx.defs.get_schema(node.op_type, opset, "")
    except onnx.defs.SchemaError:
        return None


def operand_name(schema: onnx.defs.OpSchema | None, index: int) -> str:
    """Return the name of operand ``index``; the last one may stand for several."""
    if schema is None or not schema.inputs:
        return f"input {index}"
    return str(schema.inputs[min(index, len(schema.inputs) - 1)].name)


def _default(value: AttributeProto | None) -> Any:
    if value is None or value.type == AttributeProto.UNDEFINED:
        return None
    found = onnx.helper.get_attribute_value(value)
    return found.decode() if isinstance(found, bytes) else found


def _equal(value: Any, default: Any) -> bool:
    """Return whether a value is the default; lists may be lists of torch or of ONNX."""
    if isinstance(value, FxNode | Tensor) or isinstance(default, Tensor):
        return False
    if isinstance(value, (list, tuple)) or isinstance(default, (list, tuple)):
        both = [v if isinstance(v, (list, tuple)) else [v] for v in (value, default)]
        return list(both[0]) == list(both[1])
    return bool(value == default)
