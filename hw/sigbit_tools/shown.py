"""Formatting of values and texts in error messages."""

import reprlib

_SHORT = reprlib.Repr()
_SHORT.maxlevel, _SHORT.maxstring, _SHORT.maxother, _SHORT.maxlong = 2, 60, 60, 40
_SHORT.maxlist = _SHORT.maxtuple = _SHORT.maxdict = 4


def shown(value: object) -> str:
    """Return the ``repr`` of ``value``, shortened for an error message."""
    return _SHORT.repr(value)


def printable(text: str) -> str:
    """Return ``text`` with escapes for all characters but line feeds that cannot be printed."""
    return "".join(
        c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text
    )
