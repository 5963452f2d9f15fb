"""The compiler: integer graphs to Programs.

``IntegerGraph -> Network -> Laid -> Placed -> Tiled -> Staged -> Scheduled -> Program``: the passes
and their verifiers are listed in :mod:`sigbit.compiler.pipeline`, a module for each; the other
modules are what they decide with.
"""

from sigbit.compiler.pipeline import PASSES, compile_graph
from sigbit.errors import CompileError, VerifyError

__all__ = ["PASSES", "CompileError", "VerifyError", "compile_graph"]
