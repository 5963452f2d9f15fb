"""Training strategies and regularizers: additions to the task loss, for any quantizer for which
they are defined.

``base`` has the hooks and ``registry`` the strategies by name. ``levels`` and ``relaxed`` provide
strategies with a layer's weights, and with replacements of its rounding; ``bits`` turns learned
bits into the next stage's spec; ``attacks`` evaluates robustness; ``study`` has the recipes for
quantization as a regularizer.
"""

from sigbit.quant.strategies.base import Run, Step, Strategy, optimizer_groups
from sigbit.quant.strategies.bits import with_weight_bits
from sigbit.quant.strategies.progressive import continued
from sigbit.quant.strategies.registry import STRATEGIES, parameters, strategies, strategy

__all__ = [
    "STRATEGIES",
    "Run",
    "Step",
    "Strategy",
    "continued",
    "optimizer_groups",
    "parameters",
    "strategies",
    "strategy",
    "with_weight_bits",
]
