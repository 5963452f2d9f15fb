"""Channel slots of an operand that each output-channel block of the array reads.

A convolution of several groups multiplies only some channels with each other. An output block reads
the contiguous slots that hold the inputs of all its groups; inputs of other groups than the
output's own have weight 0. A dense operand is one group, a depthwise one has as many groups as
channels.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from sigbit.compiler.network import Op, Operand
from sigbit_hw.arch.config import ArchConfig


@dataclass(frozen=True)
class Blocks:
    """``count`` adjacent output blocks, from block ``first`` on, whose operands advance regularly:
    for each operand, the first channel slot of the first block (counted from the operand's own
    first), the number of slots a block reads, and the slots from one block to the next."""

    first: int
    count: int
    slots: tuple[int, ...]
    counts: tuple[int, ...]
    steps: tuple[int, ...]

    def part(self, first: int, count: int) -> "Blocks":
        """``count`` of the blocks, starting with the ``first``-th of these."""
        slots = tuple(s + first * d for s, d in zip(self.slots, self.steps, strict=True))
        return Blocks(self.first + first, count, slots, self.counts, self.steps)


def out_blocks(op: Op, config: ArchConfig) -> int:
    """Output blocks of ``op``: of oc_lanes channels, or of ic_lanes for maxima and copies."""
    return -(-op.channels // (config.oc_lanes if op.kind == "conv" else config.ic_lanes))


def input_slots(op: Op, operand: Operand, block: int, config: ArchConfig) -> tuple[int, int]:
    """(first, count) of the channel slots that output block ``block`` of a convolution reads,
    counted from the operand's first."""
    outputs, inputs = op.channels // operand.groups, operand.channels // operand.groups
    first = block * config.oc_lanes // outputs * inputs
    last_channel = min((block + 1) * config.oc_lanes, op.channels) - 1
    last = (last_channel // outputs + 1) * inputs - 1
    slot = first // config.ic_lanes
    return slot, last // config.ic_lanes + 1 - slot


def regular_blocks(op: Op, config: ArchConfig) -> Iterator[Blocks]:
    """Output blocks of a convolution in regular sequences, as few as a greedy split gives."""
    reads = [
        tuple(input_slots(op, operand, block, config) for operand in op.operands)
        for block in range(out_blocks(op, config))
    ]
    first = 0
    while first < len(reads):
        slots, counts = zip(*reads[first], strict=True)
        steps = tuple(0 for _ in slots)
        end = first + 1
        while end < len(reads) and tuple(n for _, n in reads[end]) == counts:
            moved = tuple(a - b for (a, _), (b, _) in zip(reads[end], reads[end - 1], strict=True))
            if end == first + 1:
                steps = moved
            elif moved != steps:
                break
            end += 1
        yield Blocks(first, end - first, slots, counts, steps)
        first = end
