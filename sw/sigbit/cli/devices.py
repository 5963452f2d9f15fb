"""Devices by the names that the command line gives them; the only way to the simulators."""

from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sigbit.runtime import Device
    from sigbit_hw.arch.config import ArchConfig


class DeviceName(StrEnum):
    """``interp``: NumPy, instruction by instruction; ``rtl``: the accelerator's Verilog, cycle by
    cycle."""

    INTERP = "interp"
    RTL = "rtl"


def preparing(name: DeviceName) -> str:
    """What :func:`open_device` is busy with, for a progress display."""
    doing = "building the simulator, if not built before"
    return f"{name}: {doing if name is DeviceName.RTL else 'preparing'}"


def open_device(name: DeviceName, config: "ArchConfig", latency: int) -> "Device":
    """The device ``name`` of accelerator ``config``; ``latency`` is the cycles of the RTL's memory.

    The first RTL device of an accelerator compiles its model, which takes a minute or so.
    """
    if name is DeviceName.INTERP:
        from sigbit_sim.interp import Interp

        return Interp(config)
    from sigbit_sim.native.build import library
    from sigbit_sim.rtl import RtlDevice

    library(config)  # built now, not at the first run
    return RtlDevice(config, latency=latency)
