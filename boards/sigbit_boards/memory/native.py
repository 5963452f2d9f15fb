"""The controller's port for words, as LiteDRAM defines it."""

from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from sigbit_boards.memory.controller import DQ_ADDRESS_BITS, DQ_BITS


class NativePort(wiring.Signature):
    """Members of a master.

    A command is one word; all are executed in order. The word of a write is taken, and the word of
    a read comes, in any later cycle without waiting for the master: it must have the data of every
    command that it gives, and room for them.

    Members
    -------
    valid : Out(1), ready : In(1), write : Out(1), address : Out
        A command.
    data : Out, mask : Out, take : In(1)
        In the cycle of ``take`` the next word is written, its bytes in ``mask``.
    word : In, came : In(1)
        In the cycle of ``came``, the word of the next read.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "valid": Out(1),
                "ready": In(1),
                "write": Out(1),
                "address": Out(DQ_ADDRESS_BITS),
                "data": Out(DQ_BITS),
                "mask": Out(DQ_BITS // 8),
                "take": In(1),
                "word": In(DQ_BITS),
                "came": In(1),
            }
        )
