"""The compiler: integer graphs to Programs.

``IntegerGraph -> Network -> Laid -> Placed -> Tiled -> Staged -> Scheduled -> Program``, see
:mod:`sigbit.compiler.pipeline`.
"""

from sigbit.compiler.errors import CompileError, VerifyError
from sigbit.compiler.pipeline import PASSES, compile_graph

__all__ = ["PASSES", "CompileError", "VerifyError", "compile_graph"]
