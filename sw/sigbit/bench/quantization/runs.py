"""The runs of ``sigbit bench quant``, each in its own folder, which survives interruptions. A
completed run is not repeated, an interrupted one is resumed."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from sigbit import zoo
from sigbit.bench.quantization.cases import QuantCase
from sigbit.quant import prepare
from sigbit.training import (
    Loop,
    Machine,
    Options,
    RunConfig,
    TrainingRun,
    load_splits,
)
from sigbit.training.methods import quant_spec, strategies_of

Row = dict[str, Any]
Estimates = dict[str, tuple[float, float]]
"""Seconds per step of the float and of the quantized network, by the network's name."""
_STEPS = 6
"""Number of steps that an estimate measures; the first one is not counted."""


def row_of(case: QuantCase, summary: dict[str, Any]) -> Row:
    """The row of a finished run."""
    config = case.config
    return {
        "group": case.group,
        "method": case.method,
        "strategy": case.strategy,
        "dataset": summary["dataset"],
        "model": config.model.name,
        "weight_bits": case.bits,
        "act_bits": case.bits,
        "act_method": config.quantizer.activations,
        "accuracy": summary["accuracy_deployed"],
        "accuracy_quantized": summary["accuracy_quantized"],
        "accuracy_float": summary["accuracy_float"],
        "mean_iou": summary.get("mean_iou_deployed"),
        "mean_iou_float": summary.get("mean_iou_float"),
        "measures": summary["measures"],
        "seed": config.seed,
        "epochs": config.train.epochs,
        "test_samples": summary["test_samples"],
        "seconds": summary["seconds"],
        "cpu_seconds": summary["cpu_seconds"],
        "digest": config.digest,
        "config": config.to_table(),
    }


def run_case(case: QuantCase, data: Path | None, work: Path) -> Row:
    """Execute one run, on one CPU thread, in a folder of ``work``."""
    torch.set_num_threads(1)
    config, folder = case.config, work / case.config.digest
    splits = load_splits(config.data, config.model, data)
    options = Options(resume=(folder / "config.json").exists(), twins=work / "twins")
    run = TrainingRun(config, splits, folder, machine=Machine(), options=options)
    return row_of(case, run.finish())


def leaders(cases: Sequence[QuantCase]) -> dict[str, QuantCase]:
    """By the twins' digests: the first of ``cases`` with each twin, which trains it; the others
    wait for it."""
    found: dict[str, QuantCase] = {}
    for case in cases:
        found.setdefault(case.config.twin_digest, case)
    return found


def estimates(cases: Sequence[QuantCase], data: Path | None) -> Estimates:
    """Measure a few steps of every network."""
    found: Estimates = {}
    for case in cases:
        if case.config.model.name not in found:
            found[case.config.model.name] = _measured(case.config, data)
    return found


def _measured(config: RunConfig, data: Path | None) -> tuple[float, float]:
    splits = load_splits(config.data, config.model, data)
    machine = Machine()
    with machine.reproducible():
        torch.manual_seed(0)
        model = zoo.build(config.model.name, **config.model.options)
        x, _ = splits.train.batch(torch.arange(min(64, len(splits.train))))
        spec = quant_spec(config.quantizer, splits.input_range)
        prepared = prepare(model.eval(), spec, (x[:2],), (x,))
        loops = (
            Loop(model, splits.train, config.float, machine=machine),
            Loop(
                prepared,
                splits.train,
                config.train,
                strategies=strategies_of(config.strategies),
                twin=model,
                machine=machine,
            ),
        )
        float_step, quantized_step = (_step_seconds(loop) for loop in loops)
    return float_step, quantized_step


def _step_seconds(loop: Loop) -> float:
    """CPU time of a step, so that other processes on the machine do not count."""
    begin = 0.0
    for count, _ in enumerate(loop):
        if count == 0:
            begin = time.process_time()
        if count == _STEPS:
            return (time.process_time() - begin) / _STEPS
    return (time.process_time() - begin) / max(1, loop.steps - 1)


def plan(
    cases: Sequence[QuantCase], steps: Estimates, samples: Callable[[QuantCase], int]
) -> list[tuple[QuantCase, float]]:
    """Every run with its estimated seconds on one core; those of the twin count for the first run
    that needs it."""
    twins: set[str] = set()
    rows = []
    for case in cases:
        config = case.config
        of_float, of_quantized = steps[config.model.name]
        count = samples(case)
        seconds = sum(
            schedule.epochs * (count // schedule.batch_size) * of_quantized
            for schedule in (config.train, config.continued)
            if schedule is not None
        )
        if config.twin_digest not in twins:
            twins.add(config.twin_digest)
            seconds += config.float.epochs * (count // config.float.batch_size) * of_float
        rows.append((case, seconds * case.cost))
    return rows
