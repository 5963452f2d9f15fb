"""States: integer model, interpreter and RTL give the same codes, step by step, as the network
unrolled in time; the compiler's checks find states that are overwritten too early."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler.networks import check
from compiler.unrolled import unrolled
from examples import examples
from sigbit.compiler import CompileError, compile_graph
from sigbit.compiler.fit.separate import separate
from sigbit.compiler.legalize.legalize import legalize
from sigbit.compiler.network import verify_network
from sigbit.compiler.order.contents import Contents
from sigbit.compiler.order.dependences import synchronize
from sigbit.compiler.order.emit import emit
from sigbit.compiler.order.hazards import verify_hazards
from sigbit.compiler.order.schedule import Scheduled, schedule
from sigbit.compiler.place.layout import lay_out
from sigbit.compiler.place.memory import place
from sigbit.compiler.random_graph import Builder
from sigbit.compiler.random_states import random_stateful
from sigbit.compiler.stage.stage import stage
from sigbit.compiler.tile.tiles import tile
from sigbit.errors import VerifyError
from sigbit.ir.integer import IntegerGraph, State
from sigbit.ir.streaming import stream
from sigbit_hw.arch import isa
from sigbit_hw.arch.config import PRESETS
from sigbit_hw.arch.isa import Load, Store
from sigbit_hw.arch.program import Program
from sigbit_sim.cycles import predict
from sigbit_sim.interp.device import Interp
from sigbit_sim.memory import MemoryTiming
from sigbit_sim.rtl.device import RtlDevice

NANO = PRESETS["nano"]
TIGHT = replace(NANO, name="tight", act_slots=512)
"""So few slots that states are loaded and stored in bands of rows."""
ARCHS = {"tight": TIGHT} | {n: PRESETS[n] for n in ("nano", "micro", "ecp5", "mobile", "zcu102")}
STEPS = 4


def steps_of(graph: IntegerGraph, count: int, seed: int) -> dict[str, np.ndarray]:
    rng, kept = np.random.default_rng(seed), dict(graph.kept)
    return {
        n.name: rng.integers(n.low, n.high + 1, (count, *n.type.shape))
        for n in graph.inputs
        if n.name not in kept
    }


def compare(
    program: Program, graph: IntegerGraph, device: Interp | RtlDevice, seed: int
) -> np.ndarray | None:
    """Compare all layers and outputs with those of as many streams as a run has images; return the
    cycles."""
    inputs = steps_of(graph, STEPS * program.images, seed)
    device.reset_state(program)
    result = device.run(program, inputs, layers=True)
    found = result.layers | result.outputs
    assert set(result.layers) == {layer.name for layer in program.layers}
    for image in range(program.images):
        own = {n: torch.from_numpy(x[image :: program.images]) for n, x in inputs.items()}
        for name, golden in stream(graph, own).items():
            if name in found:
                assert np.array_equal(found[name][image :: program.images], golden), name
    return result.cycles


@settings(max_examples=examples(25))
@given(
    seed=st.integers(0, 1 << 20),
    arch=st.sampled_from(sorted(ARCHS)),
    images=st.sampled_from([1, 1, 2, 3]),
)
def test_interpreter_keeps_states(seed: int, arch: str, images: int) -> None:
    config = ARCHS[arch]
    graph = random_stateful(np.random.default_rng(seed), config)
    network = separate(legalize(graph, config, images), config)
    verify_network(network)
    assert check(network, graph, config, seed) > 0
    try:
        program = compile_graph(graph, config, images=images)
    except CompileError as error:
        assert "the activation memory of tight has 512 slots" in str(error)  # noqa: PT017
        return
    compare(program, graph, Interp(config, strict=True), seed)


@pytest.mark.sim
def test_rtl_keeps_states(seed: int) -> None:
    """Same codes, and the cycles that the model predicts, in every step."""
    device = RtlDevice(NANO, memory=MemoryTiming(19))
    for images in (1, 2):
        graph = random_stateful(np.random.default_rng(seed + images), NANO)
        program = compile_graph(graph, NANO, images=images)
        cycles = compare(program, graph, device, seed)
        assert cycles is not None
        assert set(cycles.tolist()) == {predict(program, MemoryTiming(19)).cycles}


@settings(max_examples=examples(5))
@given(seed=st.integers(0, 1 << 20))
def test_a_stream_is_the_unrolled_network(seed: int) -> None:
    """Every layer and output of every step, as the interpreter runs both."""
    graph = random_stateful(np.random.default_rng(seed), NANO)
    inputs = steps_of(graph, STEPS, seed)
    found = Interp(NANO).run(compile_graph(graph, NANO), inputs, layers=True)
    program = compile_graph(unrolled(graph, STEPS), NANO)
    whole = {f"{n}.{i}": x[i : i + 1] for n, x in inputs.items() for i in range(STEPS)}
    golden = Interp(NANO).run(program, whole, layers=True)
    wanted: Mapping[str, np.ndarray] = golden.layers | golden.outputs
    for name, codes in (found.layers | found.outputs).items():
        for step in range(STEPS):
            assert np.array_equal(codes[step], wanted[f"{name}.{step}"][0]), (name, step)


def test_a_state_in_bands() -> None:
    """A state of more rows than fit the chip at once, next to what is computed of it."""
    b = Builder(np.random.default_rng(1), NANO)
    x = b.input((4, 40, 6), 1)
    y = b.conv([b.source(x, 4, (1, 1))])
    s = b.input((4, 40, 6), 1)
    b.nodes[-1] = replace(b.nodes[-1], type=b.type_of(y))
    z = b.conv([b.source(s, 3, (3, 3), padding=(1, 1, 1, 1))])
    graph = b.graph(z, y)
    values = graph.act_grid(1).values
    initial = np.random.default_rng(2).choice(values, (4, 40, 6))
    graph = replace(graph, states=(State(s, graph.output_names[1], initial),))
    program = compile_graph(graph, TIGHT)
    (port,) = program.states
    loads, stores = (
        [i.address for i in program.listing if isinstance(i, kind)] for kind in (Load, Store)
    )
    inside = range(port.offset, port.offset + port.bytes(TIGHT))
    assert len([a for a in loads if a in inside]) > 1
    assert len([a for a in stores if a in inside]) >= 1
    compare(program, graph, Interp(TIGHT, strict=True), 3)


def test_a_state_too_large_to_replace() -> None:
    """Its next value waits on the chip until all of it is loaded."""
    b = Builder(np.random.default_rng(1), NANO)
    x = b.input((4, 200, 6), 1)
    y = b.conv([b.source(x, 4, (1, 1))])
    s = b.input((4, 200, 6), 1)
    b.nodes[-1] = replace(b.nodes[-1], type=b.type_of(y))
    graph = b.graph(b.conv([b.source(s, 3, (3, 3), padding=(1, 1, 1, 1))]), y)
    graph = replace(
        graph, states=(State(s, graph.output_names[1], np.zeros((4, 200, 6), np.int64)),)
    )
    with pytest.raises(CompileError, match=r"has 512 slots, but \d+ are needed"):
        compile_graph(graph, TIGHT)


# Planted faults


def delay() -> IntegerGraph:
    """A delay by one step: the next state does not depend on the state."""
    b = Builder(np.random.default_rng(1), NANO)
    x = b.input((5, 3, 3), 1)
    y = b.conv([b.source(x, 6, (1, 1))])
    s = b.input((6, 3, 3), 1)
    b.nodes[-1] = replace(b.nodes[-1], type=b.type_of(y))
    graph = b.graph(b.conv([b.source(s, 5, (1, 1))]), y)
    return replace(graph, states=(State(s, graph.output_names[1], np.zeros((6, 3, 3), np.int64)),))


@pytest.mark.parametrize("images", [1, 2])
def test_nothing_but_states_is_known_before_a_run(images: int) -> None:
    """What STORE has yet to write cannot be loaded: outputs, and the beat behind a state."""
    program = compile_graph(delay(), NANO, images=images)
    verify_hazards(program)
    (state,), output = program.states, program.outputs[0]
    end = state.offset + images * state.bytes(NANO)
    code = program.listing
    loads = [
        n for n, i in enumerate(code) if isinstance(i, Load) and state.offset <= i.address < end
    ]
    assert loads
    last = max(loads, key=lambda n: code[n].address)
    for address in (output.offset, code[last].address + NANO.bus_bytes):
        moved = [*code[:last], replace(code[last], address=address), *code[last + 1 :]]
        with pytest.raises(VerifyError, match="uses WINDOW that may be never written"):
            verify_hazards(replace(program, instructions=isa.pack(moved)))


def scheduled(graph: IntegerGraph) -> Scheduled:
    network = separate(legalize(graph, NANO), NANO)
    return schedule(stage(tile(place(lay_out(network, NANO), NANO), NANO), NANO), NANO)


def finished(steps: Scheduled, graph: IntegerGraph) -> Program:
    return emit(synchronize(steps, NANO), graph, NANO, "net", {})


def moves(plan: Scheduled) -> tuple[int, int]:
    """Indices of the LOAD and the STORE of a state."""
    load, store = (i for i, s in enumerate(plan.steps) if s.region.startswith("state"))
    assert isinstance(plan.steps[load].instr, Load)
    assert isinstance(plan.steps[store].instr, Store)
    return load, store


def test_a_load_behind_the_store_is_noticed() -> None:
    """It is ordered, and loads the next run's state."""
    graph = delay()
    plan = scheduled(graph)
    verify_hazards(finished(plan, graph), Contents(plan, NANO).follow)
    both = [plan.steps[i] for i in moves(plan)]
    steps = [step for step in plan.steps if step not in both]
    written = next(i for i, s in enumerate(steps) if s.tile == 0) + 1
    steps[written:written] = both[::-1]
    swapped = replace(plan, steps=tuple(steps))
    with pytest.raises(VerifyError, match="loads the next run's state"):
        verify_hazards(finished(swapped, graph), Contents(swapped, NANO).follow)


def test_a_store_that_overtakes_the_load_is_noticed() -> None:
    graph = delay()
    plan = synchronize(scheduled(graph), NANO)
    load, store = moves(plan)
    steps = list(plan.steps)
    for index in (load, store):  # the only tokens that order them
        steps[index] = replace(steps[index], instr=replace(steps[index].instr, wait=0, signal=0))
    broken = replace(plan, steps=tuple(steps))
    with pytest.raises(VerifyError):
        verify_hazards(emit(broken, graph, NANO, "net", {}))


def test_a_state_that_is_nowhere_is_noticed() -> None:
    """What the Program says of its states belongs to the proof."""
    graph = delay()
    program = compile_graph(graph, NANO)
    low, _ = program.write_window
    with pytest.raises(VerifyError, match="WINDOW that may be never written"):
        verify_hazards(replace(program, states=()))
    moved = replace(program.states[0], offset=low - 64)
    with pytest.raises(VerifyError, match="STORE may not write state"):
        verify_hazards(replace(program, states=(moved,)))
