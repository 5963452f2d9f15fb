"""Access to boards by the name of their port."""

from functools import partial

from sigbit.runtime import BoardError
from sigbit_boards import registry
from sigbit_boards.host.device import BoardDevice
from sigbit_boards.host.line import SerialLine
from sigbit_boards.host.link import PATIENCE, FaultyMemoryError, SerialLink
from sigbit_boards.host.steps import SilenceError, Transport
from sigbit_hw.arch.config import ArchConfig


def board_device(
    board: str, port: str, config: ArchConfig, *, patience: float = PATIENCE
) -> BoardDevice:
    """The named board at a serial port, with an accelerator ``config``; it is opened at its first
    use.

    Parameters
    ----------
    patience : float
        Seconds of silence that are tolerated.

    Raises ``ValueError`` if there is no such board.
    """
    bauds = registry.load(board).bauds
    connect = partial(connected, board, port, bauds, patience)
    return BoardDevice(f"{board}:{port}", config, connect)


def memory_test(board: str, port: str) -> tuple[int, tuple[int, ...]]:
    """Wrong words and wrong data lines that the named board found when it tested its memory at
    start.

    Raises :class:`BoardError` as :func:`connected` does.
    """
    try:
        transport = connected(board, port, registry.load(board).bauds, PATIENCE)
    except FaultyMemoryError as error:
        return error.words, error.lines
    transport.close()
    return 0, ()


def connected(board: str, port: str, bauds: tuple[int, ...], patience: float) -> Transport:
    """The board at a port, connected at the first of the bit rates ``bauds`` at which it answers.

    Raises :class:`BoardError` if it answers at none, or if the port cannot be used.
    """
    for baud in bauds:
        line = SerialLine(port, baud)
        try:
            return SerialLink(line, patience)
        except SilenceError:
            line.close()
        except BaseException:
            line.close()
            raise
    speeds = " or ".join(f"{baud:,}" for baud in bauds)
    raise BoardError(
        f"{port}: no {board} answers at {speeds} bits per second: is it the right port, and does "
        f"the board have its bitstream? `sigbit load {board} DIR` loads it"
    )
