"""Plugins: a quantizer of one's own from a file to equal codes; what is refused, and how."""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from sigbit import plugins
from sigbit.accelerators import ACCELERATORS, load_accelerator
from sigbit.bench.number_systems.candidates import candidates
from sigbit.campaigns import Campaign, Job, Store, open_workers
from sigbit.cli.invocation import invoke, plugins_first
from sigbit.compiler import compile_graph
from sigbit.errors import UserError
from sigbit.flows.campaigns.plugged import with_plugins
from sigbit.inputs.integer_models import load_model
from sigbit.quant import QuantizationError, QuantSpec
from sigbit.quant.numbers.grid import LevelGrid
from sigbit.quant.quantizers import METHODS, Method, Side
from sigbit.quant.strategies import STRATEGIES, Strategy
from sigbit.runtime import compare, stored_inputs
from sigbit.training import load_config, load_splits
from sigbit_hw.arch.config import PRESETS
from sigbit_sim.interp.device import Interp
from training.configs import started

EXAMPLES = Path(__file__).parents[2] / "examples"
NF4 = EXAMPLES / "nf4.py"


@pytest.fixture(autouse=True)
def nothing_stays(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Registries as they were, and no plugin for processes started later."""
    monkeypatch.delenv(plugins.ENVIRONMENT, raising=False)
    tables = (
        METHODS,
        STRATEGIES,
        ACCELERATORS,
        plugins._formats,
        plugins._origins,
        plugins._digests,
    )
    before = [dict(table) for table in (*tables, plugins._loaded)]
    yield
    for table, old in zip((*tables, plugins._loaded), before, strict=True):
        table.clear()
        table.update(old)
    os.environ.pop(plugins.ENVIRONMENT, None)


def test_the_example_runs_from_toml_to_the_accelerator(tmp_path: Path) -> None:
    plugins.load_plugin(NF4)
    config = load_config(EXAMPLES / "nf4.toml")
    summary = started(config, tmp_path / "run").finish()
    assert summary["accuracy_quantized"] == summary["accuracy_deployed"]
    graph = load_model(str(tmp_path / "run" / "model.sbm"))
    program = compile_graph(graph, load_accelerator("nf4"))
    x, _ = load_splits(config.data, config.model, None).test.batch(torch.arange(24))
    stored = stored_inputs(program, x.numpy())
    golden = graph.evaluate({k: torch.from_numpy(v) for k, v in stored.items()})
    result = Interp(program.config, strict=True).run(program, stored, layers=True)
    assert set(result.layers) == {layer.name for layer in program.layers}
    assert not compare({k: v.numpy() for k, v in golden.items()}, result.layers)
    used = {
        int(v) for n in graph.nodes for s in getattr(n, "sources", ()) for v in np.unique(s.weights)
    }
    assert {6, 8, 11} <= {abs(v) for v in used}


def test_levels_without_digits_are_refused_by_name() -> None:
    plugins.load_plugin(NF4)
    nano = PRESETS["nano"]
    spec = QuantSpec.from_arch(nano, weight_method="nf4", weight_bits=4)
    assert spec.weight_choice(4).terms == 2
    side = Side((4,), lambda bits: LevelGrid((0, 1, 5, 70_001), True), METHODS["nf4"].weights.make)
    plugins.add_quantizer(Method("far", side, None))
    with pytest.raises(QuantizationError, match="'far'"):
        _ = QuantSpec.from_arch(nano, weight_method="far", weight_bits=4).weight_choice(4)


def test_a_plugin_is_loaded_once_and_told_to_other_processes() -> None:
    assert plugins.load_plugin(NF4) is plugins.load_plugin(NF4)
    assert os.environ[plugins.ENVIRONMENT] == str(NF4)
    assert plugins.origin("quantizer", "nf4") == str(NF4)
    assert plugins.origin("quantizer", "esb") is None
    assert plugins.FORMATS["nf4"].bits == 4


TAKEN = """
from sigbit.plugins import add_quantizer
from sigbit.quant.quantizers import Method
add_quantizer(Method("esb", None, None))
"""
ILLEGAL = """
from sigbit.plugins import add_strategy
add_strategy("../x", object)
"""
UNSIGNED = """
from sigbit.plugins import add_format
from sigbit_hw.arch.formats import EsbFormat
add_format("u", EsbFormat(2, 0, False))
"""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1\nraise ValueError('no')\n", r", line 2: ValueError: no"),
        ("x = (\n", r", line 1: SyntaxError"),
        ("import absent_module\n", r", line 1: ModuleNotFoundError"),
        (TAKEN, r": there is a quantizer 'esb' already: give yours another name"),
        (ILLEGAL, r": the name of a strategy must be up to"),
        (UNSIGNED, r": number format 'u' must be signed"),
    ],
)
def test_what_is_wrong_with_a_plugin(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "own.py"
    path.write_text(text)
    with pytest.raises(UserError, match=r"plugin .*own\.py" + message):
        plugins.load_plugin(path)


def test_a_plugin_is_a_python_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"absent\.py: No such file"):
        plugins.load_plugin(tmp_path / "absent.py")
    (tmp_path / "plugin.txt").write_text("")
    with pytest.raises(UserError, match="a Python file that ends in"):
        plugins.load_plugin(tmp_path / "plugin.txt")


def test_strategies_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(
        "from sigbit.plugins import add_strategy\nfrom sigbit.quant.strategies import Strategy\n"
        "class Nothing(Strategy):\n    def __init__(self, share: float = 0.5) -> None:\n"
        "        super().__init__()\n        self.share = share\n"
        "add_strategy('nothing', Nothing)\n"
    )
    plugins.load_plugin(tmp_path / "own.py")
    assert issubclass(STRATEGIES["nothing"], Strategy)


def test_other_processes_load_it_too(tmp_path: Path) -> None:
    code = (
        "from sigbit import plugins; plugins.load_installed();"
        "from sigbit.quant.quantizers import METHODS; print('nf4' in METHODS)"
    )
    plugins.load_plugin(NF4)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"


def test_formats_are_rows_of_the_number_systems() -> None:
    before = {candidate.name for candidate in candidates()}
    plugins.load_plugin(NF4)
    own = {c.name: c for c in candidates() if c.name not in before}
    assert set(own) == {"w4a4-nf4-x-integer", "w4a4-nf4"}
    assert own["w4a4-nf4"].acts == own["w4a4-nf4"].weights == plugins.FORMATS["nf4"]
    assert all(c.config is not None and c.config.weight_format.bits == 4 for c in own.values())


@pytest.mark.parametrize("jobs", [1, 2])
def test_workers_of_campaigns_load_it(jobs: int, tmp_path: Path) -> None:
    job = Job("one", "plugins.work:methods", {}, code=("sigbit.plugins",))
    plain = with_plugins([job])
    assert plain == [job]
    own = tmp_path / "own.py"
    own.write_text(NF4.read_text())
    plugins.load_plugin(own)
    (plugged,) = with_plugins([job])
    assert plugged.key != job.key
    with open_workers(jobs) as workers:
        (outcome,) = Campaign(Store(tmp_path / "store"), workers).run([plugged])
    assert outcome.failure is None
    assert "nf4" in outcome.rows[0]["methods"]


def test_a_worker_with_another_plugin_refuses(tmp_path: Path) -> None:
    plugins.load_plugin(NF4)
    (job,) = with_plugins([Job("one", "plugins.work:methods", {})])
    other = replace(job, settings={**job.settings, "names": {str(NF4): "0" * 64}})
    with pytest.raises(UserError, match=r"nf4\.py: this worker has another or none"):
        other.run(lambda *_: None)


def test_the_option_may_stand_anywhere() -> None:
    assert plugins_first(["train", "run.toml", "--plugin", "a.py", "--plugin=b.py", "-o", "x"]) == [
        "--plugin",
        "a.py",
        "--plugin=b.py",
        "train",
        "run.toml",
        "-o",
        "x",
    ]
    assert plugins_first(["run", "--", "--plugin", "x"]) == ["run", "--", "--plugin", "x"]
    assert plugins_first(["methods", "--plugin"]) == ["--plugin", "methods"]


def test_methods_list_what_plugins_add(capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["methods", "--arch", "nf4", "--plugin", str(NF4)]) == 0
    assert "nf4" in capsys.readouterr().out
    assert invoke(["methods", "--plugin", "absent.py"]) == 2
    assert "absent.py" in capsys.readouterr().err
