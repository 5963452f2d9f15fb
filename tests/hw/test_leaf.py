"""Leaves are emitted once, and their instances are connected in full."""

import re

import pytest

from sigbit_hw.arch.config import PRESETS
from sigbit_hw.emit import rtlil
from sigbit_hw.fabric import Fabric

NANO = PRESETS["nano"]
COUNTS = {
    "dot_product": NANO.pixels * NANO.oc_lanes, "accumulator": NANO.pixels * NANO.oc_lanes,
    "requantizer": NANO.post_lanes, "running_max": NANO.pixels,
}


@pytest.mark.parametrize("fabric", [Fabric.GENERIC, Fabric.XCUP], ids=str)
def test_leaves_are_emitted_once_and_connected(fabric: Fabric) -> None:
    text = rtlil(NANO, fabric)
    for name, count in COUNTS.items():
        module = re.search(rf"^module \\{name}\n(.*?)^end\n", text, re.M | re.S)
        assert module is not None
        ports = set(re.findall(r"^  wire width \d+ \w+put \d+ +(?:signed )?(\S+)$",
                               module[1], re.M))
        assert "\\clk" in ports
        cells = re.findall(rf"^  cell \\{name} \S+\n(.*?)^  end\n", text, re.M | re.S)
        assert len(cells) == count
        for cell in cells:
            assert set(re.findall(r"^    connect (\S+) ", cell, re.M)) == ports
