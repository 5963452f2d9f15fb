"""Devices that are available for Programs on this machine."""

from dataclasses import dataclass

from sigbit.flows.devices import DeviceName
from sigbit.flows.result import Result, Stopwatch
from sigbit_tools.extras import remedy
from sigbit_tools.toolchain import ToolchainError, find_verilator, synth_tool


@dataclass(frozen=True)
class Listed:
    """A device: its name for ``--device``, a description, and the reason if it cannot be used."""

    device: str
    what: str
    missing: str = ""


@dataclass(frozen=True, kw_only=True)
class DeviceList(Result):
    """Simulators, then UIO devices, then boards by port. ``note`` is the reason if no port could be
    listed."""

    devices: tuple[Listed, ...]
    note: str = ""


def device_list() -> DeviceList:
    """List the available devices. No port is opened, because that would disturb another program's
    device."""
    watch = Stopwatch()
    found = [
        Listed(DeviceName.INTERP, "the interpreter, instruction by instruction"),
        Listed(DeviceName.RTL, "the accelerator's Verilog in Verilator", _missing()),
        Listed(DeviceName.NETLIST, "what synthesis makes of it, in Verilator", _missing()),
    ]
    from sigbit_boards.host.linux.kernel import Kernel
    from sigbit_boards.host.linux.uio import uio_names

    for name in sorted(set(uio_names(Kernel()).values())):
        found.append(Listed(f"uio:{name}", "a UIO device of this machine"))
    note = ""
    try:
        from sigbit_boards.host.ports import ports
    except ModuleNotFoundError as error:
        note = remedy(error) or str(error)
    else:
        for port in ports():
            what = port.product or "a serial port"
            if port.board is None:
                what += ", which names no board: say which one it is"
            found.append(Listed(f"{port.board or 'BOARD'}:{port.name}", what))
    return DeviceList(devices=tuple(found), note=note, **watch.read())


def _missing() -> str:
    """Return the reason if simulators of Verilog cannot be built; else empty."""
    try:
        synth_tool("yosys")
        find_verilator()
    except ToolchainError as error:
        return str(error)
    return ""
