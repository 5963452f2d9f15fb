"""A board's bitstream: place, route and pack an accelerator."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sigbit.errors import UserError, given
from sigbit.flows.arch_file import write_arch
from sigbit.flows.progress import Tell, silent
from sigbit.flows.result import Result, Stopwatch
from sigbit.inputs.accelerators import load_arch
from sigbit_boards import registry
from sigbit_hw.arch.config import ArchConfig
from sigbit_synthesis import netlist_sha256
from sigbit_synthesis.pnr import Routed
from sigbit_tools.files import make_folder, replacing


@dataclass(frozen=True)
class Cells:
    """Cells of a type that the board takes, and that its part has."""

    used: int
    available: int


@dataclass(frozen=True)
class Placement:
    """The placement that was chosen, after routing.

    Parameters
    ----------
    clock_mhz : float
        The clock that the board makes.
    fmax_mhz : float
        The fastest clock that the accelerator would bear.
    seed : int
        Of the placement.
    utilization : mapping
        Cells by type.
    critical_path : tuple of str
        Cells and delays of the slowest path, in order.
    """

    clock_mhz: float
    fmax_mhz: float
    seed: int
    utilization: Mapping[str, Cells]
    critical_path: tuple[str, ...]

    @property
    def meets(self) -> bool:
        """Whether the accelerator works at the board's clock."""
        return self.fmax_mhz >= self.clock_mhz


@dataclass(frozen=True, kw_only=True)
class Built(Result):
    """A board with an accelerator.

    Parameters
    ----------
    board, part : str
        The board, and the device on it.
    preset, arch_digest : str
        The accelerator.
    macs : int
        Its multiply-accumulates per cycle.
    target : str
        The fabric that it is mapped to.
    netlist_sha256 : str
        SHA-256 of the accelerator's RTLIL, as ``sigbit synth`` gives it for this target.
    routed : Placement
    folder : Path
        Where the files are.
    files : tuple of str
        Bitstream, constraints, report and log of the tools, and the accelerator as JSON.
    """

    board: str
    part: str
    preset: str
    arch_digest: str
    macs: int
    target: str
    netlist_sha256: str
    routed: Placement
    folder: Path
    files: tuple[str, ...]


def build(
    board: str,
    folder: Path,
    arch: str | ArchConfig = "nano",
    *,
    clock_mhz: float = 90.0,
    seeds: int = 1,
    tell: Tell = silent,
) -> Built:
    """Place, route and pack the board ``board`` with the accelerator ``arch`` into ``folder``.

    Of up to ``seeds`` placements, two at a time, the first that meets ``clock_mhz`` is taken, else
    the fastest: see :attr:`Placement.meets`.

    Raises :class:`~sigbit.errors.UserError` for boards and accelerators that do not exist or do not
    go together, :class:`~sigbit_tools.toolchain.ToolchainError` if a tool fails.
    """
    watch = Stopwatch()
    try:
        wanted = registry.load(board)
    except ValueError as error:
        raise UserError(str(error)) from error
    config, clock = load_arch(arch), clock_mhz * 1e6
    with given(f"{config.name} on {board}"):
        wanted.clock(config, clock)
    make_folder(folder)
    tell(f"elaborating {board} with {config.name}")
    routed = wanted.place_and_route(
        config, clock, seeds, progress=lambda what, done, of: tell(f"{board}: {what}", done, of)
    )
    files = _write(routed, config, folder)
    return Built(
        board=board,
        part=wanted.part.name,
        preset=config.name,
        arch_digest=config.digest,
        macs=config.macs,
        target=wanted.target.value,
        netlist_sha256=netlist_sha256(config, wanted.target),
        routed=_placement(routed),
        folder=folder,
        files=files,
        **watch.read(),
    )


def _placement(routed: Routed) -> Placement:
    return Placement(
        routed.clock_mhz,
        routed.fmax_mhz,
        routed.seed,
        {kind: Cells(*counts) for kind, counts in routed.utilization.items()},
        routed.critical,
    )


def _write(routed: Routed, config: ArchConfig, folder: Path) -> tuple[str, ...]:
    """Copy the files of a placement, and the accelerator's parameters; return their names."""
    for source in routed.files:
        with replacing(folder / source.name) as file:
            file.write(source.read_bytes())
    return (*(source.name for source in routed.files), write_arch(config, folder).name)
