"""Leaves are emitted once, and their instances are connected in full."""

import re

import pytest
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from sigbit_hw.arch.config import PRESETS
from sigbit_hw.gateware.emit import convert
from sigbit_hw.gateware.fabric.kinds import Fabric
from sigbit_synthesis.emitted import cached_rtlil

NANO = PRESETS["nano"]
COUNTS = {
    "dot_product": NANO.pixels * NANO.oc_lanes,
    "accumulator": NANO.pixels * NANO.oc_lanes,
    "requantizer": NANO.post_lanes,
    "steps": NANO.param_lanes,
    "running_max": NANO.pixels,
}
MEMORIES = NANO.pixels + NANO.weight_word_bits // NANO.bus_bits + 2 * NANO.post_lanes
"""At least: banks, parts of weight words, parameters and tables."""


@pytest.mark.parametrize("fabric", [Fabric.GENERIC, Fabric.XCUP], ids=str)
def test_leaves_are_emitted_once_and_connected(fabric: Fabric) -> None:
    text = cached_rtlil(NANO, fabric)
    for name, count in COUNTS.items():
        module = re.search(rf"^module \\{name}\n(.*?)^end\n", text, re.M | re.S)
        assert module is not None
        ports = set(
            re.findall(r"^  wire width \d+ \w+put \d+ +(?:signed )?(\S+)$", module[1], re.M)
        )
        assert "\\clk" in ports
        cells = re.findall(rf"^  cell \\{name} \S+\n(.*?)^  end\n", text, re.M | re.S)
        assert len(cells) == count
        for cell in cells:
            assert set(re.findall(r"^    connect (\S+) ", cell, re.M)) == ports


def test_equal_memories_are_emitted_once() -> None:
    text = cached_rtlil(NANO, Fabric.XCUP)
    modules = re.findall(r"^module \\(storage(?:_\d+)?)\n(.*?)^end\n", text, re.M | re.S)
    shapes = [
        re.search(r"^  memory width (\d+) size (\d+) ", body, re.M).groups() for _, body in modules
    ]
    assert len(re.findall(r"^  memory ", text, re.M)) == len(shapes)
    cells = sum(len(re.findall(rf"^  cell \\{name} ", text, re.M)) for name, _ in modules)
    assert cells >= MEMORIES > 4
    assert (str(NANO.slot_bits), str(NANO.act_slots // NANO.pixels)) in shapes


def test_reads_and_writes_at_one_address_are_one_port() -> None:
    text = cached_rtlil(NANO, Fabric.XCUP)
    size = f"memory width {NANO.slot_bits} size {NANO.act_slots // NANO.pixels} "
    banks = [
        body
        for body in re.findall(r"^module \\storage\S*\n(.*?)^end\n", text, re.M | re.S)
        if size in body
    ]
    assert banks
    for bank in banks:
        assert "\\read_1_addr" in bank
        assert "\\write_0_addr" not in bank


class Started(wiring.Component):
    """A memory that does not start with zeros."""

    def __init__(self) -> None:
        super().__init__({"addr": In(2), "data": Out(8)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.words = words = Memory(shape=8, depth=4, init=[1])
        reader = words.read_port()
        m.d.comb += [reader.addr.eq(self.addr), self.data.eq(reader.data)]
        return m


def test_memories_with_first_words_are_refused() -> None:
    with pytest.raises(NotImplementedError, match="words of 0"):
        convert(Started(), "top", Fabric.XCUP)
