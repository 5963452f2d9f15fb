"""The front end of LOAD alone: commands, requests, errors, and the cycles that its contract
states."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from hw.blocks import Event, always, simulate
from hw.loads import FILL, command_of
from sigbit_hw.arch.config import PRESETS
from sigbit_hw.arch.isa import Instr, Load, LoadKind
from sigbit_hw.arch.regs import Cause
from sigbit_hw.gateware.memory.load_front import LoadFront

CONFIG = replace(PRESETS["nano"], bus_bits=128, oc_lanes=8)
MEMORY = 1 << 16
LOAD = Load(
    kind=LoadKind.TABLE, address=0x1230, beats=77, dst=5, n0=9, n1=8, n2=7, d1=-6, d2=5, signal=2
)


@dataclass
class Passed:
    """What the front end passed on, each with its cycle."""

    taken: list[int] = field(default_factory=list)
    commands: list[tuple[int, dict[str, int]]] = field(default_factory=list)
    requests: list[Event] = field(default_factory=list)
    errors: list[Event] = field(default_factory=list)


def passed(
    program: list[Instr],
    *,
    cycles: int = 40,
    ready: Callable[[int], bool] = always,
    grant: Callable[[int], bool] = always,
    size: int = MEMORY,
) -> Passed:
    """Offer ``program``, instruction k with index 7 + k, to a front end."""
    dut, seen = LoadFront(CONFIG), Passed()

    async def bench(ctx: Any) -> None:
        ctx.set(dut.window.size, size)
        waiting = list(enumerate(program))
        for cycle in range(cycles):
            ctx.set(dut.i.valid, bool(waiting))
            if waiting:
                word = waiting[0][1].encode()
                ctx.set(dut.i.payload, {"word": word, "index": 7 + waiting[0][0]})
            ctx.set(dut.o.ready, ready(cycle))
            ctx.set(dut.request.ready, grant(cycle))
            if ctx.get(dut.o.valid) and ready(cycle):
                command = ctx.get(dut.o.payload)
                fields = ("kind", "fill", "code", "beats", "signal", "index")
                values = {name: getattr(command, name) for name in fields}
                block = ("start", "n0", "n1", "n2", "d1", "d2")
                values |= {name: getattr(command.block, name) for name in block}
                seen.commands.append((cycle, values))
            if ctx.get(dut.request.valid) and grant(cycle):
                request = ctx.get(dut.request.payload)
                seen.requests.append((cycle, request.offset, request.beats))
            if ctx.get(dut.error.valid):
                seen.errors.append((cycle, ctx.get(dut.error.cause), ctx.get(dut.error.index)))
            if waiting and ctx.get(dut.i.ready):
                seen.taken.append(cycle)
                waiting.pop(0)
            await ctx.tick()

    simulate(dut, bench)
    return seen


def test_front() -> None:
    """A LOAD is passed on three cycles after it was taken, with its request, a FILL in two; the
    next instruction is taken one cycle later."""
    program = [LOAD, FILL, replace(LOAD, kind=LoadKind.WEIGHTS, address=0), FILL]
    seen = passed(program)
    assert seen.taken == [0, 4, 7, 11]
    assert [cycle for cycle, _ in seen.commands] == [3, 6, 10, 13]
    assert seen.requests == [(3, 0x1230, 77), (10, 0, 77)]
    for k, (instr, (_, command)) in enumerate(zip(program, seen.commands, strict=True)):
        expected = command_of(instr, 7 + k)
        assert {name: command[name] for name in expected} == expected
    assert not seen.errors


def test_front_waits(rng: np.random.Generator) -> None:
    """Request and command leave together, when both can."""
    often = (rng.random((2, 400)) < 0.5).tolist()
    program = [LOAD, FILL, LOAD, LOAD] * 5
    seen = passed(
        program,
        cycles=400,
        ready=lambda cycle: often[0][cycle],
        grant=lambda cycle: often[1][cycle],
    )
    assert [command["index"] for _, command in seen.commands] == list(range(7, 27))
    together = [cycle for cycle, command in seen.commands if not command["fill"]]
    assert [cycle for cycle, *_ in seen.requests] == together
    assert (
        len({cycle - taken for (cycle, _), taken in zip(seen.commands, seen.taken, strict=True)})
        > 3
    )


def test_front_refuses() -> None:
    """Misaligned addresses are illegal, whether or not they are outside; nothing is passed on."""
    last = replace(LOAD, address=MEMORY - 77 * CONFIG.bus_bytes)
    assert not passed([last]).errors
    for instr, cause in (
        (replace(last, beats=78), Cause.WINDOW),
        (replace(last, address=last.address + 8), Cause.ILLEGAL),
        (replace(last, address=0xFFFF_FFF0), Cause.WINDOW),
    ):
        seen = passed([FILL, instr])
        assert [command["index"] for _, command in seen.commands] == [7]
        assert not seen.requests
        assert seen.errors[0] == (6, cause, 8)


def test_front_does_not_look_at_write_limits() -> None:
    """Those of the window are of STORE: as they are 0 here, LOADs would not pass."""
    assert passed([LOAD]).requests
