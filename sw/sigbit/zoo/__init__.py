"""Networks used by the demo, the tests and the benchmarks: plain PyTorch modules."""

from sigbit.errors import ZooError
from sigbit.zoo.checkpoint import load_checkpoint
from sigbit.zoo.digits import DigitsResNet
from sigbit.zoo.registry import Entry, build, entry, names

__all__ = ["DigitsResNet", "Entry", "ZooError", "build", "entry", "load_checkpoint", "names"]
