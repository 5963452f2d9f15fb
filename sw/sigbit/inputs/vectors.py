"""Test vectors in a Program: random inputs and the integer model's codes of every layer.

Arrays ``input.NAME`` and ``layer.NAME`` hold stored integers ``[N, C, H, W]``.
"""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sigbit.errors import UserError

if TYPE_CHECKING:
    from sigbit.ir.integer import IntegerGraph
    from sigbit.runtime import Device, Mismatch
    from sigbit_hw.arch.program import Program

Codes = NDArray[np.int16]

_INPUT, _LAYER = "input.", "layer."


def make_vectors(graph: "IntegerGraph", images: int, streams: int = 1) -> dict[str, Codes]:
    """Return ``images`` uniformly random inputs, the same ones every time, and the resulting codes
    of every node; with states, steps of as many ``streams`` in turn as a run has images."""
    import torch

    from sigbit.ir.streaming import stream

    rng, kept = np.random.default_rng(0), dict(graph.kept)
    stored = {
        node.name: torch.from_numpy(
            rng.integers(node.low, node.high + 1, (images, *node.type.shape))
        )
        for node in graph.inputs
        if node.name not in kept
    }
    with torch.no_grad():
        if not kept:
            values = graph.evaluate(stored)
        else:
            if images % streams:
                raise UserError(
                    f"test vectors must be as many steps of each of {streams} streams: give a "
                    f"multiple of {streams}, not {images}"
                )
            each = [
                stream(graph, {name: x[i::streams] for name, x in stored.items()})
                for i in range(streams)
            ]
            values = {n: torch.stack([e[n] for e in each], 1).flatten(0, 1) for n in each[0]}
    return {
        f"{_INPUT if name in stored else _LAYER}{name}": value.numpy().astype(np.int16)
        for name, value in values.items()
        if name not in kept
    }


def check_vectors(program: "Program", device: "Device") -> tuple[int, list["Mismatch"]]:
    """Run the Program's test vectors on ``device``.

    Returns the number of codes compared, 0 if there are no vectors, and the layers that differ.
    """
    from sigbit.runtime import Session, compare

    inputs = _named(program, _INPUT)
    if not inputs:
        return 0, []
    got = Session(program, device).run_stored(inputs, layers=True).layers
    return sum(a.size for a in got.values()), compare(_named(program, _LAYER), got)


def _named(program: "Program", prefix: str) -> dict[str, NDArray[np.int64]]:
    return {
        name.removeprefix(prefix): array.astype(np.int64)
        for name, array in program.vectors.items()
        if name.startswith(prefix)
    }
