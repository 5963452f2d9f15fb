"""Programs into the compiled model, and its answers."""

import ctypes
import gc
import os
import subprocess
import warnings
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from amaranth.hdl import UnusedElaboratable
from numpy.typing import NDArray

from sigbit_hw.arch import images
from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.arch.isa import LoadKind
from sigbit_hw.arch.numerics import TABLE_ENTRIES
from sigbit_hw.arch.program import Program
from sigbit_hw.gateware.compute.engine import ComputeEngine
from sigbit_hw.gateware.interfaces import slots_per_write
from sigbit_tools.cache import cached_folder, key_of
from sigbit_tools.toolchain import ToolchainError

_SOURCE = Path(__file__).with_name("model.cpp")
_LIBRARY = "libcycles.so"
_INSTR = (
    "opcode",
    "wait",
    "signal",
    "kind",
    "address",
    "beats",
    "n0",
    "n1",
    "n2",
    "d1",
    "d2",
    "slot",
    "index",
    "n_ic",
    "n_kx",
    "n_ky",
    "base",
    "d_slot",
    "n_slots",
    "phases",
    "d_pix",
    "d_col",
    "d_line",
    "d_row",
    "n_planes",
    "d_plane",
    "mode",
    "drain",
    "sync",
    "n_seg",
    "n_ocb",
    "n_rows",
    "run",
    "wrap",
)
"""Fields of the model's instructions; ``slot`` is ``dst`` or ``src``."""
LIMIT = 1 << 40
"""Cycles after which a program is taken to hang."""


@dataclass(frozen=True)
class Prediction:
    """What the model says: ``cycles`` of the run as the CYCLES counter has them; by instruction the
    cycle in which it enters its engine and the one in which it retires, counted from the run's
    first, -1 where there is none (``SEG``, ``OUT`` and ``HALT``)."""

    cycles: int
    starts: NDArray[np.int64]
    retires: NDArray[np.int64]


def predict(program: Program, *, latency: int = 40) -> Prediction:
    """Cycles of ``program`` on its accelerator with a memory of ``latency`` cycles that moves one
    beat a cycle in each direction; ``ValueError`` if it would never end."""
    config = program.config
    code = _rows(program)
    events = np.full((len(code), 2), -1, np.int64)
    values = [*_config(config), latency]
    cycles = _library().sb_cycles(
        _pointer(np.array(values, np.int64)),
        _pointer(code),
        len(code),
        program.program_offset,
        LIMIT,
        _pointer(events),
    )
    if cycles < 0:
        raise ValueError(f"{program.name} does not end within {LIMIT} cycles")
    return Prediction(cycles, events[:, 0], events[:, 1])


def _rows(program: Program) -> NDArray[np.int64]:
    """Instructions as the model's structs."""
    rows = np.zeros((len(program.listing), len(_INSTR)), np.int64)
    column = {name: i for i, name in enumerate(_INSTR)}
    for row, instr in zip(rows, program.listing, strict=True):
        for name, value in instr.values.items():
            place = column.get("slot" if name in ("dst", "src") else name)
            if place is not None:
                row[place] = value
    return rows


def _config(c: ArchConfig) -> list[int]:
    """The model's Config but for the memory's latency."""
    item_bits = 8 * images.ITEM_BYTES
    steps = {
        LoadKind.WEIGHTS: c.weight_word_bits // c.bus_bits,
        LoadKind.ACTS: 1,
        LoadKind.PARAMS: c.param_lanes,
        LoadKind.TABLE: TABLE_ENTRIES,
    }
    units = {
        LoadKind.WEIGHTS: 1,
        LoadKind.ACTS: c.bus_bits // c.slot_bits,
        LoadKind.PARAMS: c.bus_bits // item_bits,
        LoadKind.TABLE: c.bus_bits // item_bits,
    }
    return [
        c.pixels,
        c.drain_pixels,
        c.drain_slots,
        c.groups_per_block,
        c.slots_per_block,
        c.act_slots,
        c.bus_bytes,
        c.ports,
        slots_per_write(c),
        c.burst_beats,
        c.outstanding_reads,
        c.queue_depth,
        *(steps[k] for k in LoadKind),
        *(units[k] for k in LoadKind),
        *_latencies(c),
    ]


@cache
def _latencies(config: ArchConfig) -> tuple[int, int]:
    """The compute engine's pipeline, as the gateware states it: (result, drain)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnusedElaboratable)
        engine = ComputeEngine(config)
        latencies = engine.result_latency, engine.drain_latency
        del engine
        gc.collect()
    return latencies


def _pointer(array: NDArray[np.int64]) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


@cache
def _library() -> ctypes.CDLL:
    """The compiled model, built unless the cache has it."""
    folder = cached_folder(f"cycles-{key_of(_SOURCE.read_text())}", _build)
    library = ctypes.CDLL(str(folder / _LIBRARY))
    library.sb_cycles.restype = ctypes.c_int64
    pointer, number = ctypes.c_void_p, ctypes.c_int64
    library.sb_cycles.argtypes = [pointer, pointer, number, number, number, pointer]
    return library


def _build(into: Path) -> None:
    compiler = os.environ.get("CXX") or "g++"
    command = [
        *compiler.split(),
        "-std=c++20",
        "-O2",
        "-fPIC",
        "-shared",
        str(_SOURCE),
        "-o",
        str(into / _LIBRARY),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        tail = "\n".join(done.stderr.splitlines()[-20:])
        raise ToolchainError(f"building the cycle model failed:\n{tail}")
