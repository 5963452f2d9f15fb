"""What a driver reads and writes to run a Program: the register file's use, for all drivers."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from sigbit_hw.arch import bus, regs
from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.arch.isa import WORD_BYTES
from sigbit_hw.arch.program import Program

START: Mapping[str, int] = MappingProxyType({"CONTROL": regs.CONTROL_START})
"""The write that starts a run, after those of :func:`set_up`, all of them while the accelerator is
idle."""

INTERRUPTS = regs.IRQ_BITS
"""What a driver waits for: done, error, or that it was refused, which leaves no other sign."""


def identity(config: ArchConfig) -> dict[str, int]:
    """Values of the registers that tell which accelerator answers."""
    return {
        "MAGIC": regs.MAGIC,
        "VERSION": regs.VERSION,
        "DIGEST_LO": int(config.digest[:8], 16),
        "DIGEST_HI": int(config.digest[8:16], 16),
    }


def set_up(
    bases: Sequence[int],
    *,
    memory_bytes: int,
    write_window: tuple[int, int],
    program_offset: int,
    instructions: int,
    watchdog: int = regs.RW_RESET["WATCHDOG"],
    interrupts: int = INTERRUPTS,
) -> dict[str, int]:
    """Values by register, in the order of writing, for a program of so many ``instructions``;
    ``bases`` are the bus addresses of the ports' parts of the DMA window."""
    values: dict[str, int] = {}
    for port, base in enumerate(bases):
        if base % bus.PAGE_BYTES or base >> bus.ADDRESS_BITS:
            raise ValueError(
                f"the base of port {port} must be a multiple of {bus.PAGE_BYTES} below "
                f"2**{bus.ADDRESS_BITS}, not {base:#x}"
            )
        if base + -(-memory_bytes // len(bases)) > 1 << bus.ADDRESS_BITS:
            raise ValueError(
                f"{memory_bytes} bytes on {len(bases)} ports do not fit between {base:#x} and "
                f"2**{bus.ADDRESS_BITS}: give port {port} a lower base"
            )
        low, high = regs.base_names(port)
        values |= {low: base & regs.WORD_MAX, high: base >> regs.WORD_BITS}
    first, end = write_window
    return values | {
        "MEM_SIZE": memory_bytes,
        "WRITE_LO": first,
        "WRITE_HI": end,
        "PROGRAM_OFFSET": program_offset,
        "PROGRAM_COUNT": instructions,
        "WATCHDOG": watchdog,
        "IRQ_ENABLE": interrupts,
    }


def set_up_program(
    program: Program,
    bases: Sequence[int],
    *,
    watchdog: int = regs.RW_RESET["WATCHDOG"],
    interrupts: int = INTERRUPTS,
) -> dict[str, int]:
    """:func:`set_up` for ``program``, a base for each port of its accelerator."""
    if len(bases) != program.config.ports:
        raise ValueError(
            f"{program.config.name} has {program.config.ports} ports: give as many bases, not "
            f"{len(bases)}"
        )
    return set_up(
        bases,
        memory_bytes=program.memory_bytes,
        write_window=program.write_window,
        program_offset=program.program_offset,
        instructions=program.instructions.size // WORD_BYTES,
        watchdog=watchdog,
        interrupts=interrupts,
    )
