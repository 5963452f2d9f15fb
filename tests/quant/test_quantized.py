"""Networks of quantized layers keep every code: integers, batch norms, ranges, rounding, bipolar
levels, requantized copies."""

import re
from dataclasses import replace

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from examples import examples
from sigbit.frontend.onnx.explicit import explicit
from sigbit.ir.annotation import QuantAnnotation
from sigbit.ir.floating import (
    Add,
    AvgPool2d,
    BatchNorm,
    Concat,
    Conv2d,
    ConvTranspose2d,
    FloatGraph,
    MaxPool2d,
    Node,
    Placeholder,
    Relu,
    Unary,
)
from sigbit.quant import QuantSpec, convert, prepare
from sigbit.quant.post import post_training

ROUNDINGS = ("ROUND", "FLOOR", "CEIL")


def annotation(scale: float, bits: int, signed: bool = True, **more: object) -> QuantAnnotation:
    zero = torch.tensor([float(more.pop("zero", 0))], dtype=torch.float64)
    return QuantAnnotation(torch.tensor([scale], dtype=torch.float64), zero, bits, signed, **more)


class Net:
    """A float graph in the making, on images [4, 8, 8] of 8 bits, with values in float64."""

    def __init__(self, seed: int) -> None:
        self.random = torch.Generator().manual_seed(seed)
        self.nodes: list[Node] = [Placeholder(name="x", shape=(4, 8, 8))]
        self.parameters: dict[str, torch.Tensor] = {}
        self.quantizers: dict[str, object] = {"x": annotation(1 / 64, 8)}
        self.weights: dict[str, QuantAnnotation] = {}

    def uniform(self, *shape: int) -> torch.Tensor:
        return torch.rand(*shape, generator=self.random, dtype=torch.float64)

    def add(self, kind: type[Node], name: str, *inputs: str, quantizer: object = None, **more):
        self.nodes.append(kind(name=name, inputs=inputs, **more))
        if quantizer is not None:
            self.quantizers[name] = quantizer

    def weight(self, name: str, shape: tuple[int, ...], bits: int, channels: int | None) -> None:
        most = 2 ** (bits - 1) - 1 if bits > 1 else 1
        levels = torch.randint(-most, most + 1, shape, generator=self.random).double()
        levels = torch.where(levels < 0, -1.0, 1.0) if bits == 1 else levels
        wide = [shape[i] if i == channels else 1 for i in range(4)]
        scale = self.uniform(*(wide if channels is not None else [1] * 4)) * 0.05 + 0.01
        self.parameters[name] = levels * scale
        self.weights[name] = QuantAnnotation(scale, torch.zeros(1), bits, True)

    def conv(self, name: str, tensor: str, out: int, bits: int, channel: bool = True) -> None:
        shape = next(n.shape for n in self.nodes if n.name == tensor)
        self.weight(f"{name}.w", (out, shape[0], 3, 3), bits, 0 if channel else None)
        sides = {"stride": (1, 1), "padding": (1, 1, 1, 1), "bias": None, "weight": f"{name}.w"}
        self.add(Conv2d, name, tensor, shape=(out, *shape[1:]), **sides)

    def norm(self, name: str, tensor: str, **more: object) -> None:
        """A batch norm with positive, negative and vanishing factors."""
        shape = next(n.shape for n in self.nodes if n.name == tensor)
        names = [f"{name}.{k}" for k in ("weight", "bias", "mean", "var")]
        factor = self.uniform(shape[0]) * 2 - 1
        factor = factor + 0.2 * factor.sign()  # steps of accumulators stay what a step can be
        factor[0] = 0
        values = factor, self.uniform(shape[0]) - 0.5, self.uniform(shape[0]) - 0.5
        for key, value in zip(names, (*values, self.uniform(shape[0]) + 0.1), strict=True):
            self.parameters[key] = value
        fields = dict(zip(("weight", "bias", "mean", "var"), names, strict=True))
        self.add(BatchNorm, name, tensor, shape=shape, eps=1e-5, **fields, **more)

    def graph(self, *outputs: str) -> FloatGraph:
        return FloatGraph(
            "net", tuple(self.nodes), self.parameters, outputs, self.quantizers,
            parameter_quantizers=self.weights,
        )  # fmt: skip

    def batch(self) -> torch.Tensor:
        return self.uniform(4, 4, 8, 8) * 4 - 2


def same(graph: FloatGraph, x: torch.Tensor, *, wanted: int, spec: QuantSpec | None = None) -> None:
    """At least ``wanted`` tensors have the codes that the graph has in float64."""
    prepared = post_training(graph, x, spec or QuantSpec())
    assert prepared.inexact == {}
    assert all(e.off == e.most == 0 for e in prepared.exactness.values())
    model, values = convert(prepared), graph.evaluate({"x": x})
    compared = 0
    for name, stored in model.stored(x).items():
        if name in graph.quantizers:
            kind, quantizer = model.graph[name].type, graph.quantizers[name]
            scale = float(quantizer.scale)
            assert kind.scale == pytest.approx(scale, rel=1e-12)
            levels = (values[name] / scale).round().long()
            assert torch.equal(stored + kind.zero, levels.reshape(stored.shape)), name
            compared += 1
    assert compared >= wanted
    assert all(torch.equal(v, model.stored(x)[k]) for k, v in prepared.stored(x).items())


@st.composite
def quantizers(draw: st.DrawFn) -> QuantAnnotation:
    bits = draw(st.integers(1, 8))
    signed = draw(st.booleans())
    # Scales whose ratios are no simple fractions: float64 has no ties then.
    share = (1 + draw(st.integers(0, 10**6))) * 0.6180339887498949 % 1
    if bits == 1:
        return annotation(0.05 + 0.65 * share, 1, signed=signed)
    scale = (1 + 3 * share) / 2 ** (bits - signed)
    low = -(2 ** (bits - 1)) if signed else 0
    zero = draw(st.integers(low + 2, low + 2**bits - 3)) if bits > 2 else 0
    narrow, rounding = draw(st.booleans()), draw(st.sampled_from(ROUNDINGS))
    return annotation(scale, bits, signed, zero=zero, narrow=narrow, rounding=rounding)


@settings(max_examples=examples(25), deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 999),
    bits=st.tuples(st.integers(1, 8), st.integers(1, 8)),
    grids=st.tuples(quantizers(), quantizers(), quantizers()),
    channel=st.booleans(),
    relu=st.booleans(),
)
def test_networks_keep_their_codes(
    seed: int,
    bits: tuple[int, int],
    grids: tuple[QuantAnnotation, QuantAnnotation, QuantAnnotation],
    channel: bool,
    relu: bool,
) -> None:
    net = Net(seed)
    net.conv("a", "x", 6, bits[0], channel)
    net.norm("b", "a", quantizer=grids[0])
    net.conv("c", "b", 5, bits[1], channel)
    assume(len({float(g.scale) for g in grids}) == 3)
    own = grids[1] if grids[1].bits > 1 or not relu else annotation(0.3, 2, signed=False)
    if relu:
        net.norm("n", "c")
        net.add(Relu, "d", "n", shape=(5, 8, 8), limit=None, quantizer=own)
    else:
        net.norm("d", "c", quantizer=own)
    net.add(Unary, "e", "d", shape=(5, 8, 8), function="identity", parameters=(),
            quantizer=grids[2])  # fmt: skip
    same(net.graph("e"), net.batch(), wanted=4)


def test_a_two_bit_range_ends_where_it_ends() -> None:
    net = Net(1)
    net.conv("a", "x", 4, 4)
    net.add(Relu, "b", "a", shape=(4, 8, 8), limit=None, quantizer=annotation(0.25, 2, False))
    net.conv("c", "b", 4, 2)
    prepared = prepare(net.graph("c"), QuantSpec(), net.batch())
    found = {n.name: n.type for n in convert(prepared).graph.nodes}["b"]
    stored = convert(prepared).stored(net.batch())["b"]
    assert sorted({float(v) for v in (stored + found.zero).double().unique() * found.scale}) == [
        0.0, 0.25, 0.5, 0.75
    ]  # fmt: skip


def test_terms_and_planes_are_what_the_integers_take() -> None:
    net = Net(2)
    net.conv("a", "x", 4, 2)
    net.add(Relu, "b", "a", shape=(4, 8, 8), limit=None, quantizer=annotation(0.2, 3, False))
    net.conv("c", "b", 4, 4)
    net.norm("d", "c", quantizer=annotation(0.2, 4))
    net.conv("e", "d", 4, 8)
    net.norm("f", "e", quantizer=annotation(0.2, 8))
    prepared = prepare(net.graph("f"), QuantSpec(), net.batch())
    modules = [prepared.quant_module(n) for n in ("b", "d", "f")]
    assert [m.terms for m in modules] == [(1,), (2,), (3,)]
    assert [m.grid.planes for m in modules] == [1, 2, 3]


def test_bits_that_are_asked_for_go_first() -> None:
    net = Net(3)
    net.conv("a", "x", 4, 8)
    net.add(Relu, "b", "a", shape=(4, 8, 8), limit=None, quantizer=annotation(0.01, 8, False))
    net.conv("c", "b", 4, 8)
    graph, x = net.graph("c"), net.batch()
    asked = {
        "bits": replace(QuantSpec(), bits={"b": (1, 1)}),
        "weights": replace(QuantSpec(), given_weights=False, first_last_terms=1),
        "activations": replace(QuantSpec(), given_acts=False, wide_head=False),
        "methods": replace(QuantSpec(), act_bits=2, act_method="lsq", wide_head=False),
    }
    found = {k: prepare(graph, s, x).quant_module("b") for k, s in asked.items()}
    assert found["bits"].terms == (1,)
    assert found["weights"].terms == (1,)
    assert [found[k].grid.planes for k in asked] == [1, 3, 1, 1]
    assert found["weights"].given is None
    for spec in asked.values():
        convert(prepare(graph, spec, x))


def test_weights_of_too_many_digits_are_not_the_models() -> None:
    net = Net(3)
    net.weight("w", (6, 4, 1, 1), 14, 0)
    net.add(Conv2d, "a", "x", shape=(6, 8, 8), stride=(1, 1), padding=(0, 0, 0, 0), bias=None,
            weight="w")  # fmt: skip
    net.norm("b", "a", quantizer=annotation(30.3, 4))
    prepared = prepare(net.graph("b"), QuantSpec(), net.batch())
    found = "its integers, up to 7,[0-9]{3}, are not on the grid of its weights"
    assert re.fullmatch(found, prepared.inexact["b"])
    convert(prepared)


@pytest.mark.parametrize("limit", [None, 0.61, 100.0])
def test_a_limit_is_one_of_the_codes(limit: float | None) -> None:
    net = Net(4)
    net.conv("a", "x", 4, 4)
    net.add(Relu, "b", "a", shape=(4, 8, 8), limit=limit, quantizer=annotation(0.07, 4, False))
    same(net.graph("b"), net.batch(), wanted=2)


def test_transposed_convolutions() -> None:
    net = Net(5)
    net.weight("w", (4, 6, 2, 2), 4, 1)
    sides = {"stride": (2, 2), "crop": (0, 0, 0, 0), "bias": None, "weight": "w", "groups": 1}
    net.add(ConvTranspose2d, "a", "x", shape=(6, 16, 16), dilation=(1, 1), **sides,
            quantizer=annotation(0.1, 5))  # fmt: skip
    same(net.graph("a"), net.batch(), wanted=2)


def test_sums_of_one_scale_and_averages() -> None:
    net = Net(6)
    net.conv("a", "x", 4, 4)
    net.norm("b", "a", quantizer=annotation(0.0513, 8))
    net.add(Unary, "c", "x", shape=(4, 8, 8), function="identity", parameters=(),
            quantizer=annotation(0.0513, 8))  # fmt: skip
    net.add(Add, "d", "b", "c", shape=(4, 8, 8), quantizer=annotation(0.071, 8))
    net.add(Relu, "e", "d", shape=(4, 8, 8), limit=None, quantizer=annotation(0.3, 4, False))
    net.add(AvgPool2d, "f", "e", shape=(4, 2, 2), kernel=(3, 3), stride=(3, 3),
            padding=(0, 0, 0, 0), divisor=9, quantizer=annotation(0.3, 4, False))  # fmt: skip
    same(net.graph("f"), net.batch(), wanted=6)


def test_copies_are_quantized_by_copies() -> None:
    """Maxima and concatenations with a quantizer of their own, and an input that is cut off."""
    net = Net(7)
    net.quantizers["x"] = annotation(1 / 64, 8, rounding="FLOOR")
    net.conv("a", "x", 4, 4)
    net.norm("b", "a", quantizer=annotation(0.3, 4))
    net.conv("c", "x", 4, 4)
    net.norm("d", "c", quantizer=annotation(0.2, 4))
    net.add(Concat, "e", "b", "d", shape=(8, 8, 8), quantizer=annotation(0.25, 5))
    net.add(MaxPool2d, "f", "e", shape=(8, 4, 4), kernel=(2, 2), stride=(2, 2),
            padding=(0, 0, 0, 0), quantizer=annotation(0.5, 4))  # fmt: skip
    plain = net.graph("f", "e")
    graph = explicit(plain)
    x = (net.batch() * 63).round() / 64  # on the grid of the accelerator's input
    want, got = plain.results({"x": x}), graph.results({"x": x})
    assert all(torch.equal(a, b) for a, b in zip(want, got, strict=True))
    assert {"x.quantized", "b.quantized", "d.quantized", "f.quantized"} <= set(graph.quantizers)
    spec = replace(QuantSpec(), input_range=(-127 / 64, 127 / 64))
    same(graph, x, wanted=6, spec=spec)


def test_what_is_not_the_models_is_said() -> None:
    net = Net(8)
    net.conv("a", "x", 4, 4)
    net.norm("b", "a", quantizer=QuantAnnotation(net.uniform(4) + 0.1, torch.zeros(1), 4, True))
    net.conv("c", "x", 4, 4)
    net.norm("d", "c", quantizer=QuantAnnotation.floating(torch.ones(1), 4, 3, 7, 448.0, "ROUND"))
    net.conv("e", "x", 4, 4)
    net.add(Unary, "f", "e", shape=(4, 8, 8), function="sigmoid", parameters=(),
            quantizer=annotation(0.1, 4, False))  # fmt: skip
    net.conv("g", "x", 4, 4)
    net.norm("h", "g", quantizer=annotation(0.001, 12))
    prepared = prepare(net.graph("b", "d", "f", "h"), QuantSpec(), net.batch())
    assert prepared.inexact == {
        "b": "it has a scale or a zero point per channel",
        "d": "its largest floating-point number is 229,376 times the smallest; 255 are possible",
        "f": "it has the activation function sigmoid",
        "h": "it has 4,096 levels; 256 are possible",
    }
    assert not set(prepared.inexact) & set(prepared.exactness)


def test_what_is_changed_is_the_models_no_more() -> None:
    net = Net(9)
    net.conv("a", "x", 4, 4)
    net.norm("b", "a", quantizer=annotation(0.2, 4))
    x = net.batch()
    prepared = prepare(net.graph("b"), QuantSpec(), x).eval()
    assert set(prepared.exactness) == {"b"}
    with torch.no_grad():
        prepared.parameter_of("b.bias").add_(0.1)
    stored = convert(prepared).stored(x)
    assert prepared.exactness == {}
    assert torch.equal(stored["b"], prepared.stored(x)["b"])


@pytest.mark.parametrize("ratio", [2.0, 1 / 3, 513 / 377, 2**0.5, 3.14159265])
def test_sums_of_two_scales_are_compared_over_all_pairs(ratio: float) -> None:
    """Scales whose ratio is one of integer weights are exact; of others few pairs of codes are off
    by one."""
    net = Net(10)
    net.conv("a", "x", 4, 4)
    net.norm("b", "a", quantizer=annotation(0.0513, 8))
    net.conv("c", "x", 4, 4)
    net.norm("d", "c", quantizer=annotation(0.0513 * ratio, 8))
    net.add(Add, "e", "b", "d", shape=(4, 8, 8), quantizer=annotation(0.0819, 8))
    graph, x = net.graph("e"), net.batch()
    prepared = post_training(graph, x, QuantSpec())
    found = prepared.exactness["e"]
    assert prepared.inexact == {}
    assert found.accumulators >= 4 * 256 * 256 or ratio in (2.0, 1 / 3)
    assert found.most == (found.off > 0)
    assert found.off < found.accumulators / 1000
    assert found.off == 0 or ratio in (2**0.5, 3.14159265)
    model, values = convert(prepared), graph.evaluate({"x": x})
    got = model.stored(x)["e"] + model.graph["e"].type.zero
    gap = (got - (values["e"] / 0.0819).round()).abs()
    assert float(gap.max()) <= found.most
    assert float((gap > 0).double().mean()) < 0.01
