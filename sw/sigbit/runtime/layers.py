"""Layers from write-backs: the slots that an EXEC writes, and their contents by layer."""

import numpy as np
from numpy.typing import NDArray

from sigbit_hw.arch import addressing
from sigbit_hw.arch.isa import Exec, Out
from sigbit_hw.arch.program import Program, ProgramError

Ints = NDArray[np.int64]


class LayerCollector:
    """Assembles the layers of one run from the codes that draining EXECs leave in their slots.

    A layer's stored integers can be collected right after the EXEC has written them, even if the
    slots are overwritten later: get the slots from :meth:`slots_of`, read their codes, pass them to
    :meth:`add`. Raises :class:`ProgramError` if the program holds an illegal instruction.
    """

    def __init__(self, program: Program) -> None:
        self._config = program.config
        self._info = {info.index: info for info in program.execs}
        self._shapes = {layer.name: layer.shape for layer in program.layers}
        self._images = program.images
        self._weights = {layer.name for layer in program.layers if layer.weights}
        self._digits = [
            np.asarray(native.decode(np.arange(1 << native.bits)), np.int32)
            for native in (self._config.act_format, self._config.weight_format)
        ]
        self._instrs: dict[int, tuple[Out, Exec]] = {}
        try:
            listing = program.listing
        except ValueError as error:
            raise ProgramError(f"{program.name}: {error}") from None
        out: Out | None = None
        for index, instr in enumerate(listing):
            if isinstance(instr, Out):
                out = instr
            elif index in self._info:
                if not isinstance(instr, Exec) or not instr.drain or out is None:
                    raise ProgramError(
                        f"instruction {index} is listed as writing layer "
                        f"{self._info[index].layer!r}, but is not a draining EXEC "
                        "after an OUT"
                    )
                self._instrs[index] = (out, instr)
        if missing := set(self._info) - set(self._instrs):
            raise ProgramError(
                f"the program has no instructions {sorted(missing)}, which should write layers"
            )
        self.clear()

    @property
    def execs(self) -> tuple[int, ...]:
        """Instruction indices that write layers, ascending."""
        return tuple(sorted(self._instrs))

    def slots_of(self, index: int) -> Ints:
        """Slots that the EXEC at ``index`` writes: shape ``[planes, channel slots, pixels]``."""
        return addressing.write_slots(*self._instrs[index], self._config)

    def clear(self) -> None:
        """Discard all added codes before the next run."""
        names = sorted({info.layer for info in self._info.values()})
        shapes = {name: (self._images, *self._shapes[name]) for name in names}
        self._values = {name: np.zeros(shape, np.int32) for name, shape in shapes.items()}
        self._written = {name: np.zeros(shape, np.uint8) for name, shape in shapes.items()}

    def add(self, index: int, codes: NDArray[np.uint8]) -> None:
        """Add the codes in the slots of ``slots_of(index)``, shape ``[planes, channel slots,
        pixels, lanes]``. An EXEC that writes no layer is ignored."""
        info = self._info.get(index)
        if info is None:
            return
        channels, height, width = self._shapes[info.layer]
        stored = self._decode(codes, info.layer in self._weights)
        slots, pixels, lanes = stored.shape
        y, x = (
            slice(first, first + (count - 1) * step + 1, step)
            for first, count, step in (
                (info.y, info.rows, info.step[0]),
                (info.x, info.columns, info.step[1]),
            )
        )
        if pixels != info.rows * info.columns * info.images or y.stop > height or x.stop > width:
            raise ProgramError(
                f"instruction {index} writes {pixels} pixels as {info.rows} x {info.columns} of "
                f"{info.images} images of layer {info.layer!r} up to ({y.stop}, {x.stop}), "
                f"which has {height} x {width}"
            )
        last = channels if info.channels is None else info.channel + info.channels
        count = min(slots * lanes, last - info.channel)
        if info.channel + count > channels:
            raise ProgramError(
                f"instruction {index} writes channels up to {info.channel + count} of layer "
                f"{info.layer!r}, which has {channels}"
            )
        shape = info.rows, info.images, info.columns, slots, lanes
        stored = stored.transpose(1, 0, 2).reshape(shape).transpose(1, 3, 4, 0, 2)
        stored = stored.reshape(info.images, slots * lanes, info.rows, info.columns)
        images = slice(info.image, info.image + info.images)
        part = np.s_[images, info.channel : info.channel + count, y, x]
        self._values[info.layer][part] = stored[:, :count]
        self._written[info.layer][part] += 1

    def layers(self) -> dict[str, Ints]:
        """Return stored integers ``[images, C, H, W]`` by layer; raise :class:`ProgramError` unless
        every element was added exactly once."""
        for name, written in self._written.items():
            if wrong := np.count_nonzero(written != 1):
                raise ProgramError(
                    f"layer {name!r}: {wrong} of {written.size} elements were not "
                    "written exactly once"
                )
        return {name: values.astype(np.int64) for name, values in self._values.items()}

    def _decode(self, codes: NDArray[np.uint8], weights: bool) -> NDArray[np.int32]:
        """Return the stored integers of codes ``[planes, ...]``, of ``weights`` or activations."""
        radix = self._config.term_radix_bits
        digits = self._digits[weights][codes]
        return np.sum([d << (radix * plane) for plane, d in enumerate(digits)], axis=0)
