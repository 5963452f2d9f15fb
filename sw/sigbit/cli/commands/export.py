"""``sigbit export``: an integer model for other tools to execute and check."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from sigbit.cli.console.files import target, write_json
from sigbit.cli.console.grouped import grouped
from sigbit.cli.console.options import IntegerModel, Json
from sigbit.cli.console.output import say
from sigbit.cli.console.telling import telling
from sigbit.report.units import size


@dataclass(frozen=True)
class OnnxOptions:
    """Options of the ONNX file."""

    qonnx: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.onnx",
            callback=target,
            help="Write ONNX of standard operators, from real inputs to real outputs, and compare "
            "it in ONNX Runtime, if that is installed, with the integer model.",
        ),
    ] = None
    layers: Annotated[
        bool,
        typer.Option(
            "--layers", help="Make every layer an output of the ONNX model, as stored integers."
        ),
    ] = False
    stored: Annotated[
        bool,
        typer.Option(
            "--stored",
            help="Let the ONNX model take and give stored integers [batch, C, H, W] instead: "
            "real = scale * (stored + zero).",
        ),
    ] = False
    batch: Annotated[
        int | None,
        typer.Option(min=1, help="Samples of the ONNX model's inputs; any number if not given."),
    ] = None


@grouped
def export(
    model: IntegerModel,
    onnx: OnnxOptions,
    pt2: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.pt2",
            callback=target,
            help="Write a torch.export program, from real inputs to real outputs.",
        ),
    ] = None,
    bundle: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR|FILE.zip",
            help="Write weights, tables and golden values as .npy, with a JSON that explains them.",
        ),
    ] = None,
    vectors: Annotated[
        int, typer.Option(min=1, max=1000, help="Random test images in the bundle.")
    ] = 2,
    json: Json = None,
) -> None:
    """Write a quantized model for other tools: as ONNX, for torch.export, or as a bundle of plain
    arrays."""
    from sigbit.flows import export as flow

    with telling() as tell:
        exported = flow.export_model(
            model,
            qonnx=onnx.qonnx,
            onnx=flow.OnnxOptions(onnx.layers, onnx.stored, onnx.batch),
            pt2=pt2,
            bundle=bundle,
            vectors=vectors,
            tell=tell,
        )
    for name, count in exported.files.items():
        say(f"wrote {name}: {exported.layers} layers, {size(count)}")
    if exported.checked is not None:
        say(f"ONNX Runtime: {exported.checked:,} values of outputs compared, 0 differ")
    elif onnx.qonnx is not None:
        say("not compared with ONNX Runtime, which is not installed: pip install 'sigbit[bulk]'")
    write_json(json, exported)
