"""Every number system end to end: random programs and a residual network give the same codes on
interpreter and RTL."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import nn

from sigbit.bench.number_systems.systems import SYSTEMS, System, accelerator, refusal
from sigbit.compiler import compile_graph
from sigbit.data.digits import load_digits
from sigbit.data.split import Split
from sigbit.quant import IntegerModel, QuantSpec, convert
from sigbit.quant.post import post_training
from sigbit.runtime import Device, compare
from sigbit.training import Schedule, train
from sigbit.zoo import DigitsResNet
from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.arch.formats import EsbFormat
from sigbit_sim.interp.device import Interp
from sigbit_sim.random_programs.program import random_inputs, random_program
from sigbit_sim.rtl.device import RtlDevice

SHAPE = {
    "pixels": 2,
    "oc_lanes": 8,
    "ic_lanes": 8,
    "post_lanes": 8,
    "act_slots": 4096,
    "bus_bits": 64,
    "ports": 1,
}
BUILT = {s.key: s for s in SYSTEMS if refusal(s, SHAPE["ic_lanes"]) is None}
SIMULATED = (
    pytest.param("w2a2-integer", marks=pytest.mark.long),
    pytest.param("w3a3-power-of-two", marks=pytest.mark.long),
    "w4a4-apot",
    "w8a8-integer",
)
"""Systems that also run in Verilator: lanes of two, three in four, four and eight bits; unsigned,
with gaps, with any levels, and products of significands."""
IMAGES = 2


def config(system: System) -> ArchConfig:
    """A small accelerator of ``system``."""
    return accelerator(system, **SHAPE)


@pytest.fixture(scope="module")
def digits() -> Split:
    return load_digits()


@pytest.fixture(scope="module")
def model(digits: Split) -> Iterator[nn.Module]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = DigitsResNet(8)
        train(model, digits.train_x, digits.train_y, Schedule(epochs=4, lr=4e-3))
        yield model.eval()


def quantized(model: nn.Module, digits: Split, system: System) -> IntegerModel:
    """The network without further training, scales of least squared error."""
    spec = QuantSpec.from_arch(
        config(system), weight_scale="mse", act_scale="mse", input_range=digits.input_range
    )
    return convert(post_training(model, digits.train_x[:128], spec))


def agree(device: Device, model: IntegerModel, arch: ArchConfig, x: torch.Tensor) -> int:
    """Codes of all layers compared; all are equal."""
    program = compile_graph(model.graph, arch)
    golden = {name: value.numpy() for name, value in model.levels(x).items()}
    (port,) = model.graph.inputs
    result = device.run(program, golden[port.name], layers=True)
    assert set(result.layers) == {layer.name for layer in program.layers}
    assert not compare(golden, result.layers)
    assert not compare(golden, result.outputs)
    return sum(value.size for value in result.layers.values())


def programs_agree(device: Device, arch: ArchConfig, rng: np.random.Generator, count: int) -> int:
    """Codes of ``count`` random programs compared with the interpreter's; all are equal."""
    compared = 0
    for _ in range(count):
        program = random_program(arch, rng)
        inputs = random_inputs(program, rng)
        wanted = Interp(arch, strict=True).run(program, inputs, layers=True)
        got = device.run(program, inputs, layers=True)
        for golden, found in ((wanted.layers, got.layers), (wanted.outputs, got.outputs)):
            assert set(golden) == set(found)
            assert not compare(golden, found)
        compared += sum(value.size for value in wanted.layers.values())
    return compared


def holds_bytes(system: System) -> bool:
    """Whether digits of the activations reach 8 bits."""
    return system.acts != EsbFormat(2, 0, False)


NETWORKS = [key for key, system in BUILT.items() if holds_bytes(system)]


@pytest.mark.parametrize("key", NETWORKS)
def test_a_network_on_the_interpreter(key: str, model: nn.Module, digits: Split) -> None:
    system = BUILT[key]
    integer = quantized(model, digits, system)
    assert (
        agree(Interp(config(system), strict=True), integer, config(system), digits.test_x[:IMAGES])
        > 1000
    )


@pytest.mark.sim
@pytest.mark.parametrize("key", SIMULATED)
def test_random_programs_and_a_network_in_rtl(
    key: str, model: nn.Module, digits: Split, rng: np.random.Generator
) -> None:
    arch = config(BUILT[key])
    device = RtlDevice(arch, quick=True)
    assert programs_agree(device, arch, rng, 6) > 1000
    integer = quantized(model, digits, BUILT[key])
    assert agree(device, integer, arch, digits.test_x[:1]) > 1000


def test_precision_follows_the_digits() -> None:
    """First layers: four planes of two bits, one of eight."""
    planes = {key: QuantSpec.from_arch(config(BUILT[key])).byte_planes for key in NETWORKS}
    assert planes["w2a2-integer"] == planes["w3a3-integer"] == 4
    assert planes["w4a4-integer"] == planes["w4a4-esb-k1-x-integer"] == 3
    assert planes["w4a8-integer"] == planes["w8a8-integer"] == 1
    terms = {key: QuantSpec.from_arch(config(BUILT[key])).byte_terms for key in NETWORKS}
    assert (terms["w3a3-integer"], terms["w4a4-esb-k1"], terms["w8a8-integer"]) == (3, 2, 1)
