"""Accelerators and integers of the proofs about the DMA window."""

from dataclasses import replace

from sigbit_hw.arch import isa
from sigbit_hw.arch.config import PRESETS
from sigbit_hw.arch.isa import BEATS_BITS

NANO = PRESETS["nano"]
FOUR = replace(NANO, name="four_ports", oc_lanes=16, bus_bits=256, ports=4, burst_beats=4)
CONFIGS = {"nano": NANO, "four ports": FOUR}
WIDE = isa.ADDRESS_BITS + BEATS_BITS
"""Bits of integers that no sum of the proofs wraps."""
