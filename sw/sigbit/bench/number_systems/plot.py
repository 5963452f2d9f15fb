"""LUTs per multiply-accumulate against quantization error: the Pareto front."""

import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter

from sigbit.bench.number_systems.row import cheapest, decibels, total_error
from sigbit.report.tables import Row

_COLOURS = ("#4269d0", "#efb118", "#ff725c", "#6cc5b0", "#3ca951", "#a463f2", "#97bbf5")
_MARKERS = {"integer": "o", "power of two": "^", "ESB": "s", "APoT": "D", "shipped": "P"}
"""Markers by the prefix of the number system's name."""
_STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "sigbit",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 9,
    "axes.titleweight": "bold",
    "legend.frameon": False,
}


def pareto(rows: Sequence[Row], source: str) -> bytes:
    """An SVG with one panel per fabric: LUTs of the whole accelerator per multiply-accumulate
    (log), and signal-to-noise ratio of a product on ``source``; a line through the Pareto front,
    with names where it gains a decibel. The same bytes for the same rows."""
    built = [r for r in rows if r["lut_total"] is not None and source in r["weight_error"]]
    targets = sorted({r["target"] for r in built})
    widths = sorted({(r["weight_bits"], r["act_bits"]) for r in built})
    colours = {pair: _COLOURS[k % len(_COLOURS)] for k, pair in enumerate(widths)}
    systems = [name for name in _MARKERS if any(_system(r) == name for r in built)]
    with rc_context(_STYLE):
        figure = Figure(figsize=(5 * len(targets) + 1.4, 4.4), layout="constrained")
        panels = figure.subplots(1, len(targets), squeeze=False, sharey=True).ravel()
        for axes, target in zip(panels, targets, strict=True):
            _panel(axes, [r for r in built if r["target"] == target], colours, source)
            axes.set_title(target)
        panels[0].set_ylabel(f"signal over noise of a product, {source}, dB")
        keys = [_key(f"{w} x {a} bits", "o", colour) for (w, a), colour in colours.items()]
        keys += [_key(name, _MARKERS[name], "#6b7078") for name in systems]
        figure.legend(handles=keys, title="weights", loc="outside right upper")
        buffer = io.BytesIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue()


def _system(row: Row) -> str:
    """Number system of the weights."""
    return next(name for name in _MARKERS if row["number_system"].startswith(name))


def _key(label: str, marker: str, colour: str) -> Line2D:
    return Line2D([], [], linestyle="", marker=marker, color=colour, label=label)


def _panel(
    axes: Axes, rows: Sequence[Row], colours: Mapping[tuple[int, int], str], source: str
) -> None:
    def place(row: Row) -> tuple[float, float]:
        return row["lut_per_mac_total"], decibels(total_error(row, source))

    for row in rows:
        axes.plot(
            *place(row),
            marker=_MARKERS[_system(row)],
            color=colours[row["weight_bits"], row["act_bits"]],
            markeredgecolor="white",
            markersize=7,
            zorder=2,
        )
    front = sorted(cheapest(rows, source), key=place)
    named = -math.inf
    for row in front:
        at = place(row)
        if at[1] >= named + 1:
            named = at[1]
            name = row["preset"] if row["number_system"] == "shipped" else row["number_system"]
            axes.annotate(name, at, (-6, 3), textcoords="offset points", fontsize=7, ha="right")
    axes.plot(*zip(*map(place, front), strict=True), color="#9498a0", linewidth=1, zorder=1)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.margins(x=0.12)
    axes.set_xlabel("LUT per multiply-accumulate, whole accelerator")
    axes.grid(True, linewidth=0.3)
