"""Gathers that no operation can compute; the convolutions that read their results read their inputs
instead."""

import numpy as np
from numpy.typing import NDArray

from sigbit.compiler.legalize.join import Run

Ints = NDArray[np.int64]


def dense(weights: Ints, groups: int) -> Ints:
    """Weights ``[oc, ic / groups, kh, kw]`` of several groups as ``[oc, ic, kh, kw]``."""
    if groups == 1:
        return weights
    oc, ic, *kernel = weights.shape
    full = np.zeros((groups, oc // groups, groups, ic, *kernel), weights.dtype)
    index = np.arange(groups)
    full[index, :, index] = weights.reshape(groups, oc // groups, ic, *kernel)
    return full.reshape(oc, groups * ic, *kernel)


def absorbed(
    weights: Ints, groups: int, runs: list[Run], channels: dict[str, int]
) -> list[tuple[str, Ints]]:
    """Dense weights for the tensors of ``runs``, whose channels together are those of ``weights``;
    a channel that is gathered twice has separate weights for each occurrence."""
    full = dense(weights, groups)
    found: list[tuple[str, Ints, set[int]]] = []
    at = 0
    for tensor, first, count in runs:
        for channel in range(first, first + count):
            free = [f for f in found if f[0] == tensor and channel not in f[2]]
            if not free:
                shape = (len(full), channels[tensor], *full.shape[2:])
                free = [(tensor, np.zeros(shape, full.dtype), set())]
                found += free
            free[0][1][:, channel] = full[:, at]
            free[0][2].add(channel)
            at += 1
    return [(tensor, weights) for tensor, weights, _ in found]
