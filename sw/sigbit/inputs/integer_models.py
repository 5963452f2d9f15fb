"""Integer models that users name: an exported file or a Python object."""

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sigbit.errors import UserError
from sigbit.inputs.python_objects import first_line, python_object

if TYPE_CHECKING:
    from torch.export import ExportedProgram

    from sigbit.ir.integer import IntegerGraph

ZOO = "zoo:"
"""How the names of networks in :mod:`sigbit.zoo` begin."""

QUANTIZE = (
    "it is a float model: quantize it first, in one step with `sigbit quantize MODEL --calibrate "
    "DATA --arch PRESET -o NET.sigbit`; or train it for its few bits: `prepared = "
    "sigbit.quant.prepare(model, QuantSpec(), example_inputs)`, train `prepared`, `integer = "
    "sigbit.quant.convert(prepared)`, then give file.py:integer"
)


def load_model(name: str) -> "IntegerGraph":
    """The integer graph of ``name``: ``MODEL.pt2`` or ``module.or/path.py:attribute``."""
    if name.endswith(".pt2"):
        return _from_exported(Path(name))
    if name.startswith(ZOO) or name.endswith(".onnx"):
        raise UserError(f"{name}: {QUANTIZE}")
    value = python_object(name)
    if value is None:
        raise UserError(
            f"no model {name!r}: give MODEL.pt2, or module:attribute or path/to/file.py:attribute "
            "that is an integer model or a function that returns one"
        )
    return _graph_of(value, name)


def load_exported(path: Path) -> "ExportedProgram":
    """What torch.export.save wrote to ``path``."""
    import torch

    importlib.import_module("sigbit.quant.layers.operators")  # registers them
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    try:
        return torch.export.load(path)
    except Exception as error:  # a damaged archive raises whatever its reader trips over
        raise UserError(
            f"{path} is not a model that torch.export.save wrote ({first_line(error)}); "
            f"this is torch {torch.__version__}"
        ) from error


def _from_exported(path: Path) -> "IntegerGraph":
    from sigbit.frontend import graph_from_exported
    from sigbit.quant import QuantizationError, integer_graph_from_exported

    exported = load_exported(path)
    try:
        return integer_graph_from_exported(exported)
    except QuantizationError as error:
        graph_from_exported(exported, path.stem)  # names what is unsupported, if anything is
        raise UserError(f"{path}: {QUANTIZE}") from error


def _graph_of(value: Any, name: str) -> "IntegerGraph":
    from torch import nn
    from torch.export import ExportedProgram

    from sigbit.ir.integer import IntegerGraph
    from sigbit.quant import (
        IntegerModel,
        PreparedModel,
        QuantizationError,
        convert,
        integer_graph_from_exported,
    )

    if isinstance(value, PreparedModel):
        value = convert(value)
    if isinstance(value, IntegerModel):
        return value.graph
    if isinstance(value, IntegerGraph):
        return value
    if isinstance(value, ExportedProgram):
        try:
            return integer_graph_from_exported(value)
        except QuantizationError as error:
            raise UserError(f"{name}: {QUANTIZE}") from error
    if isinstance(value, nn.Module):
        raise UserError(f"{name}: {QUANTIZE}")
    raise UserError(
        f"{name} must be an IntegerModel, PreparedModel or IntegerGraph, or a function without "
        f"arguments that returns one, not {type(value).__name__}"
    )
