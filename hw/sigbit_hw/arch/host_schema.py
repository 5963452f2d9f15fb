"""The host's part in documents of Programs and integer models; constants are arrays beside them."""

from collections.abc import Mapping
from math import isfinite
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, Field

from sigbit_hw.arch.documents import Schema
from sigbit_hw.arch.host import STEPS_MAX, HostInput, HostPart, HostStep, Option
from sigbit_hw.arch.names import check_name
from sigbit_tools.shown import shown

PREFIX = "host."
"""Prefix of the names of the arrays."""
SOURCE_MAX = 4096
"""Characters of the text that says where a user wrote something at most."""

_LIST = 16

Arrays = Mapping[str, NDArray[Any]]


def printable(text: str) -> str:
    """``text``, if it is one line that can be printed; ``ValueError`` otherwise."""
    if not text.isprintable():
        raise ValueError("text must be printable, in one line")
    return text


Name = Annotated[str, Field(strict=True), AfterValidator(check_name)]
Reference = Annotated[str, Field(strict=True, max_length=128)]
Source = Annotated[str, Field(strict=True, max_length=SOURCE_MAX), AfterValidator(printable)]
Side = Annotated[int, Field(strict=True, ge=1, le=1 << 31)]


def _option(value: object) -> Option:
    """A whole number, a number, or a few whole numbers."""
    if isinstance(value, (int, float)) and not isinstance(value, bool) and isfinite(value):
        return value
    if isinstance(value, (list, tuple)) and len(value) <= _LIST:
        numbers = [v for v in value if isinstance(v, int) and not isinstance(v, bool)]
        if len(numbers) == len(value):
            return tuple(numbers)
    raise ValueError(
        f"an option must be a number or up to {_LIST} whole numbers, not {shown(value)}"
    )


class HostInputDocument(Schema):
    """See :class:`~sigbit_hw.arch.host.HostInput`."""

    name: Name
    output: Name
    shape: Annotated[tuple[Side, ...], Field(min_length=1, max_length=3)]


class HostStepDocument(Schema):
    """See :class:`~sigbit_hw.arch.host.HostStep`."""

    function: Name
    operands: Annotated[tuple[Reference, ...], Field(max_length=256)]
    results: Annotated[tuple[Reference, ...], Field(min_length=1, max_length=256)]
    options: dict[Name, Annotated[Any, AfterValidator(_option)]]
    source: Source


class HostDocument(Schema):
    """See :class:`~sigbit_hw.arch.host.HostPart`."""

    inputs: tuple[HostInputDocument, ...]
    steps: Annotated[tuple[HostStepDocument, ...], Field(max_length=STEPS_MAX)]
    constants: tuple[Name, ...]
    results: tuple[Name, ...]

    def part(self, arrays: Arrays) -> HostPart:
        """The host's part with the constants among ``arrays``; ``ValueError`` where one is absent
        or there is another. Its steps are not looked at."""
        stored = {n.removeprefix(PREFIX): a for n, a in arrays.items() if n.startswith(PREFIX)}
        if sorted(stored) != sorted(self.constants):
            raise ValueError("host: its constants are not those that are stored")
        return HostPart(
            tuple(HostInput(i.name, i.output, i.shape) for i in self.inputs),
            tuple(
                HostStep(s.function, s.operands, s.results, dict(s.options), s.source)
                for s in self.steps
            ),
            stored,
            self.results,
        )


def host_document(part: HostPart) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """The document of a host's part, and its arrays by name."""
    document = {
        "inputs": [
            {"name": i.name, "output": i.output, "shape": list(i.shape)} for i in part.inputs
        ],
        "steps": [
            {
                "function": step.function,
                "operands": list(step.operands),
                "results": list(step.results),
                "options": {k: _plain(v) for k, v in step.options.items()},
                "source": "".join(c if c.isprintable() else "?" for c in step.source)[:SOURCE_MAX],
            }
            for step in part.steps
        ],
        "constants": sorted(part.constants),
        "results": list(part.results),
    }
    return document, {f"{PREFIX}{n}": np.asarray(a, order="C") for n, a in part.constants.items()}


def _plain(option: Option) -> Any:
    return list(option) if isinstance(option, tuple) else option
