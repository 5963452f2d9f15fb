"""Errors of the compiler."""


class CompileError(Exception):
    """A network cannot be compiled for an accelerator; the message is for the user."""


class VerifyError(CompileError):
    """A pass produced something wrong: a fault of the compiler, caught by the verifier named in the
    message."""


def require(condition: bool, message: str) -> None:
    """Raise :class:`VerifyError` with ``message`` unless ``condition`` holds."""
    if not condition:
        raise VerifyError(message)
