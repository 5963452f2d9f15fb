"""Options of ``sigbit run``."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from sigbit.cli.console.files import target
from sigbit.cli.console.options import Json, Latency
from sigbit.flows.devices import NetlistTarget


@dataclass(frozen=True)
class DeviceOptions:
    """Where a Program runs, and what that is compared with."""

    device: Annotated[
        str,
        typer.Option(
            metavar="interp|rtl|netlist|BOARD:PORT",
            help="Where it runs: a simulator, or a board such as ulx3s:/dev/ttyUSB0.",
        ),
    ] = "interp"
    target_name: Annotated[
        NetlistTarget, typer.Option("--target", help="Whose cells the netlist is made of.")
    ] = NetlistTarget.XCUP
    check: Annotated[
        bool,
        typer.Option(
            "--check",
            help="Run interp and rtl (or the device), and compare every layer's codes; those of "
            "the outputs if it is a board.",
        ),
    ] = False
    latency: Latency = 40


@dataclass(frozen=True)
class WrittenOptions:
    """What is written, and how classes are named."""

    layers: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Write every layer's stored integers as .npy."),
    ] = None
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="OUT.npy|OUT.npz",
            callback=target,
            help="Write the result, or several by name.",
        ),
    ] = None
    labels: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Names of the classes, one per line.")
    ] = None
    json: Json = None
