"""Every bit of a block's ports is in use: no input is ignored, no output constant, but where a
standard or a common record wants it so; and what is connected is of one width."""

import importlib
import inspect
import pkgutil
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import Any

import pytest
from amaranth.hdl import Value
from amaranth.hdl._ir import Fragment, build_netlist
from amaranth.hdl._nir import AssignmentList, FlipFlop, Net, Netlist
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from sigbit_hw.arch.bus import ADDRESS_BITS, PAGE_BITS
from sigbit_hw.arch.config import PRESETS
from sigbit_hw.arch.isa import Engine
from sigbit_hw.gateware.bus.axi import AxiShell
from sigbit_hw.gateware.bus.due import ReadsDue, ResponsesDue
from sigbit_hw.gateware.bus.join import PortJoin
from sigbit_hw.gateware.compute.agu import NestWalker
from sigbit_hw.gateware.compute.array import Accumulator, MacArray
from sigbit_hw.gateware.compute.buffers import ActMemory, ParamMemory, TableMemory, WeightMemory
from sigbit_hw.gateware.compute.drain import Drain
from sigbit_hw.gateware.compute.drain_slots import OutputSlots, PixelSteps
from sigbit_hw.gateware.compute.drain_walker import DrainWalker
from sigbit_hw.gateware.compute.engine import ComputeEngine
from sigbit_hw.gateware.compute.mac import DotProduct
from sigbit_hw.gateware.compute.operands import OperandFetch
from sigbit_hw.gateware.compute.pool import RunningMax
from sigbit_hw.gateware.compute.requant import Requantizer, Steps
from sigbit_hw.gateware.control.counters import Counters, CycleLimit
from sigbit_hw.gateware.control.csr import Csr
from sigbit_hw.gateware.control.decode import Decode
from sigbit_hw.gateware.control.sequencer import EngineQueue, Sequencer, Tokens
from sigbit_hw.gateware.control.state import Control, Hold
from sigbit_hw.gateware.memory.dma import BurstSplitter, ReadDma, WindowCheck, WriteDma
from sigbit_hw.gateware.memory.fetch import Fetch
from sigbit_hw.gateware.memory.load import LoadEngine
from sigbit_hw.gateware.memory.load_back import LoadBack
from sigbit_hw.gateware.memory.load_front import LoadFront
from sigbit_hw.gateware.memory.store import BeatPacker, SlotReader, StoreEngine
from sigbit_hw.gateware.parts.product import Multiplier, Product, ProductForm
from sigbit_hw.gateware.parts.queue import Queue, Skid
from sigbit_hw.gateware.parts.walker import BlockWalker
from sigbit_hw.gateware.ports import ENGINE_NAMES
from sigbit_hw.gateware.top import Accelerator
from sigbit_sim.verification.compute_double import ComputeDouble

NANO = PRESETS["nano"]
TWO_PORTS = replace(NANO, bus_bits=128, oc_lanes=8, ports=2)
FORM = ProductForm(NANO.weight_format, NANO.act_format)

BLOCKS: dict[str, Callable[[], wiring.Component]] = {
    **{
        block.__name__: partial(block, NANO)
        for block in (
            *(AxiShell, ReadsDue),
            *(ActMemory, ComputeEngine, Drain, DrainWalker, MacArray, NestWalker, OperandFetch),
            *(OutputSlots, ParamMemory, PixelSteps, TableMemory, WeightMemory),
            *(Csr, Sequencer),
            *(BeatPacker, BurstSplitter, Fetch, LoadBack, LoadEngine, LoadFront, ReadDma),
            *(SlotReader, StoreEngine, WriteDma),
        )
    },
    **{
        block.__name__: block
        for block in (Control, Counters, CycleLimit, Decode, Hold, ResponsesDue, Tokens)
    },
    "Accumulator": partial(Accumulator, NANO.acc_bits, NANO.dot_bits, NANO.term_radix_bits),
    "BlockWalker": partial(BlockWalker, NANO.slots_per_move),
    "DotProduct": partial(DotProduct, NANO.weight_format, NANO.act_format, NANO.ic_lanes),
    "EngineQueue": partial(EngineQueue, NANO, Engine.LOAD),
    "Multiplier": partial(Multiplier, 3, 3),
    "PortJoin": partial(PortJoin, TWO_PORTS),
    "Product": partial(Product, FORM),
    "Queue": partial(Queue, 8, 4),
    "Requantizer": partial(Requantizer, NANO.params, NANO.result_bits),
    "RunningMax": partial(RunningMax, NANO.act_format, NANO.ic_lanes),
    "Skid": partial(Skid, 8),
    "Steps": partial(Steps, NANO.params, NANO.result_bits),
    "WindowCheck": partial(WindowCheck, NANO, writes=True),
}

READS = {"window__write_lo": 32, "window__write_hi": 32}
"""The limits of writes do not concern who reads."""
IDLE: dict[str, dict[str, int]] = {
    # Signals that AXI has and the accelerator leaves alone, and a reserved attribute.
    "AxiShell": {
        **{f"a{channel}id": 1 for channel in "rw"},
        **{f"a{channel}size": 3 for channel in "rw"},
        **{f"a{channel}burst": 2 for channel in "rw"},
        "bready": 1,
        "attributes": 1,
    },
    # Bytes of a word, protection and responses of AXI4-Lite; registers of fewer than 32 bits.
    "Csr": {
        **{f"a{channel}addr": 2 for channel in "rw"},
        **{f"a{channel}prot": 3 for channel in "rw"},
        **{f"{channel}resp": 2 for channel in "rb"},
        "status": 28,
        "cause": 28,
        "cause_index": 8,
        "overflow": 23,
        "registers": 114,
    },
    # Of COMPUTE it asks itself whether it has work. It counts every cycle, most events one by one.
    # Causes and indices have fewer than 32 bits.
    "Control": {
        "executing": 1,
        "status": 28,
        "irq_set": 29,
        "irq_clear": 29,
        "count_overflow": 23,
        "Counters.add_cycles": 3,
        "registers": 50,
    },
    # Bits of a word that the engine's instructions do not have, and tokens of an engine for itself.
    "EngineQueue": {"o__payload": 66},
    "Sequencer": {
        "i__payload": 21,
        "o_load__payload": 66,
        "o_compute__payload": 21,
        "o_store__payload": 68,
        "EngineQueue.tokens": 3,
        **{f"retire_{name}__signal": 1 for name in ENGINE_NAMES},
    },
    "Tokens": {
        **{f"retire_{name}__signal": 1 for name in ENGINE_NAMES},
        **{f"take_{name}": 1 for name in ENGINE_NAMES},
        **{f"tokens_{name}": 1 for name in ENGINE_NAMES},
        "error__cause": 4,
    },
    # The same, and drain times beyond those of nano; zeros that requantizers shift in.
    "ComputeEngine": {"i__payload": 36, "NestWalker.i.payload": 12, "registers": 28},
    "Drain": {"registers": 16},
    "Requantizer": {"registers": 4},
    # It takes of a channel's parameters the step alone.
    "Steps": {"param": 35},
    # A chunk is a burst at most.
    "Fetch": {**READS, "read__request__payload": 19},
    "LoadFront": READS,
    # A beat of nano has one unit or four.
    "LoadBack": {"registers": 1},
    "LoadEngine": {**READS, "registers": 1},
}
"""Ports with idle bits, and how many; those of parts with the name of their class."""


def ports_of(block: wiring.Component) -> dict[str, Value]:
    """All ports by name."""
    flat = block.signature.flatten(block)
    return {"__".join(map(str, path)): Value.cast(value) for path, _, value in flat}


def constant(
    netlist: Netlist, net: Net, held: Mapping[Net, Net] = MappingProxyType({})
) -> Net | None:
    """The 0 or 1 that a net always is, if its statements assign nothing else; ``held``: registers,
    and what they begin with."""
    if net.is_const or net in held:
        return held.get(net, net)
    cell = netlist.cells[net.cell]
    if not isinstance(cell, AssignmentList):
        return None
    values = {constant(netlist, cell.default[net.bit], held)}
    for one in cell.assignments:
        if one.start <= net.bit < one.start + len(one.value):
            value = constant(netlist, one.value[net.bit - one.start], held)
            values = {value} if one.cond == Net.from_const(1) else values | {value}
    return values.pop() if len(values) == 1 else None


def idle_bits(block: wiring.Component, parts: list[wiring.Component]) -> dict[str, int]:
    """Bits of ports that the block does not read, or that are constant, by port; of the blocks that
    it consists of, bits of inputs that are constant; bits of registers that never change."""
    ports = [(name, value, None) for name, value in ports_of(block).items()]
    netlist = build_netlist(Fragment.get(block, None), ports=ports)
    driven = netlist.top.ports_o
    used = {net for cell in netlist.cells[1:] for net in cell.input_nets()}
    used |= {net for nets in driven.values() for net in nets}
    idle: Counter[str] = Counter()

    def count(name: str, nets: Iterable[Net]) -> None:
        idle[name] += sum(constant(netlist, net) is not None for net in nets)

    for name, nets in driven.items():
        count(name, nets)
    for name, (first, width) in netlist.top.ports_i.items():
        idle[name] += sum(Net.from_cell(0, first + k) not in used for k in range(width))
    for number, cell in enumerate(netlist.cells):
        if isinstance(cell, FlipFlop):
            for k, net in enumerate(cell.data):
                begins = Net.from_const(cell.init >> k & 1)
                stays = constant(netlist, net, {Net.from_cell(number, k): begins})
                idle["registers"] += stays is not None
    for part in parts:
        for path, member, value in part.signature.flatten(part):
            if part is not block and member.flow is In:
                name = ".".join(map(str, (type(part).__name__, *path)))
                count(name, netlist.signals[Value.cast(value)])
    return {name: count for name, count in idle.items() if count and name not in ("clk", "rst")}


@pytest.mark.parametrize("name", BLOCKS)
def test_every_bit_is_in_use(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    parts: list[wiring.Component] = []
    made = wiring.Component.__init__

    def noted(part: wiring.Component, *arguments: Any, **options: Any) -> None:
        made(part, *arguments, **options)
        parts.append(part)

    monkeypatch.setattr(wiring.Component, "__init__", noted)
    block = BLOCKS[name]()
    empty = {name for name, value in ports_of(block).items() if not len(value)}
    assert empty <= {"write__part", "weight_write__part"}  # as a weight word is one beat
    assert idle_bits(block, parts) == IDLE.get(name, {})


def test_the_top_joins_equals() -> None:
    """What the accelerator connects has the same width on both sides, but for what registers hold
    beside the bits that a port needs."""
    top = Fragment.get(Accelerator(NANO, compute=ComputeDouble(NANO), traced=True), None)
    assignments = [one for domain in top.statements.values() for one in domain]
    assert len(assignments) > 100
    different = {
        (one.lhs.name, len(one.lhs), len(one.rhs))
        for one in assignments
        if len(one.lhs) != len(one.rhs)
    }
    words = 2 * 32
    assert different == {
        ("base", ADDRESS_BITS - PAGE_BITS, words - PAGE_BITS),
        ("attributes", 12, 32),
    }


def test_every_block_is_listed() -> None:
    found = set()
    for package in ("bus", "compute", "control", "memory", "parts"):
        folder = importlib.import_module(f"sigbit_hw.gateware.{package}")
        for module in pkgutil.iter_modules(folder.__path__, f"{folder.__name__}."):
            members = vars(importlib.import_module(module.name)).values()
            found |= {
                member.__name__
                for member in members
                if inspect.isclass(member)
                and issubclass(member, wiring.Component)
                and member.__module__ == module.name
            }
    assert found == set(BLOCKS)
