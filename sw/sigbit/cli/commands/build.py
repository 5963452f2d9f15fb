"""``sigbit build``: an accelerator on a board, placed, routed and packed, or a vendor project for
it."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from sigbit.cli.console.build_options import GoalOptions, MemoryOptions
from sigbit.cli.console.files import write_json, write_report
from sigbit.cli.console.grouped import grouped
from sigbit.cli.console.options import Json, Report
from sigbit.cli.console.synth_tables import show_built, show_project
from sigbit.cli.console.telling import telling
from sigbit.errors import CheckFailed, UserError, given


@grouped
def build(
    board: Annotated[str, typer.Argument(metavar="BOARD", help="A board, such as ulx3s.")],
    output: Annotated[
        Path,
        typer.Option(
            "-o",
            "--output",
            metavar="DIR",
            file_okay=False,
            help="Folder for bitstream, constraints, and the tools' report and log.",
        ),
    ],
    goal: GoalOptions,
    memory: MemoryOptions,
    arch: Annotated[
        str | None,
        typer.Option(
            metavar="PRESET|FILE",
            help="Accelerator: a preset, JSON or a Program, whose run is then predicted. "
            "[default: nano; projects: the board's]",
        ),
    ] = None,
    json: Json = None,
    report: Report = None,
) -> None:
    """Place, route and pack a board that carries an accelerator.

    Takes the fastest placement. Exits with 1 if it does not meet the clock; the files are written
    all the same. `sigbit load` puts the bitstream onto the board. For zcu102, kv260 and kr260 it
    writes a project for Vivado, whose README says how to go on.
    """
    from sigbit.flows.vendor_project import projects

    if board in projects():
        if goal.seeds is not None or report is not None:
            option = "--seeds" if goal.seeds is not None else "--report"
            raise UserError(f"{option}: {board} is placed and routed by Vivado, not here")
        if memory != MemoryOptions():
            asked = (("--memory", memory.memory), ("--phase", memory.phase), ("--sweep", True))
            option = next(name for name, value in asked if value is not None)
            raise UserError(f"{option}: the memory of {board} is that of its processor")
        _project(board, output, arch, goal.freq, json)
    else:
        _built(board, output, arch or "nano", goal, memory, json, report)


def _project(
    board: str, output: Path, arch: str | None, freq: float | None, json: Path | None
) -> None:
    """Write a project for the vendor's tools."""
    from sigbit.flows.vendor_project import CLOCK_MHZ, write_project

    with telling() as tell:
        written = write_project(board, output, arch, clock_mhz=freq or CLOCK_MHZ, tell=tell)
    show_project(written)
    write_json(json, written)


def _built(
    board: str,
    output: Path,
    arch: str,
    goal: GoalOptions,
    memory: MemoryOptions,
    json: Path | None,
    report: Path | None,
) -> None:
    """Place, route and pack."""
    from sigbit.flows.build import CLOCK_MHZ
    from sigbit.flows.build import build as flow
    from sigbit.flows.build_page import page
    from sigbit.flows.program_memory import ON_CHIP, ProgramMemory

    freq, seeds = goal.freq or CLOCK_MHZ, goal.seeds or 1
    with given(f"board {board}"):
        chosen = ProgramMemory(memory.memory or ON_CHIP, memory.phase, memory.sweep)
    with telling() as tell:
        built = flow(board, output, arch, clock_mhz=freq, seeds=seeds, memory=chosen, tell=tell)
    show_built(built)
    write_json(json, built)
    write_report(report, partial(page, built))
    if built.missed:
        name = built.missed[0]
        raise CheckFailed(
            f"after routing the clock of the {name} reaches {built.reached[name]:.1f} MHz, not "
            f"{built.clocks[name].wanted:.1f} MHz: try more --seeds or a lower --freq"
        )
