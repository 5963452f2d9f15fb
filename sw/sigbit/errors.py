"""The software's exceptions: every message is written for people."""


class DataError(Exception):
    """A data set is missing or damaged; the message is for the user."""


class MissingError(DataError):
    """A file is not where it was looked for."""


class ZooError(Exception):
    """An unknown network or option, or a checkpoint that does not fit; the message is for the
    user.
    """


class QuantizationError(Exception):
    """A model, its calibration or its parameters cannot be quantized; the message is for the
    user.
    """


class CompileError(Exception):
    """A network cannot be compiled for an accelerator; the message is for the user."""


class VerifyError(CompileError):
    """A pass produced something wrong: a fault of the compiler, caught by the verifier named in the
    message."""


def require(condition: bool, message: str) -> None:
    """Raise :class:`VerifyError` with ``message`` unless ``condition`` holds."""
    if not condition:
        raise VerifyError(message)


class TrainingError(Exception):
    """A run is not possible as configured, or has failed; the message is for the user."""


class DivergedError(TrainingError):
    """The loss is not finite any more."""
