"""Drawings of the reports; each takes the available ``width`` in inches."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import ceil, floor, log10

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.text import Annotation
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from sigbit.report.figures import NARROW, axes_of, canvas_of, colour, series, svg
from sigbit.report.grids import GridUse, RealHistogram
from sigbit.report.spans import Span

ROW = 0.21
"""Height in inches of a layer's row."""
_FEW = 64
"""Maximum number of grid values that are drawn individually."""


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == round(value) else f"{value:g}"


NUMBER = FuncFormatter(lambda value, _: _number(value))
PERCENT = FuncFormatter(lambda value, _: f"{_number(value)} %")


@dataclass(frozen=True)
class Point:
    """A layer in a roofline plot: multiply-accumulates per byte moved and per cycle; ``weight`` is
    its importance, ``tone`` a colour."""

    name: str
    intensity: float
    rate: float
    weight: float
    tone: str


@dataclass(frozen=True)
class Extent:
    """Interval ``[start, stop)`` of an axis in row ``row``, in a colour."""

    row: str
    start: float
    stop: float
    tone: str


def accuracy(shares: Mapping[str, float], start: float, width: float) -> Markup:
    """Horizontal bars of accuracies in [0, 1]; the axis starts at ``start`` so that differences are
    visible."""
    axes = axes_of(width, 0.7 + 0.34 * len(shares))
    left = 100 * start
    for row, share in enumerate(shares.values()):
        axes.barh(row, 100 * share - left, left=left, height=0.62, color=series(row))
        axes.annotate(
            f"{100 * share:.2f} %",
            (100 * share, row),
            (5, 0),
            textcoords="offset points",
            va="center",
        )
    _rows(axes, list(shares), width)
    axes.set_xlim(left, 100 + (0.09 if width > NARROW else 0.32) * (100 - left))
    axes.xaxis.set_major_formatter(PERCENT)
    _ticks(axes, width)
    axes.set_xlabel("images classified correctly")
    return svg(axes, "accuracy")


def timeline(
    spans: Sequence[Span], engines: Sequence[str], window: tuple[int, int], width: float
) -> Markup:
    """Return a Gantt chart: one lane per engine, one bar per span, coloured by layer, in the cycles
    of ``window``."""
    low, high = window
    axes = axes_of(width, 0.6 + 0.42 * len(engines))
    for row, engine in enumerate(engines):
        mine = [s for s in spans if s.engine == engine and s.stop > low and s.start < high]
        axes.broken_barh(
            [(max(s.start, low), min(s.stop, high) - max(s.start, low)) for s in mine],
            (row - 0.36, 0.72),
            facecolors=[series(s.layer) if s.layer >= 0 else colour("muted") for s in mine],
            edgecolor=colour("surface"),
            linewidth=0.25,
        )
    _rows(axes, engines, width)
    axes.set_xlim(low, high)
    return _finished(axes, "cycle", width, f"timeline of {', '.join(engines)}")


Parts = Sequence[tuple[str, Sequence[float | None]]]
"""Colours, and the values of every row."""


def stacked(rows: Sequence[str], parts: Parts, label: str, width: float) -> Markup:
    """Horizontal stacked bars of ``parts``, one per row; ``label`` names the axis and its unit."""
    axes = axes_of(width, 0.75 + ROW * len(rows))
    left = np.zeros(len(rows))
    for tone, values in parts:
        lengths = np.array([value or 0.0 for value in values])
        axes.barh(range(len(rows)), lengths, left=left, height=0.7, color=colour(tone))
        left += lengths
    _rows(axes, rows, width)
    axes.set_xlim(0, 1.02 * float(left.max(initial=0)) or 1.0)
    return _finished(axes, label, width)


def dots(rows: Sequence[str], parts: Parts, label: str, width: float) -> Markup:
    """Dots on a line per row, one for each of ``parts`` with a value there."""
    axes = axes_of(width, 0.75 + ROW * len(rows))
    for place, (tone, values) in enumerate(parts):
        found = [(v, row) for row, v in enumerate(values) if v is not None]
        axes.scatter(
            [v for v, _ in found],
            [row for _, row in found],
            s=34 - 8 * place,
            color=colour(tone),
            edgecolor=colour("surface"),
            linewidth=0.5,
            zorder=3,
        )
    _rows(axes, rows, width)
    axes.grid(axis="y", linewidth=0.5)
    return _finished(axes, label, width)


def tradeoff(
    costs: Sequence[float],
    parts: Parts,
    chosen: int,
    label: str,
    values: str,
    width: float,
) -> Markup:
    """Lines over ``costs``, one for each of ``parts``, with the point number ``chosen`` marked;
    ``label`` and ``values`` name the axes."""
    axes = axes_of(width, 3.2 if width > NARROW else 2.8)
    axes.axvline(costs[chosen], color=colour("muted"), linewidth=1.0, linestyle=(0, (4, 3)))
    for tone, shares in parts:
        found = [(c, v) for c, v in zip(costs, shares, strict=True) if v is not None]
        axes.plot(
            [c for c, _ in found],
            [v for _, v in found],
            color=colour(tone),
            linewidth=1.2,
            marker="o",
            markersize=5,
            markeredgecolor=colour("surface"),
            markeredgewidth=0.5,
        )
        if (mine := shares[chosen]) is not None:
            axes.scatter([costs[chosen]], [mine], s=90, color=colour(tone), zorder=3)
    axes.xaxis.set_major_formatter(NUMBER)
    axes.yaxis.set_major_formatter(PERCENT)
    axes.xaxis.set_major_locator(MaxNLocator(7 if width > NARROW else 3))
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.set_xlabel(label)
    axes.set_ylabel(values)
    axes.grid(linewidth=0.5)
    return svg(axes, f"{values} over {label}")


def roofline(points: Sequence[Point], peak: float, bandwidth: float, width: float) -> Markup:
    """Layers in a log-log plot, under the roofline of ``peak`` multiply-accumulates and
    ``bandwidth`` bytes per cycle; names as far as they fit, the heaviest layers first."""
    axes = axes_of(width, 3.6 if width > NARROW else 3.0)
    ridge = peak / bandwidth
    left = min([p.intensity for p in points] + [ridge]) / 2
    right = max([p.intensity for p in points] + [ridge]) * 3
    bottom = min([p.rate for p in points] + [peak]) / 2
    axes.plot(
        [left, ridge, right],
        [left * bandwidth, peak, peak],
        color=colour("muted"),
        linewidth=1.5,
    )
    for tone in dict.fromkeys(p.tone for p in points):
        mine = [p for p in points if p.tone == tone]
        axes.scatter(
            [p.intensity for p in mine],
            [p.rate for p in mine],
            s=26,
            color=colour(tone),
            edgecolor=colour("surface"),
            linewidth=0.5,
            zorder=3,
        )
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(left, right)
    axes.set_ylim(bottom, peak * 2)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(FixedLocator(_decades(*axis.get_view_interval())))
        axis.set_minor_locator(NullLocator())
        axis.set_major_formatter(NUMBER)
    axes.set_xlabel("multiply-accumulates per byte moved")
    axes.set_ylabel("multiply-accumulates per cycle")
    axes.grid(linewidth=0.5)
    _name(axes, points, width)
    return svg(axes, "roofline: multiply-accumulates per cycle against those per byte")


def _name(axes: Axes, points: Sequence[Point], width: float) -> None:
    """Write names beside points, unless they would overlap or leave the axes."""
    renderer = canvas_of(axes)
    inside, taken = axes.get_window_extent(renderer), list[Annotation]()
    most = 12 if width > NARROW else 6
    for point in sorted(points, key=lambda p: -p.weight)[:most]:
        for right, above in product((True, False), repeat=2):
            text = axes.annotate(
                short(point.name, width),
                (point.intensity, point.rate),
                (5 if right else -5, 3 if above else -3),
                textcoords="offset points",
                ha="left" if right else "right",
                va="bottom" if above else "top",
            )
            box = text.get_window_extent(renderer)
            fits = inside.x0 < box.x0 and box.x1 < inside.x1 and inside.y0 < box.y0
            if fits and not any(box.overlaps(o.get_window_extent(renderer)) for o in taken):
                taken.append(text)
                break
            text.remove()


def extents(found: Sequence[Extent], end: float, label: str, width: float) -> Markup:
    """Intervals of an axis from 0 to ``end``, in rows, each with a visible minimum width."""
    rows = list(dict.fromkeys(extent.row for extent in found))
    axes = axes_of(width, 0.75 + ROW * len(rows))
    for number, row in enumerate(rows):
        mine = [e for e in found if e.row == row]
        height = 0.76 / len(mine)
        for place, extent in enumerate(mine):
            length = max(extent.stop - extent.start, end / 200)
            axes.broken_barh(
                [(min(extent.start, end - length), length)],
                (number - 0.38 + place * height, height),
                facecolors=colour(extent.tone),
            )
    _rows(axes, rows, width)
    axes.set_xlim(0, end)
    return _finished(axes, label, width)


def real_histogram(found: RealHistogram, width: float) -> Markup:
    """Distribution of numbers, with their rounding grid drawn over it."""
    axes = axes_of(width, 1.95)
    share = 100 * found.counts / max(int(found.counts.sum()), 1)
    axes.stairs(share, found.edges, fill=True, color=series(0), alpha=0.85)
    few = len(found.grid) <= _FEW
    axes.vlines(
        found.grid,
        0,
        1,
        transform=axes.get_xaxis_transform(),
        color=colour("bad"),
        linewidth=0.7 if few else 0.25,
        alpha=1.0 if few else 0.35,
        zorder=3,
    )
    axes.set_xlim(found.edges[0], found.edges[-1])
    _shares(axes, f"{short(found.layer, width)} · {len(found.grid)} values", "steps of the grid")
    return svg(axes, f"histogram of the weights of {found.layer}")


def grid_histogram(found: GridUse, unit: str, width: float) -> Markup:
    """Counts of each value of a grid."""
    axes = axes_of(width, 1.95)
    share = 100 * found.counts / max(int(found.counts.sum()), 1)
    if len(found.grid) <= _FEW:
        axes.bar(range(len(found.grid)), share, width=0.8, color=series(2))
        step = max(1, -(-len(found.grid) // 8))
        marks = range(0, len(found.grid), step)
        axes.set_xticks(list(marks), [str(int(found.grid[i])) for i in marks])
    else:
        edges = np.append(found.grid, found.grid[-1] + 1) - 0.5
        axes.stairs(share, edges, fill=True, color=series(2))
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    _shares(axes, f"{short(found.layer, width)} · {len(found.grid)} values", unit)
    return svg(axes, f"histogram of {found.layer}")


def _shares(axes: Axes, title: str, label: str) -> None:
    axes.set_title(title, loc="left")
    axes.set_xlabel(label)
    axes.set_ylabel("share")
    axes.yaxis.set_major_formatter(PERCENT)
    axes.yaxis.set_major_locator(MaxNLocator(3))


def _rows(axes: Axes, names: Sequence[str], width: float) -> None:
    """Write row names at the left, the first one on top."""
    labels = [short(name, width) for name in names]
    axes.set_yticks(range(len(names)), labels, color=colour("ink"))
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.tick_params(left=False)
    axes.set_axisbelow(True)


def _finished(axes: Axes, label: str, width: float, title: str = "") -> Markup:
    """Finish a drawing of rows over a numeric axis named ``label``."""
    axes.xaxis.set_major_formatter(NUMBER)
    _ticks(axes, width)
    axes.set_xlabel(label)
    axes.grid(axis="x", linewidth=0.5)
    return svg(axes, title or label)


def _ticks(axes: Axes, width: float) -> None:
    count = 9 if width > NARROW else 3
    axes.xaxis.set_major_locator(MaxNLocator(count, integer=True, steps=[1, 2, 2.5, 5, 10]))


def _decades(low: float, high: float) -> list[float]:
    """Return at most five round numbers of a logarithmic axis."""
    powers = range(floor(log10(low)), ceil(log10(high)) + 1)
    fine = [m * 10.0**k for k in powers for m in (1, 2, 5)]
    for ticks in (fine, fine[::3], fine[::6], fine[::9]):
        inside = [t for t in ticks if low <= t <= high]
        if len(inside) <= 5:
            break
    return inside


def short(name: str, width: float) -> str:
    """Shorten ``name`` in the middle if it is too long for a figure of ``width``."""
    most = 30 if width > NARROW else 16
    half = (most - 1) // 2
    return name if len(name) <= most else f"{name[:half]}…{name[-half:]}"
