"""The compiler: one list of passes, each followed by the verifier of its level."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from numpy.typing import NDArray

from sigbit.compiler.fit.fit import fit, verify_fitted
from sigbit.compiler.fit.separate import separate, verify_separated
from sigbit.compiler.legalize.legalize import legalize
from sigbit.compiler.network import Network, verify_network
from sigbit.compiler.order.contents import Contents
from sigbit.compiler.order.dependences import synchronize, verify_synchronized
from sigbit.compiler.order.emit import emit, verify_program
from sigbit.compiler.order.hazards import verify_hazards
from sigbit.compiler.order.schedule import Scheduled, schedule, verify_schedule
from sigbit.compiler.order.verdict import note_safe
from sigbit.compiler.place.layout import lay_out, verify_layout
from sigbit.compiler.place.memory import place, verify_placed
from sigbit.compiler.stage.stage import stage, verify_staged
from sigbit.compiler.tile.tiles import tile
from sigbit.compiler.tile.verifier import verify_tiled
from sigbit.errors import CompileError, MemoryLimitError, VerifyError
from sigbit.ir.integer import IntegerGraph
from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.arch.program import Program

IMAGES_MAX = 1024
"""Images per run at most: a Program has instructions for each of them."""

Progress = Callable[[str, int, int], None]
"""Called before every pass with its name, its number, starting at 0, and the number of passes."""


@dataclass(frozen=True)
class Context:
    """Inputs of every pass in addition to the previous level."""

    graph: IntegerGraph
    config: ArchConfig
    name: str
    images: int
    vectors: Mapping[str, NDArray[Any]]
    shared: bool = True
    """Layers of small tensors run for all images one after the other."""


@dataclass(frozen=True)
class Pass:
    """``run(level, context)`` returns the next level; ``verify(after, before, context)`` raises
    VerifyError if it is wrong."""

    name: str
    run: Callable[[Any, Context], Any]
    verify: Callable[[Any, Any, Context], None]


def _verify_separated(after: Network, before: Network, context: Context) -> None:
    verify_network(after)
    verify_separated(after)


def _verify_fitted(after: Network, before: Network, context: Context) -> None:
    _verify_separated(after, before, context)
    verify_fitted(after, context.config)


def _verify_emitted(after: Program, before: Scheduled, context: Context) -> None:
    verify_program(after, before)
    verify_hazards(after, Contents(before, context.config).follow)
    note_safe(after)


PASSES = (
    Pass(
        "legalize",
        lambda g, c: legalize(g, c.config, c.images, c.shared),
        lambda a, b, c: verify_network(a),
    ),
    Pass("separate", lambda n, c: separate(n, c.config), _verify_separated),
    Pass("fit", lambda n, c: fit(n, c.config), _verify_fitted),
    Pass("layout", lambda n, c: lay_out(n, c.config), lambda a, b, c: verify_layout(a, c.config)),
    Pass("memory", lambda n, c: place(n, c.config), lambda a, b, c: verify_placed(a, c.config)),
    Pass("tiles", lambda n, c: tile(n, c.config), lambda a, b, c: verify_tiled(a, c.config)),
    Pass("stage", lambda n, c: stage(n, c.config), lambda a, b, c: verify_staged(a, c.config)),
    Pass(
        "schedule",
        lambda n, c: schedule(n, c.config),
        lambda a, b, c: verify_schedule(a, b, c.config),
    ),
    Pass(
        "dependences",
        lambda n, c: synchronize(n, c.config),
        lambda a, b, c: verify_synchronized(a, b),
    ),
    Pass("emit", lambda n, c: emit(n, c.graph, c.config, c.name, c.vectors), _verify_emitted),
)
"""All passes in order."""


def compile_graph(
    graph: IntegerGraph,
    config: ArchConfig,
    *,
    images: int = 1,
    name: str | None = None,
    vectors: Mapping[str, NDArray[Any]] | None = None,
    progress: Progress | None = None,
) -> Program:
    """Compile ``graph`` to a Program for an accelerator, with ``images`` images per run; the same
    arguments give the same bytes.

    ``vectors`` are test vectors to include in the Program; ``name`` defaults to the graph's name.
    Raises :class:`~sigbit.errors.CompileError` if the graph does not fit the accelerator; the
    message names the layer, the reason and a remedy.
    """
    if not 1 <= images <= IMAGES_MAX:
        raise CompileError(
            f"images per run must be in [1, {IMAGES_MAX:,}], not {images:,}: a Program has "
            "instructions for each of them, and runs as often as there are samples"
        )
    context = Context(graph, config, name or graph.name, images, vectors or {})
    try:
        return _compiled(context, progress)
    except MemoryLimitError:
        if images == 1:
            raise
    return _compiled(replace(context, shared=False), progress)


def _compiled(context: Context, progress: Progress | None) -> Program:
    """The Program of all passes."""
    level: Any = context.graph
    for number, step in enumerate(PASSES):
        if progress:
            progress(step.name, number, len(PASSES))
        after = step.run(level, context)
        try:
            step.verify(after, level, context)
        except VerifyError as error:
            raise VerifyError(
                f"{context.name}: pass {step.name!r} of the compiler produced something wrong, "
                f"please report it: {error}"
            ) from None
        level = after
    program: Program = level
    return program
