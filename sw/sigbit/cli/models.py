"""Integer models that users name: a file or a Python object."""

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from sigbit.cli.exits import explain
from sigbit.errors import UserError
from sigbit.ir import MODEL_SUFFIX

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
    """The integer graph of ``name``: ``NET.sbm`` or ``module.or/path.py:attribute``."""
    if name.startswith(ZOO):
        raise UserError(f"{name}: {QUANTIZE}")
    if name.endswith((".onnx", ".pt2")):
        raise UserError(
            f"{name} is not the file of an integer model, NET{MODEL_SUFFIX}; if {QUANTIZE}"
        )
    if name.endswith(MODEL_SUFFIX) or (Path(name).is_file() and not name.endswith(".py")):
        from sigbit.ir import model_file

        return model_file.load_model(name)
    value = python_object(name)
    if value is None:
        raise UserError(
            f"no model {name!r}: give NET{MODEL_SUFFIX}, or module:attribute or "
            "path/to/file.py:attribute that is an integer model or a function that returns one"
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


def first_line(error: BaseException) -> str:
    """An exception in one line."""
    text = str(error).strip()
    return f"{type(error).__name__}: {text.splitlines()[0]}" if text else type(error).__name__
