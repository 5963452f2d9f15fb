"""The phase of an SDRAM's clock: bitstreams of many phases, and those with which a board works."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sigbit.errors import UserError
from sigbit.flows.devices import BoardName, device_name
from sigbit.flows.load import load
from sigbit.flows.progress import Tell, silent
from sigbit.flows.result import Result, Stopwatch
from sigbit_boards import registry
from sigbit_boards.host.connect import memory_test
from sigbit_synthesis.pnr import Routed
from sigbit_tools.files import replacing

PHASES = tuple(22.5 * k for k in range(16))
"""Phases of a sweep in degrees."""


@dataclass(frozen=True)
class PhaseTest:
    """The board's test of its memory at start with a phase in degrees: wrong words, and the data
    lines that were wrong in any of them."""

    phase: float
    wrong_words: int
    lines: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class PhaseSweep(Result):
    """Tests with all phases, in their order, and the ``best`` one, whose bitstream the board has:
    the middle of the longest series without wrong words; ``None`` if every phase has some."""

    device: str
    tests: tuple[PhaseTest, ...]
    best: float | None


def phase_file(phase: float) -> str:
    """Return the name of the bitstream of a phase."""
    return f"phase-{phase:05.1f}.bit"


def write_phases(
    board: registry.Board, routed: Routed, clock: float, folder: Path, tell: Tell
) -> tuple[str, ...]:
    """Write a bitstream for each of :data:`PHASES`, all of one placement, into ``folder``; return
    their names."""
    for done, phase in enumerate(PHASES):
        tell("packing phases", done, len(PHASES))
        with replacing(folder / phase_file(phase)) as file:
            file.write(board.with_phase(routed, clock, phase))
    return tuple(map(phase_file, PHASES))


def sweep_phases(device: str, folder: Path, *, tell: Tell = silent) -> PhaseSweep:
    """Load the bitstreams that :func:`~sigbit.flows.build.build` has written for a sweep into
    ``folder`` onto ``device``, a board and its port, one after another; ask the board what its test
    of the memory has found; load the best one at last.

    Raises :class:`~sigbit.errors.UserError` if there is no such device or file,
    :class:`~sigbit_tools.toolchain.ToolchainError` if openFPGALoader is missing or fails,
    :class:`~sigbit.runtime.BoardError` if the board does not answer.
    """
    watch, name = Stopwatch(), device_name(device)
    if not isinstance(name, BoardName) or name.board not in registry.names():
        raise UserError(f"a sweep of phases needs a board and its port, not {device}")
    if missing := [p for p in PHASES if not (folder / phase_file(p)).is_file()]:
        raise UserError(
            f"there is no bitstream {folder / phase_file(missing[0])}: "
            f"`sigbit build {name.board} --memory sdram --sweep -o {folder}` makes one for every "
            "phase"
        )
    tests = []
    for done, phase in enumerate(PHASES):
        tell(f"{name}: {phase:g} degrees", done, len(PHASES))
        load(name.board, folder / phase_file(phase))
        tests.append(PhaseTest(phase, *memory_test(name.board, name.port)))
    best = _middle([test.wrong_words == 0 for test in tests])
    if best is not None:
        load(name.board, folder / phase_file(PHASES[best]))
    return PhaseSweep(
        device=str(name),
        tests=tuple(tests),
        best=None if best is None else PHASES[best],
        **watch.read(),
    )


def _middle(good: Sequence[bool]) -> int | None:
    """Return the middle of the longest series of places that are good, of which the last is
    followed by the first."""
    size = len(good)
    if all(good):
        return 0
    lengths = [next(n for n in range(size + 1) if not good[(k + n) % size]) for k in range(size)]
    longest = max(lengths)
    return (lengths.index(longest) + (longest - 1) // 2) % size if longest else None
