"""``sigbit load``: loading of a bitstream onto a board."""

from pathlib import Path
from typing import Annotated

import typer

from sigbit.cli.console.files import write_json
from sigbit.cli.console.options import Json
from sigbit.cli.console.output import say


def load(
    board: Annotated[str, typer.Argument(metavar="BOARD", help="A board, such as ulx3s.")],
    source: Annotated[
        Path, typer.Argument(metavar="DIR|FILE.bit", help="What `sigbit build` wrote.")
    ],
    flash: Annotated[
        bool,
        typer.Option("--flash", help="Write its flash memory, from which it starts ever after."),
    ] = False,
    json: Json = None,
) -> None:
    """Load a bitstream onto a board that is connected by USB, with openFPGALoader."""
    from sigbit.flows.load import load as flow

    loaded = flow(board, source, flash=flash)
    say(f"loaded {loaded.bitstream} onto {board}{', into its flash' if flash else ''}")
    write_json(json, loaded)
