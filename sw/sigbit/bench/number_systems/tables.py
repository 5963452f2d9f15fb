"""The rows of ``sigbit bench silicon`` as tables for people."""

from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from typing import Any

from sigbit.bench.number_systems.error import DISTRIBUTIONS, decibels
from sigbit.bench.number_systems.public import PUBLISHED, Published
from sigbit.bench.number_systems.row import CLOCKS, total_error
from sigbit.bench.tables import Row, Table

NONE = "–"


def _number(name: str, digits: int = 1) -> Callable[[Row], str]:
    def text(row: Row) -> str:
        return NONE if row[name] is None else f"{row[name]:,.{digits}f}"

    return text


def _widths(row: Row) -> str:
    return f"{row['weight_bits']}x{row['act_bits']}"


def _gops(clock: int) -> Callable[[Row], str]:
    def text(row: Row) -> str:
        return f"{row['gops_per_klut'][str(clock)]:.1f}" if row["gops_per_klut"] else NONE

    return text


def _path(row: Row) -> str:
    if row["levels"] is None:
        return NONE
    return f"{row['levels']} + {row['carries']}"


def _noise(side: str, source: str) -> Callable[[Row], str]:
    return lambda row: f"{decibels(row[side][source]):.1f}"


def _zoo(side: str) -> Callable[[Row], str]:
    def text(row: Row) -> str:
        found = [error for name, error in row[side].items() if name not in DISTRIBUTIONS]
        return f"{sum(map(decibels, found)) / len(found):.1f}" if found else NONE

    return text


def _hash(row: Row) -> str:
    return row["netlist_sha256"][:12] if row["netlist_sha256"] else NONE


def _verified(row: Row) -> str:
    alone = "an array alone, not run" if row["lut_total"] is None else "not run"
    return row["refused"] or row["verified_by"] or alone


_HEAD: Mapping[str, Callable[[Row], str]] = {
    "bits": _widths,
    "number system": lambda r: r["number_system"],
    "weights x activations": lambda r: f"{r['weight_format']} x {r['act_format']}",
}


def costs(target: str) -> Table:
    """What the accelerators cost on one fabric."""
    return Table(
        f"Cost on {target}",
        {
            **_HEAD,
            "accelerator": lambda r: r["preset"],
            "MACs": _number("macs", 0),
            "LUT/MAC array": _number("lut_per_mac_array", 2),
            "LUT/MAC whole": _number("lut_per_mac_total", 2),
            "LUT": _number("lut_total", 0),
            "FF": _number("ff", 0),
            "DSP": _number("dsp", 0),
            "memory bits": _number("memory_bits", 0),
            "levels + carries": _path,
            **{f"GOPS/kLUT at {clock} MHz": _gops(clock) for clock in CLOCKS},
            "routed MHz": _number("fmax_mhz"),
        },
        lambda r: r["target"] == target and r["refused"] is None,
    )


def evidence(target: str) -> Table:
    """Which netlist the rows are about and what ran on it; and what was refused."""
    return Table(
        f"Netlists and runs on {target}",
        {**_HEAD, "accelerator": lambda r: r["preset"], "netlist": _hash, "run": _verified},
        lambda r: r["target"] == target,
    )


def noise(target: str) -> Table:
    """What the grids lose, in decibels of signal over quantization noise."""
    return Table(
        "Signal over quantization noise, dB: weights, and activations of positive tensors",
        {
            **_HEAD,
            "weights Gaussian": _noise("weight_error", "gaussian"),
            "Laplacian": _noise("weight_error", "laplacian"),
            "zoo": _zoo("weight_error"),
            "activations Gaussian": _noise("act_error", "gaussian"),
            "Laplacian ": _noise("act_error", "laplacian"),
            "zoo ": _zoo("act_error"),
        },
        lambda r: r["target"] == target,
    )


def verdicts(rows: Sequence[Row], sources: Sequence[str]) -> list[list[str]]:
    """For every pair of widths and fabric: the number system of the least LUTs, and that of the
    least error on each of ``sources``. Shipped accelerators of other shapes do not take part."""
    built = [r for r in rows if r["lut_total"] is not None and r["number_system"] != "shipped"]

    def place(row: Row) -> tuple[Any, ...]:
        return row["weight_bits"], row["act_bits"], row["target"]

    lines = []
    for (weights, acts, target), group in groupby(sorted(built, key=place), place):
        found = list(group)
        least = min(found, key=lambda r: r["lut_per_mac_total"])
        lines.append(
            [
                f"{weights}x{acts}",
                target,
                f"{least['number_system']} ({least['lut_per_mac_total']:.2f})",
                *(_most_exact(found, source) for source in sources),
            ]
        )
    return lines


def _most_exact(rows: Sequence[Row], source: str) -> str:
    best = min(rows, key=lambda r: total_error(r, source))
    return f"{best['number_system']} ({decibels(total_error(best, source)):.1f} dB)"


def verdict_columns(sources: Sequence[str]) -> list[str]:
    """The columns of :func:`verdicts`."""
    return [
        "bits",
        "fabric",
        "fewest LUT/MAC, whole",
        *(f"least error, {source}" for source in sources),
    ]


def _published(p: Published) -> list[str]:
    return [
        p.source,
        p.bits,
        p.covers,
        NONE if p.lut_per_mac is None else f"{p.lut_per_mac:.1f}",
        NONE if p.gops_per_klut is None else f"{p.gops_per_klut:.2f}",
        "not stated" if p.clock_mhz is None else f"{p.clock_mhz:.0f}",
        "yes" if p.dsp else "no",
        p.derived or "published",
    ]


PUBLISHED_COLUMNS = [
    "source",
    "bits",
    "covers",
    "LUT/MAC",
    "GOPS/kLUT",
    "MHz",
    "DSP blocks",
    "figure",
]


def published() -> list[list[str]]:
    """The public figures."""
    return [_published(p) for p in PUBLISHED]


def markdown(columns: Sequence[str], cells: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [columns, ["---"] * len(columns), *cells]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"
