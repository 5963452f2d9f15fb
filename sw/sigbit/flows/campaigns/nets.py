"""Whole networks at full size, a job each: quantized, compiled, run, and every layer compared."""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from sigbit.bench.nets.cases import CASES, MODELLED, Case
from sigbit.bench.nets.row import Prediction, model_case, run_case
from sigbit.campaigns import Job, Row, Tell
from sigbit.errors import UserError
from sigbit.flows.campaigns.code import NETWORKS, RELEASES
from sigbit.flows.campaigns.running import (
    Benchmark,
    CampaignResult,
    Place,
    RowBook,
    Watcher,
    one_thread,
    run_jobs,
)
from sigbit.flows.devices import DeviceName, open_device
from sigbit.runtime import Device
from sigbit_hw.arch.config import PRESETS, ArchConfig
from sigbit_hw.arch.program import Program
from sigbit_sim.cycles import predict
from sigbit_sim.memory import PLAIN, MemoryTiming
from sigbit_synthesis.emitted import cached_verilog

SLOWER: Mapping[str, MemoryTiming] = MappingProxyType(
    {
        "latency_133": MemoryTiming(133),
        "latency_400": MemoryTiming(400),
        "half_bandwidth": MemoryTiming(bandwidth=Fraction(1, 2)),
        "refresh": MemoryTiming(refresh_period=1560, refresh_cycles=70),
    }
)
"""Memories for which modelled rows are predicted in addition to their own. The refresh corresponds
to a DDR4 memory of 8 Gbit, 350 ns of every 7.8 us, at 200 MHz."""


def memory_timing(latency: int, bandwidth: str, refresh: str) -> MemoryTiming:
    """Return the memory of ``latency`` cycles whose bandwidth is a ratio ("1/2", "0.5") and whose
    refresh is "cycles/period" or "0"; raise :class:`UserError` for anything else."""
    try:
        cycles, _, period = refresh.partition("/")
        return MemoryTiming(latency, Fraction(bandwidth), int(period or 0), int(cycles))
    except (ValueError, ZeroDivisionError) as error:
        raise UserError(
            f"there is no memory of latency {latency}, bandwidth {bandwidth!r} and refresh "
            f"{refresh!r}: {error}"
        ) from None


@dataclass(frozen=True)
class Memories:
    """The memories behind the ports: ``memory``, with a latency that grows by ``skew`` cycles from
    one port to the next."""

    memory: MemoryTiming = PLAIN
    skew: int = 0

    def of(self, config: ArchConfig) -> list[MemoryTiming]:
        """Return one memory per port."""
        first = self.memory.latency
        return [
            replace(self.memory, latency=first + port * self.skew) for port in range(config.ports)
        ]

    @property
    def name(self) -> str | None:
        """Name in the rows; None for the plain memory."""
        columns = self.columns
        plain = Memories().columns
        words = [f"{k} {v}" for k, v in columns.items() if v != plain[k]]
        return ", ".join(words) or None

    @property
    def columns(self) -> dict[str, Any]:
        """The memories as an argument of a job."""
        memory = self.memory
        return {
            "latency": memory.latency,
            "bandwidth": str(memory.bandwidth),
            "refresh": f"{memory.refresh_cycles}/{memory.refresh_period}"
            if memory.refresh_period
            else "0",
            "skew": self.skew,
        }


class Simulators:
    """The benchmark's simulators; devices are kept for the next row."""

    def __init__(self, memories: Memories) -> None:
        self._memories = memories
        self._devices: dict[str, list[Device]] = {}

    @property
    def memory(self) -> str | None:
        """The name of the memory."""
        return self._memories.name

    def devices(self, config: ArchConfig) -> list[Device]:
        """Return interpreter and RTL."""
        if config.digest not in self._devices:
            self._devices[config.digest] = [
                open_device(name, config, self._memories.of(config))
                for name in (DeviceName.INTERP, DeviceName.RTL)
            ]
        return self._devices[config.digest]

    def predict(self, program: Program) -> Prediction:
        """Return the prediction of the cycle model."""
        return predict(program, self._memories.of(program.config))

    def slower(self, program: Program) -> dict[str, int]:
        """Return the cycles with every memory of :data:`SLOWER`."""
        return {name: predict(program, memory).cycles for name, memory in SLOWER.items()}

    def netlist(self, config: ArchConfig) -> str:
        """Return the SHA-256 of the Verilog."""
        return hashlib.sha256(cached_verilog(config).encode()).hexdigest()


_simulators = cache(Simulators)


def bench_nets(
    *,
    only: str | None = None,
    preset: str | None = None,
    images: int = 200,
    memories: Memories | None = None,
    data: Path | None = None,
    place: Place | None = None,
    watcher: Watcher | None = None,
) -> CampaignResult:
    """Run the networks whose names contain ``only``, on the accelerator ``preset`` if it is given;
    on the large accelerators only the cycle model runs.

    Parameters
    ----------
    images : int
        Images for the accuracy of networks with trained weights.
    memories : Memories, optional
        The simulated memory.
    data : Path, optional
        Folder of data sets and checkpoints.

    Raises :class:`~sigbit.errors.UserError` if there is no such row.
    """
    place, watcher = place or Place(), watcher or Watcher()
    jobs = net_jobs(only, preset, images, memories or Memories(), data)
    return run_jobs(NETS, jobs, place, watcher, RowBook(NETS, place.file))


def net_jobs(
    only: str | None, preset: str | None, images: int, memories: Memories, data: Path | None
) -> list[Job]:
    """Return a job for each network and accelerator; those of the cycle model come last."""
    found = [
        _job(case, {"images": images} if case in CASES else {}, memories, data)
        for case in (*CASES, *MODELLED)
        if (only is None or only in case.net) and preset in (None, case.preset)
    ]
    if not found:
        known = ", ".join(f"{c.net} on {c.preset}" for c in (*CASES, *MODELLED))
        raise UserError(f"no row has such a network and accelerator; there are {known}")
    return found


def _job(case: Case, more: dict[str, Any], memories: Memories, data: Path | None) -> Job:
    return Job(
        f"{case.net} on {case.preset}" + (", 8 bits" if case.bits == 8 else ""),
        f"{__name__}:{'simulated' if case in CASES else 'modelled'}",
        {"case": asdict(case), "memory": memories.columns, **more},
        {"data": None if data is None else str(data.absolute())},
        columns={
            "net": case.net,
            "bits": case.bits,
            "preset": case.preset,
            "memory": memories.name,
        },
        code=(*NETWORKS, __name__),
        releases=RELEASES,
    )


def simulated(
    case: dict[str, Any], images: int, memory: dict[str, Any], data: str | None, tell: Tell
) -> list[Row]:
    """Return the row of a network on interpreter and RTL."""
    one = Case(**case)
    with one_thread():
        simulators = _simulators(_memories(memory))
        return [run_case(one, PRESETS[one.preset], _folder(data), images, simulators, tell)]


def modelled(
    case: dict[str, Any], memory: dict[str, Any], data: str | None, tell: Tell
) -> list[Row]:
    """Return the rows of a network by the cycle model."""
    one = Case(**case)
    with one_thread():
        simulators = _simulators(_memories(memory))
        return model_case(one, PRESETS[one.preset], _folder(data), simulators, tell)


def _memories(columns: dict[str, Any]) -> Memories:
    """Return the inverse of :attr:`Memories.columns`."""
    memory = memory_timing(columns["latency"], columns["bandwidth"], columns["refresh"])
    return Memories(memory, columns["skew"])


def _folder(data: str | None) -> Path | None:
    return None if data is None else Path(data)


def _line(row: Row) -> str:
    return (
        f"{row['net']} on {row['preset']}: {row['cycles'] or row['model_cycles']:,} cycles, array "
        f"busy {row['utilization']:.1%}, {row['mismatches'] or 0} codes differ"
    )


def _check(row: Row) -> str | None:
    if not row.get("mismatches"):
        return None
    return f"{row['net']} on {row['preset']}: {row['mismatches']:,} codes differ"


_PLACES = {(c.net, c.bits, c.preset): k for k, c in enumerate((*CASES, *MODELLED))}


def _order(row: Row) -> int:
    return _PLACES.get((row["net"], row["bits"], row["preset"]), len(_PLACES))


NETS = Benchmark(
    "sigbit bench nets", ("net", "bits", "preset"), _line, _order, _check, varied=("memory",)
)
