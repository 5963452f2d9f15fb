"""Tokens that fit their counters: when one has certainly been taken."""

from dataclasses import replace

import numpy as np
import pytest

from sigbit.compiler.order.dependences import _merge
from sigbit_hw.arch.config import PRESETS
from sigbit_hw.arch.isa import TOKEN_MAX
from sigbit_hw.arch.timing import QUEUE_AHEAD

NANO = PRESETS["nano"]
PAIRS = [(2 * k, 2 * k + 1) for k in range(TOKEN_MAX + 1)]
"""One more token than a counter holds, of which no two become one."""


def positions(distance: int) -> np.ndarray:
    """Of the taker's instructions, where the last giver is ``distance`` of them after the first
    taker, and the other takers come right before it."""
    return np.array([0, 0] + [distance] * (2 * TOKEN_MAX + 2))


@pytest.mark.parametrize("depth", [2, 8])
def test_a_token_is_taken_when_its_taker_has_left_the_queue(depth: int) -> None:
    """As many instructions as the queue holds, and those that may have left it without their
    tokens, may lie between; not one fewer."""
    config = replace(NANO, queue_depth=depth)
    pairs = list(PAIRS)
    assert _merge(pairs, [], positions(depth + QUEUE_AHEAD), config) is None
    assert pairs == PAIRS
    last, middle = PAIRS[-1], PAIRS[TOKEN_MAX // 2]
    edge = _merge(pairs, [], positions(depth + QUEUE_AHEAD - 1), config)
    assert edge == (middle[1], last[0])


def test_a_token_is_taken_when_its_taker_has_answered() -> None:
    """The giver has awaited a token of the first taker, or of one before it."""
    for answer, expected in ((1, None), (0, (PAIRS[TOKEN_MAX // 2][1], PAIRS[-1][0]))):
        assert _merge(list(PAIRS), [(answer, 4)], positions(0), NANO) == expected


def test_neighbours_become_one_token() -> None:
    """The later giver and the earlier taker, where that order is the program's."""
    others = [(2 * k, 2 * k + 1) for k in range(3, TOKEN_MAX + 2)]
    pairs = [(0, 3), (2, 5), *others]
    assert _merge(pairs, [], positions(0), NANO) is None
    assert pairs == [(2, 3), *others]
