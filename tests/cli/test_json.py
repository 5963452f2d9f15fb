"""What every command's ``--json`` has in common."""

import json
from pathlib import Path

import numpy as np
import pytest

MODEL = """
import numpy as np
from torch import nn
from sigbit.compiler.random_graph import random_graph
from sigbit_hw.arch.config import PRESETS
graph = random_graph(np.random.default_rng(3), PRESETS["nano"], layers=2)
plain = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU())
"""


@pytest.mark.parametrize(
    "arguments",
    [
        ["arch", "list"],
        ["arch", "show", "nano"],
        ["check", "nets.py:plain", "--input", "1x6x6"],
        pytest.param(
            ["check", "nets.py:plain", "--input", "1x6x6", "--arch", "nano"], marks=pytest.mark.sim
        ),
        ["compile", "nets.py:graph", "--arch", "nano", "-o", "net.sigbit"],
        ["export", "nets.py:graph", "--qonnx", "net.onnx"],
        ["inspect", "tiny.sigbit", "--no-cycles"],
        pytest.param(["inspect", "tiny.sigbit"], marks=pytest.mark.sim),
        ["methods", "--arch", "nano"],
        ["run", "tiny.sigbit", "x.npy"],
    ],
    ids=lambda arguments: " ".join(arguments[:2]),
)
def test_version_and_times(sigbit, program_file, monkeypatch, arguments: list[str]) -> None:
    monkeypatch.chdir(program_file.parent)
    Path("nets.py").write_text(MODEL)
    np.save("x.npy", np.zeros((1, 4, 4, 4)))
    answer = sigbit(*arguments, "--json", "out.json")
    assert answer.code == 0, answer
    document = json.loads(Path("out.json").read_text())
    assert document["schema_version"] == 1
    assert document["seconds"] >= 0
    assert document["cpu_seconds"] >= 0
