"""The listing of a tiny network, kept as documentation of what the compiler emits.

After a deliberate change, write the new text with ``python tests/compiler/test_listing.py``.
"""

from pathlib import Path

import numpy as np

from sigbit.compiler import compile_graph
from sigbit.compiler.random_graph import Builder
from sigbit_hw.arch import assembler
from sigbit_hw.arch.config import PRESETS

GOLDEN = Path(__file__).with_name("tiny_listing.txt")


def tiny_listing() -> str:
    """8-bit input, a padded 3x3 convolution, a strided one, a residual one and a linear layer."""
    config = PRESETS["nano"]
    b = Builder(np.random.default_rng(0), config)
    same = (1, 1, 1, 1)
    x = b.conv([b.source(b.input((1, 8, 8), 2), 4, (3, 3), padding=same)])
    x = b.conv([b.source(x, 8, (3, 3), padding=same, stride=(2, 2))])
    x = b.conv([b.source(x, 8, (3, 3), padding=same), b.source(x, 8, (1, 1), depthwise=True)])
    program = compile_graph(b.graph(b.conv([b.source(x, 10, (4, 4), terms=2)], 2)), config)
    return assembler.listing(program.listing) + "\n"


def test_listing() -> None:
    assert tiny_listing() == GOLDEN.read_text()
    code = assembler.assemble(tiny_listing())
    assert assembler.listing(code) + "\n" == tiny_listing()


if __name__ == "__main__":
    GOLDEN.write_text(tiny_listing())
