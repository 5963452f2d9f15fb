"""What a training run is: one TOML file.

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
"""Bytes of a configuration at most."""
_DOTS = re.compile(rf"(?:[\w\"'-]+\s*\.\s*){{{DEPTH_MAX}}}")
LARGEST_SEED = 2**31 - 1
"""Seed and number of a step make one number of 63 bits."""


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
        Where images differ in size: pixels of the squares they are scaled to.
    train_samples, test_samples : int, optional
        Only the first so many of a fixed permutation of the split.
    flip : bool
        Mirror half of the training images left to right.
    crop : int
        Shift training images by up to so many pixels in every direction.
    calibration : int
        Training samples that scales are first chosen on.
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
    """How the images of a data set become the input: ``(byte / 255 - mean) / std``.

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
        File of weights to start the twin from.
    widen : int
        Times as many channels in every layer (WRPN), trained from scratch.
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
        The accelerator that the network is for: a preset, or an ArchConfig as a table; a file of
        either kind that :func:`~sigbit.accelerators.load_accelerator` knows is read into the table
        when the configuration is. Its native formats hold every method's levels, in as many terms
        and planes as that takes.
    weights, activations : str
        Methods (:data:`sigbit.quant.quantizers.METHODS`).
    weight_bits, act_bits : int
        Bits between first and last layer; 0: with "esb", the accelerator's own format.
    weight_scale, act_scale : str
        Scale rules ("dda", "mse", "learned", "range", "percentile") of the methods "esb" and
        "uniform".
    per_channel : bool
        A scale for every output channel.
    wide_first_last : bool
        First and last layers have weights of 8 bits, and the last one reads 8 bits.
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
        """The accelerator that ``arch`` names or is."""
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
"""What a sweep can maximize; intersections over union are of pixels only."""


@dataclass(frozen=True)
class SweepConfig:
    """What ``sigbit sweep`` varies.

    Parameters
    ----------
    trials : int
        Runs of the whole study.
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
    """One run: data, network, the training of its float twin, quantizers, training of the
    quantized network, strategies, and the seed of everything random.

    ``continued`` is a further training, in which weights have the bits that the strategy "sinareq"
    has learned for every layer; it starts from the weights of the first one.
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
        """The run of a file's content; :class:`TrainingError` for what it must not hold."""
        document = {k: v for k, v in table.items() if k != "sweep"}
        listed = document.get("strategies", [])
        if isinstance(listed, list) and all(isinstance(s, Mapping) for s in listed):
            document["strategies"] = [_strategy(s) for s in listed]
        run: RunConfig = from_table(cls, document)
        return run

    def to_table(self) -> dict[str, Any]:
        """Plain values, defaults included; :meth:`from_table` takes them."""
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
    """Keys of a strategy are its options, unless they are in a table ``options`` already."""
    if set(table) <= {"name", "options"}:
        return dict(table)
    return {
        **({"name": table["name"]} if "name" in table else {}),
        "options": {k: v for k, v in table.items() if k != "name"},
    }


def _digest(table: object) -> str:
    return hashlib.sha256(json.dumps(table, sort_keys=True).encode()).hexdigest()


def read_table(path: Path) -> dict[str, Any]:
    """The content of a TOML file, with a byte order mark or without; :class:`TrainingError` with
    line and column if it is none."""
    try:
        text = read_text(path, TOML_MAX, "TOML")
        if _DOTS.search(text):  # its reader takes a time that grows with their square
            raise ValueError(f"a key must have at most {DEPTH_MAX} parts")
        table = tomllib.loads(text)
        check_depth(table)
    except FileError as error:
        raise TrainingError(str(error)) from error
    except (ValueError, RecursionError) as error:  # the former of numbers of thousands of digits
        reason = "it nests too deep" if isinstance(error, RecursionError) else error
        raise TrainingError(f"{path} is not TOML: {reason}") from error
    return table


def load_config(path: Path) -> RunConfig:
    """The run of a TOML file; errors name the file."""
    table = read_table(path)
    try:
        return RunConfig.from_table(table)
    except TrainingError as error:
        raise TrainingError(f"{path}: {error}") from error


def load_sweep(path: Path) -> tuple[dict[str, Any], SweepConfig]:
    """The content of a TOML file without its table ``sweep``, and that table."""
    table = read_table(path)
    if "sweep" not in table:
        raise TrainingError(f"{path} has no table [sweep], which says what to vary")
    try:
        sweep: SweepConfig = from_table(SweepConfig, table.pop("sweep"), "sweep")
        RunConfig.from_table(table)
    except TrainingError as error:
        raise TrainingError(f"{path}: {error}") from error
    return table, sweep
