"""``sigbit driver``: the C driver, for boards that run Linux."""

from pathlib import Path
from typing import Annotated

import typer

from sigbit.cli.console.files import write_json
from sigbit.cli.console.options import Json
from sigbit.cli.console.output import say
from sigbit.report.units import size


def driver(
    folder: Annotated[
        Path, typer.Option("-o", "--output", metavar="DIR", help="Folder for the sources.")
    ],
    programs: Annotated[
        list[Path] | None,
        typer.Argument(metavar="NET.sigbit...", help="Programs to run with it."),
    ] = None,
    json: Json = None,
) -> None:
    """Write the driver in C, with a Makefile, and Programs in the flat form that it reads."""
    from sigbit.flows.driver import write_driver

    written = write_driver(folder, programs or ())
    say(f"wrote {folder}: {len(written.sources)} files; `make` there builds sigbit-run")
    for name, count in written.programs.items():
        say(f"wrote {folder / name}: {size(count)}")
    write_json(json, written)
