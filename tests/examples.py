"""How many examples hypothesis draws."""

from hypothesis import settings


def examples(full: int) -> int:
    """Number of examples of a test that has ``full`` of them in the profile ``full``."""
    share = settings().max_examples / settings.get_profile("full").max_examples
    return max(1, round(full * share))
