"""The runs of ``sigbit bench quant``, from the committed files in ``configs``."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.resources import as_file, files
from typing import Any

from sigbit.quant.quantizers import METHODS
from sigbit.training.config import RunConfig, read_table
from sigbit.training.sweep import with_values
from sigbit.training.tables import from_table

WEIGHTS_ONLY = "uniform"
"""Activation method used beside a method that quantizes weights only."""
ON_DEMAND = ("cifar10",)
"""Groups that run only on request."""


@dataclass(frozen=True)
class RunSet:
    """An entry of ``campaign.toml``.

    Parameters
    ----------
    group : str
        Heading of its rows.
    base : str
        File with data, network and schedules.
    methods, bits, seeds : tuple
        All combinations are run.
    strategies : tuple of table
        Strategies of all runs, in addition to those of the base file; they are not part of the
        name.
    values : table
        Other values, by dotted key.
    title : str
        Suffix of the name of the strategy, to distinguish rows.
    cost : float
        Seconds per step, relative to the same step without strategies; for estimates only.
    """

    group: str
    base: str
    methods: tuple[str, ...]
    bits: tuple[int, ...]
    seeds: tuple[int, ...]
    strategies: tuple[Mapping[str, Any], ...] = ()
    values: Mapping[str, Any] = field(default_factory=dict)
    title: str = ""
    cost: float = 1.0


@dataclass(frozen=True)
class QuantCase:
    """One run: its place in the tables, and its configuration."""

    group: str
    method: str
    strategy: str
    bits: int
    config: RunConfig
    cost: float

    @property
    def name(self) -> str:
        """Display name, which ``--only`` searches."""
        what = f"{self.method}+{self.strategy}" if self.strategy else self.method
        where = self.config.model.name
        return f"{self.group}: {what} on {where}, {self.bits} bits, seed {self.config.seed}"


def base_table(name: str) -> dict[str, Any]:
    """Content of ``configs/NAME.toml``."""
    with as_file(files("sigbit.bench") / "configs" / f"{name}.toml") as path:
        return read_table(path)


def quant_cases(only: str | None = None, group: str | None = None) -> list[QuantCase]:
    """Runs whose names contain ``only``, of ``group`` or else of all groups that are not on demand,
    in the order in which they run: those of the first seed first."""
    found = [
        case
        for table in base_table("campaign")["sets"]
        for case in _cases(from_table(RunSet, table, "campaign.toml"))
        if (only is None or only in case.name)
        and (case.group == group if group else case.group not in ON_DEMAND)
    ]
    return sorted(found, key=lambda case: case.config.seed)


def trial(case: QuantCase, samples: int) -> QuantCase:
    """A short version of ``case``: ``samples`` samples for training and as many for testing, one
    epoch of the twin and one of the quantized network."""
    config = case.config
    values = {
        "data.train_samples": samples,
        "data.test_samples": samples,
        "float.epochs": 1,
        "train.epochs": 1,
        "float.batch_size": min(config.float.batch_size, samples),
        "train.batch_size": min(config.train.batch_size, samples),
    }
    short = RunConfig.from_table(with_values(config.to_table(), values))
    return replace(case, config=short)


def _cases(runs: RunSet) -> Sequence[QuantCase]:
    base = base_table(runs.base)
    names = "+".join(str(s["name"]) for s in runs.strategies)
    strategy = " ".join(filter(None, (names, f"({runs.title})" if runs.title else "")))
    cases = []
    for bits in runs.bits:
        for method in runs.methods:
            for seed in runs.seeds:
                quantizer = {
                    "weights": method,
                    "activations": method if METHODS[method].acts else WEIGHTS_ONLY,
                    "weight_bits": bits,
                    "act_bits": bits,
                }
                table = {**base, "quantizer": quantizer, "seed": seed}
                table["strategies"] = [*base.get("strategies", ()), *map(dict, runs.strategies)]
                config = RunConfig.from_table(with_values(table, runs.values))
                cases.append(QuantCase(runs.group, method, strategy, bits, config, runs.cost))
    return cases
