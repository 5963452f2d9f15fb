"""Layers from write-backs: which slots an EXEC writes, and what they hold of which layer."""

import numpy as np
from numpy.typing import NDArray

from sigbit_hw.arch import addressing
from sigbit_hw.arch.isa import Instr, Opcode
from sigbit_hw.arch.program import Program, ProgramError

Ints = NDArray[np.int64]


class LayerCollector:
    """Assembles the layers of one image from the codes that draining EXECs leave in their slots.

    A layer's stored integers can be collected right after the EXEC has written them, whatever
    happens to the slots later: ask :meth:`slots_of` where they lie, read the codes, give them to
    :meth:`add`. :class:`ProgramError` if the program holds an illegal instruction.
    """

    def __init__(self, program: Program) -> None:
        self._config = program.config
        self._info = {info.index: info for info in program.execs}
        self._shapes = {layer.name: layer.shape for layer in program.layers}
        self._grids = {layer.name: self._config.act_grid(layer.planes) for layer in program.layers}
        self._instrs: dict[int, tuple[Instr, Instr]] = {}
        try:
            listing = program.listing
        except ValueError as error:
            raise ProgramError(f"{program.name}: {error}") from None
        out: Instr | None = None
        for index, instr in enumerate(listing):
            if instr.opcode == Opcode.OUT:
                out = instr
            elif index in self._info:
                if instr.opcode != Opcode.EXEC or not instr.drain or out is None:
                    raise ValueError(f"instruction {index} is listed as writing layer "
                                     f"{self._info[index].layer!r}, but is not a draining EXEC "
                                     "after an OUT")
                self._instrs[index] = (out, instr)
        if missing := set(self._info) - set(self._instrs):
            raise ValueError(f"the program has no instructions {sorted(missing)}, "
                             "which should write layers")
        self.clear()

    @property
    def execs(self) -> tuple[int, ...]:
        """Instruction indices that write layers, ascending."""
        return tuple(sorted(self._instrs))

    def slots_of(self, index: int) -> Ints:
        """Slots that the EXEC at ``index`` writes: shape ``[planes, channel slots, pixels]``."""
        return addressing.write_slots(*self._instrs[index], self._config)

    def clear(self) -> None:
        """Forget everything added: the next image begins."""
        names = sorted({info.layer for info in self._info.values()})
        self._values = {name: np.zeros(self._shapes[name], np.int64) for name in names}
        self._written = {name: np.zeros(self._shapes[name], np.int64) for name in names}

    def add(self, index: int, codes: NDArray[np.uint8]) -> None:
        """Take the codes that the slots of ``slots_of(index)`` hold, shape
        ``[planes, channel slots, pixels, lanes]``. An EXEC that writes no layer is ignored.
        """
        info = self._info.get(index)
        if info is None:
            return
        channels, height, width = self._shapes[info.layer]
        stored = self._grids[info.layer].decode(codes)
        slots, pixels, lanes = stored.shape
        stored = stored.transpose(0, 2, 1).reshape(slots * lanes, pixels)[:channels - info.channel]
        if info.pixel + pixels > height * width:
            raise ValueError(f"instruction {index} writes pixels {info.pixel} to "
                             f"{info.pixel + pixels - 1} of layer {info.layer!r}, which has "
                             f"{height * width}")
        part = np.s_[info.channel:info.channel + len(stored), info.pixel:info.pixel + pixels]
        self._values[info.layer].reshape(channels, -1)[part] = stored
        self._written[info.layer].reshape(channels, -1)[part] += 1

    def layers(self) -> dict[str, Ints]:
        """Stored integers ``[C, H, W]`` by layer; ``ValueError`` unless every element was added
        exactly once."""
        for name, written in self._written.items():
            if wrong := np.count_nonzero(written != 1):
                raise ValueError(f"layer {name!r}: {wrong} of {written.size} elements were not "
                                 "written exactly once")
        return {name: values.copy() for name, values in self._values.items()}
