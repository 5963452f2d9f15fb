"""``sigbit demo``: the real thing on few images, and what it does when something differs."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cli.untrained import untrained
from sigbit.flows.demo import training
from sigbit.flows.demo.checking import check_device, golden_layers, predictions
from sigbit.flows.demo.outcome import Utilization
from sigbit.flows.demo.training import Trained
from sigbit.report.metrics import LayerCycles
from sigbit_hw.arch.config import PRESETS
from sigbit_sim.interp.device import Interp

IMAGES = 6


@pytest.fixture(scope="module")
def real(tmp_path_factory) -> tuple[dict, str, str]:
    """JSON document, report and output of a real run on ``nano``: interpreter and RTL."""
    folder = tmp_path_factory.mktemp("demo")
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "sigbit.cli",
            "demo",
            "--arch",
            "nano",
            "--images",
            str(IMAGES),
            "--seed",
            "3",
            "--json",
            "out.json",
            "--report",
            "out.html",
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=3600,  # a hang, on whatever machine
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "COLUMNS": "80"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert sorted(p.name for p in folder.iterdir()) == ["out.html", "out.json"]
    document = json.loads((folder / "out.json").read_text())
    return document, (folder / "out.html").read_text(), done.stdout


@pytest.mark.sim
@pytest.mark.slow
def test_numbers(real):
    document = real[0]
    assert document["passed"] is True
    assert document["images"] == document["images_rtl"] == IMAGES
    assert document["mismatches"] == 0
    assert document["predictions_equal"] is True
    assert document["codes_compared"]["rtl"] == document["codes_compared"]["interp"] > 0
    assert document["accuracy_deployed"] == document["accuracy_quantized"]
    assert document["arch_digest"] == PRESETS["nano"].digest
    assert 0 < document["utilization"] <= document["busy"] <= 1
    assert document["cycles_per_image"] > 1000
    assert isinstance(document["seconds"], float)
    assert isinstance(document["cpu_seconds"], float)


@pytest.mark.sim
@pytest.mark.slow
def test_layers(real):
    rows = real[0]["layers"]
    assert len(rows) >= 9
    for row in rows:
        assert row["mismatches"] == {"interp": 0, "rtl": 0}
        assert row["ideal_cycles"] <= row["fed_cycles"] <= row["cycles"], row
    full = [row for row in rows if row["channels_fill_array"]]
    assert len(full) >= 6
    assert all(row["busy"] >= 0.6 for row in full)


@pytest.mark.sim
@pytest.mark.slow
def test_report_and_summary(real):
    document, page, out = real
    assert "<b>PASS</b>" in page
    for title in (
        "Summary",
        "Accuracy",
        "Utilization",
        "Timeline",
        "Weights",
        "Activations",
        "Samples",
        "Layers",
        "Reproduce",
    ):
        assert f"<h2>{title}</h2>" in page
    for row in document["layers"]:
        assert row["name"] in page
        assert row["name"] in out
    assert document["program_digest"] in page
    assert "sigbit demo --arch nano" in page
    assert "equal, image by image" in out


@pytest.fixture
def quick(monkeypatch) -> Trained:
    """An untrained small network in the place of the trained one."""
    trained = untrained()
    monkeypatch.setattr(training, "train_digits", lambda *_: trained)
    return trained


class Broken(Interp):
    """One code of the first layer of image 1 is wrong."""

    def run(self, *arguments, **options):
        result = super().run(*arguments, **options)
        result.layers[min(result.layers)][1].flat[5] += 1
        return result


class Confused(Interp):
    """All codes are right but those of image 0's output: the prediction differs."""

    def run(self, *arguments, **options):
        result = super().run(*arguments, **options)
        for values in result.outputs.values():
            values[0] = -values[0]
        return result


def _demo(sigbit, folder: Path, *arguments: str):
    files = ["--json", folder / "d.json", "--report", folder / "d.html"]
    answer = sigbit("demo", "--arch", "nano", "--device", "interp", *files, *arguments)
    document = json.loads((folder / "d.json").read_text())
    return answer, document, (folder / "d.html").read_text()


def test_whole_split_on_the_interpreter_only(sigbit, quick, tmp_path):
    answer, document, page = _demo(sigbit, tmp_path)
    assert answer.code == 0, answer
    assert document["images"] == len(quick.labels) >= 300
    assert document["images_rtl"] == 0
    assert document["cycles_per_image"] is None
    assert document["utilization"] is None
    assert "<b>PASS</b>" in page
    assert "<h2>Timeline</h2>" not in page


@pytest.mark.parametrize("device", [Broken, Confused])
def test_a_difference_fails_everywhere(sigbit, quick, tmp_path, monkeypatch, device):
    from sigbit.flows.demo import run

    monkeypatch.setattr(run, "open_device", lambda name, config, latency, **_: device(config))
    answer, document, page = _demo(sigbit, tmp_path, "--images", "3")
    assert answer.code == 1
    assert answer.err.splitlines()[-1].startswith("failed: ")
    assert document["passed"] is False
    assert document["mismatches"] > 0
    assert "<b>FAIL</b>" in page
    assert document["predictions_equal"] is (device is Broken)
    assert ("DIFFER" in answer.out) is (device is Confused)


def test_a_device_that_computes_less_is_refused(quick):
    from sigbit.compiler import compile_graph

    class Lazy(Interp):
        """Leaves out a layer."""

        def run(self, *arguments, **options):
            result = super().run(*arguments, **options)
            del result.layers[min(result.layers)]
            return result

    config = PRESETS["nano"]
    program = compile_graph(quick.graph, config)
    golden = golden_layers(quick.graph, quick.stored[:2])
    with pytest.raises(ValueError, match="gave layers"):
        check_device(Lazy(config), program, quick.graph, golden)
    good = check_device(Interp(config), program, quick.graph, golden)
    assert good.mismatches == 0
    assert good.codes == 2 * (4 * 6 * 6 + 2 * 10)
    assert (good.predictions == quick.quantized_predictions[:2]).all()
    assert (predictions(quick.graph, golden) == quick.quantized_predictions[:2]).all()


def test_too_many_images(refused):
    assert "--images must be in [1, 360]" in refused("demo", "--images", "361")


def test_busy_counts_full_layers_only() -> None:
    rows = (LayerCycles("a", 50, 60, 100), LayerCycles("b", 90, 90, 100))
    total = LayerCycles("total", 140, 150, 250)
    assert Utilization(rows, total, ("b",)).busy_full == 0.9
    assert Utilization(rows, total, ("a", "b")).busy_full == 0.75
    assert Utilization(rows, total, ()).busy_full is None
