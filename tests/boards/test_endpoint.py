"""The board's end of the link, block by block: frames, numbers, order, damage."""

import zlib
from dataclasses import replace

import pytest

from boards.bench import CLOCK_HZ, MEMORY_BYTES, Bench, on_line
from sigbit_boards.link.endpoint import RECEIVE_BYTES
from sigbit_hw.arch import link
from sigbit_hw.arch.link import Frame, Operation, Status

SESSION = 0xA55A
OPEN = Frame(SESSION, 255, Operation.OPEN)


def words(*values: int) -> bytes:
    return b"".join(value.to_bytes(4, "little") for value in values)


def write(number: int, address: int, *values: int, memory: bool = True, **more: bool) -> Frame:
    operation = Operation.WRITE_MEMORY if memory else Operation.WRITE_REGISTERS
    data = words(*values)
    return Frame(SESSION, number, operation, address, len(values), data=data, **more)


def read(number: int, address: int, count: int, *, memory: bool = True, **more: bool) -> Frame:
    operation = Operation.READ_MEMORY if memory else Operation.READ_REGISTERS
    return Frame(SESSION, number, operation, address, count, **more)


def told(answers: list[Frame | None]) -> list[tuple[int, Status]]:
    assert all(answer is not None and answer.answer for answer in answers)
    return [(answer.number, answer.status) for answer in answers]


def test_opening_tells_the_board() -> None:
    (answer,) = Bench().answers(on_line([OPEN]))
    assert (answer.session, answer.operation, answer.number) == (SESSION, Operation.OPEN, 255)
    facts = (link.VERSION, MEMORY_BYTES, RECEIVE_BYTES, CLOCK_HZ, 0)
    assert answer.data == words(*facts)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("stall", [0.0, 0.8])
def test_bulk_writes_and_reads(seed: int, stall: float) -> None:
    """The longest frames, of zeros and of anything, in registers and memory."""
    bench = Bench(seed)
    n = link.WORDS_MAX
    anything = [bench.random.randrange(1 << 32) & -(bench.random.random() < 0.8) for _ in range(n)]
    frames = [
        OPEN,
        write(0, 0, *anything),
        write(1, 4 * n, *[0] * n),
        write(2, 8, *anything[:20], memory=False, ordered=True),
        read(3, 0, n, ordered=True),
        read(4, 4 * n, n, ordered=True),
        read(5, 8, 20, memory=False, ordered=True),
        read(6, 8, 0),
    ]
    answers = bench.answers(on_line(frames), stall=stall)
    assert told(answers) == [(255, Status.DONE), *((i, Status.DONE) for i in range(7))]
    assert [answer.data for answer in answers[4:]] == [
        words(*anything),
        bytes(4 * n),
        words(*anything[:20]),
        b"",
    ]
    assert [answer.address for answer in answers[1:]] == [f.address for f in frames[1:]]


def test_a_repeated_write_is_done_once_and_a_repeated_read_again() -> None:
    bench = Bench()
    frames = [OPEN, write(0, 0, 7), write(0, 0, 7), read(1, 0, 1), write(2, 0, 8), read(1, 0, 1)]
    answers = bench.answers(on_line(frames))
    assert told(answers) == [(n, Status.DONE) for n in (255, 0, 0, 1, 2, 1)]
    assert bench.writes == [("memory", 0, 7), ("memory", 0, 8)]
    assert (answers[3].data, answers[5].data) == (words(7), words(8))


def test_an_ordered_request_waits_for_all_before_it() -> None:
    bench = Bench()
    start = write(2, 16, 1, memory=False, ordered=True)
    frames = [OPEN, write(1, 4, 11), start, write(0, 0, 10), start, start]
    answers = bench.answers(on_line(frames))
    assert told(answers[1:]) == [
        (1, Status.DONE),
        (2, Status.EARLY),
        (0, Status.DONE),
        (2, Status.DONE),
        (2, Status.DONE),
    ]
    assert bench.writes == [("memory", 1, 11), ("memory", 0, 10), ("register", 4, 1)]


def test_numbers_wrap_and_the_window_has_an_end() -> None:
    bench = Bench()
    opened = replace(OPEN, number=249)
    far = write((250 + link.REQUESTS_MAX) % 256, 0, 1)
    last = write((250 + link.REQUESTS_MAX - 1) % 256, 4, 2)
    frames = [opened, far, last, *(write((250 + k) % 256, 8, k) for k in range(10)), far]
    answers = bench.answers(on_line(frames))
    assert [status for _, status in told(answers)] == [
        Status.DONE,
        Status.EARLY,
        *[Status.DONE] * 12,
    ]
    assert bench.writes == [
        ("memory", 1, 2),
        *(("memory", 2, k) for k in range(10)),
        ("memory", 0, 1),
    ]


def test_nothing_is_answered_before_the_memory_is_ready() -> None:
    for after, idle, answers in ((1400, 600, 0), (700, 900, 1)):
        bench = Bench()
        bench.memory_ready_after = after
        assert len(bench.answers(on_line([OPEN]), idle=idle)) == answers


def test_only_the_open_session_is_served() -> None:
    bench = Bench()
    other = replace(OPEN, session=77)
    frames = [write(0, 0, 1), OPEN, other, write(0, 0, 2), replace(write(0, 0, 3), session=77)]
    answers = bench.answers(on_line(frames))
    assert [status for _, status in told(answers)] == [
        Status.STRANGER,
        Status.DONE,
        Status.DONE,
        Status.STRANGER,
        Status.DONE,
    ]
    assert bench.writes == [("memory", 0, 3)]


@pytest.mark.parametrize(("after", "limit", "found"), [(300, 2000, 1), (2000, 300, 0)])
def test_waiting_for_the_interrupt(after: int, limit: int, found: int) -> None:
    bench = Bench()
    bench.irq_after = after
    wait = Frame(SESSION, 1, Operation.AWAIT, address=limit, ordered=True)
    frames = [OPEN, write(0, 16, 1, memory=False), wait]
    assert bench.answers(on_line(frames), idle=4000)[-1].data == words(found)


DAMAGES = {
    "flipped": lambda text, k: text[:k] + bytes([text[k] ^ 0x10]) + text[k + 1 :],
    "dropped": lambda text, k: text[:k] + text[k + 1 :],
    "inserted": lambda text, k: text[:k] + b"\x55" + text[k:],
    "split": lambda text, k: text[:k] + b"\0" + text[k:],
    "zero": lambda text, k: text[:k] + b"\0" + text[k + 1 :],
}


@pytest.mark.parametrize("kind", DAMAGES)
@pytest.mark.parametrize("seed", range(4))
def test_damage_is_told_and_nothing_of_it_done(kind: str, seed: int) -> None:
    """What comes after the next delimiter is served."""
    bench = Bench(seed)
    good = write(1, 64, 5, 0, 6)
    text = write(0, 0, *(bench.random.randrange(1 << 32) for _ in range(5)), 0, 0).to_line()
    k = bench.random.randrange(1, len(text) - 1)
    answers = bench.answers(OPEN.to_line() + DAMAGES[kind](text, k) + b"\0" + on_line([good]))
    assert answers[0].status is Status.DONE
    assert {answer.status for answer in answers[1:-1]} == {Status.DAMAGED}
    assert (answers[-1].number, answers[-1].status) == (1, Status.DONE)
    assert bench.writes == [("memory", 16 + k, w) for k, w in enumerate((5, 0, 6))]


def test_frames_that_no_host_sends_are_damaged() -> None:
    """Rightly checked, but too long, of another length than they say, of no operation, an answer,
    too short."""

    def checked(body: bytes) -> bytes:
        crc = zlib.crc32(body).to_bytes(4, "little")
        return b"".join(bytes([len(run) + 1]) + run for run in (body + crc).split(b"\0")) + b"\0"

    def header(count: int, operation: int = Operation.WRITE_MEMORY, answer: int = 0) -> bytes:
        kind = operation | answer << 7
        return bytes([SESSION & 0xFF, SESSION >> 8, 0, kind, count, 0, 0, 0, 0])

    bad = [
        header(61) + bytes(4 * 61),
        header(60) + bytes(4 * 61),
        header(59) + bytes(4 * 58),
        header(1) + bytes(3),
        header(2, Operation.READ_MEMORY) + bytes(4),
        header(61, Operation.READ_MEMORY),
        header(0, 6),
        header(1, answer=1) + bytes(4),
        header(0)[:-1],
        b"",
    ]
    bench = Bench()
    answers = bench.answers(
        OPEN.to_line() + b"".join(map(checked, bad)) + on_line([write(0, 0, 1)])
    )
    assert [status for _, status in told(answers)] == [
        Status.DONE,
        *[Status.DAMAGED] * len(bad),
        Status.DONE,
    ]
    assert bench.writes == [("memory", 0, 1)]


def test_more_than_the_receiver_holds_is_lost_and_told() -> None:
    """A board that waits while the host sends on."""
    bench = Bench(receive_bytes=256)
    wait = Frame(SESSION, 0, Operation.AWAIT, address=4000)
    many = [write(1 + k, 0, *range(10)) for k in range(10)]
    texts = on_line([OPEN, wait, *many]), on_line([replace(wait, number=31, address=0)] * 2)
    statuses = told(bench.answers(*texts, idle=5000, pause=6000))
    done = statuses.index((0, Status.DAMAGED)) if (0, Status.DAMAGED) in statuses else 0
    assert 3 < done < 10
    assert statuses[done:] == [(0, Status.DAMAGED), (31, Status.DONE)]
