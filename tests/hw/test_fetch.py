"""Instruction fetch alone: words, requests, errors, and the cycles that its contract states."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest

from hw.blocks import EXOKAY, always, never, simulate
from sigbit_hw.arch import isa
from sigbit_hw.arch.bus import Response
from sigbit_hw.arch.config import PRESETS, ArchConfig
from sigbit_hw.arch.regs import Cause
from sigbit_hw.arch.timing import FETCH_AHEAD
from sigbit_hw.gateware.memory.fetch import Fetch

CONFIGS = {
    bits: replace(PRESETS["mid"], bus_bits=bits, burst_beats=4, act_slots=4096)
    for bits in (64, 256, 512)
}
"""Four beats to a word, one, and two words to a beat."""
OFFSET = 0x1000
MEMORY = 1 << 16


@dataclass
class Run:
    """What happened, each with its cycle; cycle 0 is the first one out of reset."""

    requests: list[tuple[int, int, int]] = field(default_factory=list)
    words: list[tuple[int, int, int, int]] = field(default_factory=list)
    error: tuple[int, Cause, int] | None = None
    quiet: list[int] = field(default_factory=list)
    index: int = 0


def program(count: int) -> list[int]:
    """Words that differ in every byte."""
    noise = np.random.default_rng(count)
    return [int.from_bytes(noise.bytes(isa.WORD_BYTES), "little") for _ in range(count)]


def fetched(
    config: ArchConfig,
    words: int,
    *,
    cycles: int = 100,
    ready: Callable[[int], bool] = always,
    grant: Callable[[int], bool] = always,
    arrives: Callable[[int], bool] = always,
    stop: Callable[[int], bool] = never,
    latency: int = 1,
    faults: Mapping[int, int] | None = None,
    **inputs: int,
) -> Run:
    """Fetch ``words`` words from :data:`OFFSET`; beat k has the response ``faults[k]``. ``inputs``
    overrides ``offset``, ``count`` and ``size``."""
    dut, run = Fetch(config), Run()
    memory = np.zeros(MEMORY, np.uint8)
    code = b"".join(word.to_bytes(isa.WORD_BYTES, "little") for word in program(words))
    memory[OFFSET : OFFSET + len(code)] = np.frombuffer(code, np.uint8)
    due: list[tuple[int, int, int]] = []  # cycle, data, response

    async def bench(ctx: Any) -> None:
        taken = 0
        ctx.set(dut.offset, inputs.get("offset", OFFSET))
        ctx.set(dut.count, inputs.get("count", words))
        ctx.set(dut.window.size, inputs.get("size", MEMORY))
        for cycle in range(cycles):
            ctx.set(dut.stop, stop(cycle))
            ctx.set(dut.o.ready, ready(cycle))
            ctx.set(dut.read.request.ready, grant(cycle))
            here = bool(due) and due[0][0] <= cycle and arrives(cycle)
            ctx.set(dut.read.beat.valid, here)
            if here:
                ctx.set(dut.read.beat.payload, {"data": due[0][1], "resp": due[0][2]})
                assert ctx.get(dut.read.beat.ready), "a beat without room"
                due.pop(0)
            if ctx.get(dut.read.request.valid) and grant(cycle):
                request = ctx.get(dut.read.request.payload)
                run.requests.append((cycle, request.offset, request.beats))
                for k in range(request.beats):
                    at = (request.offset + k * config.bus_bytes) % MEMORY
                    data = memory[at : at + config.bus_bytes].tobytes()
                    due.append(
                        (
                            cycle + latency + k,
                            int.from_bytes(data, "little"),
                            (faults or {}).get(taken, Response.OKAY),
                        )
                    )
                    taken += 1
            if ctx.get(dut.o.valid) and ready(cycle):
                word = ctx.get(dut.o.payload)
                run.words.append((cycle, word.word, word.index, word.last))
            if ctx.get(dut.error.valid) and run.error is None:
                run.error = (cycle, Cause(ctx.get(dut.error.cause)), ctx.get(dut.error.index))
            if ctx.get(dut.quiet):
                run.quiet.append(cycle)
            run.index = ctx.get(dut.index)
            await ctx.tick()

    simulate(dut, bench)
    return run


def test_words_and_cycles() -> None:
    """The first chunk is requested in the fifth cycle after the first, the next ones two cycles
    later each, then as the buffer has room. A beat that arrives in cycle t is taken in t + 2, a
    word offered one later. Quiet means that nothing is underway."""
    count = 11
    expected = {  # cycles of the requests and of the words
        64: ([5, 7, 9, 11, *range(13, 38, 4)], range(12, 53, 4)),
        256: ([5, 7, 9], range(9, 20)),
        512: ([5, 7], range(9, 20)),
    }
    for bits, (requested, offered) in expected.items():
        config = CONFIGS[bits]
        run = fetched(config, count)
        beats = -(-count * isa.WORD_BITS // bits)
        chunks = [(OFFSET + k * config.bus_bytes, min(4, beats - k)) for k in range(0, beats, 4)]
        assert run.requests == [(c, *chunk) for c, chunk in zip(requested, chunks, strict=True)]
        words = program(count)
        assert run.words[:count] == [
            (cycle, words[k], k, int(k == count - 1)) for k, cycle in enumerate(offered)
        ]
        assert run.error is None
        assert run.quiet == [*range(6), *range(offered[-1], 100)]
        assert run.index == len(run.words)


def test_one_word() -> None:
    """A program of one instruction ends with its first word."""
    for config in CONFIGS.values():
        assert [word[1:] for word in fetched(config, 1, cycles=20).words[:1]] == [
            (program(1)[0], 0, 1)
        ]


@pytest.mark.parametrize("bits", CONFIGS)
def test_stalls(bits: int, rng: np.random.Generator) -> None:
    """Whenever words leave, chunks are accepted and beats arrive: the words are the same."""
    count, words = 40, program(40)
    often = (rng.random((3, 900)) < 0.6).tolist()
    run = fetched(
        CONFIGS[bits],
        count,
        cycles=900,
        ready=lambda cycle: often[0][cycle],
        grant=lambda cycle: often[1][cycle],
        arrives=lambda cycle: often[2][cycle],
        latency=5,
    )
    assert [word[1:] for word in run.words] == [(words[k], k, k == count - 1) for k in range(count)]
    assert run.quiet[-1] == 899


def test_no_more_than_the_buffer_holds() -> None:
    """While no word leaves, it requests what the buffer holds, and a chunk for every four beats
    that are in the first word; then one for every four beats that leave the buffer."""
    held = {64: FETCH_AHEAD + 1, 256: FETCH_AHEAD, 512: FETCH_AHEAD}
    for bits, chunks in held.items():
        run = fetched(CONFIGS[bits], 60, ready=lambda cycle: cycle >= 50, cycles=51)
        assert [cycle for cycle, *_ in run.requests] == list(range(5, 5 + 2 * chunks, 2))
        assert [word[0] for word in run.words] == [50]
    # The word leaves in cycle 50, with it the first of the four beats.
    run = fetched(CONFIGS[256], 60, ready=lambda cycle: cycle >= 50, cycles=60)
    assert [cycle for cycle, *_ in run.requests[FETCH_AHEAD:]] == [54, 58]


@pytest.mark.parametrize("bits", CONFIGS)
def test_read_errors(bits: int) -> None:
    """An error is that of the first word in its beat, and is reported a cycle after the beat."""
    config = CONFIGS[bits]
    for beat in (0, 5):
        index = beat * bits // isa.WORD_BITS
        taken = 8 + beat * max(bits // isa.WORD_BITS, 1)
        for response, cause in (
            (Response.SLVERR, Cause.READ_SLVERR),
            (Response.DECERR, Cause.READ_DECERR),
        ):
            run = fetched(config, 12, cycles=25, faults={beat: response})
            assert run.error == (taken + 1, cause, index)
            assert [word[1] for word in run.words[:index]] == program(12)[:index]
    assert fetched(config, 12, cycles=25, faults={5: EXOKAY}).error is None


@pytest.mark.parametrize("bits", CONFIGS)
def test_refused(bits: int) -> None:
    """Programs that cannot be counted, or begin or end in the wrong place, are not requested."""
    config = CONFIGS[bits]
    end = OFFSET + -(-3 * isa.WORD_BITS // bits) * config.bus_bytes
    most = (1 << isa.INDEX_BITS) - 1
    window = (1 << 32) - 1
    for inputs, cause in (
        ({"count": 0}, Cause.ILLEGAL),
        ({"count": most + 1, "size": window}, Cause.ILLEGAL),
        ({"count": most, "size": window}, None),
        ({"count": most, "size": OFFSET + most * isa.WORD_BYTES - 1}, Cause.WINDOW),
        ({"offset": OFFSET + 32}, Cause.ILLEGAL),
        ({"offset": OFFSET + 64}, None),
        ({"size": end}, None),
        ({"size": end - 1}, Cause.WINDOW),
    ):
        run = fetched(config, 3, cycles=6, **inputs)
        if cause is None:
            assert run.error is None
            assert run.requests[0][:2] == (5, inputs.get("offset", OFFSET))
        else:
            assert run.error == (3, cause, 0)
            assert not run.requests


def test_stop() -> None:
    """After ``stop`` nothing is requested, and what arrives is dropped, whether or not the word
    before has left."""
    for bits, config in CONFIGS.items():
        for leaves in (always, never):
            run = fetched(config, 60, ready=leaves, stop=lambda cycle: cycle >= 10, latency=8)
            assert [cycle for cycle, *_ in run.requests] == [5, 7, 9]
            assert not run.words
            # Twelve beats arrive in 13 to 24, and each takes two cycles.
            assert run.quiet == [*range(6), *range(27, 100)], bits
