"""Results of flows: frozen dataclasses that become JSON documents."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np

from sigbit_tools.stopwatch import Stopwatch as Stopwatch


@runtime_checkable
class Document(Protocol):
    """Class with its own conversion to JSON values."""

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        ...


@dataclass(frozen=True, kw_only=True)
class Result:
    """Result of a flow, with its run time.

    ``schema_version`` grows whenever a field is renamed, removed or given another meaning; new
    fields leave it alone.

    Parameters
    ----------
    seconds : float
        Wall time.
    cpu_seconds : float
        Processor time of this process and of the processes it waited for.
    """

    schema_version: ClassVar[int] = 1

    seconds: float
    cpu_seconds: float

    def to_json(self) -> dict[str, Any]:
        """Return the fields as plain JSON values, ``schema_version`` first."""
        fields = {f.name: plain(getattr(self, f.name)) for f in dataclasses.fields(self)}
        return {"schema_version": self.schema_version, **fields}


def plain(value: Any) -> Any:
    """Return ``value`` as JSON values: dataclasses as objects, paths as text, arrays as lists; a
    :class:`Document` by its own method.

    Raises ``TypeError`` for anything else, rather than writing its ``repr``.
    """
    if isinstance(value, Document):
        return value.to_json()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Enum):
        return plain(value.value)
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    raise TypeError(f"{type(value).__name__} is not a JSON value: {value!r}")
