"""From exceptions to exit codes: a user's mistake is one line on stderr, never a traceback.

Exit codes: 0 all is well; 1 something was compared and differs; 2 the user can mend it; 130
interrupted. An error that is ours keeps its traceback. ``SIGBIT_DEBUG=1`` shows all of them.
"""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

CHECK_FAILED, USER_ERROR, INTERRUPTED = 1, 2, 130

_FOR_USERS = (
    ("sigbit_hw.arch.program", "ProgramError"),
    ("sigbit_tools.files", "FileError"),
    ("sigbit.runtime", "DeviceError"),
    ("sigbit.compiler", "CompileError"),
    ("sigbit.export", "ExportError"),
    ("sigbit.frontend", "UnsupportedModel"),
    ("sigbit.quant", "QuantizationError"),
    ("sigbit.training", "TrainingError"),
    ("sigbit.ir.integer", "GraphError"),
    ("sigbit.zoo", "ZooError"),
    ("sigbit.data", "DataError"),
    ("sigbit_tools.toolchain", "ToolchainError"),
)
"""Exceptions whose text is written for users, by module: one that is not loaded was not raised."""


class UserError(Exception):
    """The user's input is wrong; the text says what, what is allowed and what to do."""


class CheckFailed(Exception):
    """What was compared differs; the text says what."""


@contextmanager
def given(what: str) -> Iterator[None]:
    """Turn a wrong value that the user gave in ``what`` into a :class:`UserError`."""
    try:
        yield
    except (TypeError, ValueError) as error:
        raise UserError(f"{what}: {error}") from error


def explain(error: BaseException) -> tuple[str, int] | None:
    """One line and the exit code for an exception that users can act on, else None."""
    if isinstance(error, CheckFailed):
        return f"failed: {error}", CHECK_FAILED
    loaded = ((sys.modules.get(module), name) for module, name in _FOR_USERS)
    known = tuple(getattr(module, name) for module, name in loaded if hasattr(module, name))
    if isinstance(error, (UserError, *known)):
        return f"error: {_unsupported(error) or error}", USER_ERROR
    if isinstance(error, OSError) and error.filename is not None:
        return f"error: {error.filename}: {error.strerror}", USER_ERROR
    if isinstance(error, MemoryError):
        return "error: out of memory: run fewer images at once (--images)", USER_ERROR
    return None


def _unsupported(error: BaseException) -> str:
    """The report of an ``UnsupportedModel``: a paragraph for each node; "" for other exceptions."""
    rows = getattr(error, "rows", ())
    if not rows:
        return ""
    nodes = (
        f"  {r.location or r.name}: {r.op}\n    why: {r.reason}\n    instead: {r.remedy}"
        for r in rows
    )
    plural = "s" if len(rows) > 1 else ""
    return "\n".join([f"{len(rows)} unsupported node{plural}; nothing was written", *nodes])


def invoke(arguments: Sequence[str]) -> int:
    """Run the command line on ``arguments`` and return its exit code."""
    try:
        from sigbit.cli.app import app

        app(list(arguments), prog_name="sigbit")
    except SystemExit as stop:
        if stop.code == INTERRUPTED:  # typer's answer to Ctrl-C
            print("interrupted", file=sys.stderr)
        return stop.code if isinstance(stop.code, int) else 0 if stop.code is None else USER_ERROR
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except Exception as error:
        told = explain(error)
        if told is None or os.environ.get("SIGBIT_DEBUG"):
            raise
        print(told[0], file=sys.stderr)
        return told[1]
    return 0
