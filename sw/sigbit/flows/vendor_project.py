"""A board's project for its vendor's tools, which make the bitstream."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from sigbit.errors import given
from sigbit.flows.arch_file import write_arch
from sigbit.flows.build import ACCELERATOR, BoardFiles, ClockGoal
from sigbit.flows.progress import Tell, silent
from sigbit.flows.result import Stopwatch
from sigbit.inputs.accelerators import load_arch
from sigbit_boards import registry
from sigbit_hw.arch.config import ArchConfig
from sigbit_synthesis import netlist_sha256
from sigbit_synthesis.emitted import cached_verilog
from sigbit_tools.files import make_folder, write_text

CLOCK_MHZ = 200.0
"""Default clock of projects, the one that the cycle model's frame rates assume."""


@dataclass(frozen=True, kw_only=True)
class WrittenProject(BoardFiles):
    """A project that the vendor's tools have not built yet: the clock and the cells of its
    placements are unknown.

    Parameters
    ----------
    verilog_sha256 : str
        SHA-256 of the accelerator's Verilog in the project: the Verilog of the simulations, without
        their trace ports.
    """

    verilog_sha256: str


def projects() -> tuple[str, ...]:
    """Names of the boards for which projects are written."""
    return registry.projects()


def write_project(
    board: str,
    folder: Path,
    arch: str | ArchConfig | None = None,
    *,
    clock_mhz: float = CLOCK_MHZ,
    tell: Tell = silent,
) -> WrittenProject:
    """Write a project that puts ``arch`` (by default the board's) onto ``board`` into ``folder``.

    Raises :class:`~sigbit.errors.UserError` for boards and accelerators that do not exist or are
    not compatible.
    """
    watch = Stopwatch()
    with given(f"board {board}"):
        wanted = registry.project(board)
    config = load_arch(wanted.preset if arch is None else arch)
    tell(f"emitting {config.name}")
    netlist = netlist_sha256(config, wanted.target)
    with given(f"{config.name} on {board}"):
        files = wanted.files(config, clock_mhz, netlist)
    for name, text in files.items():
        make_folder((folder / name).parent)
        write_text(folder / name, text)
    return WrittenProject(
        board=board,
        part=wanted.part,
        preset=config.name,
        arch_digest=config.digest,
        macs=config.macs,
        target=wanted.target.value,
        netlist_sha256=netlist,
        verilog_sha256=hashlib.sha256(cached_verilog(config).encode()).hexdigest(),
        clocks={ACCELERATOR: ClockGoal(clock_mhz, ())},
        resources={},
        bitstream_bytes=0,
        folder=folder,
        files=(*files, write_arch(config, folder).name),
        **watch.read(),
    )
