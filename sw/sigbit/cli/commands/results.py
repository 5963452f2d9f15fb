"""``sigbit results``: pages about the rows of benchmarks."""

from pathlib import Path
from typing import Annotated

import typer

from sigbit.cli.console.files import write_json
from sigbit.cli.console.output import say
from sigbit.errors import CheckFailed

app = typer.Typer(help="Keep rows of benchmarks, and render pages from them.", no_args_is_help=True)


@app.callback()
def results() -> None:
    """Keep rows of benchmarks, and render pages from them."""


@app.command("add")
def add(
    rows: Annotated[
        Path, typer.Argument(metavar="ROWS.json", exists=True, dir_okay=False, help="Rows.")
    ],
    documents: Annotated[
        list[Path],
        typer.Argument(metavar="FILE.json...", exists=True, dir_okay=False, help="New rows."),
    ],
) -> None:
    """Put what `sigbit synth`, `build` or `demo` wrote with `--json` into a file of rows.

    A row of the same accelerator is replaced. Benchmarks (`sigbit bench`) write rows themselves.
    """
    from sigbit.errors import UserError
    from sigbit.results.files import read_row_file
    from sigbit_tools.files import read_json

    found = read_row_file(rows)
    for path in documents:
        document = read_json(path)
        if not isinstance(document, dict):
            raise UserError(f"{path} is no document of a command: it must hold an object")
        found = found.with_document(document)
    write_json(rows, found.to_json())
    say(f"wrote {rows}: {len(found.rows)} rows, {found.recovered} of them transcribed")


@app.command("render")
def render(
    rows: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder of the rows, JSON files.", file_okay=False)
    ] = Path("results"),
    pages: Annotated[
        Path,
        typer.Option(
            metavar="DIR",
            file_okay=False,
            help="Folder of the pages; the folder templates in it holds their templates.",
        ),
    ] = Path("docs/results"),
    readme: Annotated[
        Path, typer.Option(metavar="FILE", dir_okay=False, help="File with a rendered block.")
    ] = Path("README.md"),
    check: Annotated[
        bool,
        typer.Option("--check", help="Write nothing; exit with 1 if a file is not up to date."),
    ] = False,
) -> None:
    """Render pages, figures and the README's block from rows and templates.

    The same rows give the same bytes. A page that states a number of its own, or something that the
    rows contradict, is refused.
    """
    from sigbit.results.site import Site

    site = Site(rows, pages, readme)
    stale = site.stale()
    if check:
        if stale:
            names = ", ".join(map(str, stale))
            raise CheckFailed(
                f"not what rows and templates give: {names}; run sigbit results render"
            )
        say("all pages are up to date")
        return
    site.write()
    say("\n".join(f"wrote {path}" for path in stale) or "all pages were up to date")
