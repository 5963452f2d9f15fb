"""A page with one of every part that reports have."""

from functools import partial

import numpy as np
from markupsafe import Markup

from sigbit.report import charts, sections
from sigbit.report.components import Card, figure
from sigbit.report.grids import GridUse, RealHistogram
from sigbit.report.metrics import LayerCycles
from sigbit.report.page import Section, Verdict, render
from sigbit.report.spans import Span, Timeline
from sigbit.report.treemap import Tile, treemap


def sample_page(seed: int, name: str = "conv & <b>") -> str:
    """The page; ``name`` is that of a layer."""
    rng = np.random.default_rng(seed)
    found = Timeline.of(90, [Span("LOAD", 0, 40, -1), Span("COMPUTE", 30, 90, 0)])
    pixels = rng.integers(0, 256, (8, 8)).astype(np.uint8)
    grid = [-4, -2, -1, 0, 1, 2, 4]
    uses = [GridUse.of(layer, grid, np.arange(200)) for layer in (name, "b")]
    engines = ["LOAD", "COMPUTE", "STORE"]
    point = charts.Point(name, 3.0, 20.0, 1.0, "series-0")
    drawn = [
        partial(charts.stacked, [name], [("ink", [1]), ("bad", [2.5])], "cycles"),
        partial(charts.dots, [name], [("ink", [1.5]), ("bad", [None])], "dB"),
        partial(charts.roofline, [point], 32.0, 8.0),
        partial(charts.extents, [charts.Extent(name, 0, 3, "accent")], 9, "KiB"),
        partial(treemap, Tile("all", 3, (Tile(name, 2), Tile("b", 1))), "LUT"),
    ]
    parts = [
        sections.headline([Card("images", "3", tone="good"), Card("Sums", "123,300,774,272")] * 4),
        sections.accuracy({"float": 0.99, "deployed": 0.5}, 3),
        sections.utilization([LayerCycles(name, 10, 20, 60)], 32),
        sections.timeline(found, engines, [name], [("all", 0, 90)], "lead"),
        sections.weights([RealHistogram.of(name, rng.normal(0, 2, 99), grid)], "lead"),
        sections.codes("Activations", uses, "x", "lead"),
        Section("Drawings", Markup("").join(figure(draw, "caption") for draw in drawn)),
        sections.samples([sections.Sample(pixels, 1, 7)], [sections.Sample(pixels, 2, 2)], 3),
        sections.layers([sections.LayerRow(name, "conv", (1, 2, 3), 4, 5, 0, "a.py:1")]),
        sections.provenance({"digest": "00"}, "sigbit demo --seed 1"),
    ]
    return render("/a/long/path" * 8, "subtitle", Verdict(True, "all equal"), parts, "footer")
