"""Weight memory alone: a write changes its own part of a word and nothing else."""

from typing import Any

import numpy as np
from amaranth.sim import Simulator

from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.arch.formats import EsbFormat
from sigbit_hw.buffers import WeightMemory

CONFIG = ArchConfig(
    name="parts", weight_format=EsbFormat(4, 1), act_format=EsbFormat(4, 2), pixels=2, oc_lanes=8,
    ic_lanes=8, post_lanes=8, acc_bits=20, term_radix_bits=3, act_slots=64, weight_words=8,
    param_groups=4, tables=2, bus_bits=64)


def test_parts_of_weights(rng: np.random.Generator) -> None:
    """Random writes of single parts beside a read every cycle; a read beside a write of its word
    is not asked for."""
    dut = WeightMemory(CONFIG)
    parts = len(dut.parts)
    assert parts == 4
    memory = np.zeros((CONFIG.weight_words, parts), np.uint64)
    expected: list[bytes] = []
    compared = 0

    async def test(ctx: Any) -> None:
        nonlocal compared
        for _ in range(400):
            word, part = int(rng.integers(CONFIG.weight_words)), int(rng.integers(parts))
            value, valid = int(rng.integers(1 << 63)), bool(rng.random() < 0.5)
            read = (word + int(rng.integers(1, CONFIG.weight_words))) % CONFIG.weight_words
            ctx.set(dut.write.word, word)
            ctx.set(dut.write.part, part)
            ctx.set(dut.write.data, value)
            ctx.set(dut.write.valid, int(valid))
            ctx.set(dut.word, read)
            if len(expected) == dut.read_latency:
                assert ctx.get(dut.weights).to_bytes(8 * parts, "little") == expected.pop(0)
                compared += 1
            expected.append(memory[read].tobytes())
            if valid:
                memory[word, part] = value
            await ctx.tick()

    simulator = Simulator(dut)
    simulator.add_clock(1e-8)
    simulator.add_testbench(test)
    simulator.run()
    assert compared > 300
    assert memory.all()
