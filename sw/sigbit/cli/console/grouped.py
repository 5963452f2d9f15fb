"""Options in groups: dataclasses whose fields are options, shared between commands."""

import dataclasses
import functools
import inspect
from collections.abc import Callable
from typing import Any, get_type_hints


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """Return ``command`` with every parameter that is a dataclass replaced by its fields.

    The fields are annotated like typer's options, and their defaults are the options' defaults; a
    group has no default. The command line sees one flat list of options, in the order of the
    parameters; ``command`` receives its groups.

    Raises ``TypeError`` if two groups have an option of the same name.
    """
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, Any] = {
        name: hint for name, hint in hints.items() if dataclasses.is_dataclass(hint)
    }
    parameters: dict[str, inspect.Parameter] = {}
    for parameter in inspect.signature(command).parameters.values():
        kind = groups.get(parameter.name)
        for one in _fields(kind) if kind else (parameter,):
            if one.name in parameters:
                raise TypeError(f"{command.__name__} has two options named {one.name!r}")
            annotation = one.annotation if kind else hints[one.name]
            parameters[one.name] = one.replace(
                kind=inspect.Parameter.KEYWORD_ONLY, annotation=annotation
            )

    @functools.wraps(command)
    def flat(**given: Any) -> None:
        made = {
            name: group(**{field.name: given.pop(field.name) for field in _fields(group)})
            for name, group in groups.items()
        }
        command(**made, **given)

    vars(flat)["__signature__"] = inspect.Signature(list(parameters.values()))
    flat.__annotations__ = {name: one.annotation for name, one in parameters.items()}
    return flat


def _fields(group: Any) -> list[inspect.Parameter]:
    hints = get_type_hints(group, include_extras=True)
    return [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty
            if field.default is dataclasses.MISSING
            else field.default,
            annotation=hints[field.name],
        )
        for field in dataclasses.fields(group)
    ]
