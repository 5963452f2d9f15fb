"""JSON from untrusted sources.

Constructs that JSON leaves undefined or NumPy cannot represent are refused: duplicate keys, NaN and
infinity, unbounded nesting.
"""

import json
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

from sigbit_tools.shown import shown

TEXT_MAX = 64 << 20
"""Maximum size of a document in bytes."""
DIGITS_MAX = 400
"""Maximum number of digits of an integer: those of the largest float, with some margin."""
DEPTH_MAX = 64
"""Maximum nesting depth of a document."""


def parse_json(text: str | bytes) -> Any:
    """Return the document in ``text``; ``ValueError`` describes the error and its position."""
    if len(text) > TEXT_MAX:
        raise ValueError(f"a document must have at most {TEXT_MAX >> 20} MiB, not {len(text):,}")
    try:
        document = json.loads(
            text, object_pairs_hook=_object, parse_constant=_constant, parse_int=_whole
        )
    except json.JSONDecodeError as error:
        raise ValueError(f"line {error.lineno}, column {error.colno}: {error.msg}") from None
    except UnicodeDecodeError:
        raise ValueError("it is not UTF-8 text") from None
    except RecursionError:
        raise ValueError(f"it must nest at most {DEPTH_MAX} levels deep") from None
    check_depth(document)
    return document


def _object(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {shown(twice)} occurs twice")
    return found


def _whole(digits: str) -> int:
    if len(digits) > DIGITS_MAX:
        raise ValueError(f"numbers must have at most {DIGITS_MAX} digits, not {len(digits)}")
    return int(digits)


def _constant(name: str) -> NoReturn:
    raise ValueError(f"numbers must be finite, not {name}")


def check_depth(document: Any) -> None:
    """Raise ``ValueError`` if ``document`` is nested more than :data:`DEPTH_MAX` levels deep. The
    check proceeds level by level, since recursion would fail on the very documents it looks for."""
    level = _containers([document])
    for _ in range(DEPTH_MAX):
        level = [inner for outer in level for inner in _containers(_children(outer))]
    if level:
        raise ValueError(f"it must nest at most {DEPTH_MAX} levels deep")


def _children(outer: Any) -> Iterable[Any]:
    return outer.values() if isinstance(outer, dict) else outer


def _containers(values: Iterable[Any]) -> list[Any]:
    return [value for value in values if isinstance(value, dict | list)]
