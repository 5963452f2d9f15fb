"""Tables of the rows of ``sigbit bench number-systems``."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from itertools import groupby
from typing import Any

from sigbit.bench.number_systems.public import PUBLISHED
from sigbit.bench.number_systems.row import CLOCKS, DISTRIBUTIONS, decibels, total_error
from sigbit.report.tables import NONE, Column, Grid, Row, Table, label, number


def _widths(row: Row) -> str:
    return f"{row['weight_bits']}x{row['act_bits']}"


def _formats(row: Row) -> str:
    return f"{row['weight_format']} x {row['act_format']}"


def _gops(clock: int) -> Callable[[Row], str]:
    def text(row: Row) -> str:
        found = row.get("gops_per_klut")
        return f"{found[str(clock)]:.1f}" if found else NONE

    return text


def _path(row: Row) -> str:
    return NONE if row.get("levels") is None else f"{row['levels']} + {row['carries']}"


def _noise(side: str, source: str) -> Callable[[Row], str]:
    return lambda row: f"{decibels(row[side][source]):.1f}"


def zoo_decibels(errors: Mapping[str, float]) -> float | None:
    """Mean signal-to-noise ratio of the networks; None without networks."""
    found = [decibels(error) for name, error in errors.items() if name not in DISTRIBUTIONS]
    return sum(found) / len(found) if found else None


def _zoo(side: str) -> Callable[[Row], str]:
    def text(row: Row) -> str:
        found = zoo_decibels(row[side])
        return NONE if found is None else f"{found:.1f}"

    return text


def _hash(row: Row) -> str:
    return row["netlist_sha256"][:12] if row.get("netlist_sha256") else NONE


def _verified(row: Row) -> str:
    alone = "an array alone, not run" if row.get("lut_total") is None else "not run"
    return row["refused"] or row.get("verified_by") or alone


_HEAD = (
    Column("bits", _widths),
    label("number system", "number_system"),
    Column("weights x activations", _formats),
)


def costs(target: str) -> Table:
    """Costs of the accelerators on one fabric."""
    return Table(
        f"Cost on {target}",
        (
            *_HEAD,
            label("accelerator", "preset"),
            number("MACs", "macs"),
            number("LUT/MAC array", "lut_per_mac_array", 2),
            number("LUT/MAC whole", "lut_per_mac_total", 2),
            number("LUT", "lut_total"),
            number("FF", "ff"),
            number("DSP", "dsp"),
            number("memory bits", "memory_bits"),
            Column("levels + carries", _path, True),
            *(Column(f"GOPS/kLUT at {clock} MHz", _gops(clock), True) for clock in CLOCKS),
            number("routed MHz", "fmax_mhz", 1),
        ),
        lambda r: r["target"] == target and r["refused"] is None,
    )


def summary(target: str) -> Table:
    """LUTs and precision on one fabric, for all accelerators of the same shape."""
    return Table(
        f"LUTs and signal over noise on {target}",
        (
            *_HEAD,
            number("LUT/MAC whole", "lut_per_mac_total", 1),
            number("LUT/MAC array", "lut_per_mac_array", 1),
            Column("weights, dB", _zoo("weight_error"), True),
            Column("activations, dB", _zoo("act_error"), True),
        ),
        lambda r: r["target"] == target and is_compared(r),
    )


def is_compared(row: Row) -> bool:
    """True if ``row`` describes an accelerator of the common shape."""
    return row.get("lut_total") is not None and row["number_system"] != "shipped"


def evidence(target: str) -> Table:
    """The netlists of the rows, the runs on them, and the refused candidates."""
    return Table(
        f"Netlists and runs on {target}",
        (
            *_HEAD,
            label("accelerator", "preset"),
            Column("netlist", _hash),
            Column("run", _verified),
        ),
        lambda r: r["target"] == target,
    )


def noise(target: str) -> Table:
    """Precision of the grids, in decibels of signal-to-quantization-noise ratio."""
    return Table(
        "Signal over quantization noise, dB: weights, and activations of positive tensors",
        (
            *_HEAD,
            *(
                Column(f"{side}, {where}", text, True)
                for side, key in (("weights", "weight_error"), ("activations", "act_error"))
                for where, text in (
                    ("Gaussian", _noise(key, "gaussian")),
                    ("Laplacian", _noise(key, "laplacian")),
                    ("zoo", _zoo(key)),
                )
            ),
        ),
        lambda r: r["target"] == target,
    )


def verdict_grid(rows: Sequence[Row]) -> Grid:
    """For every pair of widths and fabric: the number system with the fewest LUTs, and the one with
    the smallest error on each distribution. Shipped accelerators of other shapes are not
    included."""
    built = [r for r in rows if is_compared(r)]

    def place(row: Row) -> tuple[Any, ...]:
        return row["weight_bits"], row["act_bits"], row["target"]

    lines = []
    for (weights, acts, target), group in groupby(sorted(built, key=place), place):
        found = list(group)
        least = min(found, key=lambda r: r["lut_per_mac_total"])
        lines.append(
            (
                f"{weights}x{acts}",
                target,
                f"{least['number_system']} ({least['lut_per_mac_total']:.2f})",
                *(_most_exact(found, source) for source in DISTRIBUTIONS),
            )
        )
    columns = (
        "bits", "fabric", "fewest LUT/MAC, whole", *(f"least error, {s}" for s in DISTRIBUTIONS)
    )  # fmt: skip
    return Grid("Fewest LUTs and least error", columns, tuple(lines))


def _most_exact(rows: Sequence[Row], source: str) -> str:
    best = min(rows, key=lambda r: total_error(r, source))
    return f"{best['number_system']} ({decibels(total_error(best, source)):.1f} dB)"


_FIGURES = Table(
    "Public figures",
    (
        label("source", "source"),
        label("bits", "bits"),
        label("covers", "covers"),
        number("LUT/MAC", "lut_per_mac", 1),
        number("GOPS/kLUT", "gops_per_klut", 2),
        Column(
            "MHz",
            lambda r: "not stated" if r["clock_mhz"] is None else f"{r['clock_mhz']:.0f}",
            True,
        ),
        Column("DSP blocks", lambda r: "yes" if r["dsp"] else "no"),
        Column("figure", lambda r: r["derived"] or "published"),
    ),
)


def published_grid() -> Grid:
    """Figures of other designs."""
    return _FIGURES.grid([asdict(p) for p in PUBLISHED])


def grids(rows: Sequence[Row]) -> list[Grid]:
    """All tables of the benchmark."""
    fabrics = sorted({row["target"] for row in rows})
    tables = [table(fabric) for fabric in fabrics for table in (costs, evidence)]
    return [
        *(table.grid(rows) for table in (*tables, noise(fabrics[0]))),
        verdict_grid(rows),
        published_grid(),
    ]
