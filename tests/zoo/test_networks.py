"""Every network: published parameter counts, shapes, export, options."""

import pytest
import torch

from sigbit import data, zoo
from sigbit.zoo.layers import same_padding
from sigbit.zoo.mobilenet_v2 import multiple_of_8
from sigbit.zoo.unet import UNet
from zoo.small import SMALL

PARAMETERS = {
    "alexnet": 61_100_840,
    "vgg11": 132_863_336,
    "vgg11_bn": 132_868_840,
    "resnet18": 11_689_512,
    "resnet34": 21_797_672,
    "resnet50": 25_557_032,
    "densenet121": 7_978_856,
    "squeezenet1_0": 1_248_424,
    "squeezenet1_0_caffe": 1_248_424,
    "mobilenet_v1": 4_231_976,
    "mobilenet_v1_050_160": 1_331_592,
    "mobilenet_v2": 3_504_872,
    "mobilenet_v2_tf": 3_504_872,
    "deit_tiny": 5_717_416,
    "deit_base": 86_567_656,
    "resnet20": 269_722,
    "resnet8": 77_946,
    "ds_cnn": 23_180,
}
"""As their authors, torchvision or MLPerf Tiny publish them."""


@pytest.mark.parametrize("name", zoo.names())
def test_full_size(name):
    entry = zoo.entry(name)
    with torch.device("meta"):
        network = zoo.build(name).eval()
        outputs = network(torch.zeros(2, *entry.input_shape))
    count = sum(p.numel() for p in network.parameters())
    assert count == PARAMETERS.get(name, count)
    assert entry.dataset in data.names()
    wanted = (1, *entry.input_shape[1:]) if name.startswith("unet") else (outputs.shape[1],)
    assert outputs.shape == (2, *wanted)


def test_counts_name_networks():
    assert set(PARAMETERS) <= set(zoo.names())
    assert set(SMALL) <= set(zoo.names())


@pytest.mark.parametrize("name", zoo.names())
def test_trains(name, rng):
    """Gradients reach every parameter. (tests/frontend exports all networks.)"""
    options, shape = SMALL.get(name, ({}, zoo.entry(name).input_shape))
    network = zoo.build(name, **options).eval()
    network(torch.randn(2, *shape)).square().sum().backward()
    assert all(p.grad is not None for p in network.parameters())


def test_unknown_names():
    with pytest.raises(zoo.ZooError, match="no network 'resnet19'; there are alexnet, "):
        zoo.build("resnet19")
    with pytest.raises(zoo.ZooError, match="resnet18 has no option widht; it has depth, classes"):
        zoo.build("resnet18", widht=2)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("resnet18", {"depth": 19}, r"depth must be one of \[18, 34, 50\], not 19"),
        ("resnet20", {"depth": 21}, "depth must be 6 n"),
        ("resnet20", {"width": 3}, "width must be even"),
        ("mobilenet_v1", {"width": 0}, "width must leave"),
        ("mobilenet_v2", {"width": -1}, "width must be positive"),
        ("mobilenet_v2", {"padding": "valid"}, "padding must be one of symmetric, same"),
        ("ds_cnn", {"padding": "valid"}, "padding must be one of symmetric, same"),
        ("unet", {"upsampling": "cubic"}, "upsampling must be one of transposed, nearest"),
        ("unet", {"depth": 0}, "depth must be at least 1"),
        ("vit_32", {"patch": 5}, "size must be a multiple of patch, 5, not 32"),
        ("deit_tiny", {"heads": 5}, "width must be a multiple of heads, 5, not 192"),
        ("lstm", {"cell": "rnn"}, "cell must be one of lstm, gru"),
    ],
)
def test_bad_options(name, options, message):
    with pytest.raises(zoo.ZooError, match=message):
        zoo.build(name, **options)


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "sides"),
    [(224, 3, 2, (0, 1)), (49, 10, 2, (4, 5)), (10, 4, 2, (1, 1)), (7, 3, 1, (1, 1)),
     (15, 3, 2, (1, 1)), (32, 1, 2, (0, 0)), (5, 4, 1, (1, 2))],
)  # fmt: skip
def test_same_padding(size, kernel, stride, sides):
    assert same_padding(size, kernel, stride) == sides


def test_same_and_symmetric_padding_differ_only_at_stride_2(rng):
    same = zoo.build("mobilenet_v2_tf", width=0.25, classes=5).eval()
    symmetric = zoo.build("mobilenet_v2", width=0.25, classes=5).eval()
    symmetric.load_state_dict(same.state_dict())
    stem_same, stem_symmetric = same.features[0], symmetric.features[0]
    odd, even = torch.randn(1, 3, 33, 33), torch.randn(1, 3, 32, 32)
    assert torch.allclose(stem_same(odd), stem_symmetric(odd), atol=1e-6)
    assert not torch.allclose(stem_same(even), stem_symmetric(even), atol=1e-3)
    turned = stem_symmetric[0].weight.flip(2, 3)
    stem_symmetric[0].weight.data = turned
    expected = stem_same(even).flip(2, 3)
    assert torch.allclose(stem_symmetric(even.flip(2, 3)), expected, atol=1e-6)


def test_shortcut_without_parameters():
    block = zoo.build("resnet20").eval().layer2[0]
    torch.nn.init.zeros_(block.conv2.weight)
    x = torch.rand(1, 16, 8, 8)
    y = block(x)
    assert torch.equal(y[:, 8:24], x[:, :, ::2, ::2])
    assert not y[:, :8].any()
    assert not y[:, 24:].any()


@pytest.mark.parametrize(("channels", "rounded"), [(8, 8), (3, 8), (11, 16), (12, 16), (33.6, 32)])
def test_multiple_of_8(channels, rounded):
    assert multiple_of_8(channels) == rounded


def test_unet_shapes():
    network = UNet(3, 5, width=2, depth=2, upsampling="nearest").eval()
    assert network(torch.zeros(1, 3, 12, 20)).shape == (1, 5, 12, 20)


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_recurrent_state_carries(cell, rng):
    network = zoo.build(cell, features=3, hidden=4, layers=2, classes=2).eval()
    x = torch.randn(1, 6, 3)
    changed = x.clone()
    changed[:, 0] += 1
    assert network(x).shape == (1, 2)
    assert not torch.equal(network(x), network(changed))
