"""The command tree: names and options only; the work is in a module for each command."""

from importlib.metadata import version as version_of
from typing import Annotated

import typer

from sigbit.cli import (
    arch,
    checking,
    compiling,
    demo,
    exporting,
    inspecting,
    methods,
    quantizing,
    results,
    running,
    sweep,
    synth,
    train,
)
from sigbit.cli.commands import bench

app = typer.Typer(
    name="sigbit",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"sigbit {version_of('sigbit')}")
        raise typer.Exit


@app.callback()
def sigbit(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say it and exit.")
    ] = False,
) -> None:
    """Low-bit neural networks on FPGA accelerators, from PyTorch to bit-exact RTL."""


app.command("demo")(demo.demo)
app.command("check")(checking.check)
app.command("quantize")(quantizing.quantize)
app.command("methods")(methods.methods)
app.command("train")(train.train)
app.command("sweep")(sweep.sweep)
app.command("compile")(compiling.compile_model)
app.command("export")(exporting.export)
app.command("inspect")(inspecting.inspect)
app.command("run")(running.run)
app.command("synth")(synth.synth)
app.add_typer(arch.app, name="arch")
app.add_typer(bench.app, name="bench")
app.add_typer(results.app, name="results")
