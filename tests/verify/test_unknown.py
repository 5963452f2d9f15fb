"""Unknown initial values change nothing; what depends on them is found."""

from collections import Counter

import numpy as np
import pytest

from sigbit.runtime import DeviceError
from sigbit_hw.arch.config import PRESETS
from sigbit_sim.random_programs.program import random_inputs, random_program
from sigbit_sim.rtl.device import RtlDevice
from sigbit_sim.rtl.native.build import Purpose, without_initial_values
from sigbit_sim.rtl.native.model import ModelError
from sigbit_synthesis.emitted import cached_verilog
from verify.configs import CONFIGS, NANO
from verify.no_reset import NO_RESET, names_without_reset, unexplained
from verify.unknown import start


@pytest.mark.sim
def test_random_starts(rng: np.random.Generator) -> None:
    for _ in range(8):
        start(NANO, rng)


@pytest.mark.sim
def test_registers_that_are_not_reset_are_noticed(rng: np.random.Generator) -> None:
    """Counters of write responses due, without their reset: a port that is never idle."""
    text = cached_verilog(NANO, traced=True)
    begin = text.index("_responses_due(")
    end = text.index("endmodule", begin)
    block = text[begin:end].replace("if (rst) begin", "if (1'h0) begin")
    assert block != text[begin:end]
    spoilt = text[:begin] + block + text[end:]
    program = random_program(NANO, rng, execs=1)
    device = RtlDevice(
        NANO, verilog=spoilt, quick=True, purpose=Purpose.UNKNOWN, seed=5, max_cycles=50_000
    )
    with pytest.raises((DeviceError, ModelError)):
        device.run(program, random_inputs(program, rng))


@pytest.mark.parametrize("name", CONFIGS)
def test_registers_without_reset_are_explained(name: str) -> None:
    assert unexplained(names_without_reset(CONFIGS[name])) == []


def test_every_explanation_is_needed() -> None:
    found = Counter[tuple[str, str]]()
    for config in (NANO, PRESETS["mobile"], CONFIGS["four ports"]):
        found += names_without_reset(config)
    for source, (names, reason) in NO_RESET.items():
        there = {name for place, name in found if place == source}
        assert names == "*" or there == set(names.split()), source
        assert len(reason.split()) > 4, source


def test_initial_values_are_removed() -> None:
    text = (
        "  reg \\$auto$x  = 0;\n  reg a = 1'h0;\n  reg signed [3:0] \\b.c  = 4'h8;\n"
        "  initial begin : initial_words\n    integer i;\n"
        "    for (i = 0; i < 63; i = i + 1)\n      words[i] = 66'h000;\n  end\n  wire d = a;\n"
    )
    assert without_initial_values(text) == (
        "  reg \\$auto$x  = 0;\n  reg a;\n  reg signed [3:0] \\b.c ;\n  wire d = a;\n"
    )
