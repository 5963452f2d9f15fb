"""Proof that no accumulator overflows. Arithmetic is modular, so only the final sums matter."""

from collections.abc import Mapping

import numpy as np

from sigbit.compiler.network import Op, Value
from sigbit.errors import CompileError
from sigbit_hw.arch.config import ArchConfig


def check_accumulators(op: Op, values: Mapping[str, Value], config: ArchConfig) -> None:
    """:class:`CompileError` unless all sums of ``op`` fit, whatever integers its values hold."""
    assert op.bias is not None
    low = op.bias.astype(np.int64).copy()
    high = low.copy()
    for operand in op.operands:
        value = values[operand.value]
        ends = [value.low, value.high] + ([] if operand.halo is None else [operand.halo])
        assert operand.weights is not None
        weights = operand.weights.reshape(len(low), -1)
        positive, negative = weights.clip(0, None).sum(1), weights.clip(None, 0).sum(1)
        low += positive * min(ends) + negative * max(ends)
        high += positive * max(ends) + negative * min(ends)
    half = 1 << (config.acc_bits - 1)
    worst = int(np.argmax(np.maximum(high + 1, -low)))
    if low[worst] < -half or high[worst] >= half:
        bits = int(max(high[worst] + 1, -low[worst]) - 1).bit_length() + 1
        raise CompileError(
            f"{op.where}: sums of output channel {worst} lie in [{low[worst]}, {high[worst]}] and "
            f"need {bits} bits, but the accumulators of {config.name} have {config.acc_bits}: use "
            "fewer terms or digits in this layer, split it, or choose an accelerator with acc_bits "
            f">= {bits}"
        )
