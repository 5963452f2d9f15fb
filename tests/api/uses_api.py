"""A network from PyTorch to an accelerator, with nothing but the public interface."""

from pathlib import Path

import numpy as np
import torch
from torch import nn

import sigbit
from sigbit_hw.arch.isa import Exec


def network() -> nn.Module:
    """Return a small classifier."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 4 * 4, 3), nn.Softmax(1)
    ).eval()


def supported(model: nn.Module, arch: sigbit.ArchConfig) -> int:
    """Return the predicted cycles per image."""
    found = sigbit.check(sigbit.Network(model, ((1, 6, 6),)), arch)
    assert found.supported
    assert found.network is not None
    assert found.accelerator is not None
    operations = [operation.operation for operation in found.network.operations]
    assert operations == ["Conv2d 3x3", "Relu", "Flatten", "Linear"], operations
    return found.accelerator.cycles


def trained(model: nn.Module, arch: sigbit.ArchConfig) -> sigbit.IntegerModel:
    """Train the quantized network for a step and convert it."""
    inputs, targets = torch.rand(16, 1, 6, 6), torch.randint(3, (16,))
    prepared = sigbit.prepare(model, sigbit.QuantSpec.from_arch(arch), (inputs,))
    optimizer = torch.optim.SGD(prepared.parameters(), lr=0.01)
    torch.autograd.backward(nn.functional.cross_entropy(prepared(inputs), targets))
    optimizer.step()
    return sigbit.convert(prepared)


def quantized(model: nn.Module, folder: Path) -> sigbit.Program:
    """Quantize without training, on arrays."""
    samples = np.random.default_rng(0).random((24, 1, 6, 6), np.float32)
    result = sigbit.quantize(
        sigbit.Network(model, ((1, 6, 6),)),
        sigbit.Calibration(samples, images=16, test=8),
        folder / "quantized.sigbit",
        arch="nano",
        post=sigbit.PostTraining(equalize=True),
    )
    assert result.quality.images == 8
    assert result.program is not None
    return result.program


def executed(program: sigbit.Program, images: np.ndarray) -> np.ndarray:
    """Run ``images`` in both ways there are, which give the same codes."""
    session = sigbit.Session(program, sigbit.device("interp", program.config))
    codes = session.run(images, layers=True)
    done = sigbit.run(program, images, "interp", keep="layers")
    assert all((codes.layers[name] == layer).all() for name, layer in done.layers.items())
    (results,) = done.outputs.values()
    return results


def main(folder: Path) -> None:
    """Go through all of it; files are written to ``folder``."""
    arch = sigbit.PRESETS["nano"]
    model = network()
    assert supported(model, arch) > 0
    integer = trained(model, arch)
    program = sigbit.compile(integer, arch, vectors=2)
    program.save(folder / "net.sigbit")
    inspected = sigbit.inspect(folder / "net.sigbit", latency=10)
    assert inspected.program.digest == program.digest
    assert inspected.prediction is not None
    assert inspected.to_json()["cycles"] == inspected.prediction.cycles
    assert sum(inspected.instructions.values()) == len(program.listing)
    segments = [instr.n_seg for instr in program.listing if isinstance(instr, Exec)]
    assert inspected.layers[0].segments == segments[0]
    images = np.random.default_rng(1).random((3, 1, 6, 6), np.float32)
    results = executed(sigbit.load_program(folder / "net.sigbit"), images)
    assert np.allclose(results.sum(1), 1)
    assert quantized(network(), folder).config == arch
    exported = sigbit.export_model(integer, bundle=folder / "bundle.zip")
    assert exported.files[str(folder / "bundle.zip")] > 0
    digest = integer.save(folder / "net.sbm")
    loaded = sigbit.load_model(folder / "net.sbm")
    assert sigbit.save_model(loaded, folder / "again.sbm") == digest
    assert sigbit.compile(folder / "again.sbm", arch, vectors=2).digest == program.digest
    inputs = torch.from_numpy(images)
    assert torch.equal(sigbit.IntegerModel(loaded)(inputs), integer(inputs))
