"""The report: self-contained, escaped, reproducible; and the utilization it shows."""

import re
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.sample_page import sample_page
from sigbit.report import charts, sections
from sigbit.report.components import Column, table
from sigbit.report.grids import GridUse, RealHistogram
from sigbit.report.metrics import (
    COPIES,
    LayerCycles,
    exec_steps,
    layer_cycles,
    layer_times,
)
from sigbit.report.page import Verdict, render
from sigbit.report.spans import Span, Timeline
from sigbit_hw.arch import isa
from sigbit_hw.arch.config import PRESETS


class _Checker(HTMLParser):
    """Collects tags that stay open, and everything a browser would fetch."""

    VOID = {"meta", "img", "br", "link"}

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.fetched: list[str] = []
        self.anchors: set[str] = set()
        self.targets: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in self.VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name == "id":
                self.anchors.add(value or "")
            if name in ("href", "xlink:href", "src") and value is not None:
                (self.targets if value.startswith("#") else self.fetched).append(value)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_page_is_well_formed_and_self_contained():
    page = sample_page(0)
    checker = _Checker()
    checker.feed(page)
    assert checker.open == []
    assert all(url.startswith("data:image/png;base64,") for url in checker.fetched)
    assert len(checker.fetched) == 2
    assert len(checker.targets) > 9
    assert {t.removeprefix("#") for t in checker.targets} <= checker.anchors
    assert "<script" not in page
    assert "@import" not in page
    assert not re.findall(r"url\((?!#)", page)


def test_every_colour_is_themed():
    page = sample_page(0)
    defined = set(re.findall(r"(--[a-z0-9-]+):", page))
    assert set(re.findall(r"var\((--[a-z0-9-]+)\)", page)) <= defined
    assert "#0101" not in page  # no placeholder is left
    assert "#0102" not in page
    assert "var(--series-0)" in page


def test_names_are_escaped():
    page = sample_page(0)
    assert "<b>" not in page.replace("<b>PASS</b>", "").replace("<b>says", "")
    assert "conv &amp; &lt;b&gt;" in page
    assert "&lt;i&gt;" in table([Column("a")], [["<i>"]])


def test_reproducible():
    assert sample_page(1) == sample_page(1)
    assert sample_page(1) != sample_page(2)


def test_failure_is_visible():
    page = render("T", "", Verdict(False, "3 differ"), [], "")
    assert "<b>FAIL</b> 3 differ" in page
    row = sections.LayerRow("a", "conv", (1, 1, 1), 1, 0, 0)  # nothing was compared
    assert "badge bad" in sections.layers([row]).body


def test_exec_steps(bare):
    # 2 row runs of 8 pixels: 4 blocks of 2 pixels each, 2 steps a block
    assert exec_steps(bare.listing, bare.config) == {2: 2 * 4 * 2}


def test_layer_cycles(bare):
    rows, total = layer_cycles(bare, {2: (100, 140)})
    assert rows == [LayerCycles("conv", 256 / PRESETS["nano"].macs, 16, 40)]
    assert rows[0].utilization == 8 / 40
    assert rows[0].share_fed == total.share_fed == 16 / 40


def test_overlapping_execs_are_counted_once(bare):
    from dataclasses import replace

    from sigbit_hw.arch.program import ExecInfo, LayerInfo

    seg, out, execute, halt = bare.listing
    two = replace(
        bare,
        instructions=isa.pack([seg, out, execute, out, execute, halt]),
        layers=(*bare.layers, LayerInfo("next", "conv", (4, 4, 4), 1, 0.5, 0, 512)),
        execs=(*bare.execs, ExecInfo(4, "next", 0, 0, 0, 4, 4)),
    )
    rows, total = layer_cycles(two, {2: (0, 30), 4: (20, 50)})
    assert [(r.name, r.cycles, r.fed) for r in rows] == [("conv", 20, 16), ("next", 30, 16)]
    assert (total.cycles, total.fed, total.ideal) == (50, 32, 8 + 16)


def test_layer_times(bare):
    # 8 blocks of 2 steps that drain in 2 cycles each; all else is waiting
    retires = [-1, -1, 100, -1]
    (row,) = layer_times(bare, retires)
    assert (row.name, row.fed, row.drain, row.wait, row.bound) == ("conv", 16, 0, 84, "loads")
    (row,) = layer_times(bare, [-1, -1, 17, -1])
    assert (row.cycles, row.bound) == (17, "compute")


def test_waiting_for_the_drain(bare):
    from dataclasses import replace

    seg, out, execute, halt = bare.listing
    three = isa.pack([replace(seg, n_ic=1), replace(out, n_planes=3), execute, halt])
    (row,) = layer_times(replace(bare, instructions=three), [-1, -1, 50, -1])
    assert (row.fed, row.drain, row.wait, row.bound) == (8, 40, 2, "drain")


def test_copies_belong_to_no_layer(bare):
    from dataclasses import replace

    seg, out, execute, halt = bare.listing
    copied = isa.pack([seg, out, execute, out, replace(execute, tag=1), halt])
    rows = layer_times(replace(bare, instructions=copied), [-1, -1, 30, -1, 50, -1])
    assert [(r.name, r.cycles) for r in rows] == [("conv", 30), (COPIES, 20)]


def test_layers_without_cycles():
    assert LayerCycles("a", 0, 0, 0).utilization == 0
    with pytest.raises(KeyError):
        exec_steps([isa.Exec(n_seg=1, run=4, wrap=4)], PRESETS["nano"])


def test_grid_use():
    use = GridUse.of("a", [-4, -2, 0, 2, 4], [[4, 4, 0], [2, 0, -2]])
    assert use.counts.tolist() == [0, 1, 2, 1, 2]
    assert (use.range_use, use.saturated) == (6 / 8, 2 / 6)
    use = GridUse.of("a", [0, 1, 2], [0, 0, 0])  # an end of 0 is no saturation
    assert (use.range_use, use.saturated) == (0, 0)
    assert GridUse.of("a", [0, 1], [0, 5]).grid.tolist() == [0, 1, 5]  # nothing is lost
    assert GridUse.of("a", [0, 1], []).counts.tolist() == [0, 0]


@given(st.lists(st.floats(-100, 100), min_size=1))
def test_no_weight_is_lost_from_a_histogram(weights):
    found = RealHistogram.of("a", np.array(weights), [-7, 0, 7])
    assert found.counts.sum() == len(weights)
    assert found.edges[0] == -found.edges[-1] < -7


def test_spans_are_joined_where_nobody_sees_a_gap():
    near = [Span("LOAD", 0, 10, 0), Span("LOAD", 11, 20, 0), Span("LOAD", 19, 25, 0)]
    assert Timeline.of(6000, near).spans == (Span("LOAD", 0, 25, 0),)
    apart = [Span("LOAD", 0, 10, 0), Span("LOAD", 13, 20, 0), Span("LOAD", 20, 25, 1)]
    assert Timeline.of(6000, apart).spans == tuple(apart)
    assert Timeline.of(0, []).spans == ()


@given(st.text(min_size=1, max_size=60), st.sampled_from([3.4, 10.6]))
def test_names_are_shortened_in_the_middle(name, width):
    got = charts.short(name, width)
    assert len(got) <= (30 if width > 4 else 16)
    assert got == name or (got[0] == name[0] and got[-1] == name[-1] and "…" in got)
