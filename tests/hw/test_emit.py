"""Emitted text: reproducible, free of machine details, identical modules once."""

import os
import re
import subprocess
import sys

import pytest

from sigbit_hw.arch.config import PRESETS
from sigbit_hw.gateware import ports
from sigbit_hw.gateware.emit import NAME, compact, deduplicate, verilog
from sigbit_hw.gateware.fabric.kinds import Fabric
from sigbit_synthesis.emitted import cached_rtlil, cached_verilog

NANO = PRESETS["nano"]

TEXT = """version 1
attribute \\generator "Amaranth"
attribute \\top 1
module \\top
  wire width 1 input 0  \\a
  cell \\top.x \\x
    connect \\port$3$1 \\a [0]
  end
  cell \\top.y \\y
    connect \\port$9$4 \\a [0]
  end
  cell \\top.z \\z
    connect \\port$9$4 \\a [0]
  end
end
attribute \\generator "Amaranth"
module \\top.x
  wire width 1 input 0  \\port$3$1
  connect \\q \\port$3$1 [0]
end
attribute \\generator "Amaranth"
module \\top.y
  wire width 1 input 0  \\port$9$4
  connect \\q \\port$9$4 [0]
end
attribute \\generator "Amaranth"
module \\top.z
  wire width 2 input 0  \\port$9$4
  connect \\q \\port$9$4 [0]
end
"""


def test_deduplicate() -> None:
    text = deduplicate(TEXT)
    assert re.findall(r"^module (\S+)", text, re.M) == ["\\top", "\\top_x", "\\top_z"]
    assert re.findall(r"cell (\S+) (\S+)", text) == [
        ("\\top_x", "\\x"),
        ("\\top_x", "\\y"),
        ("\\top_z", "\\z"),
    ]
    assert text.count("connect \\port_0 \\a [0]") == 3
    assert "$" not in text
    assert deduplicate(text.replace("\\top_", "\\top.")) == text


def test_rtlil_is_the_same_in_another_process() -> None:
    command = (
        "import hashlib; from sigbit_hw.arch.config import PRESETS;"
        "from sigbit_hw.gateware.emit import rtlil;"
        "print(hashlib.sha256(rtlil(PRESETS['nano']).encode()).hexdigest())"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    digests = {
        subprocess.run(
            [sys.executable, "-c", command],
            env={**environment, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(digests) == 1


def test_array_cells_share_their_modules() -> None:
    text = cached_rtlil(NANO, Fabric.GENERIC)
    kinds = {kind for kind, name in re.findall(r"^  cell (\S+) \\(dot_\d+_\d+)$", text, re.M)}
    assert len(kinds) == 1
    modules = re.findall(r"^module (\S+)", text, re.M)
    assert len(set(modules)) == len(modules)


@pytest.mark.synth
def test_verilog() -> None:
    text = cached_verilog(NANO)
    assert text == verilog(NANO)
    header = re.search(rf"^module {NAME}\((.*?)\);", text, re.S | re.M)
    assert header is not None
    names = {name.strip() for name in header[1].split(",")}
    assert names == {"clk", "rst", *ports.accelerator(NANO)}
    traced = cached_rtlil(NANO, Fabric.GENERIC, traced=True)
    assert all(f" \\{name}\n" in traced for name in ports.trace(NANO))
    assert NANO.digest in text
    for word in ("/work", "/home", "/tmp", "site-packages", ".py"):
        assert word not in text


def test_equal_initial_words_become_a_loop() -> None:
    words = "".join(f"    {{name}}[{i}] = 4'h{{value}};\n" for i in range(3))
    block = "  initial begin\n" + words + "  end\n"
    equal, escaped = block.format(name="mem", value=0), block.format(name="\\a.b ", value=7)
    loop = (
        "  initial begin : initial_{label}\n    integer i;\n"
        "    for (i = 0; i < 3; i = i + 1)\n      {name}[i] = 4'h{value};\n  end\n"
    )
    assert compact(equal) == loop.format(label="mem", name="mem", value=0)
    assert compact(escaped) == loop.format(label="a_b", name="\\a.b ", value=7)
    for kept in (
        equal.replace("mem[1] = 4'h0", "mem[1] = 4'h1"),
        equal.replace("mem[1] = 4'h0", "mem[3] = 4'h0"),
    ):
        assert compact(kept) == kept


@pytest.mark.parametrize("fabric", [Fabric.GENERIC, Fabric.XCUP, Fabric.ECP5], ids=str)
def test_words_beside_a_write(fabric: Fabric) -> None:
    """For a fabric clocked read ports may give anything in a collision; others have none."""
    cells = re.findall(r"cell \$memrd_v2 .*?\n  end", cached_rtlil(NANO, fabric), re.S)
    ports = [
        (re.search(r"COLLISION_X_MASK \d+'(\d+)", cell), "CLK_ENABLE 1" in cell) for cell in cells
    ]
    assert {clocked for _, clocked in ports} == {False, True}
    for mask, clocked in ports:
        assert mask is not None
        assert set(mask[1]) == {"1" if clocked and fabric is not Fabric.GENERIC else "0"}
