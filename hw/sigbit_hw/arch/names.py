"""Names of accelerators, networks, layers and tensors.

A name may end up in a path, a report or a terminal, and the file that it comes from is not trusted:
it consists of letters, digits, ``_``, ``.`` and ``-``, without ``..``.
"""

import re
from collections.abc import Container
from itertools import count

from sigbit_tools.shown import shown

NAME_MAX = 128
"""Maximum length of a name: with the usual prefixes and suffixes it remains a valid file name."""

_LEGAL = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_OTHERS = re.compile(r"[^A-Za-z0-9_.-]+")


def is_name(value: object) -> bool:
    """Return whether ``value`` is a legal name."""
    return (
        isinstance(value, str)
        and len(value) <= NAME_MAX
        and _LEGAL.fullmatch(value) is not None
        and ".." not in value
    )


def check_name(value: object, what: str = "a name") -> str:
    """Return ``value`` if it is a legal name; raises ``ValueError`` otherwise."""
    if not is_name(value):
        raise ValueError(
            f"{what} must be up to {NAME_MAX} letters, digits and . _ - that begin with a letter, "
            f"a digit or _ and hold no '..', not {shown(value)}"
        )
    return str(value)


def legal_name(text: str) -> str:
    """Return the legal name nearest to ``text``: a slash becomes a dot, any other illegal character
    an underscore."""
    name = _OTHERS.sub("_", text.replace("/", "."))
    name = re.sub(r"\.\.+", ".", name).strip(".")[: NAME_MAX - 8]  # room for a numeric suffix
    return name if _LEGAL.fullmatch(name) else f"_{name}"


def numbered(name: str, taken: Container[str]) -> str:
    """Return ``name``, with the least number from 2 on appended if it is ``taken``."""
    if name not in taken:
        return name
    return next(each for n in count(2) if (each := f"{name}_{n}") not in taken)
