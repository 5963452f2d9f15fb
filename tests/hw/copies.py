"""A Program that only moves data: what a test of bus and registers runs."""

from sigbit_hw.arch import isa
from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.arch.isa import Instr, LoadKind


def copy(config: ArchConfig, beats: int) -> list[Instr]:
    """Copies ``beats`` beats from 0x1000 to 0x6000."""
    slots = beats * config.bus_bits // config.slot_bits
    return [
        isa.Load(kind=LoadKind.ACTS, address=0x1000, n0=slots, beats=beats, signal=4),
        isa.Store(address=0x6000, n0=slots, beats=beats, wait=1),
        isa.Halt(),
    ]
