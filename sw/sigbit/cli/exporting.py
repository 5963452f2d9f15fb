"""``sigbit export``: an integer model for others to execute and to check."""

from pathlib import Path
from typing import Annotated

import typer

from sigbit.cli.console.files import target, write_json
from sigbit.cli.console.options import Json
from sigbit.cli.console.output import progress, say, size
from sigbit.errors import UserError
from sigbit.inputs.integer_models import load_model


def export(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL.pt2|PYTHON:OBJECT",
            help="An exported integer model, or module:attribute or path/to/file.py:attribute.",
        ),
    ],
    qonnx: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.onnx",
            callback=target,
            help="Write ONNX of standard operators, from stored integers to stored integers.",
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
    """Write a quantized model for other tools: as ONNX, as a bundle of plain arrays, or both."""
    from sigbit.export import export_bundle, export_qonnx

    if qonnx is None and bundle is None:
        raise UserError("nothing to write: give --qonnx FILE.onnx, --bundle DIR, or both")
    if bundle is not None and not bundle.parent.is_dir():
        raise UserError(f"cannot write {bundle}: there is no folder {bundle.parent}; make it first")
    written: dict[str, int] = {}
    with progress() as bar:
        task = bar.add_task("loading the model", total=None)
        graph = load_model(model)
        if qonnx is not None:
            bar.update(task, description=f"writing {qonnx}")
            export_qonnx(graph, qonnx, layers=layers)
            written[str(qonnx)] = qonnx.stat().st_size
        if bundle is not None:
            bar.update(task, description=f"writing {bundle}")
            export_bundle(graph, bundle, vectors)
            files = bundle.rglob("*") if bundle.is_dir() else [bundle]
            written[str(bundle)] = sum(f.stat().st_size for f in files if f.is_file())
    for name, count in written.items():
        say(f"wrote {name}: {len(graph.nodes)} layers, {size(count)}")
    write_json(
        json,
        {
            "name": graph.name,
            "files": written,
            "layers": len(graph.nodes),
            "outputs": list(graph.outputs),
        },
    )
