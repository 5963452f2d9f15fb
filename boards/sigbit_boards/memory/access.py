"""How a board's memory is used: by an accelerator and by a host."""

from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from sigbit_hw.gateware.ports import axi_master


class Access(wiring.Signature):
    """Members of who uses a memory of ``size`` bytes, a power of two.

    Members
    -------
    bus : Out(axi_master(bus_bits))
        The AXI4 master's signals.
    host_index : Out, host_write : Out(1), host_read : Out(1), host_data : Out(32)
        Write or read 32-bit word ``host_index``: hold until ``host_done``.
    host_done : In(1), host_word : In(32)
        For one cycle: access done; the word read, from a register.
    """

    def __init__(self, size: int, bus_bits: int) -> None:
        super().__init__(
            {
                "bus": Out(wiring.Signature(axi_master(bus_bits))),
                "host_index": Out(exact_log2(size // 4)),
                "host_write": Out(1),
                "host_read": Out(1),
                "host_data": Out(32),
                "host_done": In(1),
                "host_word": In(32),
            }
        )
