"""Serial ports of this machine, and the boards that their names identify."""

from dataclasses import dataclass

from serial.tools import list_ports

from sigbit_boards import registry


@dataclass(frozen=True)
class Port:
    """A serial port: its name, the description reported by its USB device, and the board that this
    identifies; None if it identifies none."""

    name: str
    product: str
    board: str | None


def ports() -> tuple[Port, ...]:
    """All serial ports that belong to a USB device, in order of their names."""
    found = []
    for port in sorted(list_ports.comports(), key=lambda port: port.device):
        if port.vid is not None:
            product = port.product or port.description or ""
            named = [name for name in registry.names() if name in product.lower()]
            found.append(Port(port.device, product, named[0] if named else None))
    return tuple(found)
