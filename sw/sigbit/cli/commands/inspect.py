"""``sigbit inspect``: contents of a Program or an integer model."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from sigbit.cli.console.files import write_json, write_report
from sigbit.cli.console.model_tables import show_model
from sigbit.cli.console.options import Json, Latency, Report
from sigbit.cli.console.program_tables import show_prediction, show_program
from sigbit.errors import UserError
from sigbit.ir import MODEL_SUFFIX


def inspect(
    context: typer.Context,
    program: Annotated[
        Path,
        typer.Argument(metavar="NET.sigbit|NET.sbm", help="A Program, or an integer model."),
    ],
    listing: Annotated[
        bool, typer.Option("--listing", help="Print the assembler listing too.")
    ] = False,
    cycles: Annotated[
        bool, typer.Option(help="Predict the cycles of every layer, exactly as the RTL takes them.")
    ] = True,
    latency: Latency = 40,
    json: Json = None,
    report: Report = None,
) -> None:
    """Show a Program's layers, memory, traffic, instructions and predicted cycles, or the layers of
    an integer model."""
    if program.suffix == MODEL_SUFFIX:
        _refuse_given(context, program, "listing", "cycles", "latency")
        from sigbit.flows.model_facts import model_facts
        from sigbit.flows.pages.model import page as model_page

        facts = model_facts(program, details=report is not None)
        show_model(facts)
        write_json(json, facts)
        write_report(report, partial(model_page, facts))
        return
    from sigbit.flows.inspect import inspect as flow
    from sigbit.flows.pages.inspect import page

    found = flow(program, cycles=cycles, latency=latency, details=report is not None)
    show_program(found)
    show_prediction(found)
    if listing:
        typer.echo(found.listing())
    write_json(json, found)
    write_report(report, partial(page, found))


def _refuse_given(context: typer.Context, model: Path, *names: str) -> None:
    """Refuse options that apply to Programs only."""
    for name in names:
        source = context.get_parameter_source(name)
        if source is not None and source.name != "DEFAULT":
            raise UserError(
                f"--{name} is for Programs, and {model} is an integer model: leave it out, or "
                f"compile it first: `sigbit compile {model} -o NET.sigbit`"
            )
