"""``sigbit export``: an integer model for others to execute and to check."""

from pathlib import Path
from typing import Annotated

import typer

from sigbit.cli.console.files import target, write_json
from sigbit.cli.console.options import IntegerModel, Json
from sigbit.cli.console.output import say
from sigbit.cli.console.telling import telling
from sigbit.report.units import size


def export(
    model: IntegerModel,
    qonnx: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.onnx",
            callback=target,
            help="Write ONNX of standard operators, from stored integers to stored integers.",
        ),
    ] = None,
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
    layers: Annotated[
        bool, typer.Option("--layers", help="Make every layer an output of the ONNX model.")
    ] = False,
    vectors: Annotated[
        int, typer.Option(min=1, max=1000, help="Random test images in the bundle.")
    ] = 2,
    json: Json = None,
) -> None:
    """Write a quantized model for other tools: as ONNX, for torch.export, or as a bundle of plain
    arrays."""
    from sigbit.flows.export import export_model

    with telling() as tell:
        exported = export_model(
            model,
            qonnx=qonnx,
            pt2=pt2,
            bundle=bundle,
            layers=layers,
            vectors=vectors,
            tell=tell,
        )
    for name, count in exported.files.items():
        say(f"wrote {name}: {exported.layers} layers, {size(count)}")
    write_json(json, exported)
