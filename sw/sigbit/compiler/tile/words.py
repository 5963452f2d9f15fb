"""Weight words of products of two computed tensors: those that STORE makes of a value.

The words of a value of weight digits lie in memory by output-channel block, digit and channel slot;
lane n of a block is the value's n-th pixel of it.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from sigbit.compiler.groups import Blocks
from sigbit.compiler.network import MemoryTensor, Network, Op, Value
from sigbit.compiler.tile.segments import Segment
from sigbit_hw.arch.config import ArchConfig


@dataclass(frozen=True)
class Words:
    """``count`` weight words of the memory tensor ``memory``, from word ``first`` on."""

    memory: str
    first: int
    count: int


@dataclass(frozen=True)
class Product:
    """Weight words of a tile: the ``pieces`` lie one after another on chip, ``block_words`` for
    each output block; ``firsts`` are the first words of the segments in it."""

    pieces: tuple[Words, ...]
    block_words: int
    firsts: tuple[int, ...]


def block_words(value: Value | MemoryTensor, config: ArchConfig) -> int:
    """Weight words of an output-channel block of a value of weight digits."""
    return value.planes * -(-value.shape[0] // config.ic_lanes)


def word_blocks(value: Value | MemoryTensor, config: ArchConfig) -> int:
    """Output-channel blocks of a value of weight digits."""
    return -(-value.shape[1] * value.shape[2] // config.oc_lanes)


def product(
    op: Op, network: Network, segments: tuple[Segment, ...], blocks: Blocks, config: ArchConfig
) -> Product:
    """Weight words of ``segments`` for ``blocks``, which are one block unless they take all
    words of each."""
    value = network.values[op.operands[0].right]
    assert value.store is not None
    slots = -(-value.shape[0] // config.ic_lanes)
    starts = [
        s.term * slots + op.operands[s.operand].right_channel // config.ic_lanes + s.slot
        for s in segments
    ]
    runs = list(_runs(zip(starts, (s.slots for s in segments), strict=True)))
    words, firsts = 0, dict[int, int]()
    for first, count in runs:
        firsts |= {first + i: words + i for i in range(count)}
        words += count
    size = block_words(value, config)
    begin, memory = blocks.first * size, value.store.memory
    if words == size:
        runs = [(0, blocks.count * size)]
    else:
        assert blocks.count == 1
    pieces = tuple(Words(memory, begin + first, count) for first, count in runs)
    return Product(pieces, words, tuple(firsts[start] for start in starts))


def _runs(ranges: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """The union of ``ranges`` (first, count) as disjoint ascending ones."""
    start = end = -1
    for first, count in sorted(ranges):
        if first > end:
            if end > start:
                yield start, end - start
            start, end = first, first + count
        end = max(end, first + count)
    yield start, end - start
