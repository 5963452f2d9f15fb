"""``sigbit synth``: what an accelerator costs on a target, before place and route."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from sigbit.cli.console.files import target as writable
from sigbit.cli.console.files import write_json
from sigbit.cli.console.options import Arch, Fabric, Json
from sigbit.cli.console.output import say
from sigbit.cli.console.synth_tables import show_synthesized
from sigbit.cli.console.telling import telling
from sigbit_tools.files import write_text


def synth(
    arch: Arch = "nano",
    target: Annotated[Fabric, typer.Option(help="UltraScale+, ECP5 or iCE40.")] = Fabric.XCUP,
    json: Json = None,
    report: Annotated[
        Path | None,
        typer.Option(metavar="FILE.html", help="Also write a report.", callback=writable),
    ] = None,
) -> None:
    """Count an accelerator's cells, block by block, and find its longest logic, with Yosys.

    Each distinct module is mapped once, and never again as long as it does not change. There are
    no DSP blocks. `sigbit build` places, routes and packs.
    """
    from sigbit.flows.synth import synth as flow
    from sigbit.flows.synth_page import page

    with telling() as tell:
        found = flow(arch, target, tell=tell)
    show_synthesized(found)
    write_json(json, found)
    if report is not None:
        words = ["sigbit", "synth", "--arch", arch, "--target", target]
        write_text(report, page(found, shlex.join(words)))
        say(f"wrote {report}")
