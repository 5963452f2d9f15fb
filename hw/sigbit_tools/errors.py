"""Base of all exceptions whose text is written for users."""


class SigbitError(Exception):
    """An error that the user can correct.

    The text says what is wrong, what is allowed, what was given and what to do. The command line
    prints it without a traceback.
    """
