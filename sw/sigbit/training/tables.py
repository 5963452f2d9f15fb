"""Tables of a configuration file as frozen dataclasses, with every key checked and error messages
for users.

Supported types of fields: bool, int, float (finite), str, ``Literal``, ``tuple[T, ...]`` and
``Sequence[T]``, ``Mapping`` (any table of plain values), ``str | Mapping``, other dataclasses, and
each of these or None.
"""

import dataclasses
import math
import types
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from sigbit.errors import TrainingError
from sigbit_tools.shown import shown

_WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}
WHOLE_MAX = 2**53
"""Largest magnitude of an integer."""
WHOLE = "the run"
"""Name of a whole file as a table; keys of other tables are prefixed with their table's name and a
dot."""


def from_table(kind: type[Any], table: object, where: str = WHOLE) -> Any:
    """Return an object of the dataclass ``kind`` from the table ``where`` of a file.

    Raises :class:`TrainingError` for unknown, missing and ill-typed keys.
    """
    if not isinstance(table, Mapping):
        raise TrainingError(f"{where} must be a table, not {shown(table)}")
    path = "" if where == WHOLE else f"{where}."
    hints = get_type_hints(kind)
    fields = {f.name: f for f in dataclasses.fields(kind)}
    for name in table:
        if name not in fields:
            near = get_close_matches(name, fields, 1)
            hint = f" (did you mean {near[0]}?)" if near else ""
            raise TrainingError(
                f"{where} has no key {shown(name)}{hint}; it takes {', '.join(fields)}"
            )
    absent = [
        name
        for name, field in fields.items()
        if name not in table
        and field.default is dataclasses.MISSING
        and field.default_factory is dataclasses.MISSING
    ]
    if absent:
        raise TrainingError(f"{where} lacks {', '.join(absent)}")
    values = {n: checked(hints[n], v, f"{path}{n}") for n, v in table.items()}
    try:
        return kind(**values)
    except ValueError as error:
        raise TrainingError(f"{where}: {error}") from error


def checked(hint: Any, value: object, where: str) -> Any:
    """Return ``value`` if it is of the type ``hint``; integers are accepted as floats.

    Raises :class:`TrainingError`, which refers to the value as ``where``.
    """
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        inner = [a for a in get_args(hint) if a is not type(None)]
        if len(inner) > 1 and not isinstance(value, str | Mapping):
            raise TrainingError(f"{where} must be text or a table, not {shown(value)}")
        kind = str if len(inner) > 1 and isinstance(value, str) else inner[-1]
        return None if value is None else checked(kind, value, where)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return from_table(hint, value, where)
    if origin in (tuple, Sequence):
        if not isinstance(value, list | tuple):
            raise TrainingError(f"{where} must be a list, not {shown(value)}")
        return tuple(checked(get_args(hint)[0], v, f"{where}[{i}]") for i, v in enumerate(value))
    if origin is Mapping or hint is Mapping:
        if not isinstance(value, Mapping):
            raise TrainingError(f"{where} must be a table, not {shown(value)}")
        return {k: _plain(v, f"{where}.{k}") for k, v in value.items()}
    if origin is Literal:
        if value not in get_args(hint):
            raise TrainingError(
                f"{where} must be one of {', '.join(get_args(hint))}, not {shown(value)}"
            )
        return value
    if hint is float and type(value) is int:
        return float(_plain(value, where))
    if type(value) is not hint:
        raise TrainingError(f"{where} must be {_WORDS[hint]}, not {shown(value)}")
    return _plain(value, where)


def _plain(value: object, where: str) -> Any:
    """Return ``value`` if JSON can represent it."""
    if isinstance(value, float) and not math.isfinite(value):
        raise TrainingError(f"{where} must be finite, not {value}")
    if isinstance(value, int) and abs(value) > WHOLE_MAX:
        raise TrainingError(f"{where} must be in [-{WHOLE_MAX}, {WHOLE_MAX}], not {shown(value)}")
    if isinstance(value, Mapping):
        return {k: _plain(v, f"{where}.{k}") for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v, f"{where}[{i}]") for i, v in enumerate(value)]
    if value is not None and not isinstance(value, bool | int | float | str):
        raise TrainingError(f"{where} must be a number, text, true, false, a list or a table")
    return value


def to_table(value: object) -> Any:
    """Plain values of dataclasses, mappings and tuples, for JSON."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_table(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(k): to_table(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [to_table(v) for v in value]
    return value


def differences(old: object, new: object, where: str = "") -> list[str]:
    """Lines ``key: old -> new`` for all differences between two results of :func:`to_table`."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        lines: list[str] = []
        for key in dict.fromkeys((*old, *new)):
            path = f"{where}.{key}" if where else key
            if key not in old or key not in new:
                side = "only now" if key in new else "only before"
                lines.append(f"{path}: {side} ({(new if key in new else old)[key]!r})")
            else:
                lines += differences(old[key], new[key], path)
        return lines
    return [] if old == new else [f"{where}: {old!r} -> {new!r}"]
