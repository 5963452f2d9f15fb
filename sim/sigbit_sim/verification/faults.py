"""All errors that the accelerator must report, each as a small program and the bus behaviour that
causes it.

The programs move an input from memory to the activation memory and from there to an output; each
case breaks one rule and names the cause and the instruction that must be reported.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sigbit_hw.arch import images, isa
from sigbit_hw.arch.bus import Response
from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.arch.isa import Engine, Exec, Fill, Halt, Instr, Load, LoadKind, Seg, Store
from sigbit_hw.arch.program import Port, Program
from sigbit_hw.arch.regs import Cause

PIXELS = 24
"""Pixels of the copied tensor: enough for several bursts of beats on a narrow bus."""
PROGRAM, INPUT, OUTPUT, END = 0x0000, 0x1000, 0x2000, 0x3000
"""Offsets into the DMA window: code, input, output (the write window), end."""


@dataclass(frozen=True)
class BusFault:
    """Bytes ``[first, last]`` of the window whose reads, or writes, are answered with
    ``response``."""

    write: bool
    first: int
    last: int
    response: Response

    def on_port(self, config: ArchConfig) -> "BusFault":
        """The same fault as seen by one port: in its part of the window."""
        return replace(self, first=self.first // config.ports, last=self.last // config.ports)


@dataclass(frozen=True)
class FaultCase:
    """A program and bus behaviour that make the accelerator stop with ``cause`` at instruction
    ``index``.

    ``hang`` names AXI channels (``"R"``, ``"B"`` …) on which the memory stops.
    """

    name: str
    program: Program
    cause: Cause
    index: int
    faults: tuple[BusFault, ...] = ()
    hang: tuple[str, ...] = ()


def copy_code(config: ArchConfig) -> tuple[Fill, Load, Store, Halt]:
    """FILL, LOAD of the input, STORE of the result, HALT."""
    beats = images.beats(PIXELS * config.slot_bytes, config)
    return (
        Fill(dst=64, n0=4, code=1),
        Load(
            signal=1 << Engine.STORE,
            kind=LoadKind.ACTS,
            address=INPUT,
            beats=beats,
            dst=0,
            n0=PIXELS,
        ),
        Store(wait=1 << Engine.LOAD, address=OUTPUT, beats=beats, src=0, n0=PIXELS),
        Halt(),
    )


def copy_program(
    config: ArchConfig, code: Sequence[Instr] | None = None, words: NDArray[np.uint8] | None = None
) -> Program:
    """A program that copies its input to its output, or runs the given ``code`` or raw
    ``words``."""
    if words is None:
        words = isa.pack(code if code is not None else copy_code(config))
    grid = config.act_grid(1)
    shape = (config.ic_lanes, 1, PIXELS)
    ports = [
        Port(
            name,
            shape,
            offset,
            planes=1,
            phases=1,
            scale=1.0,
            zero=0,
            low=-grid.contiguous,
            high=grid.contiguous,
        )
        for name, offset in (("input", INPUT), ("output", OUTPUT))
    ]
    return Program(
        name="copy",
        config=config,
        instructions=words,
        image=np.zeros(0, np.uint8),
        image_offset=INPUT,
        program_offset=PROGRAM,
        memory_bytes=END,
        write_window=(OUTPUT, END),
        inputs=(ports[0],),
        outputs=(ports[1],),
        layers=(),
        execs=(),
    )


def fault_cases(config: ArchConfig) -> list[FaultCase]:
    """At least one case for every ``Cause`` that a program, or an answer of the bus, can
    provoke."""
    return [*_program_cases(config), *_bus_cases(config)]


def _program_cases(config: ArchConfig) -> list[FaultCase]:
    good = copy_code(config)
    fill, load, store, halt = good

    def case(name: str, cause: Cause, index: int, code: Sequence[Instr]) -> FaultCase:
        return FaultCase(name, copy_program(config, code), cause, index)

    def raw(name: str, index: int, byte: int, value: int) -> FaultCase:
        words = isa.pack(good).copy()
        words[index * isa.WORD_BYTES + byte] = value
        return FaultCase(name, copy_program(config, words=words), Cause.ILLEGAL, index)

    blank = isa.pack(good).copy()
    blank[2 * isa.WORD_BYTES : 3 * isa.WORD_BYTES] = 0
    below = replace(store, address=OUTPUT - config.bus_bytes)
    above = replace(store, address=END - (store.beats - 1) * config.bus_bytes)
    past = replace(load, address=END - (load.beats - 1) * config.bus_bytes)
    odd = OUTPUT + config.bus_bytes // 2
    take = 1 << Engine.STORE
    step = Exec(n_seg=1, n_ocb=1, n_rows=1, run=1, wrap=max(isa.WRAP_MIN, config.pixels))
    alone = replace(store, wait=0)
    segment = Seg(index=0, n_ic=1, n_kx=1, n_ky=1)

    def overflow(name: str, giver: Fill | Load | Exec | Store, *before: Instr) -> FaultCase:
        """``giver`` gives tokens to both other engines until they are too many."""
        others = sum(1 << e for e in Engine if e != isa.ENGINE_OF[giver.opcode])
        code = [*before, *[replace(giver, signal=others)] * (isa.TOKEN_MAX + 1), halt]
        return case(name, Cause.TOKEN_OVERFLOW, len(before) + isa.TOKEN_MAX, code)

    return [
        FaultCase("blank_instruction", copy_program(config, words=blank), Cause.ILLEGAL, 2),
        raw("unknown_opcode", 1, 0, 0x0F),
        raw("spare_bits", 3, isa.WORD_BYTES - 1, 0x80),
        case("no_halt", Cause.ILLEGAL, 2, good[:3]),
        case("read_past_window", Cause.WINDOW, 1, [fill, past, store, halt]),
        case("read_far_away", Cause.WINDOW, 1, [fill, replace(load, address=0xFFFFFF00), halt]),
        case("write_below_window", Cause.WINDOW, 2, [fill, load, below, halt]),
        case("write_past_window", Cause.WINDOW, 2, [fill, load, above, halt]),
        case("misaligned_read", Cause.ILLEGAL, 1, [fill, replace(load, address=INPUT + 1), halt]),
        case("misaligned_write", Cause.ILLEGAL, 2, [fill, load, replace(store, address=odd), halt]),
        *(
            case(f"slots_{name}_beats", Cause.ILLEGAL, 2, [fill, load, replace(store, n0=n0), halt])
            for name, n0 in (("before", PIXELS // 2), ("after", 2 * PIXELS))
        ),
        case("token_underflow", Cause.TOKEN_UNDERFLOW, 1, [fill, replace(load, wait=take), halt]),
        overflow("token_overflow_fill", fill),
        overflow("token_overflow_load", load),
        overflow("token_overflow_exec", step, segment),
        overflow("token_overflow_store", alone),
    ]


def _bus_cases(config: ArchConfig) -> list[FaultCase]:
    program = copy_program(config)
    _, load, _, _ = copy_code(config)
    beats = load.beats
    middle = (beats // 2) * config.bus_bytes
    cases = []
    for label, response, reads, writes in (
        ("slverr", Response.SLVERR, Cause.READ_SLVERR, Cause.WRITE_SLVERR),
        ("decerr", Response.DECERR, Cause.READ_DECERR, Cause.WRITE_DECERR),
    ):
        for name, write, first, cause, index in (
            ("read", False, INPUT + middle, reads, 1),
            ("write", True, OUTPUT + middle, writes, 2),
            ("fetch", False, PROGRAM + isa.WORD_BYTES, reads, 1),
        ):
            fault = BusFault(write, first, first, response)
            cases.append(FaultCase(f"{label}_{name}", program, cause, index, faults=(fault,)))
    for channel, index in (("AR", 0), ("R", 0), ("AW", 2), ("W", 2), ("B", 2)):
        cases.append(
            FaultCase(f"hang_{channel.lower()}", program, Cause.WATCHDOG, index, hang=(channel,))
        )
    return cases
