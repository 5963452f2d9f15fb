"""The memory map of the DMA window.

Regions in order: program, constants, inputs, states, spilled values, weight words, outputs. The
images of an input, an output or a state follow each other; STORE may write from the first state on.
"""

from dataclasses import dataclass, replace

from sigbit.compiler.network import MemoryTensor, Network
from sigbit.compiler.tile.words import block_words, word_blocks
from sigbit_hw.arch import images, isa
from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.arch.isa import Instr, Load, Store

ALIGN = 64
"""Alignment of the regions of the DMA window in bytes: the widest beat."""

CONSTANTS = "(constants)"
"""Name of the region that holds weights, parameters and tables."""

PROGRAM = "(program)"
"""Name of the region that holds the instructions."""


@dataclass(frozen=True)
class WindowMap:
    """Offset of every region by name, the range that STORE may write, and the total size."""

    offsets: dict[str, int]
    write: tuple[int, int]
    end: int

    def place(self, instr: Instr, region: str) -> Instr:
        """``instr`` with its address in ``region``, if it has one, counted from the window's
        start."""
        if not region or not isinstance(instr, Load | Store):
            return instr
        return replace(instr, address=instr.address + self.offsets[region])


def window_map(
    network: Network, instructions: int, constants: int, config: ArchConfig
) -> WindowMap:
    """Memory map for a number of instructions and of bytes of constants."""
    sizes = {PROGRAM: instructions * isa.WORD_BYTES, CONSTANTS: constants}
    tensors = in_order(network)
    sizes |= {tensor.name: tensor_bytes(tensor, config) for tensor in tensors}
    alone = (t.name for t in tensors if not t.image or t.kind in ("spill", "words"))
    starts = {CONSTANTS, PROGRAM, *alone}
    offsets, end = {}, 0
    for name, size in sizes.items():
        offsets[name] = -(-end // ALIGN) * ALIGN if name in starts else end
        end = offsets[name] + size
    written = [offsets[t.name] for t in tensors if t.kind != "input"]
    return WindowMap(offsets, (min(written, default=end), end), end)


def in_order(network: Network) -> list[MemoryTensor]:
    """Tensors in the DMA window, in order of their addresses; constants are in a region of their
    own."""
    kinds = ("input", "state", "spill", "words", "output")
    ports: dict[tuple[int, str], list[MemoryTensor]] = {}
    for tensor in network.memory.values():
        if tensor.kind != "constant":
            ports.setdefault((kinds.index(tensor.kind), tensor.tensor), []).append(tensor)
    groups = sorted(ports.items(), key=lambda item: item[0][0])
    return [t for _, group in groups for t in sorted(group, key=lambda t: t.image)]


def row_bytes(tensor: MemoryTensor, config: ArchConfig) -> int:
    """Size of a row in bytes: all planes, channel slots and column phases."""
    channels, _, width = tensor.shape
    columns = -(-width // tensor.phases) * tensor.phases
    slots = tensor.planes * -(-channels // config.ic_lanes) * columns
    return slots * config.slot_bytes


def tensor_bytes(tensor: MemoryTensor, config: ArchConfig) -> int:
    """Size of a tensor in bytes, padded to whole beats; equals ``Port.bytes``, except for weight
    words."""
    if tensor.kind == "words":
        return word_blocks(tensor, config) * block_words(tensor, config) * config.weight_word_bytes
    return images.beats(tensor.shape[1] * row_bytes(tensor, config), config) * config.bus_bytes
