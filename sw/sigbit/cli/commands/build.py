"""``sigbit build``: an accelerator on a board, placed, routed and packed."""

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from sigbit.cli.console.files import target, write_json
from sigbit.cli.console.grouped import grouped
from sigbit.cli.console.options import Arch, Json
from sigbit.cli.console.output import say
from sigbit.cli.console.synth_tables import show_built
from sigbit.cli.console.telling import telling
from sigbit.errors import CheckFailed
from sigbit_tools.files import write_text


@dataclass(frozen=True)
class GoalOptions:
    """What place and route aims at."""

    freq: Annotated[
        float, typer.Option(metavar="MHZ", min=10, max=400, help="Clock to aim at.")
    ] = 90.0
    seeds: Annotated[
        int, typer.Option(min=1, max=100, help="Placements to try, two at a time.")
    ] = 1


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
    arch: Arch = "nano",
    json: Json = None,
    report: Annotated[
        Path | None,
        typer.Option(metavar="FILE.html", help="Also write a report.", callback=target),
    ] = None,
) -> None:
    """Place, route and pack a board that carries an accelerator.

    Takes the fastest placement. Exits with 1 if it does not meet the clock; the files are written
    all the same. `sigbit load` puts the bitstream onto the board.
    """
    from sigbit.flows.build import build as flow
    from sigbit.flows.build_page import page

    with telling() as tell:
        built = flow(board, output, arch, clock_mhz=goal.freq, seeds=goal.seeds, tell=tell)
    show_built(built)
    write_json(json, built)
    if report is not None:
        words = ["sigbit", "build", board, "--arch", arch, "-o", str(output)]
        words += ["--freq", f"{goal.freq:g}", "--seeds", str(goal.seeds)]
        write_text(report, page(built, shlex.join(words)))
        say(f"wrote {report}")
    if not built.meets:
        raise CheckFailed(
            f"after routing the clock reaches {built.fmax_mhz:.1f} MHz, not "
            f"{built.clock_mhz:.1f} MHz: try more --seeds or a lower --freq"
        )
