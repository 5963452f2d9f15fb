"""Every kind of network of the zoo, in small: equal integers, and close to the float network."""

from typing import Any

import pytest
import torch

from quant.test_operations import check
from sigbit.quant import QuantSpec
from sigbit.quant.post import post_training
from sigbit.zoo import build

pytestmark = pytest.mark.slow

NETS: dict[str, tuple[dict[str, Any], tuple[int, ...]]] = {
    "resnet20": ({"width": 4, "depth": 8}, (3, 16, 16)),
    "resnet8": ({"width": 4}, (3, 32, 32)),
    "ds_cnn": ({}, (1, 49, 10)),
    "unet": ({"width": 4, "depth": 2}, (1, 16, 16)),
    "unet_nearest": ({"width": 4, "depth": 2}, (1, 16, 16)),
    "lstm": ({"hidden": 8}, (4, 20)),
    "gru": ({"hidden": 8}, (4, 20)),
    "densenet121": ({"growth": 4, "blocks": (2, 2), "classes": 10}, (3, 32, 32)),
    "mobilenet_v1_050_160": ({"width": 0.25, "classes": 10}, (3, 32, 32)),
    "mobilenet_v2_tf": ({"width": 0.25, "classes": 10}, (3, 32, 32)),
    "squeezenet1_0": ({"classes": 10}, (3, 47, 47)),
}


@pytest.mark.parametrize("name", NETS)
def test_networks_are_equal_and_follow_their_float_selves(name: str, seed: int) -> None:
    torch.manual_seed(seed)
    options, shape = NETS[name]
    model = build(name, **options).eval()
    x = torch.randn(4, *shape)
    prepared = post_training(model, x, QuantSpec(weight_terms=2, act_planes=3, act_scale="range"))
    check(prepared, (x,))
    want = model(x).detach()
    error = (prepared(x).detach() - want).norm() / want.norm()
    assert float(error) < 0.25
    check(post_training(model, x), (x,))
