"""Host work per frame: packing inputs and unpacking outputs, timed."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from sigbit.accelerators import load_accelerator
from sigbit.report.tables import Column, Row, Table, label, number
from sigbit_hw import driver
from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.arch.program_parts import Fold, Port
from sigbit_tools.stopwatch import Stopwatch

REPEATS = 31
"""Number of timings of the compiled functions, whose median is taken; of the definition, a
fifth."""

PORTS: Mapping[str, Port] = {
    "input 3x224x224, 7x7 windows": Port(
        "x", (3, 224, 224), 0, 3, 1, 1.0, 128, -128, 127, Fold((7, 7), (2, 2), (3, 3, 3, 3))
    ),
    "input 3x224x224": Port("x", (3, 224, 224), 0, 3, 1, 1.0, 128, -128, 127),
    "output 1000x1x1": Port("y", (1000, 1, 1), 0, 3, 1, 1.0, 0, -128, 127),
    "output 21x224x224": Port("y", (21, 224, 224), 0, 1, 1, 1.0, 0, -7, 7),
}
"""Timed ports: the first layers and the last one of networks at ImageNet's size, 8-bit at both
ends, and a map of classes."""


@dataclass(frozen=True)
class _Work:
    """The same work by the compiled functions and by the definition."""

    fast: Callable[[], object]
    defined: Callable[[], object]
    same: Callable[[], int]


def measure(preset: str) -> Iterator[Row]:
    """Rows of an accelerator: milliseconds of CPU time per frame, and the number of bytes or
    integers that differ between both methods, which must be 0."""
    config = load_accelerator(preset)
    for name, port in PORTS.items():
        watch = Stopwatch()
        work = _work(port, config)
        yield {
            "preset": preset,
            "port": name,
            "planes": port.planes,
            "bytes": port.bytes(config),
            "differ": work.same(),
            "ms": _milliseconds(work.fast, REPEATS),
            "ms_definition": _milliseconds(work.defined, REPEATS // 5),
            **watch.read(),
        }


def _work(port: Port, config: ArchConfig) -> _Work:
    stored = np.random.default_rng(0).integers(port.low, port.high, port.shape, endpoint=True)
    stored = stored.astype(np.int16)
    data = np.empty(port.bytes(config), np.uint8)
    driver.pack(port, stored, config, data)
    if port.name == "x":
        return _Work(
            lambda: driver.pack(port, stored, config, data),
            lambda: port.pack(stored, config),
            lambda: int(np.count_nonzero(data != port.pack(stored, config))),
        )
    return _Work(
        lambda: driver.unpack(port, data, config),
        lambda: port.unpack(data, config),
        lambda: int(np.count_nonzero(driver.unpack(port, data, config) != stored)),
    )


def _milliseconds(call: Callable[[], object], repeats: int) -> float:
    times = []
    for _ in range(repeats):
        begin = time.process_time()
        call()
        times.append(time.process_time() - begin)
    return float(np.median(times) * 1e3)


PACKING = Table(
    "Inputs and outputs laid out by the host",
    (
        label("accelerator", "preset"),
        label("tensor", "port"),
        number("planes", "planes"),
        number("bytes", "bytes"),
        Column("compiled", lambda r: f"{r['ms']:.2f} ms", True),
        Column("NumPy", lambda r: f"{r['ms_definition']:.0f} ms", True),
        number("differ", "differ"),
    ),
)
