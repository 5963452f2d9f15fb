"""Interface to the compiled model: Programs in, predictions out."""

import ctypes
import gc
import os
import subprocess
import tempfile
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType

import numpy as np
from amaranth.hdl import UnusedElaboratable
from numpy.typing import NDArray

from sigbit_hw.arch import cpp, images
from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.arch.isa import LoadKind
from sigbit_hw.arch.program import Program
from sigbit_hw.gateware.compute.engine import ComputeEngine
from sigbit_sim.memory import PLAIN, Memory, of_ports
from sigbit_sim.rtl import native
from sigbit_tools.cache import cached_folder, key_of
from sigbit_tools.toolchain import ToolchainError

_SOURCE = Path(__file__).with_name("model.cpp")
_TIMING = Path(native.__file__).with_name("memory_timing.h")
_LIBRARY = "libcycles.so"
LIMIT = 1 << 40
"""Number of cycles after which a program is considered to hang."""


@dataclass(frozen=True)
class Prediction:
    """Result of the model: ``cycles`` of the run, as in the CYCLES counter; by instruction, the
    cycle in which it enters its engine and the one in which it retires, counted from the run's
    first cycle, -1 for none (``SEG``, ``OUT`` and ``HALT``)."""

    cycles: int
    starts: NDArray[np.int64]
    retires: NDArray[np.int64]


def predict(program: Program, memory: Memory = PLAIN) -> Prediction:
    """Predict the cycles of ``program`` on its accelerator with the given memory behind every port,
    or one per port. Raises ``ValueError`` if the program would never end."""
    count = len(program.listing)
    events = np.full((count, 2), -1, np.int64)
    found = _config(program.config)
    values = np.concatenate([np.array(found[name], np.int64) for name in _CONFIG])
    memories = of_ports(memory, program.config.ports)
    if len(set(memories)) == 1:  # identical ports behave identically
        del memories[1:]
    timings = np.array([m.numbers for m in memories], np.uint32)
    words = np.ascontiguousarray(program.instructions)
    cycles = _library().sb_cycles(
        _pointer(values),
        _pointer(timings),
        len(memories),
        _pointer(words),
        count,
        program.program_offset,
        LIMIT,
        _pointer(events),
    )
    if cycles < 0:
        raise ValueError(f"{program.name} does not end within {LIMIT} cycles")
    return Prediction(cycles, events[:, 0], events[:, 1])


_CONFIG: Mapping[str, int] = MappingProxyType(
    dict.fromkeys(
        (
            "pixels",
            "drain_pixels",
            "drain_slots",
            "groups",
            "slots_per_block",
            "bus_bytes",
            "ports",
            "slots_per_move",
            "burst_beats",
            "outstanding_reads",
            "queue_depth",
            "result_latency",
            "drain_latency",
        ),
        1,
    )
    | dict.fromkeys(("steps", "unit_steps", "units"), len(LoadKind))
)
"""Members of the model's Config, and the number of integers in each: ``steps``, ``unit_steps`` and
``units`` are, by kind of LOAD, the moves per item and per unit, and the units per beat."""


def _config_header() -> str:
    """Text of ``config.h``."""
    members = (f"    int64_t {n}{f'[{size}]' if size > 1 else ''};" for n, size in _CONFIG.items())
    body = "\n".join(members)
    return f"#pragma once\n\nnamespace sigbit {{\n\nstruct Config {{\n{body}\n}};\n\n}}\n"


def _config(c: ArchConfig) -> dict[str, list[int]]:
    """Config of the model for an accelerator."""
    result_latency, drain_latency = _latencies(c)
    return {
        "pixels": [c.pixels],
        "drain_pixels": [c.drain_pixels],
        "drain_slots": [c.drain_slots],
        "groups": [c.groups_per_block],
        "slots_per_block": [c.slots_per_block],
        "bus_bytes": [c.bus_bytes],
        "ports": [c.ports],
        "slots_per_move": [c.slots_per_move],
        "burst_beats": [c.burst_beats],
        "outstanding_reads": [c.outstanding_reads],
        "queue_depth": [c.queue_depth],
        "result_latency": [result_latency],
        "drain_latency": [drain_latency],
        "steps": [images.steps_of_item(kind, c) for kind in LoadKind],
        "unit_steps": [images.steps_of_unit(kind, c) for kind in LoadKind],
        "units": [images.units_of_beat(kind, c) for kind in LoadKind],
    }


@cache
def _latencies(config: ArchConfig) -> tuple[int, int]:
    """Pipeline latencies of the compute engine, as stated by the gateware: (result, drain)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnusedElaboratable)
        engine = ComputeEngine(config)
        latencies = engine.result_latency, engine.drain_latency
        del engine
        gc.collect()
    return latencies


def _pointer(array: NDArray[np.int64] | NDArray[np.uint32] | NDArray[np.uint8]) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


@cache
def _library() -> ctypes.CDLL:
    """The compiled model, built unless it is cached."""
    key = key_of(_SOURCE.read_text(), _TIMING.read_text(), cpp.header(), _config_header())
    folder = cached_folder(f"cycles-{key}", _build)
    library = ctypes.CDLL(str(folder / _LIBRARY))
    library.sb_cycles.restype = ctypes.c_int64
    pointer, number = ctypes.c_void_p, ctypes.c_int64
    library.sb_cycles.argtypes = [
        pointer,
        pointer,
        number,
        pointer,
        number,
        number,
        number,
        pointer,
    ]
    return library


def _build(into: Path) -> None:
    compiler = os.environ.get("CXX") or "g++"
    with tempfile.TemporaryDirectory(dir=into) as headers:
        (Path(headers) / cpp.HEADER_NAME).write_text(cpp.header())
        (Path(headers) / "config.h").write_text(_config_header())
        command = [
            *compiler.split(),
            "-std=c++20",
            "-O2",
            "-fPIC",
            "-shared",
            f"-I{headers}",
            f"-I{_TIMING.parent}",
            str(_SOURCE),
            "-o",
            str(into / _LIBRARY),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        tail = "\n".join(done.stderr.splitlines()[-20:])
        raise ToolchainError(f"building the cycle model failed:\n{tail}")
