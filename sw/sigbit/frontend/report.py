"""The refusal of a model: one row for every node that cannot be compiled."""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from difflib import get_close_matches

from sigbit_tools.errors import SigbitError

_ALIKE = 0.75
"""Minimum share of common letters for two names to count as similar."""


def nearest(op: str, supported: Iterable[str]) -> str:
    """Return the remedy for an operator without a better known one: the operators with similar
    names."""
    found = get_close_matches(op, sorted(supported), 3, _ALIKE)
    near = f"nearest by name: {', '.join(found)}; " if found else ""
    return f"{near}docs/networks.md lists what is supported"


@dataclass(frozen=True)
class UnsupportedNode:
    """One node: its operation, the user's source line, the reason for the refusal and a remedy.
    Text that cannot be printed is shown as "?", wherever it comes from."""

    name: str
    op: str
    location: str
    reason: str
    remedy: str

    def __post_init__(self) -> None:
        for field in fields(self):
            text = "".join(c if c.isprintable() else "?" for c in getattr(self, field.name))
            object.__setattr__(self, field.name, text)

    def __str__(self) -> str:
        return f"{self.location or self.name}: {self.op}: {self.reason}; {self.remedy}"


class UnreadableModel(SigbitError):
    """Raised for a file or a message without a readable model; the message is for the user."""


class UnsupportedModel(SigbitError):
    """Raised for a model with nodes that cannot be compiled; :attr:`rows` names every one of
    them."""

    def __init__(self, model: str, rows: tuple[UnsupportedNode, ...]) -> None:
        self.model, self.rows = model, rows
        count = f"{len(rows)} unsupported node{'s' if len(rows) != 1 else ''}"
        super().__init__("\n  ".join([f"{model}: {count}", *map(str, rows)]))
