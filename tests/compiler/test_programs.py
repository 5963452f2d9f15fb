"""Compiled networks against the integer model, code by code."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from examples import examples
from sigbit.compiler import compile_graph
from sigbit.compiler.random_graph import Builder
from sigbit.errors import MemoryLimitError
from sigbit.ir.integer import Conv, IntegerGraph, MaxPool
from sigbit_hw.arch import isa
from sigbit_hw.arch.config import PRESETS, ArchConfig
from sigbit_hw.arch.isa import Opcode
from sigbit_hw.arch.program import Program
from sigbit_sim.interp.device import Interp
from sigbit_sim.verification.networks import random_network

NANO = PRESETS["nano"]
CONFIGS = {
    "nano": replace(NANO, name="big-nano", act_slots=16384),
    "micro": replace(PRESETS["micro"], name="big-micro", act_slots=16384),
    "wide drain": replace(
        PRESETS["micro"], name="wide-drain", oc_lanes=16, post_lanes=16, act_slots=16384
    ),
    "tight": replace(
        NANO,
        name="tight",
        act_slots=16384,
        weight_words=64,
        param_groups=2,
        tables=4,
        segments=4,
        queue_depth=2,
    ),
}


def check(program: Program, graph: IntegerGraph, rng: np.random.Generator) -> int:
    """Compare every layer of two runs on random images; the number of compared values."""
    count = 2 * program.images
    stored = {n.name: rng.integers(n.low, n.high + 1, (count, *n.type.shape)) for n in graph.inputs}
    result = Interp(program.config, strict=True).run(program, stored, layers=True)
    golden = graph.evaluate({k: torch.from_numpy(v) for k, v in stored.items()})
    layers = {n.name for n in graph.nodes if isinstance(n, Conv | MaxPool)}
    assert set(result.layers) == layers
    assert set(result.outputs) == set(graph.outputs)
    for name, value in [*result.layers.items(), *result.outputs.items()]:
        assert (value == golden[name].numpy()).all(), name
    return sum(v.size for v in [*result.layers.values(), *result.outputs.values()])


@pytest.mark.parametrize("which", CONFIGS)
@settings(max_examples=examples(10), suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 1 << 16), layers=st.integers(1, 5))
def test_random_networks(which: str, seed: int, layers: int) -> None:
    rng = np.random.default_rng(seed)
    graph, program = random_network(rng, CONFIGS[which], layers)
    assert check(program, graph, rng) > 0


def residual_network(config: ArchConfig, rng: np.random.Generator) -> IntegerGraph:
    """A small residual classifier: 8-bit input, strided block with projection, average, linear."""
    b = Builder(rng, config)
    same = (1, 1, 1, 1)
    x = b.conv([b.source(b.input((1, 8, 8), 2), 8, (3, 3), padding=same, terms=2)])
    y = b.conv([b.source(x, 8, (3, 3), padding=same)])
    x = b.conv([b.source(y, 8, (3, 3), padding=same), b.source(x, 8, (1, 1), depthwise=True)])
    y = b.conv([b.source(x, 16, (3, 3), padding=same, stride=(2, 2))])
    x = b.conv([b.source(y, 16, (3, 3), padding=same), b.source(x, 16, (1, 1), stride=(2, 2))])
    x = b.pool(x, (3, 3), (2, 2), same)
    x = b.conv([b.source(x, 16, (2, 2), depthwise=True, ones=True)], 2)
    return b.graph(b.conv([b.source(x, 10, (1, 1), terms=2)], 3))


@pytest.mark.parametrize("which", CONFIGS)
def test_residual_network(which: str, rng: np.random.Generator) -> None:
    graph = residual_network(CONFIGS[which], rng)
    assert check(compile_graph(graph, CONFIGS[which]), graph, rng) > 1000


def test_same_graph_gives_the_same_bytes(tmp_path) -> None:
    digests = set()
    for i in range(2):
        graph = residual_network(NANO, np.random.default_rng(3))
        compile_graph(graph, NANO).save(tmp_path / f"{i}.sigbit")
        digests.add((tmp_path / f"{i}.sigbit").read_bytes())
    assert len(digests) == 1


def test_reduction_larger_than_the_weight_memory(rng: np.random.Generator) -> None:
    config = CONFIGS["tight"]
    b = Builder(rng, config)
    x = b.input((40, 3, 3), 1)
    graph = b.graph(b.conv([b.source(x, 9, (3, 3))]))
    program = compile_graph(graph, config)
    execs = [i for i in program.listing if i.opcode == Opcode.EXEC]
    assert any(i.keep for i in execs)
    assert any(not i.drain for i in execs)
    check(program, graph, rng)


def test_more_segments_than_the_table_holds(rng: np.random.Generator) -> None:
    config = CONFIGS["tight"]
    b = Builder(rng, config)
    x = b.input((3, 7, 7), 3)
    graph = b.graph(b.conv([b.source(x, 5, (2, 2), terms=3, stride=(2, 2))]))
    program = compile_graph(graph, config)
    assert any(i.keep for i in program.listing if i.opcode == Opcode.EXEC)
    check(program, graph, rng)


def test_kernel_longer_than_the_loops(rng: np.random.Generator) -> None:
    """40 kernel rows are more than a SEG steps through."""
    b = Builder(rng, NANO)
    graph = b.graph(b.conv([b.source(b.input((1, 40, 1), 1), 1, (40, 1))]))
    check(compile_graph(graph, NANO), graph, rng)


def test_bands_go_to_memory_and_back(rng: np.random.Generator) -> None:
    """An activation memory far too small for a residual network, and two images a run."""
    config = replace(NANO, name="spilling-nano", act_slots=256, weight_words=256)
    graph = residual_network(config, rng)
    program = compile_graph(graph, config, images=2)
    low, high = program.write_window
    assert high - low > sum(2 * port.bytes(config) for port in program.outputs)
    check(program, graph, rng)


def test_blocks_run_across_lines(rng: np.random.Generator) -> None:
    """7x7 and 14x14 images fill all lanes but those of the last block."""
    config = CONFIGS["micro"]
    b = Builder(rng, config)
    x = b.input((8, 14, 14), 1)
    x = b.conv([b.source(x, 8, (3, 3), padding=(1, 1, 1, 1))])
    x = b.conv([b.source(x, 8, (3, 3), padding=(1, 1, 1, 1), stride=(1, 2))])
    graph = b.graph(b.conv([b.source(x, 8, (3, 3), padding=(1, 1, 1, 1))]))
    program = compile_graph(graph, config)
    execs = [i for i in program.listing if i.opcode == Opcode.EXEC]
    assert [(e.n_rows, e.run) for e in execs] == [(1, 196), (1, 98), (1, 98)]
    check(program, graph, rng)


def test_tiny_images_share_blocks(rng: np.random.Generator) -> None:
    """Lines shorter than a block follow each other where no halo is between them."""
    config = CONFIGS["micro"]
    b = Builder(rng, config)
    x = b.conv([b.source(b.input((8, 2, 2), 1), 8, (1, 1))])
    graph = b.graph(b.conv([b.source(x, 8, (1, 1))]))
    program = compile_graph(graph, config)
    execs = [i for i in program.listing if i.opcode == Opcode.EXEC]
    assert [(e.n_rows, e.run) for e in execs] == [(1, 4), (1, 4)]
    check(program, graph, rng)


def test_conflicting_consumers_get_copies(rng: np.random.Generator) -> None:
    """A strided and an unstrided consumer, and paddings with zero and with the least code."""
    b = Builder(rng, NANO)
    x = b.conv([b.source(b.input((4, 6, 6), 1), 8, (3, 3), padding=(1, 1, 1, 1))])
    a = b.conv([b.source(x, 4, (3, 3), padding=(1, 1, 1, 1))])
    c = b.conv([b.source(x, 4, (3, 3), padding=(1, 1, 1, 1), stride=(2, 2))], 2)
    d = b.pool(x, (3, 3), (1, 1), (1, 1, 1, 1))
    graph = b.graph(a, c, d)
    check(compile_graph(graph, NANO), graph, rng)


def test_input_as_output(rng: np.random.Generator) -> None:
    b = Builder(rng, NANO)
    x = b.input((5, 4, 4), 2)
    graph = b.graph(b.conv([b.source(x, 3, (2, 2), stride=(2, 2))]), x)
    check(compile_graph(graph, NANO), graph, rng)


def test_images_that_do_not_fit_together_follow_each_other(rng: np.random.Generator) -> None:
    """An input that is an output is copied; the values of three images at once are too large for
    the memory, those of one are not."""
    config = replace(NANO, name="small", act_slots=1024)
    b = Builder(rng, config)
    small, large = b.input((1, 2, 9), 1), b.input((29, 1, 43), 1)
    result = b.conv([b.source(b.conv([b.source(small, 1, (1, 1))]), 1, (1, 1))])
    graph = b.graph(large, result)
    check(compile_graph(graph, config, images=3), graph, rng)
    with pytest.raises(MemoryLimitError, match="act_slots >= 1024"):
        compile_graph(graph, replace(config, act_slots=512), images=3)


def test_program_describes_itself(rng: np.random.Generator) -> None:
    graph = residual_network(NANO, rng)
    seen: list[tuple[str, int, int]] = []
    program = compile_graph(
        graph,
        NANO,
        name="digits",
        vectors={"x": np.arange(3)},
        progress=lambda *args: seen.append(args),
    )
    assert program.name == "digits"
    assert (program.vectors["x"] == np.arange(3)).all()
    assert [s[1] for s in seen] == list(range(len(seen)))
    assert {s[2] for s in seen} == {len(seen)}
    assert [layer.name for layer in program.layers] == [n.name for n in graph.nodes[1:]]
    assert program.layers[0].macs == 8 * 8 * 8 * 9 * 2 * 2
    assert program.layers[0].source == "model.py:1"
    assert isa.unpack(program.instructions)[-1].opcode == Opcode.HALT
