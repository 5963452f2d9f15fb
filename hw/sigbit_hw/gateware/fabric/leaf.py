"""Leaf modules: components and memories that occur many times in an accelerator, elaborated and
emitted once."""

import re
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

from amaranth.back import rtlil
from amaranth.hdl import Cat, ClockSignal, Instance, Module, ResetSignal, Shape, Value, ValueLike
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from sigbit_hw.gateware.fabric.kinds import Fabric

ULTRA_RAM = {"ram_style": "ultra"}
"""Attributes of a memory that is UltraRAM where the part has it; Vivado and Yosys read them."""


class Leaf(wiring.Component):
    """A component with plain ports, clocked by ``sync`` and determined by :attr:`parameters`
    alone."""

    @property
    @abstractmethod
    def parameters(self) -> tuple[object, ...]:
        """The arguments of the constructor."""

    @abstractmethod
    def build(self, fabric: Fabric) -> Module:
        """Return the module in its form for ``fabric``."""

    def elaborate(self, platform: object) -> Module | Instance:
        if isinstance(platform, Emission):
            pins = {port: getattr(self, port) for port in self.signature.members}
            return platform.instance(type(self), self.parameters, pins)
        return self.build(platform if isinstance(platform, Fabric) else Fabric.GENERIC)


class Storage(Leaf):
    """A memory in a module of its own, all words initially 0. Amaranth takes longer to emit a
    memory than a dot product, and most memories have many duplicates.

    Parameters
    ----------
    width, depth : int
        Width of a word, number of words.
    reads : tuple of str
        Domains of the read ports, "sync" or "comb"; a read does not see a write of the same cycle.
    writes : tuple of int or None
        For every write port, of whole words, the read port whose address it shares.
    ultra : bool
        True for UltraRAM where the part has it. Its ports either read or write: a shared port is
        told not to read while it writes, or Yosys takes a second memory for the reads.

    Members
    -------
    ``read_{k}_addr``, ``read_{k}_data``, ``read_{k}_en``
        Read port k; no ``en`` in "comb".
    ``write_{k}_addr``, ``write_{k}_data``, ``write_{k}_en``
        Write port k; no ``addr`` if it shares one.
    """

    def __init__(
        self,
        width: int,
        depth: int,
        reads: tuple[str, ...],
        writes: tuple[int | None, ...],
        ultra: bool = False,
    ) -> None:
        self.width, self.depth, self.reads, self.writes = width, depth, reads, writes
        self.ultra = ultra
        address = In(ceil_log2(depth))
        members: dict[str, wiring.Member] = {}
        for k, domain in enumerate(reads):
            members |= {f"read_{k}_addr": address, f"read_{k}_data": Out(width)}
            if domain == "sync":
                members[f"read_{k}_en"] = In(1)
        for k, shared in enumerate(writes):
            members |= {f"write_{k}_data": In(width), f"write_{k}_en": In(1)}
            if shared is None:
                members[f"write_{k}_addr"] = address
        super().__init__(members)

    @property
    def parameters(self) -> tuple[object, ...]:
        return self.width, self.depth, self.reads, self.writes, self.ultra

    def build(self, fabric: Fabric) -> Module:
        m = Module()
        ultra = self.ultra and fabric in (Fabric.GENERIC, Fabric.XCUP)
        m.submodules.words = words = Memory(
            shape=self.width, depth=self.depth, init=[], attrs=ULTRA_RAM if ultra else {}
        )
        for k, domain in enumerate(self.reads):
            reader = words.read_port(domain=domain)
            m.d.comb += [
                reader.addr.eq(getattr(self, f"read_{k}_addr")),
                getattr(self, f"read_{k}_data").eq(reader.data),
            ]
            if domain == "sync":
                writing = [w for w, shared in enumerate(self.writes) if ultra and shared == k]
                idle = ~Cat(getattr(self, f"write_{w}_en") for w in writing).any()
                enable = getattr(self, f"read_{k}_en")
                m.d.comb += reader.en.eq(enable & idle if writing else enable)
        for k, shared in enumerate(self.writes):
            writer = words.write_port()
            address = f"write_{k}_addr" if shared is None else f"read_{shared}_addr"
            m.d.comb += [
                writer.addr.eq(getattr(self, address)),
                writer.data.eq(getattr(self, f"write_{k}_data")),
                writer.en.eq(getattr(self, f"write_{k}_en")),
            ]
        return m


@dataclass(frozen=True)
class _Text:
    """A leaf module: its RTLIL, and the names of its input ports."""

    kind: type[Leaf]
    name: str
    text: str
    inputs: frozenset[str]


class Emission:
    """The ``platform`` under which a design is emitted: leaves and memories become instances of
    modules whose texts are collected.

    Parameters
    ----------
    fabric : Fabric
        Fabric for which the design is emitted.
    """

    def __init__(self, fabric: Fabric) -> None:
        self.fabric = fabric
        self._modules: dict[tuple[object, ...], _Text] = {}

    @property
    def texts(self) -> list[str]:
        """RTLIL of the leaves: modules after those that instantiate them."""
        return [module.text for module in self._modules.values()]

    def get_memory(self, memory: Memory) -> Instance:
        """Return an instance of the module of ``memory``, connected to its ports; called by
        Amaranth.

        A read and a write port with the same signal as address can be one port of a block memory:
        their module has one address.
        """
        reads, writes = memory.read_ports, memory.write_ports
        if (
            any(memory.init)
            or any(len(port.en) != 1 for port in (*reads, *writes))
            or any(port.domain not in ("sync", "comb") or port.transparent_for for port in reads)
        ):
            raise NotImplementedError(
                "memories are emitted with words of 0 and ports of whole words that do not see "
                "what is written in the same cycle; this one has other words or ports"
            )
        shared = tuple(
            next((k for k, reader in enumerate(reads) if reader.addr is writer.addr), None)
            for writer in writes
        )
        parameters = (
            Shape.cast(memory.shape).width,
            memory.depth,
            tuple(port.domain for port in reads),
            shared,
            memory.attrs == ULTRA_RAM,
        )
        return self.instance(
            Storage,
            parameters,
            {
                f"{way}_{k}_{pin}": getattr(port, pin)
                for way, ports in (("read", reads), ("write", writes))
                for k, port in enumerate(ports)
                for pin in ("addr", "data", "en")
                if (pin, port.domain) != ("en", "comb")
                and not (pin == "addr" and way == "write" and shared[k] is not None)
            },
        )

    def instance(
        self, kind: type[Leaf], parameters: tuple[object, ...], pins: Mapping[str, ValueLike]
    ) -> Instance:
        """An instance of the leaf ``kind(*parameters)``, its ports connected to ``pins``."""
        key = kind, *parameters
        if key not in self._modules:
            name = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", kind.__name__).lower()
            taken = sum(other.kind is kind for other in self._modules.values())
            name = f"{name}_{taken + 1}" if taken else name
            leaf = kind(*parameters)
            text = rtlil.convert(leaf, name=name, platform=self.fabric, emit_src=False)
            inputs = {port for port, member in leaf.signature.members.items() if member.flow is In}
            self._modules[key] = _Text(kind, name, text, frozenset(inputs))
        module = self._modules[key]
        clocks = {"clk": ClockSignal(), "rst": ResetSignal(allow_reset_less=True)}
        ports = {
            f"i_{port}": clock
            for port, clock in clocks.items()
            if re.search(rf"^  wire width 1 input \d+ +\\{port}$", module.text, re.M)
        }
        for port, value in pins.items():
            direction = "i" if port in module.inputs else "o"
            ports[f"{direction}_{port}"] = Value.cast(value)
        return Instance(module.name, **ports)
