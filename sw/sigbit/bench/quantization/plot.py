"""Accuracy of every quantizer over its bits."""

import io
import statistics
from collections.abc import Sequence
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sigbit.bench.quantization.means import Mean, means
from sigbit.report.tables import Row

SHOWN = 6
"""Points of accuracy below float that the figure shows."""
_STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "sigbit",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def accuracies(rows: Sequence[Row]) -> bytes:
    """An SVG: accuracy of every quantizer on Fashion-MNIST over its bits, with bars of half the
    range over the seeds; values more than :data:`SHOWN` points below the float twins are drawn at
    the bottom with their number. The same bytes for the same rows."""
    chosen = [
        m
        for m in means(rows)
        if m.row["group"] == "quantizers" and m.row["dataset"] == "Fashion-MNIST"
    ]
    names = list(dict.fromkeys(m.key[2:4] for m in chosen))
    twin = 100 * statistics.fmean([m.twin.mean for m in chosen if m.twin] or [0])
    with rc_context(_STYLE):
        sheet = Figure(figsize=(7.2, 4.2), layout="constrained")
        axes = sheet.subplots()
        for k, name in enumerate(names):
            shift = 0.6 * (k - (len(names) - 1) / 2) / max(1, len(names))
            _series(axes, k, name, [m for m in chosen if m.key[2:4] == name], shift, twin)
        if chosen:
            axes.axhline(twin, color="#9498a0", linewidth=1, label="float")
            axes.set_xticks(sorted({m.row["weight_bits"] for m in chosen}))
            axes.legend(frameon=False, fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5))
        axes.invert_xaxis()
        axes.set_xlabel("bits of weights and activations")
        axes.set_ylabel("accuracy, %")
        buffer = io.BytesIO()
        sheet.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue()


def _series(
    axes: Axes, place: int, name: tuple[str, ...], found: Sequence[Mean], shift: float, twin: float
) -> None:
    """Points of one method; those below the figure's floor with their number."""
    colour, floor = f"C{place % 10}", twin - SHOWN
    for m in found:
        if 100 * m.accuracy.mean < floor:
            at = (m.row["weight_bits"] + shift, floor)
            axes.plot(*at, marker="v", markersize=4, color=colour)
            text = f"{100 * m.accuracy.mean:.1f} "
            axes.annotate(text, at, fontsize=7, ha="right", va="center")
    mine = [m for m in found if 100 * m.accuracy.mean >= floor]
    axes.errorbar(
        [m.row["weight_bits"] + shift for m in mine],
        [100 * m.accuracy.mean for m in mine],
        [100 * (m.accuracy.half or 0) for m in mine],
        fmt="o",
        markersize=4,
        capsize=2,
        color=colour,
        markerfacecolor="none" if place >= 10 else None,
        label=" ".join(name).strip(),
    )
