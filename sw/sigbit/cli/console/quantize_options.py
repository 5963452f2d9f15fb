"""Options of ``sigbit quantize``, in groups."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from sigbit.cli.console.files import target
from sigbit.cli.console.options import (
    ColourOrder,
    Exact,
    Fabric,
    Json,
    Labels,
    Mean,
    Report,
    Resize,
    Std,
)


@dataclass(frozen=True)
class OutputOptions:
    """Output files."""

    output: Annotated[
        Path,
        typer.Option(
            "-o",
            "--output",
            metavar="FILE",
            callback=target,
            help="File to write: NET.sigbit, a Program, or NET.sbm, an integer model.",
        ),
    ]
    exact: Exact = False
    json: Json = None
    report: Report = None


@dataclass(frozen=True)
class CalibrationOptions:
    """Samples for calibration and testing."""

    calibrate: Annotated[
        str,
        typer.Option(
            metavar="DATA",
            help="A data set's name, or an .npy or .npz file of inputs [N, ...] (labels: array y).",
        ),
    ]
    images: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Samples to calibrate with: 32; 128 with --reconstruct, 256 with a budget of "
            "accuracy.",
        ),
    ] = None
    test: Annotated[int, typer.Option(min=1, help="Other samples, to test with.")] = 100
    chunk: Annotated[
        int, typer.Option(min=1, help="Samples to read at a time; changes memory, not results.")
    ] = 32
    bulk: Annotated[
        bool,
        typer.Option(
            "--bulk", help="Test by ONNX Runtime; a sample is compared with the integer model."
        ),
    ] = False
    data: Annotated[
        Path | None,
        typer.Option(metavar="DIR", exists=True, file_okay=False, help="Folder of data sets."),
    ] = None
    mean: Mean = None
    std: Std = None
    resize: Resize = None
    colours: ColourOrder = None
    labels: Labels = None


@dataclass(frozen=True)
class FormatOptions:
    """Explicit numbers of bits."""

    weights: Annotated[
        str | None,
        typer.Option(
            metavar="FORMAT",
            help="esb8: two terms; esb4 (native) if not given, and what holds the integers of a "
            "quantized model.",
        ),
    ] = None
    acts: Annotated[
        str | None,
        typer.Option(metavar="FORMAT", help="esb7, esb8: two or three planes; esb4 if not given."),
    ] = None
    first_last: Annotated[
        int,
        typer.Option(metavar="BITS", help="Minimum bits of the first and last layers' weights."),
    ] = 8
    bits: Annotated[
        list[str] | None,
        typer.Option(metavar="LAYER=W/A", help="Bits of one layer, such as conv1=8/8; repeatable."),
    ] = None


@dataclass(frozen=True)
class BudgetOptions:
    """Limits for the search for bits and number systems."""

    budget: Annotated[
        list[str] | None,
        typer.Option(
            metavar="luts=N|cycles=N|bytes=N|accuracy=POINTS",
            help="luts: search for the array's number system with the least error within so many "
            "LUTs of --target; cycles, bytes: search for the bits of every layer within so many "
            "cycles, by the cycle model, or bytes of constants; accuracy: for the bits of the "
            "fewest cycles that lose at most so many percentage points, as far as can be "
            "estimated without labels. --weights, --acts and --first-last are then the least "
            "bits. Repeatable.",
        ),
    ] = None
    target: Annotated[
        Fabric, typer.Option(help="Fabric whose LUTs --budget counts, before place and route.")
    ] = Fabric.XCUP


@dataclass(frozen=True)
class PostTrainingOptions:
    """Steps of post-training quantization."""

    equalize: Annotated[bool, typer.Option(help="Even out the ranges of neighbouring layers.")] = (
        False
    )
    bias_correction: Annotated[
        bool, typer.Option(help="Subtract the mean error of every layer from its bias.")
    ] = True
    activation_aware: Annotated[
        bool,
        typer.Option(
            "--activation-aware",
            help="Search for the scales of weights with the least error of the layers' results.",
        ),
    ] = False
    reconstruct: Annotated[
        bool,
        typer.Option(
            "--reconstruct",
            help="Equalize activations, round weights so that errors cancel, and learn rounding "
            "and scales block by block, without labels; each as far as it raises agreement with "
            "the float network. Takes minutes; what was cut off goes on when it is run again.",
        ),
    ] = False
    finetune: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="EPOCHS",
            help="Train so many epochs afterwards, for the outputs of the float network, without "
            "labels; kept if it raises agreement with the float network. Takes 1,024 samples if "
            "--images says nothing else.",
        ),
    ] = None
    use_labels: Annotated[
        bool, typer.Option("--use-labels", help="With --finetune: learn the samples' labels too.")
    ] = False
    steps: Annotated[
        int, typer.Option(min=1, help="Steps that --reconstruct learns a block for.")
    ] = 100
