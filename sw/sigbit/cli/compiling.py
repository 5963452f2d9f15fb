"""``sigbit compile``: from an integer model to a Program file."""

import time
from pathlib import Path
from typing import Annotated

import typer

from sigbit.cli.arch import load_arch
from sigbit.cli.files import target, write_json
from sigbit.cli.models import load_model
from sigbit.cli.options import Arch, Json
from sigbit.cli.output import progress, say, size
from sigbit.cli.vectors import make_vectors


def compile_model(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL.pt2|PYTHON:OBJECT",
            help="An exported integer model, or module:attribute or path/to/file.py:attribute.",
        ),
    ],
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
    json: Json = None,
) -> None:
    """Compile a quantized model for an accelerator."""
    config = load_arch(arch)
    start = time.perf_counter()
    with progress() as bar:
        task = bar.add_task("loading the model", total=2)
        from sigbit.compiler import compile_graph

        graph = load_model(model)
        bar.update(task, completed=1, description=f"compiling {graph.name} for {config.name}")
        kept = make_vectors(graph, vectors) if vectors else {}
        program = compile_graph(graph, config, vectors=kept)
    program.save(output)
    seconds = time.perf_counter() - start
    count = len(program.listing)
    macs = sum(r.macs for r in program.layers)
    say(
        f"wrote {output}: {len(program.layers)} layers, {macs:,} native MACs, {count:,} "
        f"instructions, {size(program.image.size)} of constants, for {config.name}"
    )
    say(f"digest {program.digest}")
    write_json(
        json,
        {
            "file": str(output),
            "name": program.name,
            "digest": program.digest,
            "arch": config.name,
            "arch_digest": config.digest,
            "layers": len(program.layers),
            "macs": macs,
            "instructions": count,
            "image_bytes": program.image.size,
            "memory_bytes": program.memory_bytes,
            "seconds": seconds,
        },
    )
