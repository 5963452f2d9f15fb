"""The command tree: names and options only; the work is in one module per command."""

from importlib.metadata import version as version_of
from pathlib import Path
from typing import Annotated

import typer

from sigbit.cli.commands import (
    arch,
    bench,
    build,
    check,
    compile,
    demo,
    devices,
    driver,
    export,
    inspect,
    load,
    methods,
    phases,
    quantize,
    results,
    run,
    sweep,
    synth,
    train,
)

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
    plugin: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE.py",
            exists=True,
            dir_okay=False,
            help="Load quantizers, strategies, formats or accelerators of your own. Repeatable; "
            "also allowed after the command.",
        ),
    ] = None,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Low-bit neural networks on FPGA accelerators, from PyTorch to bit-exact RTL."""
    from sigbit.plugins import load_installed, load_plugin

    load_installed()
    for path in plugin or ():
        load_plugin(path)


app.command("demo")(demo.demo)
app.command("check")(check.check)
app.command("quantize")(quantize.quantize)
app.command("methods")(methods.methods)
app.command("train")(train.train)
app.command("sweep")(sweep.sweep)
app.command("compile")(compile.compile)
app.command("export")(export.export)
app.command("inspect")(inspect.inspect)
app.command("run")(run.run)
app.command("synth")(synth.synth)
app.command("build")(build.build)
app.command("load")(load.load)
app.command("phases")(phases.phases)
app.command("devices")(devices.devices)
app.command("driver")(driver.driver)
app.add_typer(arch.app, name="arch")
app.add_typer(bench.app, name="bench")
app.add_typer(results.app, name="results")
