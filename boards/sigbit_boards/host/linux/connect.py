"""Accelerators of this machine by name."""

from collections.abc import Callable
from functools import partial

from sigbit_boards.host.device import BoardDevice
from sigbit_boards.host.linux.buffers import Buffer, ReservedMemory, UDmaBuf, XrtBuffer
from sigbit_boards.host.linux.kernel import Kernel
from sigbit_boards.host.linux.transport import LinuxBoard
from sigbit_boards.host.linux.uio import Uio
from sigbit_boards.host.steps import Transport
from sigbit_hw.arch import bus
from sigbit_hw.arch.config import ArchConfig

BOARD = "uio"
"""Part of a device's name before the colon."""

_FORMS = "NAME, NAME,u-dma-buf=NAME, NAME,xrt=BYTES or NAME,reserved=ADDRESS+BYTES"


def linux_device(name: str, config: ArchConfig, kernel: Kernel | None = None) -> BoardDevice:
    """The accelerator ``config`` behind a UIO device; it is opened at its first use.

    Parameters
    ----------
    name : str
        Name of the UIO device, optionally followed by a comma and its memory: ``u-dma-buf=NAME``,
        ``xrt=BYTES``, or ``reserved=ADDRESS+BYTES``; the default is the u-dma-buf of the same name.
        Numbers may be hexadecimal (0x...).
    kernel : Kernel, optional

    Raises ``ValueError`` for any other form.
    """
    kernel = kernel or Kernel()
    uio, comma, memory = name.partition(",")
    open_buffer = _provider(kernel, memory if comma else f"u-dma-buf={uio}")
    connect = partial(_connected, f"{BOARD}:{name}", kernel, uio, open_buffer, config)
    return BoardDevice(f"{BOARD}:{name}", config, connect)


def _connected(
    name: str, kernel: Kernel, uio: str, open_buffer: Callable[[], Buffer], config: ArchConfig
) -> Transport:
    registers = Uio(kernel, uio)
    try:
        return LinuxBoard(name, registers, open_buffer(), config)
    except BaseException:
        registers.close()
        raise


def _provider(kernel: Kernel, memory: str) -> Callable[[], Buffer]:
    """Function that opens the memory of this description."""
    kind, _, value = memory.partition("=")
    if kind == "u-dma-buf" and value and "/" not in value:
        return partial(UDmaBuf, kernel, value)
    if kind == "xrt":
        return partial(XrtBuffer, _number(value, "BYTES"))
    if kind == "reserved":
        address, _, size = value.partition("+")
        return partial(ReservedMemory, kernel, _number(address, "ADDRESS"), _number(size, "BYTES"))
    raise ValueError(f"a Linux device is {_FORMS}, its memory is not {memory!r}")


def _number(text: str, what: str) -> int:
    try:
        value = int(text, 0)
    except ValueError:
        value = -1
    if value <= 0 or value % bus.PAGE_BYTES:
        raise ValueError(
            f"{what} must be a multiple of {bus.PAGE_BYTES} such as 0x870000000, not {text!r}"
        )
    return value
