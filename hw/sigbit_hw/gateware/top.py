"""The accelerator: the wiring of all blocks, without logic of its own."""

from amaranth.hdl import Cat, Module, ResetInserter
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from sigbit_hw.arch import regs
from sigbit_hw.arch.bus import PAGE_BITS
from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.arch.regs import Access
from sigbit_hw.gateware import ports
from sigbit_hw.gateware.bus.axi import AxiShell
from sigbit_hw.gateware.bus.join import PortJoin
from sigbit_hw.gateware.compute.engine import ComputeEngine
from sigbit_hw.gateware.control.csr import Csr
from sigbit_hw.gateware.control.decode import Decode
from sigbit_hw.gateware.control.sequencer import Sequencer
from sigbit_hw.gateware.control.state import COUNTER_NAMES, Control, Hold
from sigbit_hw.gateware.memory.dma import ReadDma, Window
from sigbit_hw.gateware.memory.fetch import Fetch
from sigbit_hw.gateware.memory.load import LoadEngine
from sigbit_hw.gateware.memory.store import StoreEngine


class Accelerator(wiring.Component):
    """One accelerator with the flat ports of ``ports.accelerator``.

    The engines, fetch and sequencer are held in reset while the machine does not run; register
    file, control and bus shells are not.

    Parameters
    ----------
    config : ArchConfig
    compute : Component, optional
        Replacement of ``ComputeEngine(config)``, for testbenches of everything around it.
    traced : bool
        Add the ports of ``ports.trace``, which simulators need.
    """

    def __init__(
        self,
        config: ArchConfig,
        compute: wiring.Component | None = None,
        *,
        traced: bool = False,
    ) -> None:
        self.config = config
        self.compute = ComputeEngine(config) if compute is None else compute
        self.traced = traced
        super().__init__(ports.accelerator(config, traced=traced))

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self.config
        control = Control()
        m.submodules.control = control

        def held(name: str, block: wiring.Component) -> None:
            """Add a block that is reset while the machine does not run."""
            m.submodules[f"hold_{name}"] = hold = Hold()
            m.d.comb += hold.runs.eq(control.runs)
            m.submodules[name] = ResetInserter(hold.reset)(block)

        m.submodules.csr = csr = Csr(config)
        fetch, decode, sequencer = Fetch(config), Decode(), Sequencer(config)
        load, store, compute = LoadEngine(config), StoreEngine(config), self.compute
        reader = ReadDma(config)
        for name, block in (
            ("fetch", fetch),
            ("decode", decode),
            ("sequencer", sequencer),
            ("reader", reader),
            ("load", load),
            ("store", store),
            ("compute", compute),
        ):
            held(name, block)

        self._wire_ports(m, csr, "s_axil_")
        window = Window().create()
        m.d.comb += [
            window.size.eq(csr.mem_size),
            window.write_lo.eq(csr.write_lo),
            window.write_hi.eq(csr.write_hi),
            fetch.offset.eq(csr.program_offset),
            fetch.count.eq(csr.program_count),
        ]
        for user in (fetch, load, store):
            m.d.comb += [
                getattr(user.window, name).eq(getattr(window, name)) for name in Window().members
            ]

        # Bus
        shells = self._shells(m, csr, control)
        wiring.connect(m, fetch.read, reader.fetch)
        wiring.connect(m, load.read, reader.load)
        if config.ports == 1:
            bus = shells[0]
        else:
            bus = join = PortJoin(config)
            held("join", join)
            for shell, read, write in zip(shells, join.port_reads, join.port_writes, strict=True):
                wiring.connect(m, read, shell.read)
                wiring.connect(m, write, shell.write)
        wiring.connect(m, reader.bus, bus.read)
        wiring.connect(m, store.bus, bus.write)

        # Instructions
        wiring.connect(m, fetch.o, decode.i)
        wiring.connect(m, decode.o, sequencer.i)
        m.d.comb += [
            sequencer.fetch_index.eq(fetch.index),
            sequencer.fetch_quiet.eq(fetch.quiet),
            sequencer.compute_busy.eq(compute.busy),
            fetch.stop.eq(sequencer.stop),
        ]
        for k, (name, engine) in enumerate(
            zip(ports.ENGINE_NAMES, (load, compute, store), strict=True)
        ):
            start = getattr(sequencer, f"start_{name}")
            wiring.connect(m, getattr(sequencer, f"o_{name}"), engine.i)
            wiring.connect(m, engine.retire, getattr(sequencer, f"retire_{name}"))
            m.d.comb += [
                control.started[k].eq(start.valid),
                control.retired[k].eq(engine.retire.valid),
            ]
            if self.traced:
                for event, source in (("start", start), ("retire", engine.retire)):
                    m.d.comb += [
                        getattr(self, f"trace_{event}_{name}").eq(source.valid),
                        getattr(self, f"trace_{event}_{name}_index").eq(source.index),
                    ]

        # Memories
        wiring.connect(m, load.act_write, compute.act_write)
        wiring.connect(m, load.weight_write, compute.weight_write)
        wiring.connect(m, load.param_write, compute.param_write)
        wiring.connect(m, load.table_write, compute.table_write)
        wiring.connect(m, store.act_read, compute.act_read)

        self._wire_control(m, control, csr)
        m.d.comb += [
            control.done.eq(sequencer.done),
            control.oldest.eq(sequencer.oldest),
            control.waiting.eq(sequencer.waiting),
            control.executing.eq(sequencer.executing),
            control.compute_busy.eq(compute.busy),
            control.compute_feeding.eq(compute.feeding),
            control.compute_stalled.eq(compute.stalled),
            control.setup_retired.eq(compute.setup_retired),
        ]
        for source, block in (
            ("sequencer", sequencer),
            ("fetch", fetch),
            ("load", load),
            ("store", store),
        ):
            wiring.connect(m, block.error, getattr(control, f"error_{source}"))
        banks = [getattr(compute.trace, f"bank_{b}") for b in range(config.pixels)]
        m.d.comb += [
            control.act_written.eq(Cat(bank.valid for bank in banks).any()),
            control.table_written.eq(load.table_write.valid),
        ]
        if self.traced:
            m.d.comb += self.trace_feeding.eq(compute.feeding)
            for b, bank in enumerate(banks):
                m.d.comb += [
                    getattr(self, f"trace_act_{b}_{name}").eq(getattr(bank, name))
                    for name in ("valid", "word", "data")
                ]
        return m

    def _wire_ports(self, m: Module, block: wiring.Component, prefix: str) -> None:
        """Connect every port with this prefix to the block's port without it."""
        for name, member in self.signature.members.items():
            if name.startswith(prefix):
                inner = getattr(block, name.removeprefix(prefix))
                outer = getattr(self, name)
                m.d.comb += inner.eq(outer) if member.flow is In else outer.eq(inner)

    def _shells(self, m: Module, csr: Csr, control: Control) -> list[AxiShell]:
        """Add a bus shell for each port. The bus is idle when all shells are, and progresses if one
        does."""
        shells = []
        for k, prefix in enumerate(ports.axi_prefixes(self.config)):
            shell = AxiShell(self.config)
            m.submodules[f"shell_{k}"] = shell
            self._wire_ports(m, shell, prefix)
            base = Cat(getattr(csr, name.lower()) for name in regs.base_names(k))
            m.d.comb += [
                shell.base.eq(base[PAGE_BITS:]),
                shell.size.eq(csr.mem_size),
                shell.attributes.eq(csr.bus_attributes),
                shell.enable.eq(control.running),
                shell.forget.eq(control.bus_quiet),
            ]
            shells.append(shell)
        m.d.comb += [
            control.bus_idle.eq(Cat(shell.idle for shell in shells).all()),
            control.bus_progress.eq(Cat(shell.progress for shell in shells).any()),
            control.bus_violated.eq(Cat(shell.violated for shell in shells).any()),
            control.bus_wraps.eq(Cat(shell.wraps for shell in shells).any()),
        ]
        return shells

    def _wire_control(self, m: Module, control: Control, csr: Csr) -> None:
        """Connect the register file to control and counters."""
        m.d.comb += [
            control.control.eq(csr.control),
            control.watchdog.eq(csr.watchdog),
            control.cycle_limit.eq(Cat(csr.cycle_limit_lo, csr.cycle_limit_hi)),
            control.write_refused.eq(csr.refused),
            csr.locked.eq(control.locked),
            csr.clear.eq(control.irq_clear),
            csr.irq_status.eq(control.irq_set),
            self.irq.eq(csr.irq),
        ]
        for register in regs.REGISTERS:
            if register.access is Access.RO and register.name not in csr.constants:
                name = register.name.lower()
                source = f"count_{name}" if name in COUNTER_NAMES else name
                m.d.comb += getattr(csr, name).eq(getattr(control, source))
