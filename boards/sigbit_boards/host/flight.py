"""Requests in flight: tracking of sent and lost requests, and of the requests that may be sent
next."""

import heapq
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from sigbit_boards.host.requests import Request
from sigbit_hw.arch import link
from sigbit_hw.arch.link import Frame, Status

_NUMBERS = 1 << link.NUMBER_BITS


@dataclass(frozen=True)
class _Sent:
    index: int
    size: int
    time: float


class Flight:
    """Requests of a session, tracked until all are answered.

    A line preserves the order of its bytes, and the board answers in that order. When an answer
    arrives, every unanswered request sent before its request is therefore lost, or its answer is;
    it is sent again immediately.

    Parameters
    ----------
    requests : sequence of Request
    session, first : int
        The session, and the number of the first request.
    receive_bytes : int
        Bytes on the line that the board's receiver holds.
    """

    def __init__(
        self, requests: Sequence[Request], session: int, first: int, receive_bytes: int
    ) -> None:
        self._requests, self._session, self._first = requests, session, first
        self._room = receive_bytes
        self.answers: list[bytes | None] = [None] * len(requests)
        self._sent: deque[_Sent] = deque()
        self._lost: list[int] = []  # a heap
        self._next = self._oldest = 0
        self.resent = 0

    @property
    def done(self) -> bool:
        """True if all requests are answered."""
        return self._oldest == len(self._requests)

    @property
    def waiting(self) -> bool:
        """True if an answer may arrive."""
        return bool(self._sent)

    def send(self, now: float) -> bytes:
        """Bytes of the next request to send at time ``now``, in seconds; ``b""`` if none may be
        sent before an answer has arrived."""
        while self._lost and self.answers[self._lost[0]] is not None:
            heapq.heappop(self._lost)
        again = bool(self._lost)
        index = self._lost[0] if again else self._next
        if index >= min(len(self._requests), self._oldest + link.REQUESTS_MAX):
            return b""
        number = (self._first + index) % _NUMBERS
        text = self._requests[index].frame(self._session, number).to_line()
        if len(text) > self._room:
            return b""
        if again:
            heapq.heappop(self._lost)
            self.resent += 1
        else:
            self._next += 1
        self._room -= len(text)
        self._sent.append(_Sent(index, len(text), now))
        return text

    def answered(self, frame: Frame) -> float | None:
        """Process an answer of this session. Returns the time at which its request was sent, or
        None if it answers none that is in flight."""
        index = self._oldest + (frame.number - self._first - self._oldest) % _NUMBERS
        behind = index - _NUMBERS
        if not any(sent.index == index for sent in self._sent):
            index = behind if any(sent.index == behind for sent in self._sent) else index
        if index >= self._next or index < 0 or not self._requests[index].answered_by(frame):
            return None
        time = self._pop(index)
        if self.answers[index] is not None:
            return time
        if frame.status is Status.DONE:
            self.answers[index] = frame.data
            while not self.done and self.answers[self._oldest] is not None:
                self._oldest += 1
        else:
            self._lose(index)
        return time

    def damaged(self) -> None:
        """Handle a damaged frame in either direction: the earliest request is probably lost."""
        if self._sent:
            self._forget()

    def all_lost(self) -> None:
        """Handle a timeout: all requests in flight are lost."""
        while self._sent:
            self._forget()

    def _pop(self, index: int) -> float | None:
        """Remove the earliest transmission of ``index`` from those in flight; all before it are
        lost."""
        if not any(sent.index == index for sent in self._sent):
            return None
        while self._sent[0].index != index:
            self._forget()
        sent = self._sent.popleft()
        self._room += sent.size
        return sent.time

    def _forget(self) -> None:
        sent = self._sent.popleft()
        self._room += sent.size
        self._lose(sent.index)

    def _lose(self, index: int) -> None:
        """Send a request again, unless it is answered or still in flight."""
        again = any(sent.index == index for sent in self._sent) or index in self._lost
        if self.answers[index] is None and not again:
            heapq.heappush(self._lost, index)
