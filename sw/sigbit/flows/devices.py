"""Devices by name: the software's only access to simulators and boards."""

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from sigbit.errors import UserError, given
from sigbit.flows.progress import Tell, silent

if TYPE_CHECKING:
    from sigbit.runtime import Device
    from sigbit_hw.arch.config import ArchConfig
    from sigbit_sim.memory import Memory


class DeviceName(StrEnum):
    """``interp``: NumPy, instruction by instruction; ``rtl``: the accelerator's Verilog, cycle by
    cycle; ``netlist``: the result of synthesis, in the cells of a target, cycle by cycle."""

    INTERP = "interp"
    RTL = "rtl"
    NETLIST = "netlist"


@dataclass(frozen=True)
class BoardName:
    """A board and its port, such as ``ulx3s:/dev/ttyUSB0``; or ``uio`` and the name of a UIO device
    of this machine, such as ``uio:sigbit``."""

    board: str
    port: str

    def __str__(self) -> str:
        return f"{self.board}:{self.port}"


_UIO = "uio"
"""The machine's own accelerators, reached by UIO."""

AnyDevice = DeviceName | BoardName
"""The name of a simulator or of a board."""


class NetlistTarget(StrEnum):
    """Targets whose netlists can be simulated."""

    XCUP = "xcup"
    ECP5 = "ecp5"


def device_name(name: str) -> AnyDevice:
    """Return the device called ``name``; raise :class:`UserError` if there is none."""
    for simulator in DeviceName:
        if name == simulator:
            return simulator
    board, colon, port = name.partition(":")
    if not colon or not board:
        raise UserError(
            f"a device must be {', '.join(DeviceName)}, a board and its port such as "
            f"ulx3s:/dev/ttyUSB0, or uio:NAME, not {name!r}: `sigbit devices` lists them"
        )
    if board == _UIO:
        if not port:
            raise UserError(f"device {name}: name the UIO device, such as uio:sigbit")
        return BoardName(board, port)
    from sigbit_boards import registry

    with given(f"device {name}"):
        registry.load(board)
    if not port:
        raise UserError(f"device {name}: name the board's port, such as {board}:/dev/ttyUSB0")
    return BoardName(board, port)


def target_name(name: str) -> NetlistTarget:
    """Return the target called ``name``; raise :class:`UserError` if no netlist of it can be
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
        cycle; "netlist", its cells after synthesis, cycle by cycle; a board and its
        port, such as "ulx3s:/dev/ttyUSB0"; or, on a board that runs Linux, "uio:NAME".
    arch : str or ArchConfig
        The accelerator.
    latency : int
        Memory latency of RTL and netlist, in cycles.
    target : str
        Target that provides a netlist's cells: "xcup" or "ecp5".

    The first RTL device of an accelerator builds its simulator, which takes about a minute; a
    netlist takes several. A board is opened when it is first used.
    """
    from sigbit.inputs.accelerators import load_arch
    from sigbit_sim.memory import MemoryTiming

    memory = MemoryTiming(latency)
    return open_device(device_name(name), load_arch(arch), memory, target_name(target))


def _or(names: type[StrEnum]) -> str:
    return " or ".join(names)


def open_device(
    name: AnyDevice,
    config: "ArchConfig",
    memory: "Memory",
    target: NetlistTarget = NetlistTarget.XCUP,
    tell: Tell = silent,
) -> "Device":
    """Return the device ``name`` of accelerator ``config``; ``memory`` is behind the ports of the
    RTL, ``target`` is the netlist's target. ``tell`` reports what is built.

    The first RTL device of an accelerator compiles its model, which takes about a minute; a netlist
    takes several. A board is opened when it is first used.
    """
    tell(f"{name}: preparing")
    if isinstance(name, BoardName):
        if name.board == _UIO:
            from sigbit_boards.host.linux.connect import linux_device

            with given(f"device {name}"):
                return linux_device(name.port, config)
        from sigbit_boards.host.connect import board_device

        return board_device(name.board, name.port, config)
    if name is DeviceName.INTERP:
        from sigbit_sim.interp.device import Interp

        return Interp(config)
    from sigbit_sim.rtl.device import RtlDevice

    def building(what: str, done: int, of: int) -> None:
        tell(f"{name}: {what}", done, of)

    if name is DeviceName.NETLIST:
        from sigbit_sim.rtl.netlist import netlist_library
        from sigbit_synthesis.target import Target

        netlist_library(config, Target(target.value), building)
        return RtlDevice(config, memory=memory, netlist=Target(target.value))
    from sigbit_sim.rtl.native.build import library

    library(config, progress=building)  # built now, not at the first run
    return RtlDevice(config, memory=memory)
