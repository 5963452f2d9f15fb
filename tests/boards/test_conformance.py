"""Every device, one suite."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from boards.conformance import JOBS, NANO, PROGRAMS, STATEFUL, STREAMS, Conformance
from boards.fake_accelerator import FakeAccelerator
from boards.fake_board import FakeLine, one_of
from boards.pins import Pins, Setting
from sigbit.runtime import BoardError, Device
from sigbit_boards.host.connect import board_device
from sigbit_boards.host.device import BoardDevice
from sigbit_boards.host.link import SerialLink
from sigbit_hw.arch.program import ProgramError
from sigbit_hw.arch.scrub import scrub_program
from sigbit_sim.interp.device import Interp
from sigbit_sim.rtl.device import RtlDevice
from sigbit_synthesis.target import Target

MEMORY_BYTES = 64 << 10


class TestInterp(Conformance):
    @pytest.fixture
    def device(self) -> Device:
        return Interp(NANO)


@pytest.mark.sim
@pytest.mark.slow
class TestRtl(Conformance):
    @pytest.fixture(scope="class")
    @classmethod
    def device(cls) -> Device:
        return RtlDevice(NANO)


@pytest.mark.sim
@pytest.mark.synth
@pytest.mark.slow
@pytest.mark.long
class TestNetlist(Conformance):
    @pytest.fixture(scope="class")
    @classmethod
    def device(cls) -> Device:
        return RtlDevice(NANO, netlist=Target.XCUP)


class Fake:
    """A board of Python, as often as it is connected."""

    def __init__(self, errors: int = 0, memory_bytes: int = MEMORY_BYTES) -> None:
        programs = [*PROGRAMS, *STATEFUL, scrub_program(NANO)]
        self.board = FakeAccelerator(NANO, programs, memory_bytes)
        self.lines: list[FakeLine] = []
        self.there = True
        self._errors = errors
        self.device = BoardDevice("fake:port", NANO, self._connect)

    def _connect(self) -> SerialLink:
        if not self.there:
            raise BoardError("port: there is no such port")
        errs = one_of(self._errors) if self._errors else lambda _: ""
        self.lines.append(FakeLine(self.board, errs, seed=len(self.lines)))
        return SerialLink(self.lines[-1], 30.0, self.lines[-1].now)

    @property
    def bytes_out(self) -> int:
        return sum(line.bytes_out for line in self.lines)


class TestFakeBoard(Conformance):
    """The host's code, on a board in Python whose start is the interpreter."""

    @pytest.fixture
    def fake(self) -> Fake:
        return Fake()

    @pytest.fixture
    def device(self, fake: Fake) -> Device:
        return fake.device

    def test_counters(self, device: Device) -> None:
        counters = device.run(JOBS[0].program, JOBS[0].inputs).counters
        assert [(found["CYCLES"], found["RETIRED"]) for found in counters] == [(1000, 7)] * 2

    def test_a_program_travels_once(self, fake: Fake) -> None:
        sizes = []
        for job in JOBS * 2:
            before = fake.bytes_out
            job.right(fake.device)
            sizes.append(fake.bytes_out - before)
        assert min(sizes[:2]) > PROGRAMS[0].memory_bytes
        assert max(sizes[2:]) < 2000

    def test_a_program_makes_room(self) -> None:
        """The board has memory for one of two Programs."""
        fake = Fake(memory_bytes=max(p.memory_bytes for p in PROGRAMS) + 4096)
        for job in JOBS * 2:
            job.right(fake.device)
        assert fake.bytes_out > 4 * min(p.memory_bytes for p in PROGRAMS)

    def test_states_outlast_eviction(self) -> None:
        """From memory for one of two Programs."""
        fake = Fake(memory_bytes=max(p.memory_bytes for p in STATEFUL))
        for step in range(6):
            for each in STREAMS:
                each.right(fake.device, step, step + 1)
        assert fake.bytes_out > 10 * min(p.memory_bytes for p in STATEFUL)

    def test_states_that_are_lost(self, fake: Fake) -> None:
        """With the board's memory: an exception says so, once for each Program."""
        (a, b) = STREAMS
        a.right(fake.device, 0, 2)
        b.right(fake.device, 0, 2)
        fake.board.restart()
        fake.board.memory[:] = bytes(len(fake.board.memory))
        with pytest.raises(BoardError):
            a.right(fake.device, 2, 3)
        a.again(fake.device)
        with pytest.raises(BoardError, match="the states of net are lost"):
            b.right(fake.device, 2, 3)
        b.again(fake.device)
        fake.board.restart()
        JOBS[0].right(fake.device)
        with pytest.raises(BoardError, match="the states of net are lost"):
            a.right(fake.device, 4, 5)
        fake.device.reset_state(b.program)
        b.again(fake.device)

    def test_a_program_larger_than_memory(self, fake: Fake) -> None:
        large = replace(JOBS[0].program, memory_bytes=MEMORY_BYTES + 64)
        with pytest.raises(ProgramError, match=r"needs 65,600 bytes .* the board has 65,536"):
            fake.device.run(large, JOBS[0].inputs)
        JOBS[0].right(fake.device)

    def test_a_run_that_takes_longer_than_the_board_waits(self, fake: Fake) -> None:
        fake.board.waits = 3
        JOBS[0].right(fake.device)

    def test_a_board_that_was_restarted_gets_its_programs_again(self, fake: Fake) -> None:
        JOBS[0].right(fake.device)
        fake.board.restart()
        fake.board.memory[:] = bytes(len(fake.board.memory))
        JOBS[0].right(fake.device)

    def test_unplugged_in_the_middle_and_plugged_in_again(self, fake: Fake) -> None:
        def unplug(image: int) -> None:
            fake.there = False
            fake.lines[-1].close()

        with pytest.raises(BoardError, match="the line is gone"):
            fake.device.run(JOBS[0].program, JOBS[0].inputs, on_image=unplug)
        with pytest.raises(BoardError, match="no such port"):
            fake.device.run(JOBS[0].program, JOBS[0].inputs)
        fake.there = True
        JOBS[0].right(fake.device)

    def test_another_accelerator(self, fake: Fake) -> None:
        fake.board.set("DIGEST_LO", 1)
        with pytest.raises(ProgramError, match=r"is not nano, .* its DIGEST_LO is 0x00000001"):
            JOBS[0].right(fake.device)

    def test_a_bad_line(self) -> None:
        fake = Fake(errors=500)
        for job in JOBS * 3:
            job.right(fake.device)
        assert fake.board.starts == 12


@pytest.mark.sim
@pytest.mark.slow
class TestUlx3s(Conformance):
    """The board's whole top in Verilator, through a pseudo-terminal; a fast line."""

    @pytest.fixture(scope="class")
    @classmethod
    def pins(cls) -> Iterator[Pins]:
        with Pins(Setting(NANO, 25e6, 90e6, 8, MEMORY_BYTES)) as running:
            yield running

    @pytest.fixture(scope="class")
    @classmethod
    def device(cls, pins: Pins) -> Device:
        return board_device("ulx3s", pins.port, NANO, patience=3600)

    def test_unplugged_in_the_middle(self) -> None:
        with Pins(Setting(NANO, 25e6, 90e6, 8, MEMORY_BYTES)) as pins:
            device = board_device("ulx3s", pins.port, NANO, patience=3600)

            with pytest.raises(BoardError, match="the line is gone"):
                device.run(JOBS[0].program, JOBS[0].inputs, on_image=lambda _: pins.unplug())
        with pytest.raises(BoardError, match="no such port"):
            device.run(JOBS[0].program, JOBS[0].inputs)
