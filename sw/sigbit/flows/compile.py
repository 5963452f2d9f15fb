"""From an integer model to a Program."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sigbit.compiler import compile_graph
from sigbit.flows.program_facts import ProgramFacts
from sigbit.flows.progress import Tell, silent
from sigbit.flows.result import Result, Stopwatch, plain
from sigbit.inputs.accelerators import load_arch
from sigbit.inputs.integer_models import Model, load_model
from sigbit.inputs.vectors import make_vectors
from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.arch.program import Program


@dataclass(frozen=True, kw_only=True)
class CompiledProgram(Result):
    """A Program that was written to ``file``."""

    file: Path
    program: Program

    @property
    def facts(self) -> ProgramFacts:
        """Sizes and identity of the Program."""
        return ProgramFacts.of(self.program)

    def to_json(self) -> dict[str, Any]:
        """Return the file and the facts about its Program."""
        return {
            "schema_version": self.schema_version,
            "file": str(self.file),
            **plain(self.facts),
            "seconds": self.seconds,
            "cpu_seconds": self.cpu_seconds,
        }


def compile(
    model: Model,
    arch: str | ArchConfig = "micro",
    *,
    images: int = 1,
    vectors: int = 0,
    tell: Tell = silent,
) -> Program:
    """Compile an integer model for an accelerator; the same arguments give the same bytes.

    Raises :class:`~sigbit.errors.UserError` for a model that does not exist or is not an integer
    model, :class:`~sigbit.errors.CompileError` if the model does not fit the accelerator: the
    message names the layer, the reason and a remedy.

    Parameters
    ----------
    model : str, Path, IntegerModel, PreparedModel or IntegerGraph
        The integer model, as an object or by name.
    arch : str or ArchConfig
        The accelerator.
    images : int
        Images per run.
    vectors : int
        Random test images that the Program keeps, with the codes of all layers.
    """
    config = load_arch(arch)
    tell("loading the model")
    graph = load_model(model)
    return compile_graph(
        graph,
        config,
        images=images,
        vectors=make_vectors(graph, vectors, images) if vectors else {},
        progress=lambda name, done, total: tell(
            f"compiling {graph.name} for {config.name}: {name}", done, total
        ),
    )


def compile_file(
    model: Model,
    output: Path,
    arch: str | ArchConfig = "micro",
    *,
    images: int = 1,
    vectors: int = 0,
    tell: Tell = silent,
) -> CompiledProgram:
    """Compile ``model`` with :func:`compile` and write the Program to ``output``."""
    watch = Stopwatch()
    program = compile(model, arch, images=images, vectors=vectors, tell=tell)
    program.save(output)
    return CompiledProgram(file=output, program=program, **watch.read())
