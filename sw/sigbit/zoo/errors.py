"""The package's exception."""


class ZooError(Exception):
    """An unknown network or option, or a checkpoint that does not fit; the message is for the
    user.
    """
