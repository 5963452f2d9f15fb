"""Networks that the demo, the tests and the benchmarks use: plain PyTorch modules."""

from sigbit.zoo.digits import DigitsResNet

__all__ = ["DigitsResNet"]
