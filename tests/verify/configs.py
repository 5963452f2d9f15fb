"""Accelerators of the verification: three presets and a small one with four ports."""

from dataclasses import replace

from sigbit_hw.arch.config import PRESETS

NANO = PRESETS["nano"]
FOUR = replace(NANO, name="four_ports", oc_lanes=16, bus_bits=256, ports=4, burst_beats=4)
CONFIGS = {"nano": NANO, "four ports": FOUR, "micro": PRESETS["micro"], "ecp5": PRESETS["ecp5"]}
