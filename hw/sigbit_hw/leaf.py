"""Leaf modules: components of which an accelerator has many, elaborated and emitted once."""

import re
from abc import abstractmethod

from amaranth.back import rtlil
from amaranth.hdl import ClockSignal, Instance, Module, ResetSignal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from sigbit_hw.fabric import Fabric


class Leaf(wiring.Component):
    """A component of plain ports, clocked by ``sync``, made of :attr:`parameters` alone."""

    @property
    @abstractmethod
    def parameters(self) -> tuple[object, ...]:
        """The arguments of the constructor."""

    @abstractmethod
    def build(self, fabric: Fabric) -> Module:
        """The module, in its form for ``fabric``."""

    def elaborate(self, platform: object) -> Module | Instance:
        if isinstance(platform, Emission):
            return platform.instance(self)
        return self.build(platform if isinstance(platform, Fabric) else Fabric.GENERIC)


class Emission:
    """The ``platform`` under which a design is emitted: leaves become instances of modules whose
    texts are collected.

    Parameters
    ----------
    fabric : Fabric
        What the design is emitted for.
    """

    def __init__(self, fabric: Fabric) -> None:
        self.fabric = fabric
        self._modules: dict[tuple[object, ...], tuple[str, str]] = {}

    @property
    def texts(self) -> list[str]:
        """RTLIL of the leaves: modules after those that instantiate them."""
        return [text for _, text in self._modules.values()]

    def instance(self, leaf: Leaf) -> Instance:
        """An instance of the module of ``leaf``, connected to its ports."""
        key = type(leaf), *leaf.parameters
        if key not in self._modules:
            name = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(leaf).__name__).lower()
            taken = sum(other.startswith(name) for other, _ in self._modules.values())
            name = f"{name}_{taken + 1}" if taken else name
            fresh = type(leaf)(*leaf.parameters)
            self._modules[key] = name, rtlil.convert(
                fresh, name=name, platform=self.fabric, emit_src=False)
        name, text = self._modules[key]
        clocks = {"clk": ClockSignal(), "rst": ResetSignal()}
        ports = {f"i_{port}": clock for port, clock in clocks.items()
                 if re.search(rf"^  wire width 1 input \d+ +\\{port}$", text, re.M)}
        for port, member in leaf.signature.members.items():
            direction = "i" if member.flow is In else "o"
            ports[f"{direction}_{port}"] = Value.cast(getattr(leaf, port))
        return Instance(name, **ports)
