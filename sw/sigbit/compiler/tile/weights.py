"""Weight words of operations: codes in the order in which the array reads them."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from sigbit.compiler.groups import Blocks
from sigbit.compiler.network import Op, Operand
from sigbit.compiler.tile.segments import Segment, word_places
from sigbit.ir.constants import digests
from sigbit_hw.arch import images
from sigbit_hw.arch.config import ArchConfig

Codes = NDArray[np.uint8]


class WeightWords:
    """Bytes of the weight words of operations; equal requests return the same array.

    Operations share words if their weights are equal, as for bands and images of a layer. Lanes
    past the last channel, and inputs of other groups, hold the code of 0.
    """

    def __init__(self, config: ArchConfig) -> None:
        self._config = config
        self._images: dict[tuple[object, ...], Codes] = {}
        self._tables: dict[int, tuple[int, Codes]] = {}

    def image(self, op: Op, segments: tuple[Segment, ...], blocks: Blocks) -> Codes:
        """Bytes of the words of ``segments`` for all ``blocks``, placed by ``word_places``."""
        weights = digests(o.weights for o in op.operands)
        parts = tuple(
            (weights[s.operand], replace(s, operand=0, plane=0, shift=False)) for s in segments
        )
        groups = tuple((o.channels, o.groups) for o in op.operands)
        key = (parts, groups, op.channels, blocks)
        if key not in self._images:
            self._images[key] = self._build(op, segments, blocks)
        return self._images[key]

    def _code_table(self, terms: int) -> tuple[int, Codes]:
        """(smallest value, codes by ``[term, value - smallest value]``) of weights of ``terms``
        terms."""
        if terms in self._tables:
            return self._tables[terms]
        grid = self._config.weight_grid(terms)
        low = int(grid.values[0])
        codes = np.zeros((terms, int(grid.values[-1]) - low + 1), np.uint8)
        codes[:, grid.values - low] = grid.encode(grid.values)
        self._tables[terms] = low, codes
        return low, codes

    def _build(self, op: Op, segments: tuple[Segment, ...], blocks: Blocks) -> Codes:
        c = self._config
        firsts, count = word_places(segments)
        words = np.empty((blocks.count, count, c.oc_lanes, c.ic_lanes), np.uint8)
        distinct = dict(zip(firsts, segments, strict=True))
        used = sorted({s.operand for s in segments})
        for index in range(blocks.count):
            part = blocks.part(index, 1)
            values = {i: self._values(op, op.operands[i], part, i) for i in used}
            for at, s in distinct.items():
                low, codes = self._code_table(op.operands[s.operand].terms)
                rows, columns, slots = _taps(s)
                taps = values[s.operand][rows, columns, slots] - low
                words[index, at : at + s.steps] = codes[s.term][taps].reshape(
                    s.steps, c.oc_lanes, c.ic_lanes
                )
        return images.pack_weights(words.reshape(-1, c.oc_lanes, c.ic_lanes), c)

    def _values(self, op: Op, operand: Operand, block: Blocks, index: int) -> NDArray[np.int64]:
        """Weights of one output block ``[kh, kw, slots, oc_lanes, ic_lanes]``."""
        c = self._config
        assert operand.weights is not None
        first = block.first * c.oc_lanes
        weights = operand.weights[first : first + c.oc_lanes]
        outputs, inputs, kh, kw = weights.shape
        slots = block.counts[index]
        full = np.zeros((kh, kw, c.oc_lanes, slots * c.ic_lanes), np.int64)
        group = (first + np.arange(outputs)) // (op.channels // operand.groups)
        start = group * inputs - block.slots[index] * c.ic_lanes
        lanes = start[:, None] + np.arange(inputs)
        full[:, :, np.arange(outputs)[:, None], lanes] = weights.transpose(2, 3, 0, 1)
        full = full.reshape(kh, kw, c.oc_lanes, slots, c.ic_lanes)
        return full.transpose(0, 1, 3, 2, 4)


def _taps(s: Segment) -> tuple[slice, slice, slice]:
    """Kernel rows, kernel columns and channel slots of a segment."""
    columns = slice(s.column, s.column + (s.columns - 1) * s.spacing + 1, s.spacing)
    return slice(s.row, s.row + s.rows), columns, slice(s.slot, s.slot + s.slots)
