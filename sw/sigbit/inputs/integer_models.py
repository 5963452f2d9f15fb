"""Integer models by name: a file or a Python object."""

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from sigbit.errors import UserError
from sigbit.ir import MODEL_SUFFIX
from sigbit.python_objects import python_object

if TYPE_CHECKING:
    from torch.export import ExportedProgram

    from sigbit.ir.integer import IntegerGraph
    from sigbit.quant import IntegerModel, PreparedModel

ZOO = "zoo:"
"""Prefix of the names of networks in :mod:`sigbit.zoo`."""

QUANTIZE = (
    "it is a float model: quantize it first, in one step with `sigbit quantize MODEL --calibrate "
    "DATA --arch PRESET -o NET.sigbit`; or train it for its few bits: `prepared = "
    "sigbit.quant.prepare(model, QuantSpec(), example_inputs)`, train `prepared`, `integer = "
    "sigbit.quant.convert(prepared)`, then give file.py:integer"
)


Model: TypeAlias = "str | Path | IntegerModel | PreparedModel | IntegerGraph"
"""An integer model: by name, or as an object."""


def load_model(model: Model) -> "IntegerGraph":
    """Return the integer graph of ``model``: of ``NET.sbm``, ``module:attribute`` or
    ``path/to/file.py:attribute`` by name, or of an object."""
    if isinstance(model, Path):
        model = str(model)
    if not isinstance(model, str):
        return _graph_of(model, type(model).__name__)
    if model.startswith(ZOO):
        raise UserError(f"{model}: {QUANTIZE}")
    if model.endswith((".onnx", ".pt2")):
        raise UserError(
            f"{model} is not the file of an integer model, NET{MODEL_SUFFIX}; if {QUANTIZE}"
        )
    if model.endswith(MODEL_SUFFIX) or (Path(model).is_file() and not model.endswith(".py")):
        from sigbit.ir import model_file

        return model_file.load_model(model)
    value = python_object(model)
    if value is None:
        raise UserError(
            f"no model {model!r}: give NET{MODEL_SUFFIX}, or module:attribute or "
            "path/to/file.py:attribute that is an integer model or a function that returns one"
        )
    return _graph_of(value, model)


def load_exported(path: Path) -> "ExportedProgram":
    """Load a program that ``torch.export.save`` wrote to ``path``; the file cannot run code."""
    from sigbit.frontend.pt2 import load_pt2

    importlib.import_module("sigbit.quant.layers.operators")  # registers them
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    return load_pt2(path)


def _graph_of(value: Any, name: str) -> "IntegerGraph":
    from torch import nn
    from torch.export import ExportedProgram

    from sigbit.ir.integer import IntegerGraph
    from sigbit.quant import IntegerModel, PreparedModel, convert

    if isinstance(value, PreparedModel):
        value = convert(value)
    if isinstance(value, IntegerModel):
        return value.graph
    if isinstance(value, IntegerGraph):
        return value
    if isinstance(value, nn.Module | ExportedProgram):
        raise UserError(f"{name}: {QUANTIZE}")
    raise UserError(
        f"{name} must be an IntegerModel, PreparedModel or IntegerGraph, or a function without "
        f"arguments that returns one, not {type(value).__name__}"
    )
