"""The results pages and the README are what the committed rows and templates give."""

import copy
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sigbit.errors import ResultsError
from sigbit.results import catalogue
from sigbit.results.files import Results, RowFile
from sigbit.results.pages import BEGIN, END, Renderer, with_block
from sigbit.results.site import TEMPLATES

ROOT = Path(__file__).resolve().parents[2]
ROWS, PAGES, README = ROOT / "results", ROOT / "docs" / "results", ROOT / "README.md"
RESULTS = Results.read(ROWS)
SHOWN = {
    "networks": ("net", "resnet18", "cycles"),
    "number_systems": ("preset", "w4a4-integer", "lut_per_mac_total"),
    "training": ("method", "esb", "accuracy"),
    "claims": ("claim", "ESB beats APoT", "points"),
    "rates": ("strategy", "rows", "error"),
    "post_training": ("model", "resnet20", "agreement"),
    "speed": ("group", "speed", "ratio_float"),
    "synthesis": ("preset", "mid", "lut_per_mac"),
    "routing": ("preset", "ecp5", "seconds"),
    "lut_budget": ("limit", 8000, "luts"),
    "demo": ("arch", "micro", "accuracy_float"),
    "quantized_models": ("model", "mnist_qdq_opset13.onnx", "quantizers"),
    "exact_scales": ("preset", "nano", "lut_growth"),
    "judges": ("suite", "torch", "right"),
    "packing": ("preset", "zcu102", "ms"),
    "sdram": ("direction", "read", "bytes_per_cycle"),
    "verification": ("part", "networks", "tried"),
    "goals": ("goal", "ResNet-18, busy", "at_least"),
}
"""A row of every file, by key and value, and something that a page shows of it."""


@pytest.fixture(scope="module", autouse=True)
def undrawn() -> Iterator[None]:
    """Figures are left out: they take a second each, and the test of all files draws them."""
    plots = {name: catalogue.Plot(p.files, lambda rows: b"") for name, p in catalogue.PLOTS.items()}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sigbit.results.pages.PLOTS", plots)
        yield


def pages_of(results: Results) -> dict[str, bytes]:
    """Pages and block; or what the rows contradict."""
    try:
        rendered = Renderer(results, PAGES / TEMPLATES).render()
    except ResultsError as error:
        return {"refused": str(error).encode()}
    return {**rendered.files, "readme": rendered.block.encode()}


@pytest.fixture(scope="module")
def published(undrawn: None) -> dict[str, bytes]:
    """What the committed rows give."""
    pages = pages_of(RESULTS)
    assert "refused" not in pages
    return pages


def changed(results: Results, name: str, rows: list[Mapping[str, Any]]) -> Results:
    """``results`` with other rows in one file."""
    file = results[name]
    return Results({**results.files, name: RowFile(name, tuple(rows), file.header)})


def test_every_file_has_a_row_whose_change_is_tried() -> None:
    assert set(SHOWN) == set(RESULTS)


@pytest.mark.parametrize("name", sorted(SHOWN))
def test_a_planted_change_is_noticed(name: str, published: dict[str, bytes]) -> None:
    key, value, shown = SHOWN[name]
    rows = copy.deepcopy([dict(row) for row in RESULTS[name].rows])
    row = next(row for row in rows if row.get(key) == value)
    if shown == "points":
        row[shown]["4"] += 0.01
    else:
        row[shown] *= 1.1
    assert pages_of(changed(RESULTS, name, rows)) != published


@st.composite
def places(draw: st.DrawFn) -> tuple[str, int]:
    """A file and the number of a row in it."""
    name = draw(st.sampled_from(sorted(RESULTS)))
    return name, draw(st.integers(0, len(RESULTS[name].rows) - 1))


@settings(max_examples=20, deadline=None)
@given(place=places())
def test_every_row_is_published(place: tuple[str, int], published: dict[str, bytes]) -> None:
    name, number = place
    rows = list(RESULTS[name].rows)
    left = rows[:number] + rows[number + 1 :]
    assert pages_of(changed(RESULTS, name, left)) != published


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
