"""Configuration of a training run: one TOML file.

seed = 0

[data]
name = "fashion-mnist"
crop = 2
flip = true

[model]
name = "fashion"

[float]                 # the twin
epochs = 6

[quantizer]
weights = "lsq"
activations = "lsq"
weight_bits = 4
act_bits = 4

[train]
epochs = 4

[[strategies]]
name = "distillation"   # and its own parameters

# [continued]           # a further training in bits learned by the strategy "sinareq"
# epochs = 2
"""

import hashlib
import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from sigbit.accelerators import load_accelerator
from sigbit.errors import TrainingError
from sigbit.training.schedule import Schedule
from sigbit.training.tables import from_table, to_table
from sigbit_hw.arch.config import PRESETS, ArchConfig
from sigbit_tools.files import FileError, read_text
from sigbit_tools.strict_json import DEPTH_MAX, check_depth

TOML_MAX = 1 << 20
"""Maximum size of a configuration in bytes."""
_DOTS = re.compile(rf"(?:[\w\"'-]+\s*\.\s*){{{DEPTH_MAX}}}")
LARGEST_SEED = 2**31 - 1
"""Largest seed: seed and step number together form one 63-bit number."""


def _at_least(least: int, **values: int | None) -> None:
    for name, value in values.items():
        if value is not None and value < least:
            raise ValueError(f"{name} must be at least {least}, not {value}")


@dataclass(frozen=True)
class DataConfig:
    """Data set and augmentation.

    Parameters
    ----------
    name : str
        One of :func:`sigbit.data.names`.
    side : int, optional
        For images of different sizes: side of the squares they are scaled to, in pixels.
    train_samples, test_samples : int, optional
        Use only this many samples, the first of a fixed permutation of the split.
    flip : bool
        Mirror half of the training images left to right.
    crop : int
        Shift training images by up to this many pixels in every direction.
    calibration : int
        Number of training samples from which initial scales are chosen.
    """

    name: str
    side: int | None = None
    train_samples: int | None = None
    test_samples: int | None = None
    flip: bool = False
    crop: int = 0
    calibration: int = 512

    def __post_init__(self) -> None:
        _at_least(0, crop=self.crop)
        _at_least(
            1,
            side=self.side,
            train_samples=self.train_samples,
            test_samples=self.test_samples,
            calibration=self.calibration,
        )


@dataclass(frozen=True)
class ImagesConfig:
    """Conversion of the images of a data set to the input: ``(byte / 255 - mean) / std``.

    Parameters
    ----------
    mean, std : list of float
        A number for each channel.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]


def _file_digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from error


@dataclass(frozen=True)
class ModelConfig:
    """A network, of the zoo or the user's own.

    Parameters
    ----------
    name : str
        One of :func:`sigbit.zoo.names`, or ``path/to/file.py:attribute`` or ``module:attribute``: a
        class, a function that returns an nn.Module, or one.
    options : table
        Arguments of its class or function.
    checkpoint : str, optional
        File of weights that initialize the twin.
    widen : int
        Factor of the channels of every layer (WRPN), trained from scratch.
    images : table, optional
        How images become the input of an own network.
    source : str, optional
        SHA-256 of the file of an own network, for whoever resumes the run: found, not given.
    """

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)
    checkpoint: str | None = None
    widen: int = 1
    images: ImagesConfig | None = None
    source: str | None = None

    def __post_init__(self) -> None:
        where, colon, _ = self.name.rpartition(":")
        if colon and where.endswith(".py"):
            object.__setattr__(self, "source", _file_digest(Path(where)))
        if self.images is not None and not colon:
            raise ValueError(
                f"images: {self.name} says itself how they become inputs: leave it out"
            )
        _at_least(1, widen=self.widen)
        if self.widen > 1 and self.checkpoint is not None:
            raise ValueError("a widened network cannot start from a checkpoint")


@dataclass(frozen=True)
class QuantizerConfig:
    """Quantizers and bits of weights and activations.

    Parameters
    ----------
    arch : str or table
        Accelerator that the network is for: a preset, or an ArchConfig as a table; a file in a
        format that :func:`~sigbit.accelerators.load_accelerator` reads is read into the table
        together with the configuration. Its native formats represent every method's levels, in as
        many terms and planes as necessary.
    weights, activations : str
        Methods (:data:`sigbit.quant.quantizers.METHODS`).
    weight_bits, act_bits : int
        Bits of the layers between the first and the last; 0: with "esb", the accelerator's own
        format.
    weight_scale, act_scale : str
        Scale rules ("dda", "mse", "learned", "range", "percentile") of the methods "esb" and
        "uniform".
    per_channel : bool
        Use one scale per output channel.
    wide_first_last : bool
        The first and the last layer have weights of 8 bits, and the last one reads 8 bits.
    """

    arch: str | Mapping[str, Any] = "micro"
    weights: str = "esb"
    activations: str = "esb"
    weight_bits: int = 0
    act_bits: int = 0
    weight_scale: str = "learned"
    act_scale: str = "learned"
    per_channel: bool = True
    wide_first_last: bool = True

    @cached_property
    def accelerator(self) -> ArchConfig:
        """Accelerator given by ``arch``, by name or as a table."""
        if isinstance(self.arch, str):
            return PRESETS[self.arch]
        return ArchConfig.from_json(dict(self.arch))

    def __post_init__(self) -> None:
        if isinstance(self.arch, str) and self.arch not in PRESETS:
            object.__setattr__(self, "arch", load_accelerator(self.arch).to_json())
        try:
            _ = self.accelerator
        except ValueError as error:
            raise ValueError(f"arch: {error}") from error


@dataclass(frozen=True)
class StrategyConfig:
    """A training strategy and its parameters."""

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)


METRICS = tuple(
    f"{what}_{stage}"
    for what in ("accuracy", "mean_iou")
    for stage in ("deployed", "quantized", "float")
)
"""Metrics that a sweep can maximize; intersection over union applies to pixels only."""


@dataclass(frozen=True)
class SweepConfig:
    """Search space and settings of ``sigbit sweep``.

    Parameters
    ----------
    trials : int
        Total number of runs of the study.
    metric : str
        Entry of a run's summary that is maximized: one of :data:`METRICS`.
    sampler : str
        "tpe", "random" or "grid".
    space : table
        By dotted key (``train.lr``, ``quantizer.weight_bits``, ``strategies.0.strength``):
        ``{choices = [...]}`` or ``{low = , high = , log = , step = }``.
    """

    space: Mapping[str, Any]
    trials: int = 20
    metric: str = "accuracy_deployed"
    sampler: str = "tpe"

    def __post_init__(self) -> None:
        _at_least(1, trials=self.trials)
        if self.sampler not in ("tpe", "random", "grid"):
            raise ValueError(f"sampler must be tpe, random or grid, not {self.sampler!r}")
        if self.metric not in METRICS:
            raise ValueError(f"metric must be one of {', '.join(METRICS)}, not {self.metric!r}")
        if not self.space:
            raise ValueError("space names no key to vary")


@dataclass(frozen=True)
class RunConfig:
    """One run: data, network, the training of its float twin, quantizers, training of the quantized
    network, strategies, and the seed of all random numbers.

    ``continued`` is a further training stage, in which weights have the bits that the strategy
    "sinareq" has learned for every layer; it starts from the weights of the first stage.
    """

    data: DataConfig
    model: ModelConfig
    train: Schedule
    float: Schedule
    quantizer: QuantizerConfig = QuantizerConfig()
    strategies: tuple[StrategyConfig, ...] = ()
    seed: int = 0
    continued: Schedule | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.seed <= LARGEST_SEED:
            raise ValueError(f"seed must be in [0, {LARGEST_SEED}], not {self.seed}")
        learning = any(s.name == "sinareq" and s.options.get("learn_bits") for s in self.strategies)
        if self.continued is not None and not learning:
            raise ValueError(
                "continued trains with the bits that a strategy has learned: it needs sinareq with "
                "learn_bits = true among the strategies"
            )

    @classmethod
    def from_table(cls, table: Mapping[str, Any]) -> "RunConfig":
        """Return the run described by the content of a file; raises :class:`TrainingError` for
        invalid content."""
        document = {k: v for k, v in table.items() if k != "sweep"}
        listed = document.get("strategies", [])
        if isinstance(listed, list) and all(isinstance(s, Mapping) for s in listed):
            document["strategies"] = [_strategy(s) for s in listed]
        run: RunConfig = from_table(cls, document)
        return run

    def to_table(self) -> dict[str, Any]:
        """Return plain values, including defaults; :meth:`from_table` accepts them."""
        table: dict[str, Any] = to_table(self)
        for own in ("images", "source"):  # a network of the zoo has none of them
            if table["model"][own] is None:
                del table["model"][own]
        return table

    @property
    def digest(self) -> str:
        """SHA-256 of everything that determines the result."""
        return _digest(self.to_table())

    @property
    def twin_digest(self) -> str:
        """SHA-256 of everything that determines the float twin."""
        table = self.to_table()
        return _digest({k: table[k] for k in ("data", "model", "float", "seed")})


def _strategy(table: Mapping[str, Any]) -> dict[str, Any]:
    """Move the keys of a strategy to its options, unless they are in a table ``options``
    already."""
    if set(table) <= {"name", "options"}:
        return dict(table)
    return {
        **({"name": table["name"]} if "name" in table else {}),
        "options": {k: v for k, v in table.items() if k != "name"},
    }


def _digest(table: object) -> str:
    return hashlib.sha256(json.dumps(table, sort_keys=True).encode()).hexdigest()


def read_table(path: Path) -> dict[str, Any]:
    """Return the content of a TOML file, with or without a byte order mark; raises
    :class:`TrainingError` with line and column if it is invalid."""
    try:
        text = read_text(path, TOML_MAX, "TOML")
        if _DOTS.search(text):  # its reader takes time quadratic in their length
            raise ValueError(f"a key must have at most {DEPTH_MAX} parts")
        table = tomllib.loads(text)
        check_depth(table)
    except FileError as error:
        raise TrainingError(str(error)) from error
    except (ValueError, RecursionError) as error:  # the former for numbers of thousands of digits
        reason = "it nests too deep" if isinstance(error, RecursionError) else error
        raise TrainingError(f"{path} is not TOML: {reason}") from error
    return table


def load_config(path: Path) -> RunConfig:
    """Return the run in a TOML file; errors name the file."""
    table = read_table(path)
    try:
        return RunConfig.from_table(table)
    except TrainingError as error:
        raise TrainingError(f"{path}: {error}") from error


def load_sweep(path: Path) -> tuple[dict[str, Any], SweepConfig]:
    """Return the content of a TOML file without its table ``sweep``, and that table."""
    table = read_table(path)
    if "sweep" not in table:
        raise TrainingError(f"{path} has no table [sweep], which says what to vary")
    try:
        sweep: SweepConfig = from_table(SweepConfig, table.pop("sweep"), "sweep")
        RunConfig.from_table(table)
    except TrainingError as error:
        raise TrainingError(f"{path}: {error}") from error
    return table, sweep
