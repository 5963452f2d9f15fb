"""Registers and interrupt of the accelerator, in the simulator."""

from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import ClockCycles

from sigbit_hw.arch import launch, regs
from sigbit_hw.arch.regs import Access
from sigbit_hw.gateware.control.csr import registers
from sigbit_sim.random_programs.program import random_inputs
from sigbit_sim.verification.cocotb_run import config_of_run
from sigbit_sim.verification.cocotb_top import Bench
from sigbit_sim.verification.faults import copy_program

ONES = 0xFFFFFFFF
BOTH = regs.IRQ_DONE | regs.IRQ_ERROR
MASKS = {r.name: r.mask for r in regs.REGISTERS}
STALLS = [0.0, 0.4]


PRESENT = registers(config_of_run())


def of(*access: Access) -> list[str]:
    """Names of the registers with this access."""
    names = [r.name for r in PRESENT if r.access in access]
    assert names
    return names


async def started(dut: Any, stall: float) -> Bench:
    bench = Bench(dut, stall=stall)
    await bench.start()
    return bench


@cocotb.test(timeout_time=5, timeout_unit="ms")
@cocotb.parametrize(stall=STALLS)
async def read_only(dut: Any, stall: float) -> None:
    """Read-only registers have their values and keep them when written."""
    bench = await started(dut, stall)
    digest = bench.config.digest
    known = {
        "MAGIC": regs.MAGIC,
        "VERSION": regs.VERSION,
        "DIGEST_LO": int(digest[:8], 16),
        "DIGEST_HI": int(digest[8:16], 16),
        "STATUS": regs.STATUS_BUS_IDLE,
        **launch.capabilities(bench.config),
    }
    for name in of(Access.RO):
        await bench.write(name, ONES)
        assert await bench.read(name) == known.get(name, 0), name
        await bench.write(name, 0)
        assert await bench.read(name) == known.get(name, 0), name


@cocotb.test(timeout_time=5, timeout_unit="ms")
@cocotb.parametrize(stall=STALLS)
async def read_write(dut: Any, stall: float) -> None:
    """Registers that software owns start at their reset values and hold what is written of the bits
    they have, byte by byte."""
    bench = await started(dut, stall)
    names = of(*regs.OWNED)
    expected = {name: regs.RW_RESET.get(name, 0) for name in names}
    for name in names:
        assert await bench.read(name) == expected[name], name
    for name in bench.rng.permutation(names):
        value = int(bench.rng.integers(1 << 32))
        await bench.write(name, value)
        expected[name] = value & MASKS[name]
    for name in names:
        assert await bench.read(name) == expected[name], name
    for _ in range(40):
        name = str(bench.rng.choice(names))
        first = int(bench.rng.integers(4))
        data = bench.rng.bytes(int(bench.rng.integers(1, 5 - first)))
        held = bytearray(expected[name].to_bytes(4, "little"))
        held[first : first + len(data)] = data
        expected[name] = int.from_bytes(held, "little") & MASKS[name]
        await bench.write_bytes(name, first, data)
        assert await bench.read(name) == expected[name], name
    for name in names:
        assert await bench.read(name) == expected[name], name


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def soft_reset_keeps_registers(dut: Any) -> None:
    """A soft reset leaves the registers alone that software owns."""
    bench = await started(dut, 0.0)
    values = {name: int(bench.rng.integers(1 << 32)) & MASKS[name] for name in of(*regs.OWNED)}
    for name, value in values.items():
        await bench.write(name, value)
    await bench.soft_reset()
    for name, value in values.items():
        assert await bench.read(name) == value, name


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def unmapped(dut: Any) -> None:
    """Addresses without a register read 0 and can be written."""
    bench = await started(dut, 0.2)
    holes = sorted(set(range(0, 1 << regs.ADDRESS_BITS, 4)) - {r.offset for r in PRESENT})
    assert holes
    for offset in holes:
        await bench.write(offset, ONES)
        assert await bench.read(offset) == 0
    for name in of(*regs.OWNED):
        assert await bench.read(name) == regs.RW_RESET.get(name, 0), name


@cocotb.test(timeout_time=5, timeout_unit="ms")
@cocotb.parametrize(stall=STALLS)
async def pulse(dut: Any, stall: float) -> None:
    """CONTROL reads 0 and acts only through its own byte; a start is refused when busy, with a
    sign."""
    bench = await started(dut, stall)
    program = copy_program(bench.config)
    await bench.load(program, random_inputs(program, bench.rng))
    for first in (1, 2, 3):
        await bench.write_bytes("CONTROL", first, b"\xff")
        assert await bench.read("STATUS") == regs.STATUS_BUS_IDLE
    bench.memories[0].hang(("R",))
    await bench.begin()
    assert await bench.read("CONTROL") == 0
    assert await bench.read("STATUS") & regs.STATUS_BUSY
    assert await bench.read("IRQ_STATUS") == 0
    await bench.begin()
    assert await bench.interrupt() == regs.IRQ_REFUSED
    bench.memories[0].hang(())
    assert await bench.interrupt() == regs.IRQ_DONE
    assert await bench.read("STATUS") == regs.STATUS_DONE | regs.STATUS_BUS_IDLE
    assert await bench.read("RETIRED") == len(program.listing) - 1
    await bench.begin()
    assert await bench.interrupt() == regs.IRQ_DONE


@cocotb.test(timeout_time=5, timeout_unit="ms")
@cocotb.parametrize(stall=STALLS)
async def interrupt(dut: Any, stall: float) -> None:
    """The line is the OR of enabled bits; bits clear only where 1 is written, in a written byte."""
    bench = await started(dut, stall)
    program = copy_program(bench.config)
    await bench.load(program, random_inputs(program, bench.rng), irq=regs.IRQ_ERROR)
    await bench.begin()
    while not await bench.read("STATUS") & regs.STATUS_DONE:
        assert not dut.irq.value
    assert await bench.read("IRQ_STATUS") == regs.IRQ_DONE

    async def line() -> bool:
        await ClockCycles(dut.clk, 1)
        return bool(dut.irq.value)

    assert not await line()
    await bench.write("IRQ_ENABLE", BOTH)
    assert await line()
    for clear, data in (("IRQ_STATUS", bytes([0])), ("IRQ_STATUS", bytes([regs.IRQ_ERROR]))):
        await bench.write_bytes(clear, 0, data)
        assert await bench.read("IRQ_STATUS") == regs.IRQ_DONE
    await bench.write_bytes("IRQ_STATUS", 1, b"\xff\xff\xff")
    assert await bench.read("IRQ_STATUS") == regs.IRQ_DONE
    assert await line()
    await bench.write("IRQ_ENABLE", 0)
    assert not await line()
    assert await bench.read("IRQ_STATUS") == regs.IRQ_DONE
    await bench.write("IRQ_ENABLE", BOTH)
    assert await line()
    await bench.write("IRQ_STATUS", regs.IRQ_DONE)
    assert not await line()
    assert await bench.read("IRQ_STATUS") == 0
    assert np.any(np.frombuffer(bytes(bench.memories[0].data), np.uint8))
