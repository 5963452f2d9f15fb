"""Every error of the accelerator, in the simulator: cause, index, clean stop, recovery."""

from typing import Any

import cocotb

from sigbit_hw.arch import regs
from sigbit_hw.arch.config import PRESETS
from sigbit_hw.arch.regs import Cause
from sigbit_sim.random_programs.program import random_inputs, random_program
from sigbit_sim.verification.cocotb_top import Bench
from sigbit_sim.verification.faults import FaultCase, copy_program, fault_cases

NAMES = [case.name for case in fault_cases(PRESETS["nano"])]


async def provoke(bench: Bench, case: FaultCase) -> None:
    """Run `case`, with its faults on some port, until it reports its error, recover, and run a good
    program."""
    memory = bench.memories[bench.rng.integers(bench.config.ports)]
    memory.faults = tuple(fault.on_port(bench.config) for fault in case.faults)
    memory.hang(case.hang)
    await bench.load(case.program, random_inputs(case.program, bench.rng), watchdog=400)
    await bench.begin()
    assert await bench.interrupt() == regs.IRQ_ERROR
    assert Cause(await bench.read("CAUSE")) is case.cause
    assert await bench.read("CAUSE_INDEX") == case.index
    status = await bench.read("STATUS")
    assert status & regs.STATUS_ERROR
    assert not status & (regs.STATUS_BUSY | regs.STATUS_DONE)

    cycles = await bench.read("CYCLES")
    await bench.begin()  # ignored: there is an error
    assert await bench.read("CYCLES") == cycles
    assert Cause(await bench.read("CAUSE")) is case.cause

    memory.faults = ()
    if case.hang:
        await bench.write("CONTROL", regs.CONTROL_SOFT_RESET)
        assert not await bench.read("STATUS") & regs.STATUS_BUS_IDLE
        memory.hang(())
    await bench.soft_reset()
    assert await bench.read("STATUS") == regs.STATUS_BUS_IDLE
    assert await bench.read("CAUSE") == Cause.NONE
    assert await bench.read("CAUSE_INDEX") == 0
    good = copy_program(bench.config)
    await bench.run_checked(good, random_inputs(good, bench.rng))


@cocotb.test(timeout_time=20, timeout_unit="ms")
@cocotb.parametrize(name=NAMES)
async def error(dut: Any, name: str) -> None:
    """The error of that name, on a bus without pauses."""
    bench = Bench(dut)
    await bench.start()
    case = next(case for case in fault_cases(bench.config) if case.name == name)
    await provoke(bench, case)
    bench.scoreboard.finish()


@cocotb.test(timeout_time=50, timeout_unit="ms")
@cocotb.parametrize(stall=[0.3, 0.6])
async def errors_in_turn(dut: Any, stall: float) -> None:
    """All errors one after another in random order, no reset but the soft one between them."""
    bench = Bench(dut, stall=stall, delay=20)
    await bench.start()
    cases = fault_cases(bench.config)
    assert len({case.cause for case in cases}) > 8
    for k in bench.rng.permutation(len(cases)):
        bench.dut._log.info("case %s", cases[k].name)
        await provoke(bench, cases[k])
    program = random_program(bench.config, bench.rng)
    await bench.run_checked(program, random_inputs(program, bench.rng))
    bench.scoreboard.finish()
