"""Readers that do what none may do: the campaign must notice each."""

import os
import time
from collections.abc import Callable
from pathlib import Path

from hostile.kinds import Kind, Rng, Unsound

GOOD = b"good"


def _write(folder: Path, rng: Rng) -> None:
    (folder / "x.bin").write_bytes(GOOD)


def _kind(name: str, misbehave: Callable[[Path], object]) -> Kind:
    """Opens good files, and misbehaves at others."""

    def read(path: Path) -> None:
        if path.read_bytes() != GOOD:
            misbehave(path)

    crafted = {"bad": lambda data: b"bad"}
    return Kind(name, "x.bin", _write, read, (ValueError,), exact=True, crafted=crafted)


def _refuse(path: Path) -> None:
    raise ValueError("it is bad")


def _undocumented(path: Path) -> None:
    raise KeyError("x")


def _unsound(path: Path) -> None:
    raise Unsound("it changes")


def _spin(path: Path) -> None:
    while True:
        time.process_time()


def _grow(path: Path) -> None:
    bytearray(3 << 30)


def _write_outside(path: Path) -> None:
    Path("stray").write_text("x")
    raise ValueError("it is bad")


def _leave(path: Path) -> None:
    with open(Path(os.environ["TMPDIR"]) / "left", "w") as file:
        file.write("x")
    raise ValueError("it is bad")


def _run(path: Path) -> None:
    os.system("true")
    raise ValueError("it is bad")


def _colour(path: Path) -> None:
    raise ValueError("\x1b[31mred")


KINDS = (
    _kind("good", _refuse),
    _kind("accepted", lambda path: None),
    _kind("undocumented", _undocumented),
    _kind("unsound", _unsound),
    _kind("too slow", _spin),
    _kind("grown", _grow),
    _kind("wrote", _write_outside),
    _kind("left", _leave),
    _kind("ran", _run),
    _kind("unreadable", _colour),
    _kind("died", lambda path: os._exit(3)),
)
