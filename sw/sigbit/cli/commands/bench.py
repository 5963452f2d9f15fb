"""``sigbit bench``: the figures of the documentation, row by row."""

import typer

from sigbit.cli.commands.bench_convolutions import convolutions
from sigbit.cli.commands.bench_imports import imports
from sigbit.cli.commands.bench_nets import nets
from sigbit.cli.commands.bench_number_systems import number_systems
from sigbit.cli.commands.bench_packing import packing
from sigbit.cli.commands.bench_quant import quant

app = typer.Typer(
    help="Measure networks and accelerators; the figures of the documentation.",
    no_args_is_help=True,
)


@app.callback()
def bench() -> None:
    """Measure networks and accelerators."""


app.command("nets")(nets)
app.command("number-systems")(number_systems)
app.command("quant")(quant)
app.command("convolutions")(convolutions)
app.command("imports")(imports)
app.command("packing")(packing)
