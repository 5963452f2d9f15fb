"""One job of a campaign, and the key under which its result is stored."""

import hashlib
import importlib
import importlib.util
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from sigbit_tools.cache import key_of

Row = dict[str, Any]
Tell = Callable[[str, int, int], None]
"""Called with the current activity, the number of steps done and their total number."""


@dataclass(frozen=True)
class Job:
    """A function to be called with plain values, on any machine.

    The function takes ``parameters`` and ``settings`` as keywords, and ``tell``, a
    :data:`Tell`; it returns rows. Equal parameters must give equal rows, apart from times.

    Parameters
    ----------
    name : str
        Display name.
    function : str
        ``package.module:name``.
    parameters : mapping
        JSON values that the rows depend on.
    settings : mapping
        JSON values that the rows do not depend on, such as the location of data sets.
    columns : mapping
        Columns that distinguish the job's rows from those of others; the row of a failed job
        consists of them.
    code : tuple of str
        Packages whose sources affect the rows.
    releases : tuple of str
        Third-party distributions whose releases affect the rows.
    after : str, optional
        Name of the job of the same campaign that must finish first, successfully or not.

    Raises ``TypeError`` or ``ValueError`` for values that are not JSON.
    """

    name: str
    function: str
    parameters: Mapping[str, Any]
    settings: Mapping[str, Any] = field(default_factory=dict)
    columns: Mapping[str, Any] = field(default_factory=dict)
    code: tuple[str, ...] = ()
    releases: tuple[str, ...] = ()
    after: str | None = None

    def __post_init__(self) -> None:
        module, colon, name = self.function.partition(":")
        if not (module and colon and name):
            raise ValueError(f"a job's function must be package.module:name, not {self.function!r}")
        for what in ("parameters", "settings", "columns"):
            object.__setattr__(self, what, as_json(getattr(self, what)))

    @property
    def key(self) -> str:
        """Name of the result: a hash of function, parameters, sources and releases."""
        return key_of(
            self.function,
            json.dumps(self.parameters, sort_keys=True),
            *(f"{package} {source_digest(package)}" for package in self.code),
            *(f"{name} {version(name)}" for name in self.releases),
        )

    def run(self, tell: Tell) -> list[Row]:
        """Call the function in this process."""
        module, _, name = self.function.partition(":")
        function = getattr(importlib.import_module(module), name)
        rows: list[Row] = as_json(function(**self.parameters, **self.settings, tell=tell))
        return rows


def as_json(value: Any) -> Any:
    """``value`` as read back from JSON: lists for tuples and arrays, Python numbers."""
    return json.loads(json.dumps(value, allow_nan=False, default=_plain))


def _plain(value: object) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is not a JSON value: {value!r}")


@cache
def source_digest(package: str) -> str:
    """Hash of all files of a package or module except compiled ones; computed once per process."""
    spec = importlib.util.find_spec(package)
    if spec is None:
        raise ModuleNotFoundError(f"there is no package {package!r}", name=package)
    hasher = hashlib.sha256()
    for root in map(Path, spec.submodule_search_locations or [str(spec.origin)]):
        for path in sorted(root.rglob("*")) if root.is_dir() else [root]:
            if path.is_file() and "__pycache__" not in path.parts:
                data = path.read_bytes()
                hasher.update(f"{path.relative_to(root.parent)} {len(data)}\n".encode() + data)
    return hasher.hexdigest()
