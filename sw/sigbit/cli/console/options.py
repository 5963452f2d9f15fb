"""Options that several commands share."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Protocol

import typer

from sigbit.cli.console.files import target
from sigbit_hw.arch.preprocessing import Colours

if TYPE_CHECKING:
    from sigbit.inputs import images as inputs


class Fabric(StrEnum):
    """Fabrics that Yosys maps to: one of 6-input and two of 4-input LUTs."""

    XCUP = "xcup"
    ECP5 = "ecp5"
    ICE40 = "ice40"


Json = Annotated[
    Path | None,
    typer.Option("--json", metavar="FILE", help="Also write the figures as JSON.", callback=target),
]
Report = Annotated[
    Path | None,
    typer.Option("--report", metavar="FILE.html", help="Also write a report.", callback=target),
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
States = Annotated[
    list[str] | None,
    typer.Option(
        "--state",
        metavar="NAME=OUTPUT",
        help="An input that stays on the device from one run to the next, and the output that "
        "becomes it, by name or by number from 0. May be repeated.",
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
        help="Mean of each channel of images in [0, 1], such as 0.485,0.456,0.406; where the "
        "network does not say, or says otherwise.",
    ),
]
Std = Annotated[
    str | None,
    typer.Option(metavar="NUMBERS", help="Standard deviation of each channel, as for --mean."),
]
Resize = Annotated[
    int | None,
    typer.Option(
        min=1,
        metavar="SIDE",
        help="Scale the largest centred square of an image to this side, and cut the input out of "
        "its centre.",
    ),
]
Labels = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Names of the classes, one per line.")
]


ColourOrder = Annotated[
    Colours | None,
    typer.Option("--colours", case_sensitive=False, help="Order of the channels of images."),
]


@dataclass(frozen=True)
class NetworkOptions:
    """Options for loading a float network."""

    checkpoint: Checkpoint = None
    shapes: Shapes = None
    cuts: Cuts = None
    states: States = None


@dataclass(frozen=True)
class ImageOptions:
    """Conversion of images to inputs."""

    mean: Mean = None
    std: Std = None
    resize: Resize = None
    colours: ColourOrder = None


class _Images(Protocol):
    @property
    def mean(self) -> str | None: ...
    @property
    def std(self) -> str | None: ...
    @property
    def resize(self) -> int | None: ...
    @property
    def colours(self) -> Colours | None: ...


def images_as(given: _Images) -> "inputs.ImageOptions":
    """Return the options of images in the form that flows take."""
    from sigbit.inputs import images as inputs

    return inputs.ImageOptions(given.mean, given.std, given.resize, given.colours)
