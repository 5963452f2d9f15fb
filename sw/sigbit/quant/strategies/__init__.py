"""Training strategies and regularizers: what happens beside the task loss, with any quantizer for
which it is defined."""

from sigbit.quant.strategies.base import Run, Step, Strategy

__all__ = ["Run", "Step", "Strategy"]
