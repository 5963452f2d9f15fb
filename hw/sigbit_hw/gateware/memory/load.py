"""The LOAD engine: DMA to weights, activation slots, parameters and tables; ``FILL``.

A front end checks instructions and requests their data, up to :data:`LOAD_AHEAD` instructions
before a back end moves the data; the bus therefore stays busy from one instruction to the next.
"""

from amaranth.hdl import Module, Mux
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.arch.timing import LOAD_AHEAD
from sigbit_hw.gateware.interfaces import (
    ActWrite,
    Error,
    InstructionStream,
    ParamWrite,
    Retire,
    TableWrite,
    WeightWrite,
)
from sigbit_hw.gateware.memory.dma import ReadClient, Window, client_beat
from sigbit_hw.gateware.memory.load_back import LoadBack
from sigbit_hw.gateware.memory.load_front import COMMAND, LoadFront
from sigbit_hw.gateware.parts.queue import Queue, Skid


class LoadEngine(wiring.Component):
    """``LOAD`` and ``FILL``: members as in :class:`LoadFront` and :class:`LoadBack`, ``read`` to
    the DMA.

    Timing: a command passes from front to back in two cycles, a beat from the DMA to the back end
    in one, slots from there to ``act_write`` in one.
    """

    def __init__(self, config: ArchConfig) -> None:
        self.config = config
        super().__init__(
            {
                "i": In(InstructionStream),
                "window": In(Window()),
                "read": Out(ReadClient(config)),
                "act_write": Out(ActWrite(config)),
                "weight_write": Out(WeightWrite(config)),
                "param_write": Out(ParamWrite(config)),
                "table_write": Out(TableWrite(config)),
                "retire": Out(Retire()),
                "error": Out(Error()),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.front = front = LoadFront(self.config)
        m.submodules.back = back = LoadBack(self.config)
        m.submodules.ahead = ahead = Queue(COMMAND, LOAD_AHEAD)
        m.submodules.beats = beats = Skid(client_beat(self.config))
        m.submodules.slots = slots = Skid(back.act_write.stream.payload.shape())
        flipped = wiring.flipped
        for mine, inner in (
            (self.i, front.i),
            (self.window, front.window),
            (self.read.request, front.request),
            (self.read.beat, beats.i),
            (self.act_write.stream, slots.o),
            (self.retire, back.retire),
            (self.weight_write, back.weight_write),
            (self.param_write, back.param_write),
            (self.table_write, back.table_write),
        ):
            wiring.connect(m, flipped(mine), inner)
        wiring.connect(m, front.o, ahead.i)
        wiring.connect(m, ahead.o, back.i)
        wiring.connect(m, beats.o, back.beat)
        wiring.connect(m, back.act_write.stream, slots.i)
        m.d.comb += [
            back.act_write.busy.eq(self.act_write.busy | slots.o.valid),
            self.error.valid.eq(front.error.valid | back.error.valid),
            self.error.cause.eq(Mux(back.error.valid, back.error.cause, front.error.cause)),
            self.error.index.eq(Mux(back.error.valid, back.error.index, front.error.index)),
        ]
        return m
