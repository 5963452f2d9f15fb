"""``sigbit methods``: every method and strategy, with what it costs."""

import json

from sigbit.quant.quantizers import METHODS
from sigbit.quant.strategies.registry import STRATEGIES


def test_all_are_listed(sigbit, tmp_path):
    answer = sigbit("methods", "--arch", "mid", "--json", tmp_path / "methods.json")
    assert answer.code == 0
    found = json.loads((tmp_path / "methods.json").read_text())
    quantizers = {row["method"]: row for row in found["quantizers"]}
    assert quantizers.keys() == METHODS.keys()
    assert {s["name"] for s in found["strategies"]} == STRATEGIES.keys()
    assert all(name in answer.out for name in (*METHODS, *STRATEGIES))
    assert quantizers["lsq"]["terms"] == {
        "1": None, "2": 1, "3": 1, "4": 2, "5": 2, "6": 2, "7": 3, "8": 3,
    }  # fmt: skip
    assert all(v in answer.out for v in ('normalize = "mean"', "bits = [8, 4]", "at = none"))
    assert set(quantizers["ternary"]["planes"].values()) == {None}


def test_levels_without_an_exact_form(sigbit, tmp_path):
    powers = tmp_path / "powers.json"
    assert sigbit("arch", "show", "micro", "--json", powers).code == 0
    document = json.loads(powers.read_text())
    document["config"]["weight_format"] = {"bits": 2, "frac": 0, "signed": True}
    powers.write_text(json.dumps(document))
    answer = sigbit("methods", "--arch", powers, "--json", tmp_path / "methods.json")
    assert answer.code == 0
    assert "no x " in answer.out
    found = json.loads((tmp_path / "methods.json").read_text())
    (uniform,) = (row for row in found["quantizers"] if row["method"] == "uniform")
    assert uniform["terms"]["2"] == 1
    assert uniform["terms"]["8"] == 0


def test_unknown_accelerator(refused):
    assert "no accelerator 'tpu'" in refused("methods", "--arch", "tpu")
