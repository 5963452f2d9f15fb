"""Number systems on equal footing, in LUTs and in precision: a job for each accelerator and
fabric."""

from collections.abc import Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from sigbit.bench.number_systems import candidates as known
from sigbit.bench.number_systems import error
from sigbit.bench.number_systems.row import Candidate, row_of
from sigbit.campaigns import Job, Row, Tell
from sigbit.errors import UserError
from sigbit.flows.campaigns.accelerators import Accelerators
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
from sigbit_tools.files import read_json

CODE = (
    *NETWORKS,
    *(f"sigbit.bench.number_systems.{name}" for name in ("candidates", "error", "row", "systems")),
    *(f"sigbit.flows.campaigns.{name}" for name in ("accelerators", "random_programs")),
    __name__,
)
"""Sources that the rows depend on."""
FABRICS = ("xcup", "ecp5")
"""Fabrics to compare by default."""


def bench_number_systems(
    *,
    only: str | None = None,
    targets: Sequence[str] = FABRICS,
    routed: Sequence[Path] = (),
    data: Path | None = None,
    place: Place | None = None,
    watcher: Watcher | None = None,
) -> CampaignResult:
    """Map the accelerators whose name, number system, bits or fabric contain ``only``, run random
    programs on them, and measure the errors of their formats.

    Parameters
    ----------
    targets : sequence of str
        Fabrics.
    routed : sequence of Path
        JSON of ``sigbit build``: its clock is added to the row of the same netlist.
    data : Path, optional
        Folder of data sets and checkpoints; without it the zoo's layers are random.

    Raises :class:`~sigbit.errors.UserError` if there is no such row, and for a file without a
    clock.
    """
    place, watcher = place or Place(), watcher or Watcher()
    jobs = number_system_jobs(only, targets, data)
    benchmark = _benchmark(clocks_of(routed))
    return run_jobs(benchmark, jobs, place, watcher, RowBook(benchmark, place.file))


def number_system_jobs(only: str | None, targets: Sequence[str], data: Path | None) -> list[Job]:
    """Return a job for each candidate and fabric."""
    every = known.candidates()
    found = [
        _job(candidate, target, data)
        for target in targets
        for candidate in every
        if only is None or only.lower() in _label(candidate, target).lower()
    ]
    if not found:
        raise UserError(
            f"no row contains {only!r}; there are "
            + ", ".join(f"{c.name} ({c.number_system})" for c in every)
        )
    return found


def _label(candidate: Candidate, target: str) -> str:
    bits = f"{candidate.weights.bits}x{candidate.acts.bits}"
    return f"{candidate.name} {candidate.number_system} {bits} {target}"


def _job(candidate: Candidate, target: str, data: Path | None) -> Job:
    weights = "random" if data is None else "real"
    return Job(
        f"{candidate.name} on {target}",
        f"{__name__}:measured",
        {"name": candidate.name, "target": target, "zoo_weights": weights},
        {"data": None if data is None else str(data.absolute())},
        columns={
            "preset": candidate.name,
            "number_system": candidate.number_system,
            "target": target,
        },
        code=CODE,
        releases=RELEASES,
    )


def measured(name: str, target: str, zoo_weights: str, data: str | None, tell: Tell) -> list[Row]:
    """Return the row of a candidate on a fabric."""
    candidate = next(c for c in known.candidates() if c.name == name)
    with one_thread():
        tell(f"{name} on {target}: layers of the zoo", 0, 1)
        row = row_of(candidate, target, _errors(data), Accelerators(), tell)
    return [{**row, "zoo_weights": zoo_weights}]


@lru_cache(maxsize=1)
def _errors(data: str | None) -> error.MeasuredErrors:
    return error.MeasuredErrors(error.zoo_layers(None if data is None else Path(data)))


def clocks_of(files: Sequence[Path]) -> dict[str, float]:
    """Megahertz by netlist, from JSON files of ``sigbit build``."""
    found = {}
    for path in files:
        document = read_json(path)
        if not isinstance(document, dict) or "fmax_mhz" not in document:
            raise UserError(f"{path} is no result of sigbit build: it names no clock")
        found[document["netlist_sha256"]] = float(document["fmax_mhz"])
    return found


def _benchmark(clocks: dict[str, float]) -> Benchmark:
    fabrics = (*FABRICS, "ice40")
    names = [(c.name, fabric) for fabric in fabrics for c in known.candidates()]
    places = {place: k for k, place in enumerate(names)}
    return Benchmark(
        "sigbit bench number-systems",
        ("preset", "number_system", "target"),
        _line,
        order=lambda row: places.get((row["preset"], row["target"]), len(places)),
        check=_check,
        finish=partial(_with_clock, clocks),
    )


def _with_clock(clocks: dict[str, float], row: Row) -> Row:
    """Return ``row`` with the clock that place and route reached for its netlist, if known."""
    clock: Any = clocks.get(row.get("netlist_sha256") or "")
    return row if clock is None else {**row, "fmax_mhz": clock}


def _line(row: Row) -> str:
    what = f"{row['preset']} on {row['target']}"
    if row["refused"]:
        return f"{what}: refused, {row['refused']}"
    if row["lut_total"] is None:
        return (
            f"{what}: {row['lut_per_mac_array']:.2f} LUT per multiply-accumulate in the array, "
            "which is all there is"
        )
    return (
        f"{what}: {row['lut_per_mac_total']:.2f} LUT per multiply-accumulate, "
        f"{row['lut_per_mac_array']:.2f} in the array; {row['verified_by']}"
    )


def _check(row: Row) -> str | None:
    if row.get("dsp") and not row.get("refused"):
        return f"{row['preset']} on {row['target']}: {row['dsp']} DSP blocks"
    return None
