"""Whole networks at full size, a job each: quantized, compiled, run, and every layer compared."""

import hashlib
from dataclasses import asdict
from functools import cache
from pathlib import Path
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
from sigbit_synthesis.emitted import cached_verilog


class Simulators:
    """The simulators as the benchmark wants them; devices are kept for the next row."""

    def __init__(self, latency: int) -> None:
        self._latency = latency
        self._devices: dict[str, list[Device]] = {}

    def devices(self, config: ArchConfig) -> list[Device]:
        """Interpreter and RTL."""
        if config.digest not in self._devices:
            self._devices[config.digest] = [
                open_device(name, config, self._latency)
                for name in (DeviceName.INTERP, DeviceName.RTL)
            ]
        return self._devices[config.digest]

    def predict(self, program: Program) -> Prediction:
        """What the cycle model says."""
        return predict(program, latency=self._latency)

    def netlist(self, config: ArchConfig) -> str:
        """SHA-256 of the Verilog."""
        return hashlib.sha256(cached_verilog(config).encode()).hexdigest()


_simulators = cache(Simulators)


def bench_nets(
    *,
    only: str | None = None,
    preset: str | None = None,
    images: int = 200,
    latency: int = 40,
    data: Path | None = None,
    place: Place | None = None,
    watcher: Watcher | None = None,
) -> CampaignResult:
    """Run the networks whose names contain ``only``, on the accelerator ``preset`` if it is given;
    on the large accelerator only the cycle model runs.

    Parameters
    ----------
    images : int
        Images for the accuracy of networks with trained weights.
    latency : int
        Cycles of the simulated memory.
    data : Path, optional
        Folder of data sets and checkpoints.

    Raises :class:`~sigbit.errors.UserError` if there is no such row.
    """
    place, watcher = place or Place(), watcher or Watcher()
    jobs = net_jobs(only, preset, images, latency, data)
    return run_jobs(NETS, jobs, place, watcher, RowBook(NETS, place.file))


def net_jobs(
    only: str | None, preset: str | None, images: int, latency: int, data: Path | None
) -> list[Job]:
    """A job for each network and accelerator; those of the cycle model come last."""
    found = [
        _job(case, {"images": images} if case in CASES else {}, latency, data)
        for case in (*CASES, *MODELLED)
        if (only is None or only in case.net) and preset in (None, case.preset)
    ]
    if not found:
        known = ", ".join(f"{c.net} on {c.preset}" for c in (*CASES, *MODELLED))
        raise UserError(f"no row has such a network and accelerator; there are {known}")
    return found


def _job(case: Case, more: dict[str, Any], latency: int, data: Path | None) -> Job:
    return Job(
        f"{case.net} on {case.preset}" + (", 8 bits" if case.bits == 8 else ""),
        f"{__name__}:{'simulated' if case in CASES else 'modelled'}",
        {"case": asdict(case), "latency": latency, **more},
        {"data": None if data is None else str(data.absolute())},
        columns={"net": case.net, "bits": case.bits, "preset": case.preset},
        code=(*NETWORKS, __name__),
        releases=RELEASES,
    )


def simulated(
    case: dict[str, Any], images: int, latency: int, data: str | None, tell: Tell
) -> list[Row]:
    """The row of a network on interpreter and RTL."""
    one = Case(**case)
    with one_thread():
        return [
            run_case(one, PRESETS[one.preset], _folder(data), images, _simulators(latency), tell)
        ]


def modelled(case: dict[str, Any], latency: int, data: str | None, tell: Tell) -> list[Row]:
    """The rows of a network by the cycle model."""
    one = Case(**case)
    with one_thread():
        return model_case(one, PRESETS[one.preset], _folder(data), _simulators(latency), tell)


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


NETS = Benchmark("sigbit bench nets", ("net", "bits", "preset"), _line, _order, _check)
