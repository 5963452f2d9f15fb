"""The current command as typed."""

import shlex
from collections.abc import Sequence

_words: tuple[str, ...] = ()


def remember(words: Sequence[str]) -> None:
    """Store the arguments of the command that begins."""
    global _words  # as the process's own arguments, they are there once
    _words = tuple(words)


def command_line() -> str:
    """Return the command, for a shell."""
    return shlex.join(["sigbit", *_words])
