"""Windows of an input that are larger, or further apart, than those of the accelerator: patches of
vision transformers. The host lays them out as channels."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from sigbit.compiler import compile_graph
from sigbit.errors import CompileError
from sigbit.frontend import import_model
from sigbit.frontend.report import UnsupportedModel
from sigbit.quant import IntegerModel, QuantSpec, convert, prepare
from sigbit_hw.arch.config import PRESETS
from sigbit_sim.interp.device import Interp
from sigbit_sim.rtl.device import RtlDevice

NANO = PRESETS["nano"]


def converted(model: nn.Module, size: int) -> tuple[IntegerModel, Tensor]:
    """The integer model of ``model``, and an input."""
    x = torch.randn(2, 3, size, size, dtype=torch.float64)
    prepared = prepare(import_model(model.double().eval(), (x,)), QuantSpec.from_arch(NANO), (x,))
    return convert(prepared), x[:1]


WINDOWS = {
    "patches of 16": (32, {"kernel_size": 16, "stride": 16}),
    "patches of 32": (32, {"kernel_size": 32, "stride": 32}),
    "overlapping": (37, {"kernel_size": (40, 5), "stride": (18, 17), "padding": (3, 1)}),
    "far apart": (45, {"kernel_size": 3, "stride": (1, 20), "dilation": 9}),
    "high": (37, {"kernel_size": (33, 1), "stride": (1, 9)}),
}
"""Side of the image, and the first layer."""


@pytest.mark.parametrize("name", WINDOWS)
@pytest.mark.parametrize("device", ["interp", pytest.param("rtl", marks=pytest.mark.sim)])
def test_codes_are_equal(name: str, device: str, seed: int) -> None:
    torch.manual_seed(seed)
    side, window = WINDOWS[name]
    first = nn.Conv2d(3, 4, **window)  # type: ignore[arg-type]
    integer, x = converted(nn.Sequential(first, nn.ReLU(), nn.Conv2d(4, 2, 1)), side)
    program = compile_graph(integer.graph, NANO)
    assert program.inputs[0].fold is not None
    levels = integer.stored(x)
    given = {n.name: levels[n.name].numpy() for n in integer.graph.inputs}
    run = Interp(NANO, strict=True) if device == "interp" else RtlDevice(NANO)
    for output, got in run.run(program, given).outputs.items():
        assert np.array_equal(got, levels[output].numpy())


@pytest.mark.parametrize("form", ["computed", "depthwise"])
def test_other_layers_are_refused(form: str) -> None:
    large = nn.Conv2d(3, 3, 16, 16, groups=3 if form == "depthwise" else 1)
    model = large if form == "depthwise" else nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU(), large)
    with pytest.raises(UnsupportedModel, match="strides up to 15; on an input they may be larger"):
        converted(model, 32)


class TwoReaders(nn.Module):
    """An input that two layers read."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.other = nn.Conv2d(3, 2, 16, 16), nn.Conv2d(3, 2, 32, 32)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.one(x), self.other(x)


def test_an_input_of_several_layers_is_refused() -> None:
    integer, _ = converted(TwoReaders(), 32)
    with pytest.raises(CompileError, match=r"only reader of its input"):
        compile_graph(integer.graph, NANO)
