"""Weight words of an operation: codes in the order in which the array reads them."""

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from sigbit.compiler.network import Op, Operand
from sigbit.compiler.segments import Segment
from sigbit_hw.arch import images
from sigbit_hw.arch.config import ArchConfig

Codes = NDArray[np.uint8]


class WeightWords:
    """Codes of all operands of ``op``, arranged by output-channel block, kernel position, channel
    slot.

    Lanes past the last channel hold the code of 0. A depthwise kernel becomes diagonal words, one
    for each channel slot of the block.
    """

    def __init__(self, op: Op, config: ArchConfig) -> None:
        self._op = op
        self._config = config

    @cached_property
    def _arrays(self) -> list[Codes]:
        return [self._arrange(operand) for operand in self._op.operands]

    def _arrange(self, operand: Operand) -> Codes:
        """Codes ``[terms, blocks, kh, kw, slots, oc_lanes, ic_lanes]``."""
        c = self._config
        assert operand.weights is not None
        codes = c.weight_grid(operand.terms).encode(operand.weights)
        terms, oc, ic, kh, kw = codes.shape
        blocks = -(-oc // c.oc_lanes)
        full = np.zeros((terms, blocks * c.oc_lanes, ic, kh, kw), np.uint8)
        full[:, :oc] = codes
        if operand.depthwise:
            spread = np.zeros(
                (terms, blocks, c.slots_per_block, c.ic_lanes, c.oc_lanes, kh, kw), np.uint8
            )
            lane = np.arange(c.oc_lanes)
            taps = full.reshape(terms, blocks, c.oc_lanes, kh, kw)
            spread[:, :, lane // c.ic_lanes, lane % c.ic_lanes, lane] = taps
            return spread.transpose(0, 1, 5, 6, 2, 4, 3)
        slots = -(-ic // c.ic_lanes)
        full = np.pad(full, ((0, 0), (0, 0), (0, slots * c.ic_lanes - ic), (0, 0), (0, 0)))
        full = full.reshape(terms, blocks, c.oc_lanes, slots, c.ic_lanes, kh, kw)
        return full.transpose(0, 1, 5, 6, 3, 2, 4)

    def image(self, segments: list[Segment], first: int, count: int) -> Codes:
        """Bytes of the words of ``segments`` for output-channel blocks ``[first, first +
        count)``."""
        c = self._config
        parts = []
        for s in segments:
            columns = slice(s.column, s.column + (s.columns - 1) * s.phases + 1, s.phases)
            part = self._arrays[s.operand][
                s.term,
                first : first + count,
                s.row : s.row + s.rows,
                columns,
                s.slot : s.slot + s.slots,
            ]
            parts.append(part.reshape(count, s.steps, c.oc_lanes, c.ic_lanes))
        words = np.concatenate(parts, axis=1).reshape(-1, c.oc_lanes, c.ic_lanes)
        return images.pack_weights(words, c)
