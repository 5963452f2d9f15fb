"""The results pages and the README are what the committed rows and templates give."""

import copy
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sigbit.errors import ResultsError
from sigbit.results import catalogue
from sigbit.results.files import Results, RowFile
from sigbit.results.pages import BEGIN, END, Renderer, with_block
from sigbit.results.site import TEMPLATES, Site

ROOT = Path(__file__).resolve().parents[2]
ROWS, PAGES, README = ROOT / "results", ROOT / "docs" / "results", ROOT / "README.md"
RESULTS = Results.read(ROWS)
SHOWN = {
    "networks": ("net", "resnet18", "cycles"),
    "number_systems": ("preset", "w4a4-integer", "lut_per_mac_total"),
    "training": ("method", "esb", "accuracy"),
    "claims": ("claim", "ESB beats APoT", "points"),
    "rates": ("strategy", "rows", "error"),
    "post_training": ("model", "mobilenet_v2_tf", "agreement"),
    "speed": ("group", "speed", "ratio_float"),
    "synthesis": ("preset", "mid", "lut_per_mac"),
    "routing": ("preset", "ecp5", "seconds"),
    "lut_budget": ("limit", 8000, "luts"),
    "demo": ("arch", "micro", "accuracy_float"),
    "goals": ("goal", "ResNet-18, busy", "at_least"),
}
"""A row of every file, by key and value, and something that a page shows of it."""


def undrawn(results: Results, patch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """Pages and block without figures, which take a second each; or what the rows contradict."""
    plots = {name: catalogue.Plot(p.files, lambda rows: b"") for name, p in catalogue.PLOTS.items()}
    patch.setattr("sigbit.results.pages.PLOTS", plots)
    try:
        rendered = Renderer(results, PAGES / TEMPLATES).render()
    except ResultsError as error:
        return {"refused": str(error).encode()}
    return {**rendered.files, "readme": rendered.block.encode()}


def changed(results: Results, name: str, rows: list[Mapping[str, Any]]) -> Results:
    """``results`` with other rows in one file."""
    file = results[name]
    return Results({**results.files, name: RowFile(name, tuple(rows), file.header)})


def test_pages_and_readme_are_up_to_date() -> None:
    stale = Site(ROWS, PAGES, README).stale()
    assert not stale, f"run sigbit results render: {stale} are not what the rows give"


def test_the_same_rows_give_the_same_bytes() -> None:
    first, second = (Renderer(RESULTS, PAGES / TEMPLATES).render() for _ in range(2))
    assert first == second


def test_every_file_has_a_row_whose_change_is_tried() -> None:
    assert set(SHOWN) == set(RESULTS)


@pytest.mark.parametrize("name", sorted(SHOWN))
def test_a_planted_change_is_noticed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = undrawn(RESULTS, monkeypatch)
    key, value, shown = SHOWN[name]
    rows = copy.deepcopy([dict(row) for row in RESULTS[name].rows])
    row = next(row for row in rows if row.get(key) == value)
    if shown == "points":
        row[shown]["4"] += 0.01
    else:
        row[shown] *= 1.01
    assert undrawn(changed(RESULTS, name, rows), monkeypatch) != before


@st.composite
def places(draw: st.DrawFn) -> tuple[str, int]:
    """A file and the number of a row in it."""
    name = draw(st.sampled_from(sorted(RESULTS)))
    return name, draw(st.integers(0, len(RESULTS[name].rows) - 1))


@settings(max_examples=20, deadline=None)
@given(places())
def test_every_row_is_published(place: tuple[str, int]) -> None:
    name, number = place
    rows = list(RESULTS[name].rows)
    left = rows[:number] + rows[number + 1 :]
    with pytest.MonkeyPatch.context() as patch:
        before = undrawn(RESULTS, patch)
        assert "refused" not in before
        assert undrawn(changed(RESULTS, name, left), patch) != before


def test_no_number_of_the_readme_is_typed() -> None:
    text = README.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    block, _, after = rest.partition(END)
    assert re.search(r"## [^\n]+\n\n$", before), "the section is the block and nothing else"
    assert after.startswith("\n\n## ")
    assert len(re.findall(r"\d %", block)) >= 4
    for outside in (before, after):
        assert not re.search(r"\d ?%|MHz|LUTs? each|GOPS", outside), "figures belong in the block"


def page(folder: Path, text: str) -> str:
    (folder / "page.md.j2").write_text(text)
    return Renderer(RESULTS, folder).page("page")


def test_typed_numbers_are_refused(tmp_path: Path) -> None:
    good = 'ResNet-18 at 4 x 4 bits: {{ row("synthesis", preset="mid").total.lut|thousands }} LUTs'
    assert page(tmp_path, good).endswith("LUTs")
    with pytest.raises(ResultsError, match='"takes 24,520 LUTs"'):
        page(tmp_path, "`mid` takes 24,520 LUTs")
    with pytest.raises(ResultsError, match="constant"):
        page(tmp_path, 'it takes {{ "24,520" }} LUTs')
    with pytest.raises(ResultsError, match="constant"):
        page(tmp_path, "it takes {{ 24520 }} LUTs")


def test_contradicted_text_is_refused(tmp_path: Path) -> None:
    text = '{% do holds(row("synthesis", preset="mid").total.dsp > 0, "it has DSP blocks") %}'
    with pytest.raises(ResultsError, match="no longer say so: it has DSP blocks"):
        page(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{{ row("networks", net="lenet9000") }}', "0 rows of networks have net='lenet9000'"),
        ('{{ row("networks", nett="resnet18") }}', "no row of networks has a key nett"),
        ('{{ rows("nets") }}', "no rows 'nets', only claims"),
        ('{{ table("nets") }}', "no table 'nets', only networks"),
        ('{{ table("networks", "cycles") }}', "has no column 'cycles'"),
        ('{{ table("networks", bits=5) }}', "no lines for"),
        ('{{ plot("nets", "") }}', "no figure 'nets'"),
        ('{{ row("speed", group="speed").sped }}', "has no attribute 'sped'"),
        ('{{ mean("esb", 7) }}', "no run of esb"),
        ('{{ finding("ESB is best", "esb") }}', "no claim 'ESB is best'"),
        ('{{ published("nobody") }}', "no public figure by 'nobody'"),
        ('{{ goals("nothing") }}', "no goals for 'nothing'"),
        ("{{ 1 / }}", "page, line 1"),
    ],
)
def test_mistakes_of_templates_are_explained(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ResultsError, match=re.escape(said)):
        page(tmp_path, text)


def test_the_block_needs_its_marks() -> None:
    text = f"a\n{BEGIN}\nold\n{END}\nb"
    assert with_block(text, "new\n") == f"a\n{BEGIN}\n\nnew\n\n{END}\nb"
    for wrong in ("a", f"{BEGIN}", f"{END} {BEGIN}", f"{BEGIN}{BEGIN}{END}"):
        with pytest.raises(ResultsError, match="must hold"):
            with_block(wrong, "new")
