"""Random networks that fit an accelerator, compiled."""

import numpy as np

from sigbit.compiler import CompileError, compile_graph
from sigbit.compiler.random_graph import random_graph
from sigbit.ir.integer import IntegerGraph
from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.arch.program import Program


def random_network(
    rng: np.random.Generator, config: ArchConfig, layers: int, *, tries: int = 20
) -> tuple[IntegerGraph, Program]:
    """Return a random graph of about ``layers`` layers and its Program.

    Graphs that are too large for the activation memory are redrawn; the last ``CompileError`` is
    raised if none of ``tries`` fits.
    """
    for _ in range(tries - 1):
        graph = random_graph(rng, config, layers)
        try:
            return graph, compile_graph(graph, config)
        except CompileError:
            continue
    graph = random_graph(rng, config, layers)
    return graph, compile_graph(graph, config)
