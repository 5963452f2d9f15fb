"""A board's bitstream: place, route and pack an accelerator."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sigbit.errors import UserError, given
from sigbit.flows.arch_file import write_arch
from sigbit.flows.phases import write_phases
from sigbit.flows.predicted_run import PredictedRun, names_program
from sigbit.flows.program_memory import SDRAM, ProgramMemory
from sigbit.flows.progress import Tell, silent
from sigbit.flows.result import Result, Stopwatch
from sigbit.inputs.accelerators import load_arch
from sigbit.inputs.programs import load_program
from sigbit_boards import registry
from sigbit_hw.arch.config import ArchConfig
from sigbit_synthesis import netlist_sha256
from sigbit_synthesis.pnr import Routed
from sigbit_tools.files import make_folder, replacing

ACCELERATOR = "accelerator"
"""Name of the clock of accelerator, memory and link."""
CLOCK_MHZ = 90.0
"""Default frequency of this clock."""
MEMORY = "memory"
"""Name of the clock of an external memory."""


@dataclass(frozen=True)
class Cells:
    """Number of cells of a type that the board uses, and number in its part."""

    used: int
    available: int


@dataclass(frozen=True)
class ClockGoal:
    """A clock of the board in MHz: the frequency of its generator, and the maximum frequency of
    each placement after routing, in the order of seeds from 1 on."""

    wanted: float
    met: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class BoardFiles(Result):
    """Files that were written for a board with an accelerator.

    Parameters
    ----------
    board, part : str
        The board, and the device on it.
    preset, arch_digest : str
        The accelerator.
    macs : int
        Its multiply-accumulates per cycle.
    target : str
        The target fabric.
    netlist_sha256 : str
        SHA-256 of the accelerator's RTLIL, as reported by ``sigbit synth`` for this target.
    clocks : mapping
        By name: ``accelerator`` is the clock of accelerator, link and on-chip memory, ``memory``
        that of an external memory, if there is one.
    resources : mapping
        Cells by type, of the placement that was packed; empty if nothing was placed.
    bitstream_bytes : int
        0 if there is none.
    folder : Path
        Folder of the files.
    files : tuple of str
        Their paths in the folder.
    """

    board: str
    part: str
    preset: str
    arch_digest: str
    macs: int
    target: str
    netlist_sha256: str
    clocks: Mapping[str, ClockGoal]
    resources: Mapping[str, Cells]
    bitstream_bytes: int
    folder: Path
    files: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Built(BoardFiles):
    """A board with an accelerator: the fastest of its placements, packed. Its files are bitstream,
    constraints, report and log of the tools, and the accelerator as JSON.

    Parameters
    ----------
    seed, fmax_mhz : int, float
        Seed of the packed placement, and the maximum frequency of the accelerator's clock.
    critical_path : tuple of str
        Cells and delays of its slowest path, in order.
    baud : int
        Bits per second of the serial line.
    memory : str
        ``on-chip`` or ``sdram``.
    memory_bytes : int
        Memory for Programs and their data.
    phase : float, optional
        Degrees by which the clock at the SDRAM's pin comes after its controller's.
    memory_mhz : float, optional
        Maximum frequency of the external memory's clock, if there is one.
    predicted : PredictedRun, optional
        A run of the Program that was built for.
    """

    seed: int
    fmax_mhz: float
    critical_path: tuple[str, ...]
    baud: int
    memory: str
    memory_bytes: int
    phase: float | None
    memory_mhz: float | None
    predicted: PredictedRun | None = None

    @property
    def clock_mhz(self) -> float:
        """Frequency of the accelerator's clock."""
        return self.clocks[ACCELERATOR].wanted

    @property
    def meets(self) -> bool:
        """True if every clock meets timing."""
        return not self.missed

    @property
    def reached(self) -> dict[str, float]:
        """Maximum frequency of each clock, by name, of the packed placement."""
        memory = {} if self.memory_mhz is None else {MEMORY: self.memory_mhz}
        return {ACCELERATOR: self.fmax_mhz, **memory}

    @property
    def missed(self) -> tuple[str, ...]:
        """Names of the clocks that do not meet timing."""
        return tuple(n for n, mhz in self.reached.items() if mhz < self.clocks[n].wanted)


_MEMORY = ProgramMemory()


def build(
    board: str,
    folder: Path,
    arch: str | ArchConfig = "nano",
    *,
    clock_mhz: float = CLOCK_MHZ,
    seeds: int = 1,
    memory: ProgramMemory = _MEMORY,
    tell: Tell = silent,
) -> Built:
    """Place, route and pack the board ``board`` with the accelerator ``arch`` into ``folder``. If
    that is a Program's, it must fit into the memory, and its run is predicted.

    Of ``seeds`` placements, two at a time, the fastest is taken: see :attr:`Built.meets`.

    Raises :class:`~sigbit.errors.UserError` for boards and accelerators that do not exist or are
    not compatible, :class:`~sigbit_tools.toolchain.ToolchainError` if a tool fails.
    """
    watch = Stopwatch()
    with given(f"board {board}"):
        wanted = memory.of(registry.load(board))
    config, clock = load_arch(arch), clock_mhz * 1e6
    with given(f"{config.name} on {board}"):
        wanted.clock(config, clock)
    program = load_program(arch) if names_program(arch) else None
    if program is not None and program.memory_bytes > wanted.memory_bytes:
        raise UserError(
            f"{program.name} needs {program.memory_bytes:,} bytes of memory, {board} has "
            f"{wanted.memory_bytes:,} ({memory.kind}): use {SDRAM} if the board has one, fewer "
            "images per run, or a smaller network"
        )
    make_folder(folder)
    tell(f"elaborating {board} with {config.name}")
    made = wanted.build(
        config, clock, seeds, progress=lambda what, done, of: tell(f"{board}: {what}", done, of)
    )
    best = made.fastest
    written = _write(best, config, folder)
    if memory.sweep:
        written += write_phases(wanted, best, made.clock_hz, folder, tell)
    return Built(
        board=board,
        part=wanted.part.name,
        preset=config.name,
        arch_digest=config.digest,
        macs=config.macs,
        target=wanted.target.value,
        netlist_sha256=netlist_sha256(config, wanted.target),
        clocks=_clocks(made),
        seed=best.seed,
        fmax_mhz=best.fmax_mhz,
        resources={kind: Cells(*counts) for kind, counts in best.utilization.items()},
        critical_path=best.critical,
        baud=made.baud,
        memory=memory.kind,
        memory_bytes=wanted.memory_bytes,
        phase=memory.degrees,
        memory_mhz=best.memory_mhz,
        predicted=None if program is None else PredictedRun.of(program, wanted, made),
        bitstream_bytes=best.bitstream.stat().st_size,
        folder=folder,
        files=written,
        **watch.read(),
    )


def _clocks(made: registry.Built) -> dict[str, ClockGoal]:
    """The clocks of a board, by name."""
    met = tuple(routed.fmax_mhz for routed in made.placements)
    goals = {ACCELERATOR: ClockGoal(made.clock_hz / 1e6, met)}
    if made.memory_hz is not None:
        met = tuple(r.memory_mhz for r in made.placements if r.memory_mhz is not None)
        goals[MEMORY] = ClockGoal(made.memory_hz / 1e6, met)
    return goals


def _write(routed: Routed, config: ArchConfig, folder: Path) -> tuple[str, ...]:
    """Copy the files of a placement, and the accelerator's parameters; return their names."""
    for source in routed.files:
        with replacing(folder / source.name) as file:
            file.write(source.read_bytes())
    return (*(source.name for source in routed.files), write_arch(config, folder).name)
