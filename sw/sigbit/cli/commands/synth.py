"""``sigbit synth``: cost of an accelerator on a target, before place and route."""

from functools import partial
from typing import Annotated

import typer

from sigbit.cli.console.files import write_json, write_report
from sigbit.cli.console.options import Arch, Fabric, Json, Report
from sigbit.cli.console.synth_tables import show_synthesized
from sigbit.cli.console.telling import telling


def synth(
    arch: Arch = "nano",
    target: Annotated[Fabric, typer.Option(help="UltraScale+, ECP5 or iCE40.")] = Fabric.XCUP,
    json: Json = None,
    report: Report = None,
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
    write_report(report, partial(page, found))
