"""Loading of a bitstream onto a board."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

from sigbit.errors import UserError, given
from sigbit.flows.result import Result, Stopwatch
from sigbit_boards import registry
from sigbit_synthesis.pnr import BITSTREAM
from sigbit_tools.toolchain import ToolchainError, loader_tool


@dataclass(frozen=True, kw_only=True)
class Loaded(Result):
    """A bitstream loaded onto a board, kept until power is lost, or permanently in its
    ``flash``."""

    board: str
    bitstream: Path
    flash: bool


def load(board: str, source: Path, *, flash: bool = False) -> Loaded:
    """Load onto ``board``, connected by USB, the bitstream ``source``, or the one that
    :func:`~sigbit.flows.build.build` has written into the folder ``source``.

    Raises :class:`~sigbit.errors.UserError` if there is no such board or file,
    :class:`~sigbit_tools.toolchain.ToolchainError` if openFPGALoader is missing or fails.
    """
    watch = Stopwatch()
    with given(f"board {board}"):
        name = registry.load(board).loader
    bitstream = source / BITSTREAM if source.is_dir() else source
    if not bitstream.is_file():
        raise UserError(
            f"there is no bitstream {bitstream}: `sigbit build {board} -o DIR` makes one"
        )
    command = [str(loader_tool()), "--board", name]
    command += ["--write-flash"] if flash else []
    done = subprocess.run([*command, str(bitstream)], capture_output=True, text=True, check=False)
    if done.returncode:
        told = (done.stderr.strip() or done.stdout.strip() or "it says nothing").splitlines()[-1]
        raise ToolchainError(
            f"openFPGALoader cannot load {board}, with status {done.returncode}: {told}"
        )
    return Loaded(board=board, bitstream=bitstream, flash=flash, **watch.read())
