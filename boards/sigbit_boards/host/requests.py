"""Conversion of a driver's steps to requests of the serial link, and of answers to results."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sigbit_boards.host.steps import (
    Await,
    ReadMemory,
    ReadRegisters,
    Step,
    WriteMemory,
    WriteRegisters,
)
from sigbit_hw.arch import link
from sigbit_hw.arch.link import Frame, Operation

_PIECE = link.WORDS_MAX * link.WORD_BYTES


@dataclass(frozen=True)
class Request:
    """A frame without session and number, and the step that it belongs to."""

    step: int
    operation: Operation
    address: int
    count: int
    ordered: bool
    data: bytes = b""

    def frame(self, session: int, number: int) -> Frame:
        """The frame with this session and number."""
        return Frame(
            session=session,
            number=number,
            operation=self.operation,
            address=self.address,
            count=self.count,
            ordered=self.ordered,
            data=self.data,
        )

    def answered_by(self, frame: Frame) -> bool:
        """True if ``frame``, of the right session and number, is an answer to this request."""
        return (frame.operation, frame.address) == (self.operation, self.address)


def requests(steps: Sequence[Step], clock_hz: int) -> list[Request]:
    """The requests of ``steps`` for a board whose clock has ``clock_hz`` Hertz.

    Raises ``ValueError`` for addresses that are not multiples of 4.
    """
    return [
        request
        for k, step in enumerate(steps)
        for request in _of(step, k, _ordered(step, steps[:k]), clock_hz)
    ]


def results(
    steps: Sequence[Step], asked: Sequence[Request], answers: Sequence[bytes]
) -> list[bytes]:
    """Result of each of ``steps``, from the data of the answers to :func:`requests`."""
    found = [bytearray() for _ in steps]
    for request, answer in zip(asked, answers, strict=True):
        found[request.step] += answer
    return [_cut(step, bytes(data)) for step, data in zip(steps, found, strict=True)]


def _ordered(step: Step, before: Sequence[Step]) -> bool:
    """True if a step must wait for earlier ones. Consecutive writes to memory may be executed in
    any order, and so may consecutive reads, unless a step of another kind, or a write to the same
    place, comes before."""
    if not isinstance(step, WriteMemory):
        free = (ReadMemory, ReadRegisters)
        return not isinstance(step, free) or any(not isinstance(each, free) for each in before)
    end = step.address + len(step.data)
    return any(
        not isinstance(each, WriteMemory)
        or (each.address < end and step.address < each.address + len(each.data))
        for each in before
    )


def _of(step: Step, index: int, ordered: bool, clock_hz: int) -> Iterator[Request]:
    match step:
        case WriteMemory(address, data):
            yield from _writes(index, Operation.WRITE_MEMORY, address, data, ordered)
        case WriteRegisters(offset, words):
            data = b"".join(word.to_bytes(link.WORD_BYTES, "little") for word in words)
            yield from _writes(index, Operation.WRITE_REGISTERS, offset, data, ordered)
        case ReadMemory(address, size):
            yield from _reads(index, Operation.READ_MEMORY, address, size, ordered)
        case ReadRegisters(offset, count):
            size = count * link.WORD_BYTES
            yield from _reads(index, Operation.READ_REGISTERS, offset, size, ordered)
        case Await(seconds):
            cycles = min(round(seconds * clock_hz), (1 << link.HEADER["address"]) - 1)
            yield Request(index, Operation.AWAIT, cycles, 0, ordered)


def _writes(
    index: int, operation: Operation, address: int, data: bytes, ordered: bool
) -> Iterator[Request]:
    _aligned(address)
    data += bytes(-len(data) % link.WORD_BYTES)
    for at in range(0, len(data), _PIECE):
        piece = data[at : at + _PIECE]
        count = len(piece) // link.WORD_BYTES
        yield Request(index, operation, address + at, count, ordered, piece)


def _reads(
    index: int, operation: Operation, address: int, size: int, ordered: bool
) -> Iterator[Request]:
    _aligned(address)
    for at in range(0, size, _PIECE):
        count = -(-min(size - at, _PIECE) // link.WORD_BYTES)
        yield Request(index, operation, address + at, count, ordered)


def _aligned(address: int) -> None:
    if address % link.WORD_BYTES:
        raise ValueError(f"an address must be a multiple of {link.WORD_BYTES}, not {address}")


def _cut(step: Step, data: bytes) -> bytes:
    match step:
        case ReadMemory(_, size):
            return data[:size]
        case Await():
            return data[:1]
    return data
