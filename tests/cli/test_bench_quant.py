"""``sigbit bench quant`` as users call it: rows in the campaign's order, nothing done twice."""

import json
from pathlib import Path

KEYS = {
    "method", "strategy", "dataset", "model", "weight_bits", "act_bits", "accuracy",
    "accuracy_float", "seed", "epochs", "config", "seconds", "cpu_seconds",
}  # fmt: skip
ONE = "lsq on fashion, 4 bits, seed 0"
OTHER = "quantizers: uniform on fashion, 2 bits, seed 0"


def test_runs_in_short(sigbit, data_dir: Path, tmp_path: Path) -> None:
    rows, text, plot = (tmp_path / name for name in ("rows.json", "tables.md", "plot.svg"))
    common = ("--samples", "64", "--json", rows, "--data", data_dir, "--work", tmp_path / "runs")
    for only in (ONE, OTHER, ONE):
        answer = sigbit(
            "bench", "quant", "--only", only, *common, "--markdown", text, "--plot", plot
        )
        assert answer.code == 0, answer
        assert "Fashion-MNIST" in answer.out
    found = json.loads(rows.read_text())["rows"]
    assert [r["method"] for r in found] == ["uniform", "lsq"]  # the campaign's order
    assert all(set(r) >= KEYS and r["epochs"] == 1 and r["test_samples"] == 64 for r in found)
    assert "| Fashion-MNIST | fashion | lsq |" in text.read_text()
    assert plot.read_text().lstrip().startswith("<?xml")
    assert len(list((tmp_path / "runs" / "twins").iterdir())) >= 1
    before = rows.read_bytes()
    assert sigbit("bench", "quant", "--only", ONE, *common).code == 0
    assert rows.read_bytes() == before


def test_plans_and_mistakes(sigbit, refused, tmp_path: Path) -> None:
    answer = sigbit("bench", "quant", "--only", "speed", "--plan")
    assert answer.code == 0, answer
    assert "rows of speed come on top" in answer.out
    rows = tmp_path / "rows.json"
    rows.write_text('{"rows": [{"net": "resnet18"}]}')
    assert "holds no rows" in refused("bench", "quant", "--only", ONE, "--json", rows)
    assert rows.read_text() == '{"rows": [{"net": "resnet18"}]}'
    assert "need trained networks" in refused("bench", "quant", "--group", "post-training")
