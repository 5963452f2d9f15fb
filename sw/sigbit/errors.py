"""The software's exceptions: every message is written for people."""

from collections.abc import Iterator
from contextlib import contextmanager

from sigbit_tools.errors import SigbitError


class UserError(SigbitError):
    """An option, a file or a value that was given is wrong."""


class CheckFailed(Exception):
    """Something that was compared differs; the text says what."""


@contextmanager
def given(what: str) -> Iterator[None]:
    """Turn a ``TypeError`` or ``ValueError`` about a value given in ``what`` into a
    :class:`UserError`."""
    try:
        yield
    except (TypeError, ValueError) as error:
        raise UserError(f"{what}: {error}") from error


class DataError(SigbitError):
    """A data set is missing or damaged; the message is for the user."""


class MissingError(DataError):
    """A file is not where it was looked for."""


class ZooError(SigbitError):
    """An unknown network or option, or a checkpoint that does not fit; the message is for the
    user.
    """


class QuantizationError(SigbitError):
    """A model, its calibration or its parameters cannot be quantized; the message is for the
    user.
    """


class DamagedModelError(QuantizationError):
    """A file that should hold an integer model holds something that is none."""


class CompileError(SigbitError):
    """A network cannot be compiled for an accelerator; the message is for the user."""


class MemoryLimitError(CompileError):
    """Values of a network that must exist at the same time exceed the activation memory."""


class ResultsError(SigbitError):
    """Rows of benchmarks and pages about them do not fit together; the message is for the user."""


class VerifyError(CompileError):
    """A pass produced something wrong: a fault of the compiler, caught by the verifier named in the
    message."""


def require(condition: bool, message: str) -> None:
    """Raise :class:`VerifyError` with ``message`` unless ``condition`` holds."""
    if not condition:
        raise VerifyError(message)


class TrainingError(SigbitError):
    """A run is not possible as configured, or has failed; the message is for the user."""


class DivergedError(TrainingError):
    """The loss is not finite any more."""
