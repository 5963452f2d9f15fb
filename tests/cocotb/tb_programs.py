"""Whole random programs on the accelerator, in the simulator, equal to the interpreter."""

from typing import Any

import cocotb

from sigbit_sim.random_programs.program import random_inputs, random_program
from sigbit_sim.verification.cocotb_top import Bench


@cocotb.test(timeout_time=20, timeout_unit="ms")
@cocotb.parametrize((("stall", "delay"), [(0.0, 0), (0.3, 0), (0.1, 60), (0.6, 10)]))
async def random_programs(dut: Any, stall: float, delay: int) -> None:
    """Every write-back and every output, with pauses and delays on all channels."""
    bench = Bench(dut, stall=stall, delay=delay)
    await bench.start()
    for _ in range(2):
        program = random_program(bench.config, bench.rng, execs=4)
        await bench.run_checked(program, random_inputs(program, bench.rng))
    bench.scoreboard.finish()
