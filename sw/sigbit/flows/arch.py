"""Accelerators: the presets, derived figures, Verilog."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sigbit.accelerators import ACCELERATORS
from sigbit.flows.result import Result, Stopwatch
from sigbit.inputs.accelerators import load_arch
from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.arch.numerics import TABLE_ENTRIES
from sigbit_hw.arch.params import ITEM_BYTES
from sigbit_synthesis.emitted import cached_verilog
from sigbit_tools.files import write_text


@dataclass(frozen=True)
class Memory:
    """A memory on the chip: number of words, and bits per word."""

    words: int
    bits: int

    @property
    def size(self) -> int:
        """Total number of bits."""
        return self.words * self.bits


@dataclass(frozen=True)
class Preset:
    """A preset in figures; ``memory_bytes`` counts all memories on the chip."""

    name: str
    macs: int
    pixels: int
    oc_lanes: int
    ic_lanes: int
    post_lanes: int
    weights: str
    activations: str
    bus_bits: int
    memory_bytes: int
    digest: str


@dataclass(frozen=True, kw_only=True)
class Presets(Result):
    """All presets."""

    presets: tuple[Preset, ...]


@dataclass(frozen=True)
class Derived:
    """Figures that follow from the parameters of an accelerator.

    Parameters
    ----------
    macs : int
        Multiply-accumulates per cycle.
    dot_bits : int
        Width of one dot product.
    slot_bits : int
        Width of one pixel of ``ic_lanes`` channels.
    weight_word_bits : int
        Width of the weights of one cycle.
    slots_per_block : int
        Slots of an output block's channels.
    drain_slots : int
        Slots that the drain writes per cycle.
    groups_per_block : int
        Parameter groups of an output block.
    drain_cycles : int
        Cycles to drain a block into one plane.
    """

    macs: int
    dot_bits: int
    slot_bits: int
    weight_word_bits: int
    slots_per_block: int
    drain_slots: int
    groups_per_block: int
    drain_cycles: int


@dataclass(frozen=True, kw_only=True)
class Accelerator(Result):
    """An accelerator: its parameters, derived figures, and memories."""

    config: ArchConfig
    derived: Derived
    memories: Mapping[str, Memory]

    def to_json(self) -> dict[str, Any]:
        """Return the figures; with ``config``, the file can be used as an accelerator for
        ``--arch``."""
        return {**super().to_json(), "digest": self.config.digest}


@dataclass(frozen=True, kw_only=True)
class EmittedVerilog(Result):
    """Verilog that was written to ``file``; the same configuration gives the same bytes."""

    file: Path
    lines: int
    sha256: str
    arch_digest: str


def presets() -> Presets:
    """Describe all presets."""
    watch = Stopwatch()
    rows = tuple(
        Preset(
            name=config.name,
            macs=config.macs,
            pixels=config.pixels,
            oc_lanes=config.oc_lanes,
            ic_lanes=config.ic_lanes,
            post_lanes=config.post_lanes,
            weights=str(config.weight_format),
            activations=str(config.act_format),
            bus_bits=config.bus_bits,
            memory_bytes=sum(memory.size for memory in memories(config).values()) // 8,
            digest=config.digest,
        )
        for config in ACCELERATORS.values()
    )
    return Presets(presets=rows, **watch.read())


def accelerator(arch: str | ArchConfig) -> Accelerator:
    """Describe an accelerator: a preset, a JSON file or a Program by name, or a configuration.

    Raises :class:`~sigbit.errors.UserError` if there is none.
    """
    watch = Stopwatch()
    config = load_arch(arch)
    derived = Derived(
        macs=config.macs,
        dot_bits=config.dot_bits,
        slot_bits=config.slot_bits,
        weight_word_bits=config.weight_word_bits,
        slots_per_block=config.slots_per_block,
        drain_slots=config.drain_slots,
        groups_per_block=config.groups_per_block,
        drain_cycles=config.drain_cycles(1),
    )
    return Accelerator(config=config, derived=derived, memories=memories(config), **watch.read())


def memories(config: ArchConfig) -> dict[str, Memory]:
    """Return every memory on the chip by name."""
    return {
        "activations": Memory(config.act_slots, config.slot_bits),
        "weights": Memory(config.weight_words, config.weight_word_bits),
        "parameters": Memory(config.param_groups, config.param_lanes * 8 * ITEM_BYTES),
        "tables": Memory(config.tables * TABLE_ENTRIES, config.act_format.bits),
    }


def write_verilog(arch: str | ArchConfig, file: Path) -> EmittedVerilog:
    """Write the Verilog of an accelerator.

    Raises :class:`~sigbit.errors.UserError` if there is no such accelerator.
    """
    watch = Stopwatch()
    config = load_arch(arch)
    text = cached_verilog(config)
    write_text(file, text)
    return EmittedVerilog(
        file=file,
        lines=text.count("\n"),
        sha256=hashlib.sha256(text.encode()).hexdigest(),
        arch_digest=config.digest,
        **watch.read(),
    )
