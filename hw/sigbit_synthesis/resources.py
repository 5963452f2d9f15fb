"""Resources of cells: LUTs, flip-flops, carries, memories."""

from collections.abc import Mapping
from dataclasses import astuple, dataclass

from sigbit_synthesis.target import (
    CARRIES,
    DSPS,
    MEMORIES,
    WIDE_MUXES,
    is_lut,
    is_register,
    is_shift_register,
)


@dataclass(frozen=True)
class Resources:
    """Cells of a module, a block or a design, before place and route.

    Every LUT of a carry chain is a cell of its own, although a vendor's packer would often share
    one.

    Parameters
    ----------
    lut : int
        LUT cells, distributed memory and shift registers included; on ECP5 two for each CCU2C,
        which holds them.
    ff, carry, dsp : int
        Flip-flops; CARRY4 or CARRY8, CCU2C, SB_CARRY; multiplier blocks.
    lut_memory, lut_shift : int
        The LUTs of ``lut`` that are distributed memory, and shift registers.
    wide_mux : int
        Multiplexers behind LUTs (MUXF7 ..., PFUMX ...).
    block_bits : int
        Capacity of the block memories used.
    blocks : float
        Block memories: RAMB36 (a RAMB18 is half a one), EBR, RAM40.
    ultra : int
        UltraRAM blocks.
    """

    lut: int = 0
    ff: int = 0
    carry: int = 0
    dsp: int = 0
    lut_memory: int = 0
    lut_shift: int = 0
    wide_mux: int = 0
    block_bits: int = 0
    blocks: float = 0
    ultra: int = 0

    def __add__(self, other: "Resources") -> "Resources":
        return Resources(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))

    def __sub__(self, other: "Resources") -> "Resources":
        return Resources(*(a - b for a, b in zip(astuple(self), astuple(other), strict=True)))

    def __mul__(self, times: int) -> "Resources":
        return Resources(*(times * a for a in astuple(self)))

    @classmethod
    def of_cells(cls, cells: Mapping[str, int]) -> "Resources":
        """Sum up numbers of cells by type; types that cost nothing are skipped."""
        memories = [(MEMORIES[cell], n) for cell, n in cells.items() if cell in MEMORIES]
        lut_memory = sum(n * memory.luts for memory, n in memories)
        lut_shift = sum(n for cell, n in cells.items() if is_shift_register(cell))
        luts = sum(n for cell, n in cells.items() if is_lut(cell))
        return cls(
            lut=luts + 2 * cells.get("CCU2C", 0) + lut_memory + lut_shift,
            ff=sum(n for cell, n in cells.items() if is_register(cell)),
            carry=sum(n for cell, n in cells.items() if cell in CARRIES),
            dsp=sum(n for cell, n in cells.items() if cell in DSPS),
            lut_memory=lut_memory,
            lut_shift=lut_shift,
            wide_mux=sum(n for cell, n in cells.items() if cell in WIDE_MUXES),
            block_bits=sum(n * memory.bits for memory, n in memories),
            blocks=sum(n * memory.blocks for memory, n in memories),
            ultra=sum(n for memory, n in memories if memory.ultra),
        )
