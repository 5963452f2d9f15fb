"""A vision transformer for 32x32 images: every code of prepared and integer model, interpreter and
RTL is equal, and the RTL takes the cycles that the model predicts."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from quant.test_attention import NANO, decibels
from sigbit.compiler import compile_graph
from sigbit.frontend import import_model
from sigbit.quant import QuantSpec, convert, prepare
from sigbit_sim.cycles import predict
from sigbit_sim.interp.device import Interp
from sigbit_sim.memory import MemoryTiming
from sigbit_sim.rtl.device import RtlDevice


class VisionTransformer(nn.Module):
    """Patches of 8x8 pixels and a class token, through encoder layers of two heads with norms
    before attention and before its two linear layers."""

    def __init__(self, width: int = 16, depth: int = 2, classes: int = 10) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, 8, 8)
        self.token = nn.Parameter(torch.randn(1, 1, width))
        self.places = nn.Parameter(torch.randn(1, 17, width) / 2)
        layer = nn.TransformerEncoderLayer(
            width, 2, 2 * width, activation="gelu", batch_first=True, norm_first=True
        )
        self.layers = nn.ModuleList(layer if i == 0 else _like(layer) for i in range(depth))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), -1, -1), x], 1) + self.places
        for layer in self.layers:
            x = layer(x)
        classes: Tensor = self.head(self.norm(x)[:, 0])
        return classes


def _like(layer: nn.TransformerEncoderLayer) -> nn.TransformerEncoderLayer:
    width, hidden = layer.linear1.in_features, layer.linear1.out_features
    return nn.TransformerEncoderLayer(
        width, 2, hidden, activation="gelu", batch_first=True, norm_first=True
    )


@pytest.mark.sim
@pytest.mark.parametrize("fields", [{}, {"weight_terms": 2, "act_planes": 3}], ids=["4", "8"])
def test_every_device_has_the_same_codes(fields: dict[str, int], seed: int) -> None:
    torch.manual_seed(seed)
    model = VisionTransformer().double().eval()
    x = torch.randn(8, 3, 32, 32, dtype=torch.float64)
    prepared = prepare(import_model(model, (x[:2],)), QuantSpec.from_arch(NANO, **fields), (x,))
    integer = convert(prepared)
    stored, levels = prepared.stored(x[:1]), integer.stored(x[:1])
    assert stored.keys() <= levels.keys()
    assert all(torch.equal(stored[name], levels[name]) for name in stored)
    with torch.no_grad():
        assert decibels(prepared(x), model(x)) >= (22 if fields else 4)
    memory = MemoryTiming(19)
    program = compile_graph(integer.graph, NANO)
    given = {n.name: levels[n.name].numpy() for n in integer.graph.inputs}
    for device in (Interp(NANO, strict=True), RtlDevice(NANO, memory=memory)):
        result = device.run(program, given, layers=True)
        assert len(result.layers) > 50
        for name, got in [*result.layers.items(), *result.outputs.items()]:
            assert np.array_equal(got, levels[name].numpy()), name
    assert result.cycles == predict(program, memory).cycles
