"""Options that several commands share."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from sigbit.cli.files import target

CLOCK = 200e6
"""Hertz at which images a second are stated."""


class Fabric(StrEnum):
    """Fabrics that Yosys maps to: one of 6-input and two of 4-input LUTs."""

    XCUP = "xcup"
    ECP5 = "ecp5"
    ICE40 = "ice40"


Json = Annotated[
    Path | None,
    typer.Option("--json", metavar="FILE", help="Also write the figures as JSON.", callback=target),
]
Arch = Annotated[
    str,
    typer.Option("--arch", metavar="PRESET|FILE", help="Accelerator: a preset, JSON or a Program."),
]
Latency = Annotated[
    int, typer.Option(min=0, max=10_000, help="Memory latency of the RTL's simulated bus, cycles.")
]
