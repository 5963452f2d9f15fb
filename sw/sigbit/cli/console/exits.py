"""From exceptions to exit codes: a user error is one line on stderr, never a traceback.

Exit codes: 0 for success, 1 if a check failed, 2 for an error that the user can correct, 130 if
interrupted. A bug keeps its traceback; ``SIGBIT_DEBUG=1`` shows all of them.
"""

from sigbit.errors import CheckFailed
from sigbit_tools.errors import SigbitError, out_of_memory
from sigbit_tools.extras import remedy

CHECK_FAILED, USER_ERROR, INTERRUPTED = 1, 2, 130


def explain(error: BaseException) -> tuple[str, int] | None:
    """Return one line and the exit code for an exception that users can act on, else None."""
    if isinstance(error, CheckFailed):
        return f"failed: {error}", CHECK_FAILED
    if isinstance(error, SigbitError):
        return f"error: {_unsupported(error) or error}", USER_ERROR
    if isinstance(error, ModuleNotFoundError) and (told := remedy(error)) is not None:
        return f"error: {told}", USER_ERROR
    if isinstance(error, OSError) and error.filename is not None:
        return f"error: {error.filename}: {error.strerror}", USER_ERROR
    if out_of_memory(error):
        return "error: out of memory: take smaller inputs, or fewer samples at once", USER_ERROR
    return None


def _unsupported(error: BaseException) -> str:
    """Return the report of an ``UnsupportedModel``, one paragraph per node; "" for other
    exceptions."""
    rows = getattr(error, "rows", ())
    if not rows:
        return ""
    nodes = (
        f"  {r.location or r.name}: {r.op}\n    why: {r.reason}\n    instead: {r.remedy}"
        for r in rows
    )
    plural = "s" if len(rows) > 1 else ""
    return "\n".join([f"{len(rows)} unsupported node{plural}; nothing was written", *nodes])
