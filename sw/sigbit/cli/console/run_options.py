"""Options of ``sigbit run``."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from sigbit.cli.console.files import target
from sigbit.cli.console.options import Json, Labels, Latency, Report
from sigbit.flows.devices import NetlistTarget


@dataclass(frozen=True)
class DeviceOptions:
    """The device of a Program, and the device to compare with."""

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
    stored: Annotated[
        bool,
        typer.Option(
            "--stored",
            help="Inputs and outputs are stored integers, real = scale * (stored + zero), instead "
            "of real values; nothing is done on the host.",
        ),
    ] = False
    stream: Annotated[
        bool,
        typer.Option(
            "--stream",
            help="The samples are steps in time: the Program's states pass from each to the next.",
        ),
    ] = False


@dataclass(frozen=True)
class WrittenOptions:
    """Output files, and names of classes."""

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
            help="Write the results; as .npz by their names, if there are several.",
        ),
    ] = None
    labels: Labels = None
    json: Json = None
    report: Report = None
