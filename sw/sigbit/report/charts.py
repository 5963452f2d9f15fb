"""The drawings of the reports."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, StrMethodFormatter
from numpy.typing import NDArray

from sigbit.report.figures import colour, series, subplots, svg

WIDTH = 10.6
"""Inches across a page."""


@dataclass(frozen=True)
class Span:
    """One instruction at work on ``engine`` in the cycles [start, stop); ``layer`` is a position in
    the list of layers, or -1."""

    engine: str
    start: int
    stop: int
    layer: int


@dataclass(frozen=True)
class WeightHistogram:
    """Weights of one layer in LSBs of their grid (before rounding) and the grid's values."""

    name: str
    weights: NDArray[np.float64]
    grid: NDArray[np.int64]


def accuracy(shares: Mapping[str, float], floor: float) -> Markup:
    """Horizontal bars of accuracies in [0, 1]; the axis starts at ``floor`` so that differences
    show."""
    figure, (axes,) = subplots(1, 1, WIDTH, 0.45 + 0.34 * len(shares))
    left = 100 * floor
    for row, share in enumerate(shares.values()):
        axes.barh(row, 100 * share - left, left=left, height=0.62, color=series(row))
        axes.annotate(
            f"{100 * share:.2f} %",
            (100 * share, row),
            (5, 0),
            textcoords="offset points",
            va="center",
        )
    axes.set_yticks(range(len(shares)), list(shares), color=colour("ink"))
    axes.invert_yaxis()
    axes.set_xlim(left, 100 + 0.09 * (100 - left))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:.0f} %"))
    axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    axes.tick_params(left=False)
    return svg(figure, "accuracy")


def timeline(spans: Sequence[Span], engines: Sequence[str], window: tuple[int, int]) -> Markup:
    """A Gantt chart: a lane for each engine, a bar for each instruction, coloured by layer, in the
    cycles of ``window``."""
    low, high = window
    figure, (axes,) = subplots(1, 1, WIDTH, 0.6 + 0.42 * len(engines))
    for row, engine in enumerate(engines):
        mine = [s for s in spans if s.engine == engine and s.stop > low and s.start < high]
        axes.broken_barh(
            [(max(s.start, low), min(s.stop, high) - max(s.start, low)) for s in mine],
            (row - 0.36, 0.72),
            facecolors=[series(s.layer) if s.layer >= 0 else colour("muted") for s in mine],
            edgecolor=colour("surface"),
            linewidth=0.25,
        )
    axes.set_yticks(range(len(engines)), list(engines), color=colour("ink"))
    axes.set_ylim(len(engines) - 0.5, -0.5)
    axes.set_xlim(low, high)
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.xaxis.set_major_locator(MaxNLocator(10, integer=True))
    axes.set_xlabel("cycle")
    axes.tick_params(left=False)
    axes.grid(axis="x", linewidth=0.5)
    axes.set_axisbelow(True)
    return svg(figure, f"timeline of {', '.join(engines)}, cycles {low} to {high}")


def weight_histograms(layers: Sequence[WeightHistogram]) -> Markup:
    """The weights of each layer with the grid that they are rounded to drawn over them."""
    figure, panels = _panels(len(layers))
    for axes, layer in zip(panels, layers, strict=False):
        limit = 1.15 * float(max(abs(int(layer.grid[0])), abs(int(layer.grid[-1]))))
        share = np.full(layer.weights.size, 100 / max(layer.weights.size, 1))
        bins = np.linspace(-limit, limit, 72)
        clipped = layer.weights.ravel().clip(-limit, limit)
        axes.hist(clipped, bins.tolist(), weights=share, color=series(0), alpha=0.85)
        width, alpha = (0.7, 1.0) if len(layer.grid) <= 64 else (0.25, 0.35)
        for value in layer.grid:
            axes.axvline(float(value), color=colour("bad"), linewidth=width, alpha=alpha, zorder=3)
        axes.set_xlim(-limit, limit)
        axes.set_title(f"{layer.name} · {len(layer.grid)} values", loc="left")
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:.0f} %"))
        axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    return svg(figure, "weight histograms")


def code_histograms(layers: Sequence[tuple[str, NDArray[np.int64], NDArray[np.int64]]]) -> Markup:
    """How often each value occurs: (name, values, counts) of each layer."""
    figure, panels = _panels(len(layers))
    for axes, (name, values, counts) in zip(panels, layers, strict=False):
        share = 100 * counts / max(int(counts.sum()), 1)
        if len(values) <= 64:
            axes.bar(range(len(values)), share, width=0.8, color=series(2))
            step = max(1, -(-len(values) // 8))
            marks = range(0, len(values), step)
            axes.set_xticks(list(marks), [str(int(values[i])) for i in marks])
        else:
            axes.bar(values, share, width=1.0, color=series(2))
        axes.set_title(name, loc="left")
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:.0f} %"))
        axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    return svg(figure, "histograms of activations")


def _panels(count: int) -> tuple[Figure, list[Axes]]:
    columns = 3
    rows = -(-count // columns)
    figure, panels = subplots(rows, columns, WIDTH, 1.95 * rows)
    for axes in panels[count:]:
        axes.set_visible(False)
    return figure, panels
