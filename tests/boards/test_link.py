"""The host's end of the link: framing, and whatever a line does to it."""

import random
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from boards.fake_board import FakeBoard, FakeLine, one_of
from sigbit.runtime import BoardError, RunCancelled, unlimited
from sigbit_boards.host.link import SerialLink
from sigbit_boards.host.steps import (
    Await,
    ReadMemory,
    ReadRegisters,
    WriteMemory,
    WriteRegisters,
)
from sigbit_hw.arch import link
from sigbit_hw.arch.link import Frame, Operation, Status

frames = st.builds(
    lambda session, number, operation, address, ordered, status, words, answer: Frame(
        session,
        number,
        operation,
        address,
        len(words) // 4 if answer or operation in link.WRITES else 7,
        ordered,
        status,
        answer,
        words if answer or operation in link.WRITES else b"",
    ),
    st.integers(0, 0xFFFF),
    st.integers(0, 0xFF),
    st.sampled_from(Operation),
    st.integers(0, 0xFFFF_FFFF),
    st.booleans(),
    st.sampled_from(Status),
    st.integers(0, link.WORDS_MAX).flatmap(
        lambda n: st.binary(min_size=4 * n, max_size=4 * n) | st.just(bytes(4 * n))
    ),
    st.booleans(),
)


@given(st.lists(frames, max_size=5), st.lists(st.integers(0, 2000), max_size=8))
def test_frames_survive_the_line_in_any_pieces(sent: list[Frame], cuts: list[int]) -> None:
    text = b"".join(frame.to_line() for frame in sent)
    assert all(len(frame.to_line()) <= link.LINE_BYTES for frame in sent)
    reader, found, at = link.Reader(), [], 0
    for cut in [*sorted(cuts), len(text)]:
        found += reader.feed(text[at : max(at, cut)])
        at = max(at, cut)
    assert found == sent


@given(st.binary(max_size=link.FRAME_BYTES))
def test_stuffing(content: bytes) -> None:
    """No 0, two bytes longer at most with the delimiter, and back."""
    text = link.stuff(content)
    assert 0 not in text
    assert len(text) == len(content) + 1
    assert link.unstuff(text) == content


@given(frames, st.data())
def test_one_damaged_byte_is_noticed(frame: Frame, data: st.DataObject) -> None:
    """And the frame after it is read. A byte more or less may be any byte."""
    text = frame.to_line()
    at = data.draw(st.integers(0, len(text) - 1))
    byte = data.draw(st.integers(0, 255))
    kind = data.draw(st.sampled_from(("flip", "drop", "insert")))
    spoilt = (
        text[:at]
        + {"flip": bytes([byte]), "drop": b"", "insert": bytes([byte, text[at]])}[kind]
        + text[at + 1 :]
    )
    found = list(link.Reader().feed(spoilt + b"\0" + text))
    assert found[-1] == frame
    assert set(found[:-1]) <= ({None, frame} if spoilt.strip(b"\0") == text[:-1] else {None})


def test_the_crc_is_zlibs() -> None:
    body = link.unstuff(Frame(1, 2, Operation.READ_MEMORY, 64, 3).to_line()[:-1])
    assert int.from_bytes(body[-4:], "little") == zlib.crc32(body[:-4])


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"address": 1 << 32}, "address must be in"),
        ({"number": 256}, "number must be in"),
        ({"count": 61}, "at most 60 words, not 61"),
        ({"data": b"1234"}, "0 words of data are needed, not 4 bytes"),
    ],
)
def test_frames_that_do_not_exist(fields: dict, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        Frame(**{"session": 0, "number": 0, "operation": Operation.READ_MEMORY, **fields})


def connected(line: FakeLine, patience: float = 3.0) -> SerialLink:
    return SerialLink(line, patience, line.now)


def test_bulk_reaches_the_wire_speed() -> None:
    """With 16 ms for every turn of a line on which only one side talks at a time."""
    line = FakeLine(FakeBoard(1 << 18))
    host = connected(line)
    data = random.Random(1).randbytes(1 << 17)
    for steps in ([WriteMemory(0, data)], [ReadMemory(0, len(data))]):
        begun = line.time
        found = host.carry_out(steps, unlimited)
        assert len(data) * 10 / line.baud / (line.time - begun) > 0.8
    assert found == [data]
    assert host.resent == 0


@pytest.mark.parametrize("seed", range(8))
def test_everything_arrives_once_over_a_bad_line(seed: int) -> None:
    """A byte of 300 is spoilt, each way; registers are written once and in their order, after the
    memory before them, and read after it."""
    board = FakeBoard()
    line = FakeLine(board, one_of(300), seed)
    host = connected(line, 20.0)
    draw = random.Random(seed)
    wanted = []
    for _ in range(6):
        data, words = draw.randbytes(draw.randrange(1, 9000)), tuple(draw.randbytes(5))
        at = 4 * draw.randrange(1000)
        steps = [
            WriteMemory(at, data),
            WriteMemory(at + 8, b"later"),
            WriteRegisters(16, words),
            WriteRegisters(4, words[:1]),
            Await(0.001),
            ReadMemory(at, len(data)),
            ReadRegisters(16, 5),
        ]
        found = host.carry_out(steps, unlimited)
        expected = bytearray(max(len(data), 16))
        expected[: len(data)] = data
        expected[8:16] = b"later\0\0\0"
        assert found[5] == bytes(expected[: len(data)])
        assert found[6] == b"".join(word.to_bytes(4, "little") for word in words)
        wanted += [(16, found[6]), (4, found[6][:4])]
    assert board.written == wanted
    assert host.resent > 0


def test_a_board_that_was_restarted_is_told_and_opened_again() -> None:
    board = FakeBoard()
    host = connected(FakeLine(board))
    host.carry_out([WriteMemory(0, b"abcd")], unlimited)
    board.restart()
    with pytest.raises(BoardError, match="was restarted"):
        host.carry_out([WriteMemory(0, b"efgh")], unlimited)
    assert board.memory[:4] == b"abcd"
    assert host.carry_out([ReadMemory(0, 4)], unlimited) == [b"abcd"]


def test_a_host_that_was_restarted_finds_the_board_in_the_middle_of_a_frame() -> None:
    board = FakeBoard()
    line = FakeLine(board)
    old = connected(line)
    old.carry_out([WriteMemory(0, b"abcd")], unlimited)
    line.write(Frame(9, 0, Operation.WRITE_MEMORY, 0, 2, data=bytes(8)).to_line()[:-9])
    new = connected(line)
    assert new.carry_out([ReadMemory(0, 4)], unlimited) == [b"abcd"]


def test_two_hosts_notice_each_other() -> None:
    line = FakeLine(FakeBoard())
    first = connected(line)
    connected(line)
    with pytest.raises(BoardError, match="another program uses it"):
        first.carry_out([ReadMemory(0, 4)], unlimited)


def test_a_check_ends_the_waiting_and_the_next_steps_are_carried_out() -> None:
    line = FakeLine(FakeBoard())
    host = connected(line)
    left = 3

    def check() -> None:
        nonlocal left
        left -= 1
        if not left:
            raise RunCancelled("enough")

    with pytest.raises(RunCancelled):
        host.carry_out([WriteMemory(0, bytes(12_000))], check)
    assert host.carry_out([WriteMemory(0, b"data"), ReadMemory(0, 4)], unlimited)[1] == b"data"


def test_silence_and_strangers_are_told() -> None:
    board = FakeBoard()
    with pytest.raises(BoardError, match="no board answers at 3,000,000 bits per second"):
        connected(FakeLine(board, lambda _: "drop"))
    board.facts = (7, *board.facts[1:])
    with pytest.raises(BoardError, match="link has version 7, this release uses 2"):
        connected(FakeLine(board))


def test_a_memory_that_failed_its_test_is_told() -> None:
    board = FakeBoard()
    board.facts = (*board.facts[:-1], 0x8001_04D2)
    told = r"1,234 words were wrong, on data lines 0, 15: `sigbit phases` finds"
    with pytest.raises(BoardError, match=told):
        connected(FakeLine(board))


def test_a_line_that_falls_silent_is_told() -> None:
    errors = [""]
    line = FakeLine(FakeBoard(), lambda _: errors[0])
    host = connected(line)
    errors[0] = "drop"
    with pytest.raises(BoardError, match="does not answer any more"):
        host.carry_out([ReadMemory(0, 4)], unlimited)


def test_addresses_are_whole_words() -> None:
    with pytest.raises(ValueError, match="multiple of 4, not 2"):
        connected(FakeLine(FakeBoard())).carry_out([WriteMemory(2, b"ab")], unlimited)
