"""``sigbit phases``: the phase of the clock of a board's SDRAM."""

from pathlib import Path
from typing import Annotated

import typer

from sigbit.cli.console.files import write_json
from sigbit.cli.console.options import Json
from sigbit.cli.console.output import say, show_table
from sigbit.cli.console.telling import telling
from sigbit.errors import CheckFailed


def phases(
    device: Annotated[
        str, typer.Argument(metavar="BOARD:PORT", help="A board, such as ulx3s:/dev/ttyUSB0.")
    ],
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="What `sigbit build --sweep` wrote.")
    ],
    json: Json = None,
) -> None:
    """Find the phase of the SDRAM's clock with which a board works best.

    Loads the bitstreams of all phases, each of which tests the memory at start, and leaves the
    board with the middle of those that find no fault. Exits with 1 if all of them find some.
    """
    from sigbit.flows.phases import phase_file, sweep_phases

    with telling() as tell:
        found = sweep_phases(device, folder, tell=tell)
    show_table(
        f"{found.device}: test of the memory at start",
        ["phase in degrees", "wrong words", "on data lines"],
        [
            (f"{test.phase:g}", f"{test.wrong_words:,}", ", ".join(map(str, test.lines)) or "-")
            for test in found.tests
        ],
        ">>",
    )
    write_json(json, found)
    if found.best is None:
        raise CheckFailed(
            "the memory fails its test with every phase: is it a board with this SDRAM? A lower "
            "--freq gives it more time"
        )
    board, bitstream = device.partition(":")[0], folder / phase_file(found.best)
    say(
        f"the board has the bitstream of {found.best:g} degrees: `sigbit load {board} {bitstream} "
        f"--flash` keeps it, `sigbit build --phase {found.best:g}` makes others like it"
    )
