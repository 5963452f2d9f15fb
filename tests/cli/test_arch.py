"""``sigbit arch``."""

import json

import pytest

from sigbit_hw.arch.config import PRESETS, ArchConfig


def test_list(sigbit, tmp_path):
    answer = sigbit("arch", "list", "--json", tmp_path / "a.json")
    assert answer.code == 0
    for name in PRESETS:
        assert name in answer.out
    rows = json.loads((tmp_path / "a.json").read_text())["presets"]
    assert {r["name"]: r["digest"] for r in rows} == {c.name: c.digest for c in PRESETS.values()}


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_show(sigbit, tmp_path, name):
    path = tmp_path / "arch.json"
    answer = sigbit("arch", "show", name, "--json", path)
    config = PRESETS[name]
    assert answer.code == 0
    assert config.digest in answer.out
    document = json.loads(path.read_text())
    assert ArchConfig.from_json(document["config"]) == config
    assert document["derived"]["macs"] == config.macs
    assert document["memories"]["weights"] == {
        "words": config.weight_words,
        "bits": config.weight_word_bits,
    }
    again = sigbit("arch", "show", path)  # what it wrote is an accelerator too
    assert again == answer


def test_show_plain_json(sigbit, tmp_path):
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(PRESETS["nano"].to_json() | {"pixels": 4, "name": "mine"}))
    answer = sigbit("arch", "show", path)
    assert answer.code == 0
    assert "Accelerator mine" in answer.out


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not JSON: line 1, column 2"),
        ("[]", "must be a JSON object, not list"),
        ("{}", "missing ArchConfig fields"),
        (json.dumps(PRESETS["nano"].to_json() | {"lanes": 3}), "unknown ArchConfig fields"),
        (json.dumps(PRESETS["nano"].to_json() | {"pixels": 3}), "pixels must be a power of two"),
        (json.dumps(PRESETS["nano"].to_json() | {"acc_bits": "x"}), "acc_bits"),
        (json.dumps(PRESETS["nano"].to_json() | {"weight_format": 4}), "a format must have bits"),
        (
            json.dumps(PRESETS["nano"].to_json() | {"oc_lanes": 2, "post_lanes": 2}),
            "must be a multiple of ic_lanes",
        ),
    ],
)
def test_wrong_files(refused, tmp_path, text, message):
    path = tmp_path / "arch.json"
    path.write_text(text)
    error = refused("arch", "show", path)
    assert message in error
    assert "arch.json" in error


def test_wrong_names(refused, tmp_path):
    error = refused("arch", "show", "giga")
    assert "'giga'" in error
    for name in PRESETS:
        assert name in error
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    assert "not UTF-8" in refused("arch", "show", tmp_path / "binary")


def test_targets_are_checked_first(refused, tmp_path):
    assert "there is no folder" in refused("arch", "list", "--json", tmp_path / "no" / "a.json")
    assert "is a folder" in refused("arch", "list", "--json", tmp_path)
    assert "is a folder" in refused("arch", "verilog", "nano", "-o", tmp_path)


@pytest.mark.slow
def test_verilog(sigbit, tmp_path):
    paths = [tmp_path / "a.v", tmp_path / "b.v"]
    for path in paths:
        assert sigbit("arch", "verilog", "nano", "-o", path, "--json", tmp_path / "j").code == 0
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert "module " in paths[0].read_text()
    assert json.loads((tmp_path / "j").read_text())["arch_digest"] == PRESETS["nano"].digest
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.v", "b.v", "j"]
