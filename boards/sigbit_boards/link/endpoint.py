"""The board's end of the link: executes requests on registers and memory."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, ValueLike
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from sigbit_boards.link.receive import FrameReceiver
from sigbit_boards.link.send import FrameSender
from sigbit_hw.arch import link, regs
from sigbit_hw.arch.link import Operation, Status
from sigbit_hw.gateware.parts.queue import Queue

RECEIVE_BYTES = 8 << 10
"""Capacity of the receiver: more than 3 Mbaud deliver within the 16 ms for which USB adapters delay
answers."""


class Registers(wiring.Signature):
    """Members of an AXI4-Lite master that the endpoint uses."""

    def __init__(self) -> None:
        super().__init__(
            {
                "awaddr": Out(regs.ADDRESS_BITS),
                "awvalid": Out(1),
                "awready": In(1),
                "wdata": Out(32),
                "wvalid": Out(1),
                "wready": In(1),
                "bvalid": In(1),
                "araddr": Out(regs.ADDRESS_BITS),
                "arvalid": Out(1),
                "arready": In(1),
                "rdata": In(32),
                "rvalid": In(1),
            }
        )


class Endpoint(wiring.Component):
    """Executes requests from a line and answers them.

    Parameters
    ----------
    memory_bytes : int
        Size of the board's memory, a power of two.
    clock_hz : int
        Clock frequency reported to the host.
    receive_bytes : int
        Capacity of the receive queue in bytes on the line.

    Members
    -------
    i : In(stream of 8 bits, always ready), o : Out(stream of 8 bits)
        The line.
    registers : Out(Registers)
        A master that accepts every answer immediately.
    memory_index : Out, memory_write : Out(1), memory_read : Out(1), memory_data : Out(32)
        Access to a word of memory, held until ``memory_done``.
    memory_done : In(1), memory_word : In(32)
        For one cycle: access done; the word read.
    memory_ready : In(1), memory_fault : In(32)
        The memory may be used, no request is carried out before; what its test has found.
    irq : In(1)
        The accelerator's interrupt.
    opened : Out(1), answers : Out(1), damaged : Out(1)
        A session has been opened; for one cycle: a request is answered, damage is reported.
    """

    def __init__(
        self, memory_bytes: int, clock_hz: int, receive_bytes: int = RECEIVE_BYTES
    ) -> None:
        self.memory_bytes, self.clock_hz = memory_bytes, clock_hz
        self.receive_bytes = receive_bytes
        super().__init__(
            {
                "i": In(stream.Signature(8, always_ready=True)),
                "o": Out(stream.Signature(8)),
                "registers": Out(Registers()),
                "memory_index": Out(range(memory_bytes // link.WORD_BYTES)),
                "memory_write": Out(1),
                "memory_read": Out(1),
                "memory_data": Out(32),
                "memory_done": In(1),
                "memory_word": In(32),
                "memory_ready": In(1),
                "memory_fault": In(32),
                "irq": In(1),
                "opened": Out(1),
                "answers": Out(1),
                "damaged": Out(1),
            }
        )

    @property
    def facts(self) -> dict[str, ValueLike]:
        """The words of the answer to ``OPEN``, by name."""
        return {
            "version": link.VERSION,
            "memory_bytes": self.memory_bytes,
            "receive_bytes": self.receive_bytes,
            "clock_hz": self.clock_hz,
            "memory_fault": self.memory_fault,
        }

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.waiting = waiting = Queue(8, self.receive_bytes)
        m.submodules.receiver = receiver = FrameReceiver()
        m.submodules.sender = sender = FrameSender()
        wiring.connect(m, wiring.flipped(self.o), sender.o)
        # A register between the block memory and the receiver's logic; bytes are far apart.
        m.submodules.arrived = arrived = Queue(8, 1)
        wiring.connect(m, waiting.o, arrived.i)
        wiring.connect(m, arrived.o, receiver.i)
        m.d.comb += [waiting.i.payload.eq(self.i.payload), waiting.i.valid.eq(self.i.valid)]
        asked, header = receiver.header, sender.header

        # Requests that are carried out: all before `turn`, and those marked by `done` from there
        # on.
        session, turn = Signal(link.SESSION_BITS), Signal(link.NUMBER_BITS)
        done = Signal(link.REQUESTS_MAX)
        ahead, known, near = Signal(link.NUMBER_BITS), Signal(), Signal()
        place = ahead[: (link.REQUESTS_MAX - 1).bit_length()]
        sane, writes, first = Signal(), Signal(), Signal()
        status, count = Signal(link.HEADER["status"]), Signal(link.HEADER["count"])
        fresh = Signal()  # to be marked as carried out
        m.d.comb += writes.eq(
            (asked.operation == Operation.WRITE_REGISTERS)
            | (asked.operation == Operation.WRITE_MEMORY)
        )
        spoilt = status == Status.DAMAGED
        fields = {
            name: Mux(spoilt, 0, getattr(asked, name))[:bits] for name, bits in link.HEADER.items()
        }
        fields |= {
            "session": Mux(spoilt, session, asked.session),
            "status": status,
            "answer": Const(1, 1),
            "count": count,
        }
        m.d.comb += header.as_value().eq(Cat(fields[name] for name in link.HEADER))

        address, left, word = Signal(32), Signal(8), Signal(32)
        to_memory, cycles = Signal(), Signal(32)
        bus = self.registers
        m.d.comb += [
            to_memory.eq(
                (asked.operation == Operation.READ_MEMORY)
                | (asked.operation == Operation.WRITE_MEMORY)
            ),
            self.memory_index.eq(address[2:]),
            self.memory_data.eq(receiver.word),
            bus.awaddr.eq(address),
            bus.araddr.eq(address),
            bus.wdata.eq(receiver.word),
            sender.i.payload.eq(word),
        ]
        for valid, ready in (
            (bus.awvalid, bus.awready),
            (bus.wvalid, bus.wready),
            (bus.arvalid, bus.arready),
        ):
            with m.If(ready):
                m.d.sync += valid.eq(0)
        step = [address.eq(address + link.WORD_BYTES), left.eq(left - 1)]

        with m.FSM():
            with m.State("IDLE"):
                m.d.sync += [
                    ahead.eq(asked.number - turn),
                    sane.eq(
                        ~asked.answer
                        & (asked.operation <= max(Operation))
                        & (asked.count <= link.WORDS_MAX)
                        & (receiver.words == Mux(writes, asked.count, 0))
                    ),
                    address.eq(asked.address),
                    cycles.eq(asked.address),
                    left.eq(asked.count),
                    receiver.index.eq(0),
                    status.eq(Status.DONE),
                    count.eq(0),
                    fresh.eq(0),
                ]
                with m.If(done[0]):
                    m.d.sync += [done.eq(done >> 1), turn.eq(turn + 1)]
                with m.Elif(receiver.valid & self.memory_ready):
                    m.next = "LOOK"
            with m.State("LOOK"):
                m.d.sync += [
                    known.eq(
                        ahead[-1] | (ahead < link.REQUESTS_MAX) & done.bit_select(place, 1).bool()
                    ),
                    near.eq(ahead < link.REQUESTS_MAX),
                    first.eq(ahead == 0),
                ]
                m.next = "JUDGE"
            with m.State("JUDGE"):
                m.d.sync += fresh.eq(near & ~known)
                with m.If(receiver.damaged | ~sane):
                    m.d.sync += [status.eq(Status.DAMAGED), fresh.eq(0)]
                    m.d.comb += self.damaged.eq(1)
                    m.next = "ANSWER"
                with m.Elif(asked.operation == Operation.OPEN):
                    m.d.sync += [
                        session.eq(asked.session),
                        turn.eq(asked.number + 1),
                        done.eq(0),
                        self.opened.eq(1),
                        fresh.eq(0),
                        count.eq(len(link.FACTS)),
                        left.eq(len(link.FACTS)),
                    ]
                    m.next = "BEGIN"
                with m.Elif(~self.opened | (asked.session != session)):
                    m.d.sync += [status.eq(Status.STRANGER), fresh.eq(0)]
                    m.next = "ANSWER"
                with m.Elif(~known & (~near | (asked.ordered & ~first))):
                    m.d.sync += [status.eq(Status.EARLY), fresh.eq(0)]
                    m.next = "ANSWER"
                with m.Elif(writes):
                    m.next = "ANSWER"
                    with m.If(~known):
                        m.next = "WRITE"
                with m.Elif(asked.operation == Operation.AWAIT):
                    m.d.sync += [count.eq(1), left.eq(1)]
                    m.next = "AWAIT"
                with m.Else():
                    m.d.sync += count.eq(asked.count)
                    m.next = "BEGIN"

            with m.State("WRITE"):  # the receiver's word is valid in the next cycle
                m.next = "WRITE_WORD"
                with m.If(left == 0):
                    m.next = "ANSWER"
            with m.State("WRITE_WORD"):
                m.d.sync += [bus.awvalid.eq(~to_memory), bus.wvalid.eq(~to_memory)]
                m.next = "WRITTEN"
            with m.State("WRITTEN"):
                m.d.comb += self.memory_write.eq(to_memory)
                with m.If(Mux(to_memory, self.memory_done, bus.bvalid)):
                    m.d.sync += [*step, receiver.index.eq(receiver.index + 1)]
                    m.next = "WRITE"

            with m.State("AWAIT"):
                m.d.sync += [cycles.eq(cycles - 1), word.eq(self.irq)]
                with m.If(self.irq | (cycles == 0)):
                    m.next = "BEGIN"
            with m.State("BEGIN"):
                m.d.comb += sender.start.eq(1)
                with m.If(sender.ready):
                    m.next = "READ"
            with m.State("READ"):
                with m.If(left == 0):
                    m.next = "FINISH"
                with m.Elif(asked.operation == Operation.OPEN):
                    with m.Switch(left):
                        for k, name in enumerate(link.FACTS):
                            with m.Case(len(link.FACTS) - k):
                                m.d.sync += word.eq(self.facts[name])
                    m.next = "PUSH"
                with m.Elif(asked.operation == Operation.AWAIT):
                    m.next = "PUSH"
                with m.Else():
                    m.d.sync += bus.arvalid.eq(~to_memory)
                    m.next = "READING"
            with m.State("READING"):
                m.d.comb += self.memory_read.eq(to_memory)
                m.d.sync += word.eq(Mux(to_memory, self.memory_word, bus.rdata))
                with m.If(Mux(to_memory, self.memory_done, bus.rvalid)):
                    m.next = "PUSH"
            with m.State("PUSH"):
                m.d.comb += sender.i.valid.eq(1)
                with m.If(sender.i.ready):
                    m.d.sync += step
                    m.next = "READ"

            with m.State("ANSWER"):
                m.d.comb += sender.start.eq(1)
                with m.If(sender.ready):
                    m.next = "FINISH"
            with m.State("FINISH"):
                m.d.comb += [receiver.take.eq(1), self.answers.eq(1)]
                with m.If(fresh):
                    m.d.sync += done.bit_select(place, 1).eq(1)
                m.next = "TAKEN"
            with m.State("TAKEN"):  # the receiver releases the frame
                m.next = "IDLE"
        return m
