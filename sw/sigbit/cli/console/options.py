"""Options that several commands share."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from sigbit.cli.console.files import target


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
    int, typer.Option(min=1, max=10_000, help="Memory latency of the simulated bus, in cycles.")
]
Exact = Annotated[
    bool,
    typer.Option(
        "--exact",
        help="Refuse a quantized network any layer of which gives other codes than the network.",
    ),
]
Model = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="zoo:NAME, MODEL.pt2 (torch.export), MODEL.onnx, or path/to/file.py:attribute or "
        "module:attribute: an nn.Module or a function that returns one.",
    ),
]
IntegerModel = Annotated[
    str,
    typer.Argument(
        metavar="NET.sbm|PYTHON:OBJECT",
        help="An integer model, or module:attribute or path/to/file.py:attribute.",
    ),
]
Shapes = Annotated[
    list[str] | None,
    typer.Option(
        "--input",
        metavar="SHAPE",
        help="Shape of one input without the batch, such as 3x224x224, for Python objects; once "
        "for each input. For ONNX inputs of open dimensions: NAME=3x224x224.",
    ),
]
Cuts = Annotated[
    list[str] | None,
    typer.Option(
        "--cut",
        metavar="TENSOR",
        help="Cut the network at this tensor (of ONNX, or a node of torch.export): the host does "
        "what is behind it. May be repeated.",
    ),
]
Checkpoint = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="Trained weights for zoo networks and Python objects: a state_dict."
    ),
]
Mean = Annotated[
    str | None,
    typer.Option(
        metavar="NUMBERS",
        help="Mean of each channel of images in [0, 1], such as 0.485,0.456,0.406.",
    ),
]
Std = Annotated[
    str | None,
    typer.Option(metavar="NUMBERS", help="Standard deviation of each channel, as for --mean."),
]


@dataclass(frozen=True)
class NetworkOptions:
    """What a float network is loaded with."""

    checkpoint: Checkpoint = None
    shapes: Shapes = None
    cuts: Cuts = None


@dataclass(frozen=True)
class ImageOptions:
    """How images become inputs."""

    mean: Mean = None
    std: Std = None
