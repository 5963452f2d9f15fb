"""Plugins: quantizers, strategies, number formats and accelerators of one's own.

A plugin is a Python file that is named with ``--plugin FILE``, or a module that an installed
distribution lists under the entry point group ``sigbit.plugins``. Importing it must call
:func:`add_quantizer`, :func:`add_strategy`, :func:`add_format` or :func:`add_accelerator`. A plugin
is code and is run: use only files that you trust.
"""

import importlib.util
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from importlib.metadata import entry_points
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import TYPE_CHECKING

from sigbit.accelerators import ACCELERATORS
from sigbit.errors import UserError
from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.arch.formats import Format
from sigbit_hw.arch.names import check_name

if TYPE_CHECKING:
    from sigbit.quant.quantizers import Method
    from sigbit.quant.strategies import Strategy

GROUP = "sigbit.plugins"
"""Entry points of installed plugins."""
ENVIRONMENT = "SIGBIT_PLUGINS"
"""Files that processes started from here load too, joined as the members of PATH are."""

_formats: dict[str, Format] = {}
FORMATS = MappingProxyType(_formats)
"""Number formats that plugins have added, by name."""
_origins: dict[tuple[str, str], str] = {}
_loading: list[str] = []
_loaded: dict[str, ModuleType] = {}
_digests: dict[str, str] = {}


def add_quantizer(method: "Method") -> None:
    """Add a quantizer under ``method.name``.

    Its level tables hold integers. A level that no digits of an accelerator represent is refused
    where that accelerator is chosen.

    Raises :class:`~sigbit.errors.UserError` if the name is not legal or taken.
    """
    from sigbit.quant.quantizers import METHODS

    _claim("quantizer", method.name, method.name in METHODS)
    METHODS[method.name] = method


def add_strategy(name: str, strategy: "type[Strategy]") -> None:
    """Add a training strategy; its parameters are those of its ``__init__``.

    Raises :class:`~sigbit.errors.UserError` if the name is not legal or taken.
    """
    from sigbit.quant.strategies import STRATEGIES

    _claim("strategy", name, name in STRATEGIES)
    STRATEGIES[name] = strategy


def add_format(name: str, form: Format) -> None:
    """Add a number format under a name, for other plugins and for accelerators.

    Raises :class:`~sigbit.errors.UserError` if the name is not legal or taken, or if the format is
    unsigned: weights need a sign.
    """
    _claim("number format", name, name in _formats)
    if not form.signed:
        raise UserError(f"number format {name!r} must be signed: weights need a sign")
    _formats[name] = form


def add_accelerator(config: ArchConfig) -> None:
    """Add an accelerator under ``config.name``, for ``--arch`` and ``quantizer.arch``.

    Raises :class:`~sigbit.errors.UserError` if the name is taken.
    """
    _claim("accelerator", config.name, config.name in ACCELERATORS)
    ACCELERATORS[config.name] = config


def origin(kind: str, name: str) -> str | None:
    """Return the plugin that added the ``kind`` ("quantizer", …) called ``name``, None if it is
    sigbit's own."""
    return _origins.get((kind, name))


def load_plugin(path: Path) -> ModuleType:
    """Run the plugin in the file ``path``, once per process and content.

    Processes started from here load it too. Whatever a plugin raises becomes a
    :class:`~sigbit.errors.UserError` that names file and line.
    """
    path = path.resolve()
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"plugin {path}: {error.strerror}") from error
    key = sha256(content).hexdigest()
    if key not in _loaded:
        name = f"sigbit_plugin_{key[:16]}"
        spec = importlib.util.spec_from_file_location(name, path)
        if spec is None or spec.loader is None:
            raise UserError(f"plugin {path}: a plugin is a Python file that ends in .py")
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module  # so that what it defines can be pickled
        with _from(str(path)):
            spec.loader.exec_module(module)
        _loaded[key] = module
    _digests[str(path)] = key
    known = os.environ.get(ENVIRONMENT, "").split(os.pathsep)
    if str(path) not in known:
        os.environ[ENVIRONMENT] = os.pathsep.join([*filter(None, known), str(path)])
    return _loaded[key]


def load_installed() -> None:
    """Load the plugins of installed distributions and of :data:`ENVIRONMENT`, once per process."""
    for entry in entry_points(group=GROUP):
        if entry.value not in _loaded:
            with _from(f"{entry.name} ({entry.value})"):
                _loaded[entry.value] = entry.load()
                _digests[entry.value] = _digest_of(_loaded[entry.value])
    for path in filter(None, os.environ.get(ENVIRONMENT, "").split(os.pathsep)):
        load_plugin(Path(path))


def _digest_of(module: ModuleType) -> str:
    file = getattr(module, "__file__", None)
    return sha256(Path(file).read_bytes() if file else module.__name__.encode()).hexdigest()


def loaded() -> dict[str, str]:
    """SHA-256 (hex) of the loaded plugins: of a file by its path, of an installed one by what its
    entry point names."""
    return dict(_digests)


def _claim(kind: str, name: str, taken: bool) -> None:
    try:
        check_name(name, f"the name of a {kind}")
    except ValueError as error:
        raise UserError(str(error)) from error
    if taken:
        raise UserError(f"there is a {kind} {name!r} already: give yours another name")
    _origins[kind, name] = _loading[-1] if _loading else "Python"


@contextmanager
def _from(plugin: str) -> Iterator[None]:
    """Name ``plugin`` as the origin of what is added, and in every error."""
    _loading.append(plugin)
    try:
        yield
    except UserError as error:
        raise UserError(f"plugin {plugin}: {error}") from error
    except Exception as error:
        where = f", line {_line(error, plugin)}" if _line(error, plugin) else ""
        raise UserError(f"plugin {plugin}{where}: {type(error).__name__}: {error}") from error
    finally:
        _loading.pop()


def _line(error: Exception, plugin: str) -> int | None:
    """The last line of ``plugin``'s own file that ``error`` passed."""
    if isinstance(error, SyntaxError):
        return error.lineno
    found, trace = None, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == plugin:
            found = trace.tb_lineno
        trace = trace.tb_next
    return found
