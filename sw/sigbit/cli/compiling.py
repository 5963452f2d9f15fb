"""``sigbit compile``: from an integer model to a Program file."""

import time
from pathlib import Path
from typing import Annotated

import typer

from sigbit.cli.console.files import target, write_json
from sigbit.cli.console.options import Arch, Json
from sigbit.cli.console.output import progress
from sigbit.cli.console.programs import say_program
from sigbit.flows.program_facts import ProgramFacts
from sigbit.flows.result import plain
from sigbit.inputs.accelerators import load_arch
from sigbit.inputs.integer_models import load_model
from sigbit.inputs.vectors import make_vectors


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
    images: Annotated[
        int, typer.Option(min=1, metavar="N", help="Images that the accelerator takes in one run.")
    ] = 1,
    json: Json = None,
) -> None:
    """Compile a quantized model for an accelerator.

    Float models are quantized first: sigbit quantize.
    """
    config = load_arch(arch)
    start = time.perf_counter()
    with progress() as bar:
        task = bar.add_task("loading the model", total=None)
        from sigbit.compiler import compile_graph

        graph = load_model(model)

        def tell(name: str, done: int, total: int) -> None:
            bar.update(
                task,
                description=f"compiling {graph.name} for {config.name}: {name}",
                completed=done,
                total=total,
            )

        kept = make_vectors(graph, vectors) if vectors else {}
        program = compile_graph(graph, config, images=images, vectors=kept, progress=tell)
    program.save(output)
    seconds = time.perf_counter() - start
    facts = ProgramFacts.of(program)
    say_program(output, facts)
    write_json(json, {"file": str(output), **plain(facts), "seconds": seconds})
