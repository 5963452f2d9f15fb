"""``sigbit synth``: figures, files, refusals; the treemap's areas."""

import json
import random
from pathlib import Path

import pytest

from sigbit.cli.console.exits import USER_ERROR
from sigbit.cli.invocation import invoke
from sigbit.report.treemap import Box, Tile, squarify, treemap
from sigbit_hw.arch.config import PRESETS
from sigbit_synthesis import Target, netlist_sha256


@pytest.mark.synth
@pytest.mark.slow
def test_figures_as_table_json_and_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    figures, page = tmp_path / "synth.json", tmp_path / "synth.html"
    arguments = ["--arch", "nano", "--target", "ecp5", "--json", str(figures)]
    assert invoke(["synth", *arguments, "--report", str(page)]) == 0
    told = capsys.readouterr().out
    found = json.loads(figures.read_text())
    assert f"{found['total']['lut']:,} LUT" in told
    assert found["total"]["dsp"] == 0
    assert found["lut_per_mac"] == found["total"]["lut"] / found["macs"]
    assert found["blocks"][0]["lut"] == found["total"]["lut"]
    assert found["netlist_sha256"] == netlist_sha256(PRESETS["nano"], Target.ECP5)
    assert found["schema_version"] == 1
    assert found["seconds"] > 0
    assert found["cpu_seconds"] > 0
    html = page.read_text()
    assert found["netlist_sha256"] in html
    assert "<svg" in html
    assert "compute/array" in html


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--pnr"], "No such option"),
        (["--arch", "tpu"], "no accelerator 'tpu'"),
        (["--target", "virtex"], "virtex"),
    ],
)
def test_what_cannot_be_done_is_refused_before_any_work(
    arguments: list[str],
    told: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sigbit.flows.synth.synthesize", None)
    monkeypatch.setenv("COLUMNS", "200")
    assert invoke(["synth", *arguments]) == USER_ERROR
    assert told in capsys.readouterr().err


@pytest.mark.parametrize("seed", range(20))
def test_boxes_have_the_areas_of_their_values_and_fill_the_room(seed: int) -> None:
    rng = random.Random(seed)
    values = sorted((rng.uniform(0.01, 10) for _ in range(rng.randint(1, 40))), reverse=True)
    room = Box(3, 5, 700, 300)
    boxes = squarify(values, room)
    for value, box in zip(values, boxes, strict=True):
        assert box.width * box.height == pytest.approx(value / sum(values) * 700 * 300)
        assert box.x >= 3 - 1e-6
        assert box.y >= 5 - 1e-6
        assert box.x + box.width <= 703 + 1e-6
        assert box.y + box.height <= 305 + 1e-6
    for k, a in enumerate(boxes):
        for b in boxes[:k]:
            apart = (
                a.x + a.width <= b.x + 1e-6
                or b.x + b.width <= a.x + 1e-6
                or a.y + a.height <= b.y + 1e-6
                or b.y + b.height <= a.y + 1e-6
            )
            assert apart


def test_a_treemap_names_what_it_shows_and_escapes_it() -> None:
    root = Tile("all", 30, (Tile("a<b", 20, (Tile("inner", 12),)), Tile("c", 10), Tile("none", 0)))
    drawn = treemap(root, "LUT", 10.0)
    assert "a&lt;b: 20 LUT (66.7 %)" in drawn
    assert "a&lt;b / inner: 12 LUT (40.0 %)" in drawn
    assert "none" not in drawn.replace("stroke:none", "")
