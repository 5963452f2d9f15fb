"""The package's exception."""


class TrainingError(Exception):
    """A run is not possible as configured, or has failed; the message is for the user."""


class DivergedError(TrainingError):
    """The loss is not finite any more."""
