"""Functions that the tests' jobs call; workers find them under this module's name."""

import os
import time
from pathlib import Path
from typing import Any

Rows = list[dict[str, Any]]


def square(number: int, tell: Any, log: str = "") -> Rows:
    """A row; every call leaves a line in ``log``."""
    tell("squaring", 0, 1)
    if log:
        with Path(log).open("a") as file:
            file.write(f"{number} {os.getpid()}\n")
    return [{"number": number, "square": number**2}]


def slow(number: int, seconds: float, tell: Any, log: str = "") -> Rows:
    """As :func:`square`, after a while."""
    time.sleep(seconds)
    return square(number, tell, log)


def wrong(number: int, tell: Any) -> Rows:
    """Fails for odd numbers."""
    if number % 2:
        raise ZeroDivisionError(f"{number} is odd")
    return square(number, tell)


def deadly(number: int, tell: Any) -> Rows:
    """Kills its process for number 3."""
    if number == 3:
        os.kill(os.getpid(), 9)
    return square(number, tell)


def victim(number: int, graves: str, tell: Any) -> Rows:
    """For number 3, at the first try: says which process it is, and waits to be killed."""
    grave = Path(graves) / "pid"
    if number == 3 and not grave.exists():
        grave.write_text(str(os.getpid()))
        time.sleep(60)
    return square(number, tell)
