"""Register accesses of a driver that runs a Program, shared by all drivers."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from sigbit_hw.arch import bus, regs
from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.arch.formats import EsbFormat, Format
from sigbit_hw.arch.isa import WORD_BYTES
from sigbit_hw.arch.program import Program

START: Mapping[str, int] = MappingProxyType({"CONTROL": regs.CONTROL_START})
"""The write that starts a run, after those of :func:`set_up`; all of them are made while the
accelerator is idle."""

INTERRUPTS = regs.IRQ_BITS
"""Interrupts that a driver waits for: done, error, and refused write, which leaves no other
trace."""


def identity(config: ArchConfig) -> dict[str, int]:
    """Values of the registers that identify the accelerator."""
    return {
        "MAGIC": regs.MAGIC,
        "VERSION": regs.VERSION,
        "DIGEST_LO": int(config.digest[:8], 16),
        "DIGEST_HI": int(config.digest[8:16], 16),
    }


def blank(config: ArchConfig) -> dict[str, int]:
    """Values of all software-owned registers after a reset, which a driver restores after scrubbing
    the accelerator."""
    absent = {
        name for port in range(config.ports, regs.PORTS_MAX) for name in regs.base_names(port)
    }
    return {
        r.name: regs.RW_RESET.get(r.name, 0)
        for r in regs.REGISTERS
        if r.access in regs.OWNED and r.name not in absent
    }


def capabilities(config: ArchConfig) -> dict[str, int]:
    """Values of the registers that describe the accelerator's parameters."""
    values = {
        f"{name.upper()}_FORMAT": _format_word(form)
        for name, form in (("weight", config.weight_format), ("act", config.act_format))
    }
    return values | {name.upper(): getattr(config, name) for name in regs.CAPABILITIES}


def _format_word(form: Format) -> int:
    frac = form.frac if isinstance(form, EsbFormat) else None
    values = {
        "bits": form.bits,
        "frac": frac or 0,
        "signed": form.signed,
        "levels": frac is None,
    }
    return sum(int(values[name]) << part.start for name, part in regs.FORMAT_FIELDS.items())


def _format_of(word: int) -> Format:
    value = {
        name: word >> part.start & (1 << part.stop - part.start) - 1
        for name, part in regs.FORMAT_FIELDS.items()
    }
    if value["levels"]:
        raise ValueError("the accelerator's formats are tables of levels, which no register holds")
    return EsbFormat(value["bits"], value["frac"], signed=bool(value["signed"]))


def discover(read: Callable[[str], int]) -> ArchConfig:
    """ArchConfig, named after its digest, of the accelerator whose registers ``read`` returns.
    Raises ``ValueError`` if the registers do not describe it fully, or are not those of an
    accelerator."""
    for name, wanted in (("MAGIC", regs.MAGIC), ("VERSION", regs.VERSION)):
        if (found := read(name)) != wanted:
            raise ValueError(f"no accelerator that this release knows: {name} is {found:#x}")
    digest = f"{read('DIGEST_LO'):08x}{read('DIGEST_HI'):08x}"
    values: dict[str, Any] = {name: read(name.upper()) for name in regs.CAPABILITIES}
    config = ArchConfig(
        name=digest,
        weight_format=_format_of(read("WEIGHT_FORMAT")),
        act_format=_format_of(read("ACT_FORMAT")),
        **values,
    )
    if not config.digest.startswith(digest):
        raise ValueError(
            f"the accelerator's digest is {digest}…, that of its parameters {config.digest[:16]}…"
        )
    return config


def counters(read: Callable[[str], int]) -> dict[str, int]:
    """Counters of a completed run by name, without those that have overflowed; ``read`` returns the
    value of a register."""
    over = read("OVERFLOW")
    found = {name: read(name) for i, (name, _) in enumerate(regs.COUNTERS) if not over >> i & 1}
    return found | {"CYCLES": found["CYCLES"] | read("CYCLES_HI") << regs.WORD_BITS}


def set_up(
    bases: Sequence[int],
    *,
    memory_bytes: int,
    write_window: tuple[int, int],
    program_offset: int,
    instructions: int,
    watchdog: int = regs.RW_RESET["WATCHDOG"],
    cycle_limit: int = 0,
    attributes: bus.Attributes = bus.NOT_COHERENT,
    interrupts: int = INTERRUPTS,
) -> dict[str, int]:
    """Values by register, in the order of writing, for a program of ``instructions`` instructions.

    Earlier interrupts are acknowledged first. If one of these writes is then refused because the
    accelerator is not idle, its interrupt shows it.

    Parameters
    ----------
    bases : Sequence[int]
        Bus addresses of the ports' parts of the DMA window.
    watchdog : int
        Cycles without any movement after which a run fails; it must exceed every wait of a correct
        bus.
    cycle_limit : int
        Cycles after which a run fails regardless of progress, 0 for no limit; required for drivers
        that run Programs from untrusted sources. Only hardware implements it: the interpreter does
        not count cycles, and the cycle model has a limit of its own.
    """
    values = {"IRQ_STATUS": regs.IRQ_BITS}
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
        "CYCLE_LIMIT_LO": cycle_limit & regs.WORD_MAX,
        "CYCLE_LIMIT_HI": cycle_limit >> regs.WORD_BITS,
        "BUS_ATTRIBUTES": attributes.word,
        "IRQ_ENABLE": interrupts,
    }


def set_up_program(
    program: Program,
    bases: Sequence[int],
    *,
    watchdog: int = regs.RW_RESET["WATCHDOG"],
    cycle_limit: int = 0,
    attributes: bus.Attributes = bus.NOT_COHERENT,
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
        cycle_limit=cycle_limit,
        attributes=attributes,
        interrupts=interrupts,
    )
