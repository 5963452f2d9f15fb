"""The compiler: integer graphs to Programs.

``IntegerGraph -> Network -> Laid -> Placed -> Tiled -> Staged -> Scheduled -> Program``: the passes
and their verifiers are listed in :mod:`sigbit.compiler.pipeline`, one module for each; the other
modules support their decisions. The last verifier also checks Programs from files
(:mod:`sigbit.compiler.order.verdict`). It does not need torch; the passes are therefore imported on
demand.
"""

from typing import TYPE_CHECKING, Any

from sigbit.errors import CompileError, VerifyError

if TYPE_CHECKING:
    from sigbit.compiler.pipeline import PASSES, compile_graph

__all__ = ["PASSES", "CompileError", "VerifyError", "compile_graph"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from sigbit.compiler import pipeline

    return getattr(pipeline, name)
