"""Devices by the names that the command line gives them; the only way to the simulators."""

from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sigbit.runtime import Device
    from sigbit_hw.arch.config import ArchConfig


class DeviceName(StrEnum):
    """``interp``: NumPy, instruction by instruction; ``rtl``: the accelerator's Verilog, cycle by
    cycle; ``netlist``: what synthesis makes of it, in the cells of a target, cycle by cycle."""

    INTERP = "interp"
    RTL = "rtl"
    NETLIST = "netlist"


class NetlistTarget(StrEnum):
    """Targets whose netlists can be simulated."""

    XCUP = "xcup"
    ECP5 = "ecp5"


def preparing(name: DeviceName) -> str:
    """What :func:`open_device` is busy with, for a progress display."""
    doing = {
        DeviceName.INTERP: "preparing",
        DeviceName.RTL: "building the simulator, if not built before",
        DeviceName.NETLIST: "synthesizing and building the simulator, if not done before",
    }
    return f"{name}: {doing[name]}"


def open_device(
    name: DeviceName,
    config: "ArchConfig",
    latency: int,
    target: NetlistTarget = NetlistTarget.XCUP,
) -> "Device":
    """The device ``name`` of accelerator ``config``; ``latency`` is the cycles of the RTL's memory,
    ``target`` that of a netlist.

    The first RTL device of an accelerator compiles its model, which takes a minute or so, a netlist
    several.
    """
    if name is DeviceName.INTERP:
        from sigbit_sim.interp.device import Interp

        return Interp(config)
    from sigbit_sim.rtl.device import RtlDevice

    if name is DeviceName.NETLIST:
        from sigbit_sim.rtl.netlist import netlist_library
        from sigbit_synthesis.target import Target

        netlist_library(config, Target(target.value))
        return RtlDevice(config, latency=latency, netlist=Target(target.value))
    from sigbit_sim.rtl.native.build import library

    library(config)  # built now, not at the first run
    return RtlDevice(config, latency=latency)
