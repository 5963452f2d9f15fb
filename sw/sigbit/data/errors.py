"""The package's exception."""


class DataError(Exception):
    """A data set is missing or damaged; the message is for the user."""


class MissingError(DataError):
    """A file is not where it was looked for."""
