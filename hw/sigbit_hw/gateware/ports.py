"""Flat-named ports of the accelerator: AXI4-Lite slave, AXI4 masters, interrupt, and optional trace
outputs.

Names follow the vendors' conventions (``s_axil_awaddr``, ``m_axi_rdata`` …), so that Vivado and
cocotbext-axi recognize the interfaces. ``clk`` and ``rst`` (active high, synchronous) are added by
the emitter.
"""

from amaranth.lib.wiring import In, Member, Out
from amaranth.utils import ceil_log2

from sigbit_hw.arch import bus, isa, regs
from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.arch.isa import INDEX_BITS

ENGINE_NAMES = tuple(engine.name.lower() for engine in isa.Engine)


def axi_lite_slave() -> dict[str, Member]:
    """AXI4-Lite slave: 32-bit data, ``regs.ADDRESS_BITS`` of byte address."""
    return {
        "awaddr": In(regs.ADDRESS_BITS),
        "awprot": In(3),
        "awvalid": In(1),
        "awready": Out(1),
        "wdata": In(32),
        "wstrb": In(4),
        "wvalid": In(1),
        "wready": Out(1),
        "bresp": Out(2),
        "bvalid": Out(1),
        "bready": In(1),
        "araddr": In(regs.ADDRESS_BITS),
        "arprot": In(3),
        "arvalid": In(1),
        "arready": Out(1),
        "rdata": Out(32),
        "rresp": Out(2),
        "rvalid": Out(1),
        "rready": In(1),
    }


def axi_master(bus_bits: int) -> dict[str, Member]:
    """AXI4 master: ``bus_bits`` of data, 1-bit identifiers that are always 0."""
    address = {
        "id": Out(1),
        "addr": Out(bus.ADDRESS_BITS),
        "len": Out(8),
        "size": Out(3),
        "burst": Out(2),
        "cache": Out(4),
        "prot": Out(3),
        "qos": Out(4),
        "valid": Out(1),
        "ready": In(1),
    }
    return {
        **{f"ar{name}": member for name, member in address.items()},
        "rid": In(1),
        "rdata": In(bus_bits),
        "rresp": In(2),
        "rlast": In(1),
        "rvalid": In(1),
        "rready": Out(1),
        **{f"aw{name}": member for name, member in address.items()},
        "wdata": Out(bus_bits),
        "wstrb": Out(bus_bits // 8),
        "wlast": Out(1),
        "wvalid": Out(1),
        "wready": In(1),
        "bid": In(1),
        "bresp": In(2),
        "bvalid": In(1),
        "bready": Out(1),
    }


def axi_prefixes(config: ArchConfig) -> tuple[str, ...]:
    """Prefixes of the AXI4 masters' signals: ``m_axi_``, or ``m_axi0_``, ``m_axi1_``, …"""
    if config.ports == 1:
        return ("m_axi_",)
    return tuple(f"m_axi{port}_" for port in range(config.ports))


def trace(config: ArchConfig) -> dict[str, Member]:
    """Signals observed by checkers.

    ``trace_act_{b}_*``: the write to bank b of the activation memory. ``trace_start_{engine}``: in
    this cycle the instruction with that index enters its engine, its tokens taken.
    ``trace_retire_{engine}``: the instruction with that index has finished (``SEG`` and ``OUT`` do
    not appear). ``trace_feeding``: the array is fed operands.
    """
    members: dict[str, Member] = {}
    for bank in range(config.pixels):
        members[f"trace_act_{bank}_valid"] = Out(1)
        members[f"trace_act_{bank}_word"] = Out(ceil_log2(config.act_slots // config.pixels))
        members[f"trace_act_{bank}_data"] = Out(config.slot_bits)
    for event in ("start", "retire"):
        for engine in ENGINE_NAMES:
            members[f"trace_{event}_{engine}"] = Out(1)
            members[f"trace_{event}_{engine}_index"] = Out(INDEX_BITS)
    members["trace_feeding"] = Out(1)
    return members


def accelerator(config: ArchConfig, *, traced: bool = False) -> dict[str, Member]:
    """All ports of the accelerator except ``clk`` and ``rst``; if ``traced``, including those of
    :func:`trace`."""
    return {
        **{f"s_axil_{name}": member for name, member in axi_lite_slave().items()},
        **{
            f"{prefix}{name}": member
            for prefix in axi_prefixes(config)
            for name, member in axi_master(8 * config.port_bytes).items()
        },
        "irq": Out(1),
        **(trace(config) if traced else {}),
    }
