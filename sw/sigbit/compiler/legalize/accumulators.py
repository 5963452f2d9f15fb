"""Proof that no accumulator overflows, and that the requantizers can represent the parameters of an
operation. Arithmetic is modular, so only the final sums matter."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from sigbit.compiler.network import Op, Value
from sigbit.errors import CompileError
from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.arch.numerics import PRE_BITS, TABLE_ENTRIES, table_index, wrap

Ints = NDArray[np.int64]


def check_accumulators(op: Op, values: Mapping[str, Value], config: ArchConfig) -> None:
    """Raise :class:`CompileError` unless all sums of ``op`` fit, for all integers that its values
    may hold."""
    low: np.ndarray = np.zeros(op.channels, np.int64)
    high = low.copy()
    for operand in op.operands:
        value = values[operand.value]
        ends = [value.low, value.high] + ([] if operand.halo is None else [operand.halo])
        if operand.right:
            right = values[operand.right]
            products = [a * b for a in (right.low, right.high) for b in ends]
            low += operand.channels * min(products)
            high += operand.channels * max(products)
            continue
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


def rest_of(table: Ints, config: ArchConfig) -> int | None:
    """Return the result ``y`` nearest to 0 that ``table`` maps to 0, or None."""
    half = 1 << (config.result_bits - 1)
    results = np.arange(-half, half)
    zeros = results[table[table_index(results)] == 0]
    return int(zeros[np.argmin(np.abs(zeros))]) if zeros.size else None


def check_results(op: Op, config: ArchConfig) -> None:
    """Raise :class:`CompileError` unless the requantizers can hold the parameters of ``op`` and
    distinguish all entries of its table."""
    assert op.base is not None
    assert op.step is not None
    assert op.tie is not None
    assert op.table is not None
    try:
        config.params.check(op.base, op.step, op.tie)
    except ValueError as error:
        raise CompileError(
            f"{op.where}: the requantizers of {config.name} cannot hold its parameters: {error}; "
            "quantize the network for this accelerator, or choose one with wider steps"
        ) from error
    reached = table_index(wrap(np.arange(TABLE_ENTRIES), PRE_BITS))
    half = 1 << (config.result_bits - 1)
    ends = table_index(wrap(np.arange(TABLE_ENTRIES), PRE_BITS).clip(-half, half - 1))
    table = np.asarray(op.table)
    if not np.array_equal(table[reached], table[ends]):
        raise CompileError(
            f"{op.where}: its table tells apart more results than the {config.result_bits} bits of "
            f"{config.name} hold: use fewer levels, or an accelerator with larger result_bits"
        )
