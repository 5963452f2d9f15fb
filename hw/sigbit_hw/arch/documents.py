"""Documents from files, validated against a pydantic schema; errors are one line for users."""

from collections.abc import Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from sigbit_tools.shown import shown

Model = TypeVar("Model", bound=BaseModel)


class Schema(BaseModel):
    """Base of the schemas: only declared keys are allowed."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def validated(schema: type[Model], document: object) -> Model:
    """Return ``document`` as ``schema``. The ``ValueError`` is one line that names the place, the
    allowed values and the given one."""
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
    if kind in ("too_long", "too_short"):
        least, most = (problem["ctx"].get(f"{end}_length") for end in ("min", "max"))
        limit = f"at least {least}" if most is None else f"at most {most}"
        return f"{where} must have {limit} items, not {shown(problem['input'])}"
    text = _MEANT.get(kind)
    if text is None:
        text = problem["msg"]
        for subject in ("Input", "String", "List", "Tuple", "Dictionary", "Value"):
            text = text.replace(f"{subject} should ", "must ", 1)
    return f"{where or 'it'} {text}, not {shown(problem['input'])}"


def _place(parts: Sequence[str | int]) -> str:
    """``inputs[0].scale`` for ("inputs", 0, "scale"); a key that is not an identifier is quoted."""
    text = ""
    for part in parts:
        if isinstance(part, int):
            text += f"[{part}]"
        elif part.isidentifier():
            text += f".{part}" if text else part
        else:
            text += f"[{shown(part)}]"
    return text
