"""``sigbit bench quant``: committed configurations, rows, tables, interruptions."""

import json
from dataclasses import asdict, replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch

from sigbit import zoo
from sigbit.bench.quantization import claims as quant_claims
from sigbit.bench.quantization import speed as quant_speed
from sigbit.bench.quantization import tables as quant_tables
from sigbit.bench.quantization.cases import QuantCase, quant_cases, trial
from sigbit.bench.quantization.means import means
from sigbit.bench.quantization.plot import accuracies
from sigbit.bench.quantization.post_training import MIXED, post_cases
from sigbit.bench.quantization.rates import compared, rate_row
from sigbit.bench.quantization.runs import plan
from sigbit.campaigns import Campaign, Store, open_workers
from sigbit.errors import TrainingError, UserError
from sigbit.flows.campaigns.quantization import Choice, open_rows, select, training_jobs
from sigbit.flows.campaigns.quantization_jobs import rounded
from sigbit.flows.campaigns.running import Place
from sigbit.quant.quantizers import METHODS
from sigbit.training import load_splits
from sigbit.training.methods import quant_spec, strategies_of
from training.configs import digits

KEYS = {
    "method", "strategy", "dataset", "model", "weight_bits", "act_bits", "accuracy",
    "accuracy_float", "seed", "epochs", "config", "seconds", "cpu_seconds",
}  # fmt: skip


def cases(*seeds: int) -> list[QuantCase]:
    """A run of three steps for every seed."""
    base = digits(
        float__epochs=1, train__epochs=1, data__train_samples=96, quantizer__weights="lsq",
        quantizer__weight_bits=3,
    )  # fmt: skip
    return [QuantCase("quantizers", "lsq", "", 3, replace(base, seed=s), 1.0) for s in seeds]


def test_committed_configurations_are_possible() -> None:
    found = [*quant_cases(), *quant_cases(group="cifar10")]
    assert len({c.config.digest for c in found}) == len(found) > 100
    for case in found:
        quant_spec(case.config.quantizer, (0.0, 1.0))
        strategies_of(case.config.strategies)
    direct = [c for c in found if c.group == "quantizers" and c.config.model.name == "fashion"]
    assert {c.method for c in direct} == set(METHODS)
    budgets = {(c.config.train.epochs, c.config.float.epochs) for c in direct}
    assert len(budgets) == 1
    assert {c.method for c in quant_cases("sinareq")} == {"dorefa", "wrpn"}


def test_every_claim_is_about_rows_that_run() -> None:
    keys = {(c.method, c.strategy, c.bits) for c in quant_cases()}
    for claim in quant_claims.claims():
        assert {(*side, b) for side in (claim.better, claim.worse) for b in claim.bits} <= keys
        assert set(claim.bits) <= set(quant_claims.BITS)
    assert {goal.run for goal in quant_claims.GOALS} <= keys


def test_post_training_cases() -> None:
    found = post_cases()
    assert len({c.digest(None) for c in found}) == len({c.name for c in found}) == len(found)
    assert len({c.digest(200) for c in found} | {c.digest(None) for c in found}) == 2 * len(found)
    nets = {c.case.net for c in found}
    assert len(nets) == 6
    assert {(c.case.net, c.strategy) for c in found} >= set(
        product(nets, ("rounded", "reconstructed", MIXED))
    )
    assert {c.strategy for c in found if c.case.net == "resnet20"} == {
        "rounded", "activation-aware", "equalized", "compensated", "learned", "reconstructed",
        MIXED,
    }  # fmt: skip
    assert all((c.recipe is None) == (c.strategy in ("rounded", "activation-aware")) for c in found)
    judged = ("reconstructed", MIXED)
    assert all(c.recipe.judge == (c.strategy in judged) for c in found if c.recipe)


@pytest.mark.data
@pytest.mark.parametrize(
    "strategy",
    ["compensated", *(pytest.param(s, marks=pytest.mark.long) for s in ("rounded", MIXED))],
)
def test_a_post_training_row(strategy: str, data_dir: Path, tmp_path: Path) -> None:
    case = next(c for c in post_cases() if (c.case.net, c.strategy) == ("ds_cnn", "rounded"))
    (row,) = rounded(
        asdict(case.case), strategy, 20, str(data_dir), str(tmp_path), lambda what, done, of: None
    )
    assert (row["images_test"], row["halves"], row["mismatches"]) == (40, 2, 0)
    assert row["codes_different"] == 0 < row["codes_compared"]
    assert 0.5 < row["accuracy"] <= 1
    assert row["passes"] < 2
    assert len(row["quantizing_cpu_seconds"]) == 2
    assert (row["curves"] is None) == (strategy != MIXED)


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of runs."""
    return tmp_path_factory.mktemp("runs")


def run(found: list[QuantCase], work: Path, jobs: int = 1) -> list[dict[str, Any]]:
    """The rows of runs, in the order of their seeds."""
    training = training_jobs(found, {"data": None, "work": str(work)})
    with open_workers(jobs) as workers:
        outcomes = list(Campaign(Store(work / "results"), workers).run(training))
    return sorted((row for o in outcomes for row in o.rows), key=lambda row: row["seed"])


@pytest.fixture(scope="module")
def rows(work: Path) -> list[dict[str, Any]]:
    """Rows of two runs, one after the other."""
    return run(cases(0, 1), work)


def test_rows(rows: list[dict[str, Any]], work: Path) -> None:
    assert all(set(row) >= KEYS for row in rows)
    json.dumps(rows, allow_nan=False)
    assert [r["seed"] for r in rows] == [0, 1]
    assert all(r["accuracy"] == r["accuracy_quantized"] for r in rows)
    assert run(cases(0, 1), work) == rows
    (mean,) = means(rows)
    assert mean.values == tuple(r["accuracy"] for r in rows)
    grid = quant_tables.method_grid(rows)
    ((*_, method, strategy, _, accuracy, seeds),) = grid.cells
    assert (method, strategy, accuracy, seeds) == ("lsq", "–", mean.accuracy.text, "2")
    assert grid.markdown().count("\n") == 3
    assert accuracies(rows) == accuracies(rows)


def test_rows_that_hold_means() -> None:
    """A published mean stands in for the runs; what it does not say is not made up."""
    run = {
        "group": "quantizers", "dataset": "Fashion-MNIST", "model": "fashion", "method": "esb",
        "strategy": "", "weight_bits": 4,
    }  # fmt: skip
    runs = [
        run | {"seed": seed, "accuracy": accuracy, "accuracy_float": 0.9}
        for seed, accuracy in enumerate((0.88, 0.9))
    ]
    one = run | {
        "seeds": [0, 1], "accuracy": 0.89, "accuracy_half_range": 0.01, "accuracy_float": 0.9,
        "accuracy_float_half_range": 0.0,
    }  # fmt: skip
    assert quant_tables.method_grid([one]) == quant_tables.method_grid(runs)
    assert accuracies([one]) == accuracies(runs)
    (mean,) = means([one])
    assert mean.over([0]) is None
    assert mean.below == pytest.approx(1.0)
    (alone,) = means([{k: v for k, v in one.items() if "float" not in k}])
    assert alone.twin is alone.below is None
    assert quant_tables.method_grid([alone.row]).cells[0][4] == "–"


def untimed(row: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in row.items() if k not in ("seconds", "cpu_seconds")}


@pytest.mark.long
def test_jobs_do_not_change_rows(rows: list[dict[str, Any]], work: Path, tmp_path: Path) -> None:
    for row, other in zip(rows, run(cases(0, 1), tmp_path, 2), strict=True):
        assert untimed(row) == untimed(other)
        wanted, got = (torch.load(f / row["digest"] / "prepared.pt") for f in (work, tmp_path))
        assert all(torch.equal(wanted[k], got[k]) for k in wanted)


def test_plans_count_a_twin_once() -> None:
    lines = plan(cases(0, 1) + cases(0), {"digits": (1.0, 2.0)}, lambda case: 96)
    assert [seconds for _, seconds in lines] == [9.0, 9.0, 6.0]


def test_a_run_that_fails_does_not_stop_others(tmp_path: Path) -> None:
    (good,) = cases(0)
    wild = replace(good.config.train, lr=1e15, optimizer="sgd", warm_up=0.0)
    bad = replace(good, config=replace(good.config, train=wild, seed=1))
    done, failed = run([bad, good], tmp_path)
    assert done.keys() >= KEYS
    assert "lower the learning rate" in failed["failure"]
    assert failed["digest"] == bad.config.digest


def test_those_who_share_a_twin_wait_for_it() -> None:
    first, other = cases(0, 1)
    again = replace(first, strategy="again")
    jobs = training_jobs([first, other, again], {"data": None, "work": "w"})
    assert [job.after for job in jobs] == [None, None, first.name]
    assert len({job.key for job in jobs}) == 3


def test_trials_are_short() -> None:
    case = quant_cases("sinareq")[0]
    short = trial(case, 64).config
    assert (short.data.train_samples, short.data.test_samples) == (64, 64)
    assert (short.train.epochs, short.train.batch_size) == (1, 64)
    assert short.strategies == case.config.strategies


def test_rates() -> None:
    (case,) = cases(0)
    splits = load_splits(case.config.data, case.config.model, None)
    torch.manual_seed(0)
    twin = zoo.build("digits", width=4).eval()
    row = compared(twin, splits, 3, "where it pays")
    assert row["bits_per_weight"] <= 3
    assert compared(twin, splits, 3, "rows")["layers"] > row["layers"]
    assert 0 < row["error"] < row["error_plain"]
    (found,) = quant_claims.findings([row])
    assert (found.verdict, found.right) == ("yes", 1)
    assert found.cell(3).endswith(" dB")


def test_claims() -> None:
    rows = [
        {
            "group": "quantizers", "dataset": "Fashion-MNIST", "model": "fashion", "method": method,
            "strategy": "", "weight_bits": bits, "accuracy": accuracy, "accuracy_float": 0.9,
            "seed": seed, "test_samples": 10_000,
        }
        for method, bits, seed, accuracy in (
            ("esb", 4, 0, 0.9), ("esb", 4, 1, 0.88), ("uniform", 4, 0, 0.91),
            ("uniform", 4, 1, 0.87), ("apot", 4, 1, 0.7), ("apot", 4, 2, 0.99),
            ("esb", 3, 0, 0.9), ("apot", 3, 0, 0.904), ("esb", 2, 1, 0.8), ("esb", 2, 2, 0.81),
            ("apot", 2, 1, 0.83), ("apot", 2, 2, 0.82), ("uniform", 2, 3, 0.1),
        )
    ]  # fmt: skip
    recorded = {
        "group": "claims", "claim": "ESB beats powers of two", "method": "esb",
        "points": {"4": 0.13, "3": 1.98}, "undecided": [4], "seeds": [3],
    }  # fmt: skip
    outdone = recorded | {"claim": "ESB beats APoT"}
    grid = quant_claims.claim_grid(quant_claims.findings([recorded, outdone, *rows]))
    assert len(grid.cells) == 3
    lines = {line[0]: line for line in grid.cells}
    assert lines["ESB beats APoT"][1:] == (
        "esb", "–", "+18.00", "≈ -0.40", "-2.00", "1 to 2", "in part; its sign in 1 of 3",
    )  # fmt: skip
    assert lines["ESB beats uniform"][2:] == (
        "–", "≈ +0.00", "–", "–", "2", "undecided; its sign in 0 of 1",
    )  # fmt: skip
    assert lines["ESB beats powers of two"][2:] == (
        "–", "≈ +0.13", "+1.98", "–", "3", "yes; its sign in 2 of 2",
    )  # fmt: skip
    goal, _ = quant_claims.goal_grid(rows).cells
    assert goal == ("esb", "4 bits", "89.00 ± 1.00", "90.00 ± 0.00", "1.00", "0.5 (ours)", "no")


def test_the_cost_of_a_step_in_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quant_speed, "STEPS", 1)
    monkeypatch.setattr(quant_speed, "BATCH", 2)
    monkeypatch.setattr(quant_speed, "TIMES", 1)
    monkeypatch.setattr(quant_speed, "CALIBRATION", 2)
    monkeypatch.setattr(quant_speed, "_peaks", lambda kinds, tell: dict.fromkeys(kinds, 1.0))
    row = quant_speed.speed_row(lambda what, count, total: None)
    assert set(row) >= KEYS
    assert row["ratio_float"] > 0
    assert row["seconds_quantizing"] > 0
    assert quant_claims.findings([row]) == []
    assert len(quant_tables.SPEED.grid([row]).cells) == 1


def test_names_and_files_are_refused(tmp_path: Path) -> None:
    assert quant_cases("lenet9000") == []
    with pytest.raises(UserError, match="no run has 'lenet9000' in its name"):
        select(Choice("lenet9000"))
    with pytest.raises(UserError, match=r"--group must be one of quantizers, .* not 'x'"):
        select(Choice(group="x"))
    path = tmp_path / "other.json"
    path.write_text('{"rows": [{"net": "resnet18"}]}')
    with pytest.raises(UserError, match="holds no rows"):
        open_rows(select(Choice()), Place(path))


def test_rates_need_a_twin(tmp_path: Path) -> None:
    (case,) = cases(0)
    with pytest.raises(TrainingError, match="there is no float twin"):
        rate_row(case, 4, "rows", None, tmp_path, lambda what, done, total: None)
