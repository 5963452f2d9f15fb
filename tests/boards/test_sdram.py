"""The whole ULX3S top with its SDRAM at its pins, driven by the shipped host code."""

from collections.abc import Iterator

import numpy as np
import pytest

from boards.conformance import JOBS, NANO, Conformance
from boards.pins import Pins
from boards.sdram import PHASE, device, network, rates, run_digits, setting, transport
from sigbit.runtime import BoardError, Device, unlimited
from sigbit_boards.host.device import BoardDevice
from sigbit_boards.host.steps import ReadMemory, WriteMemory
from sigbit_boards.memory.bridge import SIZE

pytestmark = [pytest.mark.sim, pytest.mark.slow]

SETTING = setting(NANO, PHASE)


def test_its_memory_and_a_program() -> None:
    """The model of the SDRAM ends the simulation if its timing is violated."""
    data = np.random.default_rng(1).bytes(1024)
    with Pins(SETTING) as board:
        link = transport(board)
        assert link.memory_bytes == SIZE == 32 << 20
        for address in (0x1234, SIZE // 2 + 4, SIZE - len(data)):
            steps = [WriteMemory(address, data), ReadMemory(address, len(data))]
            assert link.carry_out(steps, unlimited) == [b"", data]
        link.close()
        assert JOBS[0].right(device(board, NANO))
        clock = board.tell()
        assert clock.read > 10_000
        assert clock.written > 10_000


def test_data_that_come_too_late_are_told() -> None:
    """As with a wrong phase; the memory is not used."""
    with Pins(SETTING, flight=4_000) as board:
        told = r"failed its test at start: [\d,]+ words were wrong, on data lines 0, 1, .* phase of"
        with pytest.raises(BoardError, match=told):
            transport(board)


@pytest.mark.long
def test_digits() -> None:
    model = network(NANO)
    with Pins(SETTING) as board:
        cycles, wrong = run_digits(model, device(board, NANO), 1, 20)
    assert wrong == 0
    assert cycles > 20_000


@pytest.mark.long
def test_rates() -> None:
    with Pins(SETTING) as board:
        found = list(rates(device(board, NANO), SETTING.memory_clock, SETTING.clock))
    assert [row["direction"] for row in found] == ["read", "write"]
    assert all(row["bytes_per_cycle"] >= 1.8 for row in found), found


@pytest.mark.long
class TestUlx3sSdram(Conformance):
    """The conformance suite on a board with an SDRAM."""

    @pytest.fixture(scope="class")
    @classmethod
    def device(cls) -> Iterator[Device]:
        with Pins(SETTING) as board:
            found: BoardDevice = device(board, NANO)
            yield found
