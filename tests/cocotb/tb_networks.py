"""Compiled networks on the accelerator, in the simulator, equal to the integer model.

The Programs lie in the working directory; their vectors are one image and the integer model's
tensors.
"""

from pathlib import Path
from typing import Any

import cocotb
import numpy as np

from sigbit_hw.arch.program import Program
from sigbit_sim.verification.cocotb_top import Bench


@cocotb.test(timeout_time=100, timeout_unit="ms")
@cocotb.parametrize(stall=[0.0, 0.3])
async def networks(dut: Any, stall: float) -> None:
    """Every layer and output of every network."""
    bench = Bench(dut, stall=stall, delay=10 if stall else 0)
    await bench.start()
    paths = sorted(Path().glob("*.sigbit"))
    assert paths
    for path in paths:
        program = Program.load(path)
        inputs = {port.name: program.vectors[f"input.{port.name}"] for port in program.inputs}
        layers = await bench.layers(program, inputs)
        assert len(layers) == len(program.vectors) - len(inputs)
        for name, value in layers.items():
            np.testing.assert_array_equal(value, program.vectors[f"layer.{name}"], name)
    bench.scoreboard.finish()
