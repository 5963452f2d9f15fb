"""The serial link between a host and a board: frames and numbering, shared by gateware and host.

A frame is a header (:data:`HEADER`, little-endian, in the order of its fields), up to
:data:`WORDS_MAX` words of data, and the CRC-32 of both (CRC-32/ISO-HDLC, little-endian). On the
line it is stuffed (COBS, Cheshire and Baker, 1999), so that the byte 0 occurs only at its end:
after lost or spurious bytes, the receiver resynchronizes at the next 0.

The host sends requests, the board answers them in order of arrival; an answer repeats session,
number, operation and address of its request. ``OPEN`` begins a session, whose identifier the host
draws at random, and sets the number from which the board counts. From then on the board tracks the
number of the first request that it has not carried out, and which of the :data:`REQUESTS_MAX`
requests from there on it has carried out. If a request that has been carried out arrives again, the
board repeats a read and confirms a write; the host may therefore resend every request that has no
answer, and every write is done once. An *ordered* request is carried out only after all requests
with smaller numbers: it waits for data to be in memory without a round trip.

The host may have in flight, sent and not answered, :data:`REQUESTS_MAX` consecutive numbers and as
many bytes on the line as the board's receiver holds (``receive_bytes`` of :data:`FACTS`).
"""

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from types import MappingProxyType

VERSION = 2
"""Version of the link, one of the facts that every board reports."""
WORD_BYTES = 4
WORDS_MAX = 60
"""Maximum number of data words in a frame."""
NUMBER_BITS = 8
REQUESTS_MAX = 32
"""Requests, from the first that is not carried out, whose completion the board tracks."""
SESSION_BITS = 16

HEADER = {
    "session": SESSION_BITS,
    "number": NUMBER_BITS,
    "operation": 3,
    "ordered": 1,
    "status": 3,
    "answer": 1,
    "count": 8,
    "address": 32,
}
"""Fields and their widths in bits, the first in the least significant bits. ``count`` is the number
of words that a request carries or asks for, and that an answer carries."""
HEADER_BYTES = sum(HEADER.values()) // 8
CRC_BYTES = 4
FRAME_BYTES = HEADER_BYTES + WORDS_MAX * WORD_BYTES + CRC_BYTES
"""Length of the longest frame before stuffing, short enough that runs without a 0 byte need no
limit."""
LINE_BYTES = FRAME_BYTES + 2
"""Length of the longest frame on the line, with one byte of stuffing and the delimiter."""
DELIMITER = 0

_RUN_MAX = 0xFE
assert FRAME_BYTES < _RUN_MAX
assert 2 * REQUESTS_MAX <= 1 << NUMBER_BITS - 1

FACTS = ("version", "memory_bytes", "receive_bytes", "clock_hz", "memory_fault")
"""Words in the answer to ``OPEN``: version of the link, memory size of the board in bytes, capacity
of its receiver in bytes on the line, clock frequency in Hertz, and what the board's test of its
memory at start has found, see :data:`FAULT`."""
FAULT: Mapping[str, slice] = MappingProxyType({"words": slice(0, 16), "lines": slice(16, 32)})
"""Bit positions in ``memory_fault``: the number of wrong words, and the data lines that were wrong
in any of them."""


class Operation(IntEnum):
    """Operation of a request. Addresses are in bytes, multiples of 4, of registers or memory.

    ``AWAIT`` is answered with a word: 1 if the accelerator has an interrupt, else 0; at the latest
    after as many cycles as its address says.
    """

    OPEN = 0
    READ_REGISTERS = 1
    WRITE_REGISTERS = 2
    READ_MEMORY = 3
    WRITE_MEMORY = 4
    AWAIT = 5


WRITES = (Operation.WRITE_REGISTERS, Operation.WRITE_MEMORY)
"""Operations whose requests carry data."""


class Status(IntEnum):
    """Status of an answer: carried out; ordered, and not its turn; not of the open session; not a
    valid request (the other fields of the answer are meaningless)."""

    DONE = 0
    EARLY = 1
    STRANGER = 2
    DAMAGED = 3


@dataclass(frozen=True)
class Frame:
    """A request, or the answer to one (``answer``); ``data`` is a sequence of whole words.

    Raises ``ValueError`` for fields that do not fit.
    """

    session: int
    number: int
    operation: Operation
    address: int = 0
    count: int = 0
    ordered: bool = False
    status: Status = Status.DONE
    answer: bool = False
    data: bytes = b""

    def __post_init__(self) -> None:
        for name, bits in HEADER.items():
            value = int(getattr(self, name))
            if not 0 <= value < 1 << bits:
                raise ValueError(f"{name} must be in [0, {(1 << bits) - 1}], not {value}")
        if self.count > WORDS_MAX:
            raise ValueError(f"a frame has at most {WORDS_MAX} words, not {self.count}")
        carries = self.count if self.answer or self.operation in WRITES else 0
        if len(self.data) != WORD_BYTES * carries:
            raise ValueError(f"{carries} words of data are needed, not {len(self.data)} bytes")

    def to_line(self) -> bytes:
        """Return the frame as sent on the line, including its delimiter."""
        word, at = 0, 0
        for name, bits in HEADER.items():
            word |= int(getattr(self, name)) << at
            at += bits
        body = word.to_bytes(HEADER_BYTES, "little") + self.data
        return stuff(body + zlib.crc32(body).to_bytes(CRC_BYTES, "little")) + bytes([DELIMITER])


def from_line(text: bytes) -> Frame:
    """Decode the text between two delimiters; raises ``ValueError`` if it is not a frame."""
    content = unstuff(text)
    body, crc = content[:-CRC_BYTES], content[-CRC_BYTES:]
    if not HEADER_BYTES <= len(body) <= FRAME_BYTES - CRC_BYTES:
        raise ValueError(f"a frame has {HEADER_BYTES + CRC_BYTES} to {FRAME_BYTES} bytes")
    if zlib.crc32(body) != int.from_bytes(crc, "little"):
        raise ValueError("the CRC is wrong")
    word, fields = int.from_bytes(body[:HEADER_BYTES], "little"), {}
    for name, bits in HEADER.items():
        fields[name] = word & (1 << bits) - 1
        word >>= bits
    return Frame(
        session=fields["session"],
        number=fields["number"],
        operation=Operation(fields["operation"]),
        address=fields["address"],
        count=fields["count"],
        ordered=bool(fields["ordered"]),
        status=Status(fields["status"]),
        answer=bool(fields["answer"]),
        data=body[HEADER_BYTES:],
    )


class Reader:
    """Decoder of a byte stream that arrives in arbitrary pieces."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, data: bytes) -> Iterator[Frame | None]:
        """Yield the frames that ``data`` completes; None for a damaged one."""
        *ended, rest = (bytes(self._rest) + data).split(bytes([DELIMITER]))
        self._rest = bytearray(rest[: LINE_BYTES + 1])  # longer ones are damaged anyway
        for text in ended:
            if text:
                try:
                    yield from_line(text)
                except ValueError:
                    yield None


def stuff(content: bytes) -> bytes:
    """Encode ``content``, up to :data:`FRAME_BYTES` bytes, without the byte 0: each 0, and an
    implicit one at the end, is dropped, and the bytes before it are preceded by their number plus
    1."""
    return b"".join(bytes([len(run) + 1]) + run for run in content.split(b"\0"))


def unstuff(text: bytes) -> bytes:
    """Invert :func:`stuff`; raises ``ValueError`` if ``text`` is not one of its results."""
    runs, at = [], 0
    while at < len(text):
        end = at + text[at]
        if end == at or end > len(text) or end - at > _RUN_MAX:
            raise ValueError("a run does not end where its length says")
        runs.append(text[at + 1 : end])
        at = end
    return b"\0".join(runs)
