"""``sigbit compile``: from an integer model to a Program."""

from pathlib import Path
from typing import Annotated

import typer

from sigbit.cli.console.files import target, write_json
from sigbit.cli.console.options import Arch, IntegerModel, Json
from sigbit.cli.console.programs import say_program
from sigbit.cli.console.telling import telling


def compile(
    model: IntegerModel,
    output: Annotated[
        Path,
        typer.Option(
            "-o", "--output", metavar="NET.sigbit", callback=target, help="The Program to write."
        ),
    ],
    arch: Arch = "micro",
    vectors: Annotated[
        int,
        typer.Option(min=0, max=1000, help="Random test images to keep, with all layers' codes."),
    ] = 0,
    images: Annotated[int, typer.Option(min=1, metavar="N", help="Images per run.")] = 1,
    json: Json = None,
) -> None:
    """Compile a quantized model for an accelerator.

    Float models are quantized first: sigbit quantize.
    """
    from sigbit.flows.compile import compile_file

    with telling() as tell:
        compiled = compile_file(model, output, arch, images=images, vectors=vectors, tell=tell)
    say_program(output, compiled.facts)
    write_json(json, compiled)
