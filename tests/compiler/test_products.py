"""Products of two computed tensors: integer model, interpreter and RTL give the same codes, and the
compiler's checks find faults in the way of the right operand into the weight memory."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler.networks import check
from examples import examples
from sigbit.compiler import CompileError, compile_graph
from sigbit.compiler.fit.separate import separate
from sigbit.compiler.legalize.legalize import legalize
from sigbit.compiler.network import Network, verify_network
from sigbit.compiler.order.contents import Contents
from sigbit.compiler.order.dependences import synchronize
from sigbit.compiler.order.emit import emit
from sigbit.compiler.order.hazards import verify_hazards
from sigbit.compiler.order.schedule import Scheduled, schedule
from sigbit.compiler.place.layout import Laid, lay_out, verify_layout
from sigbit.compiler.place.memory import place
from sigbit.compiler.random_graph import Builder, random_products
from sigbit.compiler.stage.stage import Staged, stage, verify_staged
from sigbit.compiler.tile.tiles import Tiled, tile
from sigbit.compiler.tile.verifier import verify_tiled
from sigbit.errors import VerifyError
from sigbit.ir.integer import Conv, IntegerGraph, Matmul
from sigbit_hw.arch.config import PRESETS, ArchConfig
from sigbit_hw.arch.formats import EsbFormat
from sigbit_hw.arch.isa import Load, LoadKind, Store
from sigbit_hw.arch.program import Program
from sigbit_sim.cycles import predict
from sigbit_sim.interp.device import Interp
from sigbit_sim.memory import MemoryTiming
from sigbit_sim.rtl.device import RtlDevice

NANO = PRESETS["nano"]
TIGHT = replace(NANO, name="tight", weight_words=16, segments=4)
"""So few weight words that a reduction needs several EXECs, and words come in pieces."""
ARCHS = {"tight": TIGHT} | {n: PRESETS[n] for n in ("nano", "micro", "ecp5", "mobile", "zcu102")}


def stored(graph: IntegerGraph, count: int, seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {n.name: rng.integers(n.low, n.high + 1, (count, *n.type.shape)) for n in graph.inputs}


def compare(program: Program, graph: IntegerGraph, device: Interp | RtlDevice, seed: int) -> int:
    """Compare all layers and outputs with the integer model; return the cycles."""
    inputs = stored(graph, program.images, seed)
    result = device.run(program, inputs, layers=True)
    golden = graph.evaluate({k: torch.from_numpy(v) for k, v in inputs.items()})
    assert set(result.layers) == {n.name for n in graph.nodes if isinstance(n, Conv | Matmul)}
    for name, got in [*result.layers.items(), *result.outputs.items()]:
        assert np.array_equal(got, golden[name].numpy()), name
    return result.cycles


@settings(max_examples=examples(60))
@given(
    seed=st.integers(0, 1 << 20),
    arch=st.sampled_from(sorted(ARCHS)),
    images=st.sampled_from([1, 1, 2]),
)
def test_interpreter_computes_products(seed: int, arch: str, images: int) -> None:
    config = ARCHS[arch]
    graph = random_products(np.random.default_rng(seed), config)
    network = separate(legalize(graph, config, images), config)
    verify_network(network)
    assert check(network, graph, config, seed) > 0
    compare(compile_graph(graph, config, images=images), graph, Interp(config, strict=True), seed)


@pytest.mark.sim
def test_rtl_computes_products(seed: int) -> None:
    """Same codes, and the cycles that the model predicts."""
    device = RtlDevice(NANO, memory=MemoryTiming(19))
    for number in range(3):
        graph = random_products(np.random.default_rng(seed + number), NANO)
        program = compile_graph(graph, NANO, images=1 + number % 2)
        cycles = compare(program, graph, device, seed)
        assert cycles == predict(program, MemoryTiming(19)).cycles


def test_words_stay_on_chip(seed: int) -> None:
    """A right operand that fits the weight memory is loaded once, for all bands and walks."""
    b = Builder(np.random.default_rng(seed), NANO)
    left, right = b.input((4, 9, 3), 1), b.input((4, 1, 8), 1)
    w = b.conv([b.source(right, 8, (1, 1))], weights=True)
    graph = b.graph(b.matmul(b.conv([b.source(left, 8, (1, 1))]), w))
    program = compile_graph(graph, NANO)
    low, high = program.write_window
    loads = [i for i in program.listing if isinstance(i, Load) and i.kind == LoadKind.WEIGHTS]
    assert sum(low <= i.address < high for i in loads) == 1
    assert sum(isinstance(i, Store) for i in program.listing) == 2


@pytest.mark.parametrize("planes", [1, 2])
def test_words_of_long_reductions_come_in_pieces(planes: int) -> None:
    """More words for a block than the weight memory has: each EXEC of a block gets its own."""
    b = Builder(np.random.default_rng(1), TIGHT)
    left, right = b.input((80, 1, 3), planes), b.input((80, 1, 5), 1)
    w = b.conv([b.source(right, 80, (1, 1), depthwise=True)], weights=True)
    graph = b.graph(b.matmul(left, w))
    program = compile_graph(graph, TIGHT)
    low, high = program.write_window
    loads = [i for i in program.listing if isinstance(i, Load) and i.kind == LoadKind.WEIGHTS]
    pieces = [i.n0 for i in loads if low <= i.address < high]
    assert sum(pieces) >= 2 * 20  # blocks of 4 output channels, slots of 4 channels
    assert max(pieces) <= TIGHT.weight_words < 20
    compare(program, graph, Interp(TIGHT, strict=True), 1)


def test_words_for_parts_of_a_concatenation() -> None:
    """A left operand that is too large for the chip is no longer one value: each of its parts is
    multiplied by the words of its own channels."""
    small = replace(NANO, name="small", act_slots=512)
    b = Builder(np.random.default_rng(1), small)
    x, right = b.input((4, 40, 6), 1), b.input((12, 1, 5), 1)
    parts = []
    for channels in (8, 4):
        parts.append(b.conv([b.source(x, channels, (1, 1))]))
        kind = replace(b.type_of(parts[0]), shape=b.nodes[-1].type.shape, zero=0)
        b.nodes[-1] = replace(b.nodes[-1], type=kind)
    left = b.gather(parts, [(t, c) for t, n in enumerate((8, 4)) for c in range(n)])
    w = b.conv([b.source(right, 12, (1, 1))], weights=True)
    graph = b.graph(b.matmul(left, w))
    program = compile_graph(graph, small)
    compare(program, graph, Interp(small, strict=True), 1)


def test_refused_by_name() -> None:
    b = Builder(np.random.default_rng(1), NANO)
    x = b.input((3, 2, 2), 1)
    w = b.conv([b.source(x, 3, (1, 1))], weights=True)
    graph = b.graph(b.matmul(b.conv([b.source(x, 3, (1, 1))]), w))
    node = graph[w]
    assert isinstance(node, Conv)
    nodes = tuple(replace(n, table=n.table * 0 + 1) if n is node else n for n in graph.nodes)
    with pytest.raises(CompileError, match="has no 0 for the rest"):
        compile_graph(replace(graph, nodes=nodes), NANO)
    config = replace(NANO, name="odd", weight_format=EsbFormat(2, 0), oc_lanes=8)
    other = replace(graph, weight_format=EsbFormat(2, 0), nodes=_small(graph))
    with pytest.raises(CompileError, match="need weights with as many bits as lanes"):
        compile_graph(other, config)
    with pytest.raises(CompileError, match="need 18 bits"):
        compile_graph(_wide(), replace(NANO, name="narrow", acc_bits=16))


def _small(graph: IntegerGraph) -> tuple:
    """Nodes with weights and weight digits of at most 1."""
    found = []
    for n in graph.nodes:
        if isinstance(n, Conv):
            table = n.table.clip(-1, 1) if n.type.weights else n.table
            sources = tuple(replace(s, weights=s.weights.clip(-1, 1)) for s in n.sources)
            n = replace(n, table=table, sources=sources)
        found.append(n)
    return tuple(found)


def _wide() -> IntegerGraph:
    """Products that may reach 12 * 7 * 1000."""
    b = Builder(np.random.default_rng(2), NANO)
    x = b.input((3, 1, 2), 1)
    w = b.conv([b.source(x, 1000, (1, 1))], weights=True)
    return b.graph(b.matmul(b.conv([b.source(x, 1000, (1, 1))]), w))


@pytest.fixture(scope="module")
def graph() -> IntegerGraph:
    b = Builder(np.random.default_rng(3), NANO)
    left, right = b.input((4, 2, 5), 1), b.input((4, 1, 6), 1)
    w = b.conv([b.source(right, 11, (1, 1))], 2, weights=True)
    return b.graph(b.matmul(b.conv([b.source(left, 11, (1, 1))], 2), w, 2))


def _value(n: Network) -> str:
    return next(name for name, v in n.values.items() if v.weights)


def _operand(n: Network, **changes: object) -> Network:
    ops = [
        replace(op, operands=tuple(replace(o, **changes) for o in op.operands))
        if op.operands[0].right
        else op
        for op in n.ops
    ]
    return replace(n, ops=tuple(ops))


NETWORK_FAULTS: dict[str, Callable[[Network], Network]] = {
    "never stored": lambda n: replace(
        n, values=n.values | {_value(n): replace(n.values[_value(n)], store=None)}
    ),
    "too few terms": lambda n: _operand(n, terms=1),
    "other channels": lambda n: _operand(n, right_channel=4),
    "before it is written": lambda n: replace(n, ops=tuple(sorted(n.ops, key=_first))),
    "no weight digits": lambda n: replace(
        n, values=n.values | {_value(n): replace(n.values[_value(n)], weights=False)}
    ),
}


def _first(op: object) -> bool:
    return op.result.startswith("conv2")  # type: ignore[attr-defined]


@pytest.mark.parametrize("fault", NETWORK_FAULTS)
def test_network_faults(fault: str, graph: IntegerGraph) -> None:
    network = legalize(graph, NANO)
    verify_network(network)
    with pytest.raises(VerifyError):
        verify_network(NETWORK_FAULTS[fault](network))


def _levels(graph: IntegerGraph) -> tuple[Laid, Tiled, Staged]:
    laid = lay_out(separate(legalize(graph, NANO), NANO), NANO)
    tiled = tile(place(laid, NANO), NANO)
    return laid, tiled, stage(tiled, NANO)


def test_layout_faults(graph: IntegerGraph) -> None:
    laid = _levels(graph)[0]
    verify_layout(laid, NANO)
    name = _value(laid.network)
    for changes in ({"pitch": 7}, {"bottom": 0}, {"left": 1}):
        layout = replace(laid.layouts[name], **changes)
        with pytest.raises(VerifyError):
            verify_layout(replace(laid, layouts=laid.layouts | {name: layout}), NANO)


def test_tile_faults(graph: IntegerGraph) -> None:
    """Words of other blocks, other digits, another tensor, absent channels that are not 0."""
    tiled = _levels(graph)[1]
    verify_tiled(tiled, NANO)
    at = next(i for i, t in enumerate(tiled.tiles) if t.words)
    good = tiled.tiles[at]
    words = good.words[0]
    writer = next(i for i, t in enumerate(tiled.tiles) if t.op == _writer(tiled) and t.out)
    spoiled = tiled.tiles[writer].params.copy()
    spoiled[-8:] = spoiled[:8]
    faults = {
        at: [
            replace(good, words=(replace(words, first=words.first + 1),)),
            replace(good, words=(replace(words, memory="words other"),)),
            replace(good, words=(replace(words, count=words.count - 1),)),
            replace(good, segments=tuple(replace(s, words=0) for s in good.segments)),
        ],
        writer: [replace(tiled.tiles[writer], params=spoiled)],
    }
    for index, tiles in faults.items():
        for bad in tiles:
            every = (*tiled.tiles[:index], bad, *tiled.tiles[index + 1 :])
            with pytest.raises(VerifyError):
                verify_tiled(replace(tiled, tiles=every), NANO)


def _writer(tiled: Tiled) -> int:
    network = tiled.placed.network
    return network.writers[_value(network)][-1]


def test_staging_faults(graph: IntegerGraph) -> None:
    """Slots stored in another order, words loaded too early, from elsewhere or to elsewhere."""
    staged = _levels(graph)[2]
    verify_staged(staged, NANO)
    at = next(i for i, f in enumerate(staged.fetches) if f.region.startswith("words"))
    fetch = staged.fetches[at]
    for bad in (
        replace(fetch, stores=0),
        replace(fetch, instr=replace(fetch.instr, dst=fetch.instr.dst + 1)),
        replace(fetch, instr=replace(fetch.instr, address=fetch.instr.address + 16)),
    ):
        fetches = (*staged.fetches[:at], bad, *staged.fetches[at + 1 :])
        with pytest.raises(VerifyError):
            verify_staged(replace(staged, fetches=fetches), NANO)
    store = staged.stores[0]
    turned = replace(store.instr, d1=store.instr.d2, d2=store.instr.d1)
    stores = (replace(store, instr=turned), *staged.stores[1:])
    with pytest.raises(VerifyError):
        verify_staged(replace(staged, stores=stores), NANO)


def test_order_faults(graph: IntegerGraph) -> None:
    """Words loaded before the STORE, or replaced by others before they are used."""

    def verdict(scheduled: Scheduled, config: ArchConfig) -> None:
        synced = synchronize(scheduled, config)
        program = emit(synced, graph, config, "net", {})
        verify_hazards(program, Contents(synced, config).follow)

    scheduled = schedule(_levels(graph)[2], NANO)
    verdict(scheduled, NANO)
    steps = list(scheduled.steps)
    load = next(i for i, s in enumerate(steps) if s.region.startswith("words") and s.fetch >= 0)
    early = [steps[load], *steps[:load], *steps[load + 1 :]]
    constant = next(s for s in steps if isinstance(s.instr, Load) and s.instr.kind == 0)
    taken = replace(constant, instr=replace(constant.instr, dst=steps[load].instr.dst))
    other = [*steps[: load + 1], taken, *steps[load + 1 :]]
    for changed in (early, other):
        with pytest.raises(VerifyError):
            verdict(replace(scheduled, steps=tuple(changed)), NANO)
