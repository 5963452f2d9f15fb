"""Devices by name: the only way from the software to the simulators."""

from enum import StrEnum
from typing import TYPE_CHECKING

from sigbit.errors import UserError

if TYPE_CHECKING:
    from sigbit.runtime import Device
    from sigbit_hw.arch.config import ArchConfig
    from sigbit_sim.memory import Memory


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


def device_name(name: str) -> DeviceName:
    """Return the device called ``name``; :class:`UserError` if there is none."""
    try:
        return DeviceName(name)
    except ValueError:
        raise UserError(f"a device must be {_or(DeviceName)}, not {name!r}") from None


def target_name(name: str) -> NetlistTarget:
    """Return the target called ``name``; :class:`UserError` if no netlist of it can be
    simulated."""
    try:
        return NetlistTarget(name)
    except ValueError:
        raise UserError(
            f"the target of a netlist must be {_or(NetlistTarget)}, not {name!r}"
        ) from None


def device(
    name: str, arch: "str | ArchConfig", *, latency: int = 40, target: str = "xcup"
) -> "Device":
    """Return a device that runs Programs of an accelerator.

    Parameters
    ----------
    name : str
        "interp", the interpreter in NumPy; "rtl", the accelerator's Verilog in Verilator, cycle by
        cycle; or "netlist", the cells that synthesis makes of it, cycle by cycle.
    arch : str or ArchConfig
        The accelerator.
    latency : int
        Memory latency of RTL and netlist, in cycles.
    target : str
        Whose cells a netlist is made of: "xcup" or "ecp5".

    The first RTL device of an accelerator builds its simulator, which takes a minute or so; a
    netlist takes several.
    """
    from sigbit.inputs.accelerators import load_arch
    from sigbit_sim.memory import MemoryTiming

    memory = MemoryTiming(latency)
    return open_device(device_name(name), load_arch(arch), memory, target_name(target))


def _or(names: type[StrEnum]) -> str:
    return " or ".join(names)


def preparing(name: DeviceName) -> str:
    """Say what :func:`open_device` is busy with, for a progress display."""
    doing = {
        DeviceName.INTERP: "preparing",
        DeviceName.RTL: "building the simulator, if not built before",
        DeviceName.NETLIST: "synthesizing and building the simulator, if not done before",
    }
    return f"{name}: {doing[name]}"


def open_device(
    name: DeviceName,
    config: "ArchConfig",
    memory: "Memory",
    target: NetlistTarget = NetlistTarget.XCUP,
) -> "Device":
    """Return the device ``name`` of accelerator ``config``; ``memory`` is behind the ports of
    the RTL, ``target`` is that of a netlist.

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
        return RtlDevice(config, memory=memory, netlist=Target(target.value))
    from sigbit_sim.rtl.native.build import library

    library(config)  # built now, not at the first run
    return RtlDevice(config, memory=memory)
