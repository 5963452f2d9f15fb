"""Exceptions whose text is written for users, and those that mean that memory is exhausted."""

from sigbit_tools.shown import printable


class SigbitError(Exception):
    """An error that the user can correct.

    The text says what is wrong, what is allowed, what was given and what to do. The command line
    prints it without a traceback. Characters of files that cannot be printed, which might steer a
    terminal, are escaped.
    """

    def __str__(self) -> str:
        return printable(super().__str__())


_EXHAUSTED = ("can't allocate memory", "bad_alloc", "bad allocation", "not enough memory")
"""Words of PyTorch and other compiled libraries, which have no exception of their own for it."""


def out_of_memory(error: BaseException) -> bool:
    """Return whether an exception means that memory is exhausted."""
    if isinstance(error, MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(word in str(error) for word in _EXHAUSTED)
