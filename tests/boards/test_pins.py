"""The whole ULX3S top at its pins, driven by the shipped host code through a pseudo-terminal.

Seconds are those of the simulated clock.
"""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from boards.pins import Pins, Setting
from sigbit.compiler import compile_graph
from sigbit.data.digits import load_digits
from sigbit.quant import IntegerModel, QuantSpec, convert
from sigbit.quant.post import post_training
from sigbit.runtime import Session, unlimited
from sigbit.training import Schedule, train
from sigbit.zoo import DigitsResNet
from sigbit_boards.ecp5 import pins
from sigbit_boards.host.connect import board_device, connected
from sigbit_boards.host.steps import ReadMemory, WriteMemory
from sigbit_boards.ulx3s.build import BOARD
from sigbit_hw.arch.config import PRESETS
from sigbit_hw.arch.program import Program

pytestmark = [pytest.mark.sim, pytest.mark.slow, pytest.mark.long]

NANO = PRESETS["nano"]
CLOCK = BOARD.clock(NANO, 90e6)
DIVISOR, BAUD = BOARD.line(CLOCK)
SETTING = Setting(NANO, pins.oscillator(BOARD.platform), CLOCK, DIVISOR, BOARD.memory_bytes)
TURN = round(0.016 * CLOCK)
"""Cycles for which a USB adapter holds an answer back."""
DIGITS = 20
PATIENCE = 3600.0


@pytest.fixture(scope="module")
def network() -> IntegerModel:
    digits = load_digits()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = DigitsResNet(8)
        train(model, digits.train_x, digits.train_y, Schedule(epochs=2, lr=4e-3))
        spec = QuantSpec.from_arch(NANO, input_range=digits.input_range)
        return convert(post_training(model.eval(), digits.train_x[:64], spec))


@pytest.fixture(scope="module")
def program(network: IntegerModel) -> Program:
    return compile_graph(network.graph, NANO)


@pytest.fixture(scope="module")
def golden(network: IntegerModel) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Inputs and outputs of :data:`DIGITS` digits in the integer model."""
    values = network.levels(load_digits().test_x[:DIGITS])
    (given,), (wanted,) = network.graph.inputs, network.graph.outputs
    return values[given.name].numpy(), values[wanted].numpy()


@pytest.fixture
def board() -> Iterator[Pins]:
    with Pins(SETTING) as running:
        yield running


def seconds(board: Pins, program: Program, golden, errors: int) -> list[float]:
    """Seconds that each digit takes, one after the other; all codes are right."""
    inputs, wanted = golden
    device = board_device("ulx3s", board.port, NANO, patience=PATIENCE)
    session = Session(program, device)
    board.tell(f"errors {errors}")
    found = []
    for k in range(DIGITS):
        before = board.tell()
        result = session.run_stored({program.inputs[0].name: inputs[k : k + 1]})
        after = board.tell()
        (output,) = result.outputs.values()
        np.testing.assert_array_equal(output[0].ravel(), wanted[k].ravel())
        assert result.counters[0]["CYCLES"] > 1000
        found.append((after.cycles - before.cycles) / CLOCK)
        print(f"digit {k}: {found[-1]:.4f} s, {after.sent - before.sent} bytes", flush=True)
    return found


def test_digits_with_16_ms_a_turn(board: Pins, program: Program, golden) -> None:
    board.tell(f"latency {TURN}")
    first, *later = seconds(board, program, golden, 0)
    assert first < 2
    assert max(later) < 0.1


def test_bulk_with_16_ms_a_turn(board: Pins) -> None:
    data = np.random.default_rng(1).bytes(48 << 10)
    link = connected("ulx3s", board.port, (BAUD,), PATIENCE)
    board.tell(f"latency {TURN}")
    for steps in ([WriteMemory(0, data)], [ReadMemory(0, len(data))]):
        before = board.tell()
        found = link.carry_out(steps, unlimited)
        rate = len(data) * 10 * CLOCK / (board.tell().cycles - before.cycles) / BAUD
        print(f"{type(steps[0]).__name__}: {rate:.3f} of the wire", flush=True)
        assert rate >= 0.8
    assert found == [data]


def test_digits_over_a_bad_line(board: Pins, program: Program, golden) -> None:
    """One byte in 1,000 is flipped, dropped or preceded by another."""
    clean = seconds(board, program, golden, 0)
    with Pins(SETTING, seed=2) as other:
        spoilt = seconds(other, program, golden, 1000)
    assert sum(spoilt) < 3 * sum(clean)
