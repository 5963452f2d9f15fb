"""The base of every exception whose text is written for people."""


class SigbitError(Exception):
    """A mistake that a person can mend.

    The text says what is wrong, what is allowed, what was given and what to do. The command line
    prints it without a traceback.
    """
