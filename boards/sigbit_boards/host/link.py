"""The host's end of the serial link."""

import secrets
import time
from collections.abc import Callable, Sequence

from sigbit.runtime import BoardError, Check, unlimited
from sigbit_boards.host import requests
from sigbit_boards.host.flight import Flight
from sigbit_boards.host.line import Line
from sigbit_boards.host.steps import SilenceError, Step
from sigbit_hw.arch import link
from sigbit_hw.arch.link import Frame, Operation, Status

PATIENCE = 3.0
"""Maximum silence of a board, in seconds, while it has requests to answer."""
_TRIES = 12
"""Fraction of the patience after which a request is sent again, as a divisor, until answers show
the board's speed."""
_TIMEOUT_MIN = 0.1
"""Minimum timeout in seconds: more than a full window takes on a line of 3 Mbaud, including the 16
ms of a USB adapter."""
_OPEN_NUMBER = (1 << link.NUMBER_BITS) - 1
_READ_MAX = 0.1
"""Seconds between two checks for an interruption."""


class FaultyMemoryError(BoardError):
    """Raised for a board whose memory has failed its test at start, with the number of wrong
    ``words`` and the data ``lines`` that were wrong in any of them."""

    def __init__(self, name: str, words: int, lines: tuple[int, ...]) -> None:
        self.words, self.lines = words, lines
        super().__init__(
            f"{name}: the board's memory failed its test at start: {words:,} words were wrong, on "
            f"data lines {', '.join(map(str, lines))}: `sigbit phases` finds a better phase of its "
            "clock"
        )


class SerialLink:
    """A board at the other end of ``line``; see :mod:`sigbit_hw.arch.link`.

    Parameters
    ----------
    line : Line
    patience : float
        Seconds of silence after which the board is considered gone.
    now : callable
        Clock, in seconds.
    """

    def __init__(
        self, line: Line, patience: float = PATIENCE, now: Callable[[], float] = time.monotonic
    ) -> None:
        self.name = line.name
        self._line, self._patience, self._now = line, patience, now
        self._reader = link.Reader()
        self._session: int | None = None
        self._number = 0
        self._timeout, self._mean, self._deviation = patience / _TRIES, 0.0, 0.0
        self.facts: dict[str, int] = {}
        self.resent = 0
        """Number of requests that were sent again."""
        self.open(unlimited)

    @property
    def memory_bytes(self) -> int:
        """Size of the board's memory in bytes."""
        return self.facts["memory_bytes"]

    def bases(self, address: int) -> list[int]:
        """Base address of the accelerator's only port, which sees memory unchanged."""
        return [address]

    def open(self, check: Check) -> None:
        """Begin a session, regardless of previous ones; afterwards the board's facts are known.

        Raises :class:`SilenceError` if no board answers, :class:`BoardError` if its version
        differs.
        """
        self._session = None
        session = secrets.randbelow(1 << link.SESSION_BITS)
        text = Frame(session, _OPEN_NUMBER, Operation.OPEN).to_line()
        begun = self._now()
        next_try, wait = begun, self._timeout
        while True:
            check()
            now = self._now()
            if now - begun > self._patience:
                raise SilenceError(
                    f"{self.name}: no board answers at {self._line.baud:,} bits per second"
                )
            if now >= next_try:
                self._line.write(bytes([link.DELIMITER]) + text)
                next_try, wait = now + wait, 2 * wait
            for frame in self._reader.feed(self._line.read(min(next_try - now, _READ_MAX))):
                if frame and self._opens(frame, session):
                    self._opened(session, frame)
                    return

    @staticmethod
    def _opens(frame: Frame, session: int) -> bool:
        """True if a frame is the answer to an ``OPEN`` of this session."""
        kind = (frame.answer, frame.operation, frame.status)
        return kind == (True, Operation.OPEN, Status.DONE) and frame.session == session

    def _opened(self, session: int, frame: Frame) -> None:
        words = [
            int.from_bytes(frame.data[at : at + link.WORD_BYTES], "little")
            for at in range(0, len(frame.data), link.WORD_BYTES)
        ]
        self.facts = dict(zip(link.FACTS, words, strict=False))
        if self.facts.get("version") != link.VERSION or len(words) != len(link.FACTS):
            raise BoardError(
                f"{self.name}: the board's link has version {self.facts.get('version')}, this "
                f"release uses {link.VERSION}: rebuild its bitstream"
            )
        self._require_memory(self.facts["memory_fault"])
        self._session, self._number = session, (_OPEN_NUMBER + 1) % (1 << link.NUMBER_BITS)

    def _require_memory(self, fault: int) -> None:
        """Raise :class:`FaultyMemoryError` if the board's memory has failed its test."""
        found = {n: fault >> p.start & (1 << p.stop - p.start) - 1 for n, p in link.FAULT.items()}
        if found["words"]:
            lines = found["lines"]
            named = tuple(k for k in range(lines.bit_length()) if lines >> k & 1)
            raise FaultyMemoryError(self.name, found["words"], named)

    def carry_out(self, steps: Sequence[Step], check: Check) -> list[bytes]:
        """Return the result of each step; see :class:`sigbit_boards.host.steps.Transport`."""
        if self._session is None:
            self.open(check)
        session, self._session = self._session, None  # not in a defined state until all is done
        assert session is not None
        asked = requests.requests(steps, self.facts["clock_hz"])
        flight = Flight(asked, session, self._number, self.facts["receive_bytes"])
        heard = moved = self._now()
        while not flight.done:
            check()
            while text := flight.send(self._now()):
                self._line.write(text)
                moved = self._now()
            wait = min(max(moved + self._timeout - self._now(), 0), _READ_MAX)
            data = self._line.read(wait)
            now = self._now()
            if data:
                moved = now
            elif now >= moved + self._timeout:
                flight.all_lost()
                moved, self._timeout = now, min(2 * self._timeout, self._patience)
            for frame in self._reader.feed(data):
                if self._take(flight, frame, session, now):
                    heard = now
            if now - heard > self._patience:
                raise BoardError(f"{self.name}: the board does not answer any more")
        self.resent += flight.resent
        self._session = session
        self._number = (self._number + len(asked)) % (1 << link.NUMBER_BITS)
        return requests.results(steps, asked, [answer or b"" for answer in flight.answers])

    def _take(self, flight: Flight, frame: Frame | None, session: int, now: float) -> bool:
        """Process a frame; return whether it comes from the board in this session."""
        if frame is None or (frame.answer and frame.status is Status.DAMAGED):
            flight.damaged()
            return frame is not None
        if not frame.answer or frame.session != session:
            return False
        if frame.status is Status.STRANGER:
            raise BoardError(
                f"{self.name}: the board was restarted, or another program uses it, while it was "
                f"asked: run again"
            )
        sent = flight.answered(frame)
        if sent is not None:
            self._learn(now - sent)
        return True

    def _learn(self, seconds: float) -> None:
        """Update the timeout from an answer's delay, as in RFC 6298."""
        if not self._mean:
            self._mean, self._deviation = seconds, seconds / 2
        else:
            self._deviation += (abs(seconds - self._mean) - self._deviation) / 4
            self._mean += (seconds - self._mean) / 8
        self._timeout = max(self._mean + 4 * self._deviation, _TIMEOUT_MIN)

    def close(self) -> None:
        """Close the line."""
        self._line.close()
