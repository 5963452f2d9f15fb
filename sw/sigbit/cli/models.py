"""Integer models that users name: an exported file or a Python object."""

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from sigbit.cli.exits import explain
from sigbit.errors import DamagedModelError, UserError

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
    """What torch.export.save wrote to ``path``; nothing in the file can run code."""
    from sigbit.frontend.pt2 import load_pt2

    importlib.import_module("sigbit.quant.layers.operators")  # registers them
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    return load_pt2(path)


def python_object(name: str) -> Any:
    """The object called ``module:attribute`` or ``path/to/file.py:attribute``, or what it returns
    if it is a function or class; None if ``name`` is of neither form."""
    from torch import nn

    where, colon, attribute = name.rpartition(":")
    if not colon or not where or not attribute:
        return None
    value = _attribute(_module(where), attribute, name)
    if callable(value) and (isinstance(value, type) or not isinstance(value, nn.Module)):
        try:
            value = value()
        except Exception as error:
            raise UserError(f"calling {name} failed: {first_line(error)}") from error
    return value


def _from_exported(path: Path) -> "IntegerGraph":
    from sigbit.frontend import graph_from_exported
    from sigbit.quant import QuantizationError, integer_graph_from_exported

    exported = load_exported(path)
    try:
        return integer_graph_from_exported(exported)
    except DamagedModelError as error:
        raise UserError(f"{path}: {error}") from error
    except QuantizationError as error:
        graph_from_exported(exported, path.stem)  # names what is unsupported, if anything is
        raise UserError(f"{path}: {QUANTIZE}") from error


def _module(where: str) -> ModuleType:
    if not where.endswith(".py"):
        sys.path.insert(0, str(Path.cwd()))
        try:
            return importlib.import_module(where)
        except ModuleNotFoundError as error:
            if error.name is not None and f"{where}.".startswith(f"{error.name}."):
                raise UserError(
                    f"no module {where!r} (looked in {Path.cwd()} and the installed packages); "
                    "for a file write path/to/file.py:attribute"
                ) from error
            raise UserError(f"importing {where} failed: {first_line(error)}") from error
        except Exception as error:
            raise UserError(f"importing {where} failed: {first_line(error)}") from error
    path = Path(where)
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    sys.path.insert(0, str(path.resolve().parent))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise UserError(f"{path} cannot be imported as Python")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        if explain(error):
            raise
        raise UserError(f"running {path} failed: {first_line(error)}") from error
    return module


def _attribute(module: ModuleType, attribute: str, name: str) -> Any:
    value: Any = module
    for part in attribute.split("."):
        if not hasattr(value, part):
            public = [n for n in vars(module) if not n.startswith("_")]
            raise UserError(
                f"{name}: there is no {attribute!r}; it has {', '.join(public) or 'nothing'}"
            )
        value = getattr(value, part)
    return value


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


def first_line(error: BaseException) -> str:
    """An exception in one line."""
    text = str(error).strip()
    return f"{type(error).__name__}: {text.splitlines()[0]}" if text else type(error).__name__
