"""LUTs a multiply-accumulate against quantization error: what nothing else beats."""

import io
from collections.abc import Sequence
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sigbit.bench.silicon import cheapest, total_error
from sigbit.bench.silicon_error import decibels
from sigbit.bench.tables import Row

_COLOURS = ("#4269d0", "#efb118", "#ff725c", "#6cc5b0", "#3ca951", "#a463f2", "#97bbf5")
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
    """An SVG with a panel for each fabric: LUTs of the whole accelerator a multiply-accumulate
    (log), and signal over noise of a product on ``source``; a line through what nothing beats. The
    same bytes for the same rows."""
    built = [r for r in rows if r["lut_total"] is not None]
    targets = sorted({r["target"] for r in built})
    widths = sorted({(r["weight_bits"], r["act_bits"]) for r in built})
    with rc_context(_STYLE):
        figure = Figure(figsize=(5.4 * len(targets), 4.6), layout="constrained")
        panels = figure.subplots(1, len(targets), squeeze=False, sharey=True).ravel()
        for axes, target in zip(panels, targets, strict=True):
            _panel(axes, [r for r in built if r["target"] == target], widths, source)
            axes.set_title(target)
        panels[0].set_ylabel(f"signal over noise of a product, {source}, dB")
        panels[-1].legend(title="weights x activations, bits", loc="lower right")
        buffer = io.BytesIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue()


def _panel(axes: Axes, rows: Sequence[Row], widths: Sequence[tuple[int, int]], source: str) -> None:
    def place(row: Row) -> tuple[float, float]:
        return row["lut_per_mac_total"], decibels(total_error(row, source))

    for number, (weights, acts) in enumerate(widths):
        found = [r for r in rows if (r["weight_bits"], r["act_bits"]) == (weights, acts)]
        points = [place(r) for r in found]
        axes.scatter(
            [x for x, _ in points],
            [y for _, y in points],
            color=_COLOURS[number % len(_COLOURS)],
            label=f"{weights} x {acts}",
            zorder=2,
        )
        for row, point in zip(found, points, strict=True):
            name = row["preset"] if row["number_system"] == "shipped" else row["number_system"]
            axes.annotate(name, point, (4, 3), textcoords="offset points", fontsize=7)
    front = sorted(place(r) for r in cheapest(rows, source))
    axes.plot(*zip(*front, strict=True), color="#9498a0", linewidth=1, zorder=1)
    axes.set_xscale("log")
    axes.set_xlabel("LUT per multiply-accumulate, whole accelerator")
    axes.grid(True, which="both", linewidth=0.3)
