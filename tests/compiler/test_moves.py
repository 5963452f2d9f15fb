"""The back end alone, on hand-made operations: values come from memory, go there, and come back;
the finished program gives what the operations are defined to give."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from compiler.levels import Draft, evaluate, random_draft
from sigbit.compiler import VerifyError
from sigbit.compiler.network import MemoryTensor, Network, Op, Operand, Region, Rows
from sigbit.compiler.order.dependences import synchronize, verify_synchronized
from sigbit.compiler.order.emit import emit, verify_program
from sigbit.compiler.order.hazards import verify_hazards
from sigbit.compiler.order.schedule import Scheduled, schedule, verify_schedule
from sigbit.compiler.place.layout import lay_out, verify_layout
from sigbit.compiler.place.memory import Placed
from sigbit.compiler.stage.stage import stage, verify_staged
from sigbit.compiler.stage.window import row_bytes
from sigbit.compiler.tile.tiles import tile
from sigbit.ir.integer import Input, IntegerGraph, TensorType
from sigbit_hw.arch import isa
from sigbit_hw.arch.config import PRESETS, ArchConfig
from sigbit_hw.arch.isa import Engine, Opcode
from sigbit_hw.arch.program import Program
from sigbit_sim.interp.device import Interp

NANO = replace(PRESETS["nano"], act_slots=1 << 17)
CONFIGS = {
    "nano": NANO,
    "wide drain": replace(
        PRESETS["micro"], name="wide-drain", pixels=8, post_lanes=32, act_slots=1 << 17
    ),
    "few": replace(NANO, name="few", weight_words=128, param_groups=8, tables=4, queue_depth=2),
}


@dataclass
class Case:
    """A network whose given values are inputs and whose results are outputs or spilled, with the
    expected outputs."""

    network: Network
    graph: IntegerGraph
    inputs: dict[str, np.ndarray]
    expected: dict[str, np.ndarray]


def make_case(rng: np.random.Generator, config: ArchConfig) -> Case:
    """A random draft between memory and memory. Results of one column phase are stored, loaded
    again from some row on, and copied to the output."""
    d = random_draft(rng, config)
    expected = evaluate(d)
    memory: dict[str, MemoryTensor] = {}
    outputs = {}
    for name, value in list(d.values.items()):
        given = name in d.stored
        spills = not given and value.phases == 1
        kind = "input" if given else "spill" if spills else "output"
        memory[name] = MemoryTensor(name, kind, name, 0, value.shape, value.planes, value.phases)
        home = Rows(name)
        d.values[name] = replace(value, **{"load" if given else "store": home})
        if spills:
            outputs[f"{name}_copy"] = _copy_back(d, memory, name, config)
        elif not given:
            outputs[name] = 0
    nodes = tuple(
        Input(t.tensor, TensorType(t.shape, t.planes, 1.0), 0, 0)
        for t in memory.values()
        if t.kind != "spill"
    )
    graph = IntegerGraph(
        "net", config.weight_format, config.act_format, config.term_radix_bits, nodes, ()
    )
    wanted = {n: expected[n.removesuffix("_copy")][:, first:] for n, first in outputs.items()}
    network = Network("net", d.values, tuple(d.ops), memory)
    return Case(network, graph, {n: x[None] for n, x in d.stored.items()}, wanted)


def _copy_back(d: Draft, memory: dict[str, MemoryTensor], name: str, config: ArchConfig) -> int:
    """Load the last rows of a spilled value, copy them to an output; the first of these rows."""
    value = d.values[name]
    whole = row_bytes(memory[name], config) % config.bus_bytes == 0
    first = int(d.rng.integers(0, value.shape[1])) if whole else 0
    shape = value.shape[0], value.shape[1] - first, value.shape[2]
    back, out = f"{name}_back", f"{name}_copy"
    d.values[back] = replace(value, name=back, shape=shape, store=None, load=Rows(name, first))
    d.values[out] = replace(value, name=out, shape=shape, halo=None, store=Rows(out))
    memory[out] = MemoryTensor(out, "output", out, 0, shape, value.planes)
    region = Region(0, 0, shape[1], shape[2])
    d.ops.append(Op(out, "copy", (Operand(back, (1, 1), shape[0]),), out, region, shape[0]))
    return first


def place_apart(network: Network, rng: np.random.Generator, config: ArchConfig) -> Placed:
    """Values one behind the other, those used later where earlier ones were, if they fit."""
    laid = lay_out(network, config)
    verify_layout(laid, config)
    bases: dict[str, int] = {}
    for name in sorted(laid.layouts, key=lambda n: network.life[n]):
        born = network.life[name][0]
        alive = [n for n in bases if network.life[n][1] >= born or rng.random() < 0.3]
        bases[name] = max((bases[n] + laid.layouts[n].size for n in alive), default=0)
    assert max(bases[n] + laid.layouts[n].size for n in bases) <= config.act_slots
    return Placed(network, laid.layouts, bases)


def back_end(case: Case, placed: Placed, config: ArchConfig) -> tuple[Scheduled, Program]:
    """The schedule with tokens, and the Program; every pass is verified."""
    staged = stage(tile(placed, config), config)
    verify_staged(staged, config)
    scheduled = schedule(staged, config)
    verify_schedule(scheduled, staged, config)
    synchronized = synchronize(scheduled, config)
    verify_synchronized(synchronized, scheduled)
    program = emit(synchronized, case.graph, config, "net", {})
    verify_program(program, synchronized)
    verify_hazards(program)
    return synchronized, program


@pytest.mark.parametrize("which", CONFIGS)
@settings(max_examples=6, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 1 << 20))
def test_values_come_and_go(which: str, seed: int) -> None:
    rng, config = np.random.default_rng(seed), CONFIGS[which]
    case = make_case(rng, config)
    _, program = back_end(case, place_apart(case.network, rng, config), config)
    ports = tuple(replace(p, low=-(1 << 20), high=1 << 20) for p in program.inputs)
    result = Interp(config, strict=True).run(replace(program, inputs=ports), case.inputs)
    assert set(result.outputs) == set(case.expected)
    assert case.expected
    for name, value in case.expected.items():
        assert (result.outputs[name][0] == value).all(), name


def spilling() -> tuple[Case, Program]:
    """A case whose program loads what it has stored."""
    for seed in range(100):
        rng = np.random.default_rng(seed)
        case = make_case(rng, NANO)
        if any(t.kind == "spill" for t in case.network.memory.values()):
            return case, back_end(case, place_apart(case.network, rng, NANO), NANO)[1]
    raise AssertionError("no case spills")


def test_loads_of_stored_rows_wait_for_the_store() -> None:
    """Without the tokens from STORE to LOAD the program is unsafe, and the verifier says so."""
    _, program = spilling()
    code = [
        replace(
            i,
            **({"signal": i.signal & ~(1 << Engine.LOAD)} if i.opcode == Opcode.STORE else {}),
            **(
                {"wait": i.wait & ~(1 << Engine.STORE)}
                if i.opcode in (Opcode.LOAD, Opcode.FILL)
                else {}
            ),
        )
        for i in program.listing
    ]
    assert isa.pack(code).tobytes() != program.instructions.tobytes()
    with pytest.raises(VerifyError, match=r"uses (WINDOW|ACTS) that may be"):
        verify_hazards(replace(program, instructions=isa.pack(code)))


def test_what_is_loaded_was_stored() -> None:
    _, program = spilling()
    code = [i for i in program.listing if i.opcode != Opcode.STORE]
    code = [replace(i, wait=0) if i.opcode != Opcode.HALT else i for i in code]
    code = [replace(i, signal=0) if i.opcode in isa.SIGNALLING else i for i in code]
    with pytest.raises(VerifyError, match="may be"):
        verify_hazards(replace(program, instructions=isa.pack(code)))


def test_stores_stay_in_their_window() -> None:
    _, program = spilling()
    low, high = program.write_window
    for window in ((low + 64, high), (low, high - 64)):
        with pytest.raises(VerifyError, match="outside the write window"):
            verify_hazards(replace(program, write_window=window))
    with pytest.raises(VerifyError, match="may write what must not change"):
        verify_hazards(replace(program, write_window=(0, high)))
