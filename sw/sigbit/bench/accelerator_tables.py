"""Tables of accelerator costs, from the ``--json`` output of ``sigbit synth``, ``sigbit build`` and
``sigbit quantize --budget luts=N``."""

from collections.abc import Callable, Mapping
from typing import Any

from sigbit.report.tables import NONE, Column, Grid, Row, Table, label, number, percent, share


def _of_total(title: str, key: str) -> Column:
    """Number of cells of the whole accelerator."""

    def text(row: Row) -> str:
        return f"{row['total'][key]:,g}" if key in row["total"] else NONE

    return Column(title, text, True)


def path_text(paths: list[Mapping[str, int]]) -> str:
    """``3 + 1 or 4 + 0``: LUT levels and carry chains of the longest paths."""
    return " or ".join(f"{p['levels']} + {p['carries']}" for p in paths)


def _longest(part: str) -> Column:
    def text(row: Row) -> str:
        found = row.get("paths", {}).get(part)
        return path_text(found) if found else NONE

    return Column(f"longest logic, {part}", text)


SYNTHESIS = Table(
    "Whole accelerators, before place and route",
    (
        label("preset", "preset"),
        number("MACs", "macs"),
        label("target", "target"),
        _of_total("LUT", "lut"),
        _of_total("FF", "ff"),
        _of_total("DSP", "dsp"),
        _of_total("block memories", "blocks"),
        number("LUT/MAC whole", "lut_per_mac", 1),
        number("LUT/MAC array", "lut_per_mac_array", 1),
        _longest("array"),
        _longest("post-processing"),
        _longest("accelerator"),
        Column("netlist", lambda r: (r.get("netlist_sha256") or NONE)[:12]),
    ),
)


def _change(title: str, value: Callable[[Mapping[str, Any]], float | None]) -> Column:
    """A figure before and after a change of the gateware."""

    def text(row: Row) -> str:
        sides = [value(row[side]) for side in ("before", "after")]
        shown = [f"{n:,}".removesuffix(".0") for n in sides if n is not None]
        return " → ".join(shown) or NONE

    return Column(title, text, True)


EXACT_SCALES = Table(
    "Cost of exact scales",
    (
        label("preset", "preset"),
        number("MACs", "macs"),
        _change("LUT", lambda side: side["lut"]),
        share("more LUT", "lut_growth"),
        _change("FF", lambda side: side["ff"]),
        _change("block memories", lambda side: side["blocks"]),
        _change("cycles of ResNet-8", lambda side: side["cycles"].get("resnet8")),
        _change("cycles of ResNet-18", lambda side: side["cycles"].get("resnet18")),
        share("more cycles", "cycles_growth", 3),
    ),
)
BUDGET = Table(
    "The most exact number system within a budget of LUTs",
    (
        number("budget", "limit"),
        number("LUTs taken", "luts"),
        label("weights", "weight_format"),
        label("activations", "act_format"),
        Column("error of the outputs", lambda r: f"{r['error_db']:.1f} dB", True),
        share("same class", "agreement"),
        share("accuracy", "accuracy"),
    ),
    lambda r: "limit" in r,
)


def _cells(title: str, kind: str) -> Column:
    """Cells of a type: their number, and their fraction of the part's."""

    def text(row: Row) -> str:
        cells = row["resources"].get(kind)
        if cells is None:
            return NONE
        return f"{cells['used']:,} ({percent(cells['used'] / cells['available'])})"

    return Column(title, text, True)


def _reached(clock: str) -> Column:
    """Frequencies that a clock reached, one for each seed, starting at 1."""

    def text(row: Row) -> str:
        goal = row["clocks"].get(clock)
        return NONE if goal is None else ", ".join(f"{met:.1f}" for met in goal["met"])

    return Column(f"{clock} after routing, MHz, by seed", text, True)


def _kibibytes(row: Row) -> str:
    size = row.get("bitstream_bytes")
    return NONE if size is None else f"{size / 1024:,.0f}"


BOARDS = Table(
    "Boards with accelerators, placed, routed and packed",
    (
        label("board", "board"),
        label("part", "part"),
        label("accelerator", "preset"),
        number("MACs", "macs"),
        Column("memory", lambda r: r.get("memory", "on-chip")),
        Column("clocks, MHz", lambda r: f"{r['clocks']['accelerator']['wanted']:g}", True),
        _reached("accelerator"),
        _reached("memory"),
        _cells("logic cells", "TRELLIS_COMB"),
        _cells("registers", "TRELLIS_FF"),
        _cells("block memories", "DP16KD"),
        Column("bitstream, KiB", _kibibytes, True),
        Column("minutes", lambda r: f"{r['seconds'] / 60:,.0f}", True),
        Column("of one core", lambda r: f"{r['cpu_seconds'] / 60:,.0f}", True),
    ),
)

SDRAM_RATES = Table(
    "SDRAM: bytes per cycle of its clock",
    (
        label("accelerator", "preset"),
        label("direction", "direction"),
        number("bytes moved", "bytes"),
        number("cycles of the memory", "memory_cycles"),
        number("bytes per cycle", "bytes_per_cycle", 3),
    ),
    lambda r: "direction" in r,
)
MEMORY_CYCLES = Table(
    "Cycles per image, by memory",
    (
        label("accelerator", "preset"),
        label("memory", "memory"),
        number("images per run", "batch"),
        number("cycles per image", "cycles_per_image"),
        number("estimate of `sigbit build`", "estimate"),
        number("images", "images"),
        number("wrong codes", "wrong"),
    ),
    lambda r: "batch" in r,
)


def routed_grid(document: Mapping[str, Any]) -> Grid:
    """Cells used after place and route, and available on the part."""
    lines = []
    for kind, cells in document["resources"].items():
        used, available = cells["used"], cells.get("available")
        lines.append(
            (
                kind,
                f"{used:,}",
                f"{available:,}" if available is not None else NONE,
                percent(used / available) if available else NONE,
            )
        )
    return Grid("Placed and routed", ("cells", "used", "available", "share"), tuple(lines), " >>>")
