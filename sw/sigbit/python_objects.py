"""Python objects that users name: ``module:attribute`` or ``path/to/file.py:attribute``."""

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from sigbit.errors import CheckFailed, UserError
from sigbit_tools.errors import SigbitError


def python_object(name: str) -> Any:
    """Return the object called ``module:attribute`` or ``path/to/file.py:attribute``, or what it
    returns if it is a function or class; None if ``name`` is of neither form."""
    from torch import nn

    value = python_attribute(name)
    if callable(value) and (isinstance(value, type) or not isinstance(value, nn.Module)):
        try:
            value = value()
        except Exception as error:
            raise UserError(f"calling {name} failed: {first_line(error)}") from error
    return value


def python_attribute(name: str) -> Any:
    """Return the object called ``module:attribute`` or ``path/to/file.py:attribute`` as it is; None
    if ``name`` is of neither form."""
    where, colon, attribute = name.rpartition(":")
    if not colon or not where or not attribute:
        return None
    return _attribute(_module(where), attribute, name)


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
    except (SigbitError, CheckFailed, MemoryError):
        raise
    except Exception as error:
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


def first_line(error: BaseException) -> str:
    """Describe an exception in one line."""
    text = str(error).strip()
    return f"{type(error).__name__}: {text.splitlines()[0]}" if text else type(error).__name__
