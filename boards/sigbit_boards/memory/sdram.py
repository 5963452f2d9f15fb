"""An SDRAM behind AXI4, with a second port for a host, in a clock domain of its own."""

from amaranth.hdl import Cat, ClockSignal, Const, DomainRenamer, Instance, IOPort, Module, Mux
from amaranth.lib import data, wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out

from sigbit_boards.memory.access import Access
from sigbit_boards.memory.async_queue import AsyncQueue
from sigbit_boards.memory.bridge import SIZE, AxiSide, NativeSide, request
from sigbit_boards.memory.controller import DQ_ADDRESS_BITS, DQ_BITS, NAME
from sigbit_boards.memory.native import NativePort
from sigbit_boards.memory.startup import Initialiser, MemoryTest
from sigbit_hw.gateware.parts.queue import Skid

DOMAIN = "memory"
"""Clock domain of the controller."""
PINS = {"a": 13, "ba": 2, "ras_n": 1, "cas_n": 1, "we_n": 1, "cs_n": 1, "cke": 1, "dm": 2}
"""Widths of the SDRAM's pins, but those of its data and its clock."""
_REQUESTS = 16
_BEATS = 32


class Pins(wiring.Signature):
    """Output pins of an SDRAM, but its clock."""

    def __init__(self) -> None:
        super().__init__({name: Out(width) for name, width in PINS.items()})


class Sdram(wiring.Component):
    """The SDRAM of :class:`~sigbit_boards.memory.controller`, initialised and tested after
    power-up.

    Parameters
    ----------
    bus_bits : int
    hertz : float
        Frequency of the domain :data:`DOMAIN`.

    Attributes
    ----------
    data : IOPort
        Its data pins.

    Members
    -------
    access : In(Access)
    ready : Out(1), fault : Out(32)
        It may be used; from then on, what its test has found, as
        :data:`sigbit_hw.arch.link.FACTS` tells.
    pins : Out(Pins)
    """

    size = SIZE

    def __init__(self, bus_bits: int, hertz: float) -> None:
        self.bus_bits, self.hertz = bus_bits, hertz
        self.data = IOPort(DQ_BITS, name="sdram_dq")
        super().__init__(
            {
                "access": In(Access(SIZE, bus_bits)),
                "ready": Out(1),
                "fault": Out(32),
                "pins": Out(Pins()),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.crossing = crossing = Crossing(self.bus_bits)
        wiring.connect(m, wiring.flipped(self.access), crossing.access)
        renamed = DomainRenamer(DOMAIN)
        m.submodules.initialiser = initialiser = renamed(Initialiser(self.hertz))
        m.submodules.test = test = renamed(MemoryTest())
        port = NativePort().create()
        m.d.comb += test.start.eq(initialiser.done)
        for name, member in NativePort().members.items():
            ours, its, tests = (getattr(p, name) for p in (port, crossing.port, test.port))
            if member.flow is Out:
                m.d.comb += ours.eq(Mux(test.done, its, tests))
            else:
                gate = name in ("ready", "take", "came")
                m.d.comb += [tests.eq(ours), its.eq(ours & test.done if gate else ours)]
        self._control(m, initialiser, port)

        # The result of the test does not change any more when `ready` is seen.
        m.submodules.seen = FFSynchronizer(test.done, self.ready)
        m.d.comb += self.fault.eq(Cat(test.wrong, Const(0, 16 - len(test.wrong)), test.lines))
        return m

    def _control(self, m: Module, initialiser: Initialiser, port: wiring.PureInterface) -> None:
        # The controller's arbiter answers through much logic.
        given = data.StructLayout({"write": 1, "address": DQ_ADDRESS_BITS})
        m.submodules.commands = commands = DomainRenamer(DOMAIN)(Skid(given))
        m.d.comb += [
            commands.i.valid.eq(port.valid),
            commands.i.p.write.eq(port.write),
            commands.i.p.address.eq(port.address),
            port.ready.eq(commands.i.ready),
        ]
        m.submodules.controller = Instance(
            NAME,
            i_clk=ClockSignal(DOMAIN),
            i_rst=Const(0),
            i_user_port_native_0_cmd_valid=commands.o.valid,
            o_user_port_native_0_cmd_ready=commands.o.ready,
            i_user_port_native_0_cmd_we=commands.o.p.write,
            i_user_port_native_0_cmd_addr=commands.o.p.address,
            i_user_port_native_0_wdata_valid=Const(1),
            o_user_port_native_0_wdata_ready=port.take,
            i_user_port_native_0_wdata_we=port.mask,
            i_user_port_native_0_wdata_data=port.data,
            o_user_port_native_0_rdata_valid=port.came,
            i_user_port_native_0_rdata_ready=Const(1),
            o_user_port_native_0_rdata_data=port.word,
            i_wb_ctrl_adr=initialiser.address,
            i_wb_ctrl_dat_w=initialiser.data,
            i_wb_ctrl_sel=Const(0b1111, 4),
            i_wb_ctrl_cyc=initialiser.strobe,
            i_wb_ctrl_stb=initialiser.strobe,
            i_wb_ctrl_we=Const(1),
            i_wb_ctrl_cti=Const(0, 3),
            i_wb_ctrl_bte=Const(0, 2),
            o_wb_ctrl_ack=initialiser.ack,
            io_sdram_dq=self.data,
            **{f"o_sdram_{name}": getattr(self.pins, name) for name in PINS},
        )


class Crossing(wiring.Component):
    """Both sides of the bridge, and the queues between their clocks.

    Members
    -------
    access : In(Access)
    port : Out(NativePort)
    """

    def __init__(self, bus_bits: int) -> None:
        self.bus_bits = bus_bits
        super().__init__({"access": In(Access(SIZE, bus_bits)), "port": Out(NativePort())})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.axi = axi = AxiSide(self.bus_bits)
        m.submodules.native = native = DomainRenamer(DOMAIN)(NativeSide(self.bus_bits, _BEATS))
        wiring.connect(m, wiring.flipped(self.access), axi.access)
        wiring.connect(m, wiring.flipped(self.port), native.port)
        m.submodules.requests = requests = AsyncQueue(
            request(self.bus_bits), _REQUESTS, "sync", DOMAIN
        )
        m.submodules.beats = beats = AsyncQueue(self.bus_bits, _BEATS, DOMAIN, "sync")
        wiring.connect(m, axi.requests, requests.i)
        wiring.connect(m, requests.o, native.requests)
        wiring.connect(m, beats.o, axi.beats)
        m.d.comb += [
            beats.i.payload.eq(native.beats.payload),
            beats.i.valid.eq(native.beats.valid),
            native.level.eq(beats.level),
        ]
        return m
