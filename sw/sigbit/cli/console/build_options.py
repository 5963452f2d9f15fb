"""Options of ``sigbit build``."""

from dataclasses import dataclass
from typing import Annotated

import typer


@dataclass(frozen=True)
class GoalOptions:
    """Goals of place and route."""

    freq: Annotated[
        float | None,
        typer.Option(
            metavar="MHZ", min=10, max=400, help="Clock to aim at. [default: 90; projects: 200]"
        ),
    ] = None
    seeds: Annotated[
        int | None,
        typer.Option(min=1, max=100, help="Placements to try, two at a time. [default: 1]"),
    ] = None


@dataclass(frozen=True)
class MemoryOptions:
    """The memory for Programs."""

    memory: Annotated[
        str | None,
        typer.Option(
            metavar="on-chip|sdram", help="Memory for Programs and data. [default: on-chip]"
        ),
    ] = None
    phase: Annotated[
        float | None,
        typer.Option(
            metavar="DEGREES", help="Delay of the SDRAM's clock, from 0 up to 360. [default: 90]"
        ),
    ] = None
    sweep: Annotated[
        bool,
        typer.Option("--sweep", help="Also write a bitstream of every phase, for `sigbit phases`."),
    ] = False
