"""Trained weights: those of the data folder in full, and files that do not fit."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from sigbit import data, zoo

REAL = [
    # network, file, data set, split, examples, least and most share of right answers
    ("mobilenet_v2_tf", "mobilenet_v2", "imagenet", "val", 40, 0.65, 0.92),
    ("mobilenet_v1_050_160", "mobilenet_v1_050_160", "imagenet", "val", 100, 0.52, 0.76),
    ("squeezenet1_0_caffe", "squeezenet1_0", "imagenet", "val", 40, 0.55, 0.85),
    ("resnet20", "resnet20_cifar10", "cifar10-jpeg", "test", 400, 0.75, 0.87),
    ("resnet8", "mlperf_tiny_resnet8", "cifar10-jpeg", "test", 400, 0.69, 0.82),
    ("ds_cnn", "mlperf_tiny_dscnn_kws", "keywords", "test", 1000, 0.913, 0.913),
]


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "file", "dataset", "split", "count", "least", "most"), REAL, ids=[r[0] for r in REAL]
)
def test_real_checkpoint(name, file, dataset, split, count, least, most, data_dir, data_path):
    network = zoo.build(name).eval()
    zoo.load_checkpoint(network, data_path(f"checkpoints/{file}.safetensors"))
    images = data.load(dataset, split, data_dir)
    chosen = np.linspace(0, len(images) - 1, count).astype(int)
    right = 0
    with torch.inference_mode():
        for inputs, labels in images.take(chosen).batches(20):
            logits = network(torch.from_numpy(zoo.entry(name).preprocessing(inputs)))
            right += int((logits.argmax(1).numpy() == labels).sum())
    assert least <= right / count <= most


@pytest.fixture
def network():
    return zoo.build("resnet8", width=2)


def test_round_trip(network, tmp_path):
    other = zoo.build("resnet8", width=2)
    save_file(network.state_dict(), tmp_path / "net.safetensors")
    zoo.load_checkpoint(other, tmp_path / "net.safetensors")
    for key, value in network.state_dict().items():
        assert torch.equal(other.state_dict()[key], value)


def test_training_script_file(network, tmp_path):
    tensors = {
        f"module.{key}": value
        for key, value in network.state_dict().items()
        if not key.endswith("num_batches_tracked")
    }
    torch.save({"state_dict": tensors, "epoch": 3}, tmp_path / "net.th")
    other = zoo.build("resnet8", width=2)
    zoo.load_checkpoint(other, tmp_path / "net.th")
    assert torch.equal(other.conv1.weight, network.conv1.weight)


def test_old_densenet_keys(tmp_path):
    options = {"growth": 4, "blocks": (1, 1)}
    network = zoo.build("densenet121", **options)
    old = {
        key.replace("norm1.", "norm.1.")
        .replace("conv1.", "conv.1.")
        .replace("norm2.", "norm.2.")
        .replace("conv2.", "conv.2."): value
        for key, value in network.state_dict().items()
    }
    assert set(old) != set(network.state_dict())
    torch.save(old, tmp_path / "net.pth")
    other = zoo.build("densenet121", **options)
    zoo.load_checkpoint(other, tmp_path / "net.pth")
    x = torch.rand(1, 3, 32, 32)
    assert torch.equal(network.eval()(x), other.eval()(x))


def test_differences_leave_the_network_alone(network, tmp_path):
    tensors = {key: value.clone() for key, value in network.state_dict().items()}
    tensors["head.weight"] = tensors.pop("linear.weight")
    tensors["linear.bias"] = torch.zeros(11)
    tensors["conv1.weight"] = torch.zeros_like(tensors["conv1.weight"])
    tensors["bn1.bias"][0] = float("nan")
    save_file(tensors, tmp_path / "net.safetensors")
    before = network.conv1.weight.clone()
    with pytest.raises(zoo.ZooError) as caught:
        zoo.load_checkpoint(network, tmp_path / "net.safetensors")
    message = str(caught.value)
    assert "does not fit TinyResNet8" in message
    assert "missing: linear.weight" in message
    assert "not in the network: head.weight" in message
    assert "linear.bias is [11], must be [10]" in message
    assert "not finite: bn1.bias" in message
    assert torch.equal(network.conv1.weight, before)


def test_long_lists_are_cut(network, tmp_path):
    save_file({"a": torch.zeros(1)}, tmp_path / "net.safetensors")
    with pytest.raises(zoo.ZooError, match=r"missing: .* and \d+ more"):
        zoo.load_checkpoint(network, tmp_path / "net.safetensors")


class _Code:
    def __reduce__(self):
        return (print, ("run",))


def test_unreadable_files(network, tmp_path, capsys):
    with pytest.raises(zoo.ZooError, match="there is no file"):
        zoo.load_checkpoint(network, tmp_path / "absent.safetensors")
    whole = tmp_path / "net.safetensors"
    save_file(network.state_dict(), whole)
    (tmp_path / "cut.safetensors").write_bytes(whole.read_bytes()[:-5])
    with pytest.raises(zoo.ZooError, match="not a safetensors file"):
        zoo.load_checkpoint(network, tmp_path / "cut.safetensors")
    (tmp_path / "net.pth").write_bytes(b"nothing")
    with pytest.raises(zoo.ZooError, match="not a PyTorch file"):
        zoo.load_checkpoint(network, tmp_path / "net.pth")
    torch.save({"conv1.weight": _Code()}, tmp_path / "code.pth")
    with pytest.raises(zoo.ZooError, match="not a PyTorch file of tensors only"):
        zoo.load_checkpoint(network, tmp_path / "code.pth")
    assert "run" not in capsys.readouterr().out
    torch.save([1], tmp_path / "list.pth")
    with pytest.raises(zoo.ZooError, match="holds no state_dict"):
        zoo.load_checkpoint(network, tmp_path / "list.pth")
    (tmp_path / "net.onnx").write_bytes(b"")
    with pytest.raises(zoo.ZooError, match="must end in"):
        zoo.load_checkpoint(network, tmp_path / "net.onnx")
    assert len(load_file(whole)) == len(network.state_dict())
