"""What the compiler refuses, and how it says so."""

from dataclasses import replace

import numpy as np
import pytest

from sigbit.compiler import CompileError, compile_graph
from sigbit.compiler.random_graph import Builder
from sigbit_hw.arch.config import PRESETS
from sigbit_hw.arch.formats import EsbFormat

NANO = PRESETS["nano"]


def test_other_formats(rng: np.random.Generator) -> None:
    b = Builder(rng, NANO)
    graph = b.graph(b.conv([b.source(b.input((1, 4, 4), 1), 1, (1, 1))]))
    other = replace(NANO, name="other", act_format=EsbFormat(4, 1))
    with pytest.raises(CompileError, match=r"activation format s\(4,2\), but other has s\(4,1\)"):
        compile_graph(graph, other)


def test_activation_memory_too_small(rng: np.random.Generator) -> None:
    b = Builder(rng, NANO)
    graph = b.graph(b.conv([b.source(b.input((16, 2, 1200), 1), 16, (2, 1))]))
    with pytest.raises(
        CompileError, match=r"conv1 \(model.py:1\): .*4096 slots, but .* are needed"
    ):
        compile_graph(graph, NANO)


def test_accumulator_overflow(rng: np.random.Generator) -> None:
    narrow = replace(NANO, name="narrow", acc_bits=16)
    b = Builder(rng, narrow)
    source = b.source(b.input((16, 4, 4), 2), 2, (3, 3))
    source = replace(source, weights=np.full(source.weights.shape, narrow.weight_format.max))
    graph = b.graph(b.conv([source]))
    with pytest.raises(CompileError, match="accumulators of narrow have 16") as error:
        compile_graph(graph, narrow)
    assert "conv1 (model.py:1)" in str(error.value)
    needed = int(str(error.value).rsplit(">= ", 1)[1])
    compile_graph(graph, replace(narrow, acc_bits=needed))
    with pytest.raises(CompileError):
        compile_graph(graph, replace(narrow, acc_bits=needed - 1))


def test_stride_too_large(rng: np.random.Generator) -> None:
    b = Builder(rng, NANO)
    hidden = b.conv([b.source(b.input((1, 2, 40), 1), 1, (1, 1))])
    graph = b.graph(b.conv([b.source(hidden, 1, (1, 1), stride=(1, 16))]))
    with pytest.raises(
        CompileError, match="a stride of 16 columns is too large; at most 15 works, or"
    ):
        compile_graph(graph, NANO)
    b = Builder(rng, NANO)
    graph = b.graph(b.pool(b.input((1, 2, 40), 1), (1, 1), (1, 16), (0, 0, 0, 0)))
    with pytest.raises(CompileError, match="stride of 16 columns is too large; at most 15"):
        compile_graph(graph, NANO)


def test_table_memory_too_small(rng: np.random.Generator) -> None:
    small = replace(NANO, name="small", tables=2)
    b = Builder(rng, small)
    graph = b.graph(b.conv([b.source(b.input((1, 4, 4), 1), 1, (1, 1))], 3))
    with pytest.raises(CompileError, match="needs 3 entries of table at once, but small has 2"):
        compile_graph(graph, small)
