"""A board that is a program: the rules of the link in Python, behind a line that errs."""

import random
from collections.abc import Callable

from sigbit.runtime import BoardError
from sigbit_hw.arch import link
from sigbit_hw.arch.link import Frame, Operation, Status

WORD = link.WORD_BYTES
NUMBERS = 1 << link.NUMBER_BITS


class FakeBoard:
    """Memory and registers; ``written`` are the writes of registers, in order."""

    def __init__(self, memory_bytes: int = 1 << 14, receive_bytes: int = 8 << 10) -> None:
        self.memory = bytearray(memory_bytes)
        self.registers: dict[int, bytes] = {}
        self.written: list[tuple[int, bytes]] = []
        self.facts = (link.VERSION, memory_bytes, receive_bytes, 90_000_000, 0)
        self.irq = False
        self.restart()

    def restart(self) -> None:
        """As after configuration; memory keeps what it held."""
        self.session: int | None = None
        self.turn, self.done = 0, set[int]()

    def answer(self, asked: Frame | None) -> Frame:
        if asked is None or asked.answer:
            return Frame(self.session or 0, 0, Operation.OPEN, status=Status.DAMAGED, answer=True)
        if asked.operation is Operation.OPEN:
            self.session, self.turn = asked.session, (asked.number + 1) % NUMBERS
            self.done = set()
            return self._reply(asked, b"".join(f.to_bytes(WORD, "little") for f in self.facts))
        if asked.session != self.session:
            return self._reply(asked, status=Status.STRANGER)
        ahead = (asked.number - self.turn) % NUMBERS
        known = ahead >= NUMBERS // 2 or asked.number in self.done
        near = ahead < link.REQUESTS_MAX
        if not known and (not near or (asked.ordered and ahead)):
            return self._reply(asked, status=Status.EARLY)
        reply = self._reply(asked, b"" if known and asked.data else self._carry_out(asked))
        if near:
            self.done.add(asked.number)
        while self.turn in self.done:
            self.done.remove(self.turn)
            self.turn = (self.turn + 1) % NUMBERS
        return reply

    def _carry_out(self, asked: Frame) -> bytes:
        at, size = asked.address, asked.count * WORD
        if asked.operation is Operation.WRITE_MEMORY:
            self.memory[at : at + size] = asked.data
        if asked.operation is Operation.READ_MEMORY:
            return bytes(self.memory[at : at + size])
        if asked.operation is Operation.WRITE_REGISTERS:
            self.written.append((at, asked.data))
            for k in range(0, size, WORD):
                self.registers[at + k] = asked.data[k : k + WORD]
        if asked.operation is Operation.READ_REGISTERS:
            return b"".join(self.registers.get(at + k, bytes(WORD)) for k in range(0, size, WORD))
        return int(self.irq).to_bytes(WORD, "little") if asked.operation is Operation.AWAIT else b""

    def _reply(self, asked: Frame, data: bytes = b"", status: Status = Status.DONE) -> Frame:
        return Frame(
            asked.session,
            asked.number,
            asked.operation,
            asked.address,
            len(data) // WORD,
            asked.ordered,
            status,
            answer=True,
            data=data,
        )


class FakeLine:
    """A line to a fake board, with a clock of its own: a second passes for every byte of
    ``bytes_a_second``, and whenever the host waits in vain.

    ``errs(random)`` says what becomes of a byte: "" or "flip", "drop", "insert".
    """

    baud = 3_000_000

    def __init__(
        self,
        board: FakeBoard,
        errs: Callable[[random.Random], str] = lambda _: "",
        seed: int = 0,
        delay: float = 0.016,
    ) -> None:
        self.name = "fake"
        self.board, self.time, self.plugged = board, 0.0, True
        self.bytes_out = 0
        self._errs, self._random, self._delay = errs, random.Random(seed), delay
        self._reader = link.Reader()
        self._coming: list[tuple[float, bytes]] = []

    def now(self) -> float:
        return self.time

    def write(self, data: bytes) -> None:
        self._require()
        self.bytes_out += len(data)
        self.time += 10 * len(data) / self.baud
        for frame in self._reader.feed(self._spoilt(data)):
            text = self._spoilt(self.board.answer(frame).to_line())
            self._coming.append((self.time + self._delay, text))

    def read(self, timeout: float) -> bytes:
        self._require()
        if self._coming and self._coming[0][0] <= self.time + timeout:
            due, text = self._coming.pop(0)
            self.time = max(self.time, due) + 10 * len(text) / self.baud
            return text
        self.time += timeout + 1e-6
        return b""

    def close(self) -> None:
        self.plugged = False

    def _require(self) -> None:
        if not self.plugged:
            raise BoardError("fake: the line is gone")

    def _spoilt(self, data: bytes) -> bytes:
        found = bytearray()
        for byte in data:
            kind = self._errs(self._random)
            if kind == "insert":
                found.append(self._random.randrange(256))
            if kind != "drop":
                found.append(byte ^ (1 << self._random.randrange(8) if kind == "flip" else 0))
        return bytes(found)


def one_of(count: int) -> Callable[[random.Random], str]:
    """Errors of one byte in ``count``, of any kind."""
    return lambda r: "" if r.randrange(count) else r.choice(("flip", "drop", "insert"))
