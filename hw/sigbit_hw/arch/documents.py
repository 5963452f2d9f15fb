"""JSON documents from files that anybody may have written: one meaning, limits, errors for people.

:func:`parse_json` refuses what JSON leaves open or NumPy cannot take: keys that come twice, NaN and
infinity, endless nesting. :func:`validated` holds a document against a schema of pydantic.
"""

import json
from collections.abc import Sequence
from typing import Any, NoReturn, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from sigbit_hw.arch.names import shown

TEXT_MAX = 64 << 20
"""Bytes of a document at most."""
DEPTH_MAX = 64
"""Levels of a document at most."""

Model = TypeVar("Model", bound=BaseModel)


class Schema(BaseModel):
    """Base of the schemas: no key but the declared ones."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def parse_json(text: str | bytes) -> Any:
    """The document in ``text``; ``ValueError`` says what is wrong with it and where."""
    if len(text) > TEXT_MAX:
        raise ValueError(f"a document must have at most {TEXT_MAX >> 20} MiB, not {len(text):,}")
    try:
        document = json.loads(text, object_pairs_hook=_object, parse_constant=_constant)
    except json.JSONDecodeError as error:
        raise ValueError(f"line {error.lineno}, column {error.colno}: {error.msg}") from None
    except UnicodeDecodeError:
        raise ValueError("it is not UTF-8 text") from None
    except RecursionError:
        raise ValueError(f"it must nest at most {DEPTH_MAX} levels deep") from None
    if _deeper(document, DEPTH_MAX):
        raise ValueError(f"it must nest at most {DEPTH_MAX} levels deep")
    return document


def _object(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {shown(twice)} comes twice")
    return found


def _constant(name: str) -> NoReturn:
    raise ValueError(f"numbers must be finite, not {name}")


def _deeper(document: Any, levels: int) -> bool:
    """Whether ``document`` has more than ``levels`` levels; level by level, not by recursion."""
    level = [document]
    for _ in range(levels + 1):
        level = [
            inner
            for value in level
            if isinstance(value, dict | list)
            for inner in (value.values() if isinstance(value, dict) else value)
        ]
    return bool(level)


def validated(schema: type[Model], document: object) -> Model:
    """``document`` as ``schema``; ``ValueError`` with one line that names the place, what is
    allowed and what was given."""
    try:
        return schema.model_validate(document)
    except ValidationError as error:
        problems = error.errors(include_url=False)
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise ValueError(_line(problems[0], schema) + more) from None


_MEANT = {
    "model_type": "must be an object",
    "dict_type": "must be an object",
    "int_type": "must be a whole number",
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
    "string_type": "must be text",
    "bool_type": "must be true or false",
    "tuple_type": "must be a list",
    "list_type": "must be a list",
}


def _line(problem: Any, schema: type[BaseModel]) -> str:
    where, kind = _place(problem["loc"]), problem["type"]
    if kind == "missing":
        return f"{where} is missing"
    if kind == "extra_forbidden":
        return f"{where} is unknown: there is no such key"
    if kind == "value_error":
        return f"{where}: {problem['ctx']['error']}"
    text = _MEANT.get(kind)
    if text is None:
        text = problem["msg"]
        for subject in ("Input", "String", "List", "Tuple", "Dictionary", "Value"):
            text = text.replace(f"{subject} should ", "must ", 1)
    return f"{where or 'it'} {text}, not {shown(problem['input'])}"


def _place(parts: Sequence[str | int]) -> str:
    """``inputs[0].scale`` of ("inputs", 0, "scale"); a key that is not a name is shown quoted."""
    text = ""
    for part in parts:
        if isinstance(part, int):
            text += f"[{part}]"
        elif part.isidentifier():
            text += f".{part}" if text else part
        else:
            text += f"[{shown(part)}]"
    return text
