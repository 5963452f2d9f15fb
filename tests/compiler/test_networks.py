"""The compiler's first level: a Network computes what its IntegerGraph does, whatever is in it."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from compiler.levels import parameters
from compiler.networks import check
from examples import examples
from sigbit.compiler.fit.bands import band
from sigbit.compiler.fit.fit import fit, verify_fitted
from sigbit.compiler.fit.separate import separate, verify_separated
from sigbit.compiler.legalize.legalize import legalize
from sigbit.compiler.network import verify_network
from sigbit.compiler.place.layout import lay_out
from sigbit.compiler.place.memory import place, verify_placed
from sigbit.ir.integer import (
    Conv,
    Gather,
    Input,
    IntegerGraph,
    MaxPool,
    Node,
    Source,
    TensorType,
    window,
)
from sigbit_hw.arch.config import PRESETS, ArchConfig

NANO = PRESETS["nano"]


class Draw:
    """Random graphs of every kind of node; tensors of one digit hold any of its values."""

    def __init__(self, rng: np.random.Generator, config: ArchConfig) -> None:
        self.rng, self.config = rng, config
        self.nodes: list[Node] = []
        self.kinds: dict[str, TensorType] = {}

    def add(self, node: Node) -> str:
        self.nodes.append(node)
        self.kinds[node.name] = node.type
        return node.name

    def pick(self, *items):
        return items[int(self.rng.integers(len(items)))]

    def input(self, shape: tuple[int, int, int], planes: int = 1) -> str:
        top = self.config.act_grid(planes).contiguous
        kind = TensorType(shape, planes, 0.5, self.pick(0, 0, 3, -2))
        return self.add(Input(f"in{len(self.nodes)}", kind, -top, top))

    def source(self, tensor: str, oc: int, kernel: tuple[int, int], **options) -> Source:
        groups = options.get("groups", 1)
        shape = (oc, self.kinds[tensor].shape[0] // groups, *kernel)
        return Source(tensor, self.rng.integers(-2, 3, shape), **options)

    def conv(self, *sources: Source, planes: int = 1) -> str:
        oc = sources[0].weights.shape[0]
        h, w = sources[0].window(self.kinds[sources[0].tensor].shape[1:])
        values = self.config.act_grid(planes).values
        table = self.rng.choice(values, 256)
        kind = TensorType((oc, h, w), planes, 0.25, -int(self.pick(0, *values[:8])))
        params = parameters(self.config, self.rng, oc, 5)
        name = f"conv{len(self.nodes)}"
        return self.add(Conv(name, sources, **params, table=table, type=kind))

    def pool(self, tensor: str, kernel, stride, padding) -> str:
        kind = self.kinds[tensor]
        size = window(kind.shape[1:], kernel, stride, padding)
        kind = replace(kind, shape=(kind.shape[0], *size))
        return self.add(MaxPool(f"pool{len(self.nodes)}", tensor, kernel, stride, padding, kind))

    def gather(self, tensors: list[str], channels: list[tuple[int, int]]) -> str:
        kind = self.kinds[tensors[0]]
        kind = replace(kind, shape=(len(channels), *kind.shape[1:]))
        return self.add(
            Gather(f"gather{len(self.nodes)}", tuple(tensors), np.array(channels), kind)
        )

    def graph(self, *outputs: str) -> IntegerGraph:
        c = self.config
        return IntegerGraph(
            "net", c.weight_format, c.act_format, c.term_radix_bits, tuple(self.nodes), outputs
        )

    def layer(self, tensor: str) -> str:
        """One random layer on ``tensor``."""
        c, h, w = self.kinds[tensor].shape
        kind = self.pick(
            "conv", "strided", "sum", "groups", "up", "pool", "split", "cat", "shuffle"
        )
        planes = self.pick(1, 1, 2, 3)
        oc = int(self.pick(3, 4, 8, 12))
        if kind == "pool" and self.kinds[tensor].planes == 1:
            k = self.pick(1, 2, 3), self.pick(1, 2, 3)
            k = min(k[0], h), min(k[1], w)
            pad = tuple(int(self.rng.integers(0, n)) for n in k * 2)
            return self.pool(tensor, k, (self.pick(1, 2), self.pick(1, 2)), pad)
        if kind == "strided":
            k = self.pick(1, 2, 3), self.pick(1, 3, 5)
            pad = (k[0] - 1, int(self.rng.integers(-1, 2)), k[0], k[1])
            stride = self.pick(1, 2, 3), self.pick(1, 2, 3)
            dilation = (self.pick(1, 2), 1) if k[0] == 2 else (1, 1)
            s = self.source(tensor, oc, k, stride=stride, padding=pad, dilation=dilation)
            if min(s.window((h, w))) > 0:
                return self.conv(s, planes=planes)
        if kind == "sum":
            a = self.source(tensor, c, (3, 3), padding=(1, 1, 1, 1))
            return self.conv(a, self.source(tensor, c, (1, 1), groups=c), planes=planes)
        if kind == "groups":
            g = self.pick(*(n for n in range(1, c + 1) if c % n == 0))
            s = self.source(tensor, g * self.pick(1, 2, 4), (3, 1), padding=(1, 0, 1, 0), groups=g)
            return self.conv(s, planes=planes)
        if kind == "up" and h * w < 40:
            up = self.pick(1, 2, 3), self.pick(1, 2)
            k = self.pick(1, 2, 3), self.pick(1, 2, 4)
            pad = tuple(int(self.rng.integers(-1, n + 2)) for n in k * 2)
            s = self.source(
                tensor, oc, k, padding=pad, upsampling=up, dilation=(self.pick(1, 2), 1)
            )
            size = s.window((h, w))
            if min(size) > 0:
                extra = []
                if size == (h, w):
                    extra = [self.source(tensor, oc, (1, 1))]
                return self.conv(s, *extra, planes=planes)
        if kind == "split":
            a = int(self.rng.integers(0, c))
            b = int(self.rng.integers(a + 1, c + 1))
            if self.rng.random() < 0.5:
                a = a // 4 * 4
            return self.gather([tensor], [(0, i) for i in range(a, b)])
        if kind in ("cat", "shuffle"):
            same = [t for t in self.kinds if self.joinable(t, tensor)]
            parts = [tensor, *(str(self.rng.choice(same)) for _ in range(self.pick(1, 2)))]
            parts = list(dict.fromkeys(parts))
            every = [(i, j) for i, t in enumerate(parts) for j in range(self.kinds[t].shape[0])]
            if kind == "shuffle":
                every = [every[int(i)] for i in self.rng.permutation(len(every))[:20]]
            usable = kind == "cat" or self.kinds[tensor].planes < 3
            if len(every) < 60 and usable:
                return self.gather(parts, every)
        k = min(3, h), min(3, w)
        return self.conv(self.source(tensor, oc, k, padding=(1, 1, 1, 1)), planes=planes)

    def joinable(self, a: str, b: str) -> bool:
        a, b = self.kinds[a], self.kinds[b]
        return (a.shape[1:], a.planes, a.zero, a.scale) == (b.shape[1:], b.planes, b.zero, b.scale)


def draw(seed: int, layers: int, config: ArchConfig = NANO) -> IntegerGraph:
    rng = np.random.default_rng(seed)
    d = Draw(rng, config)
    size = int(rng.integers(1, 12)), int(rng.integers(1, 12))
    last = d.input((int(rng.integers(1, 9)), *size), int(rng.integers(1, 4)))
    tensors = [last]
    for _ in range(layers):
        last = d.layer(str(rng.choice(tensors[-3:])))
        tensors.append(last)
    absorbed = any(isinstance(n, Gather) and n.type.planes == 3 for n in d.nodes)
    last = d.conv(d.source(last, 5, (1, 1))) if absorbed else last
    extra = {str(rng.choice(tensors))} if rng.random() < 0.3 and not absorbed else set()
    return d.graph(last, *(extra - {last}))


@settings(max_examples=examples(150), suppress_health_check=list(HealthCheck))
@example(seed=2192, layers=2, images=1)
@given(seed=st.integers(0, 1 << 20), layers=st.integers(1, 7), images=st.sampled_from([1, 1, 3]))
def test_networks_compute_their_graphs(seed: int, layers: int, images: int) -> None:
    graph = draw(seed, layers)
    network = legalize(graph, NANO, images)
    verify_network(network)
    network = separate(network, NANO)
    verify_network(network)
    verify_separated(network)
    assert check(network, graph, NANO, seed) > 0


@settings(max_examples=examples(100), suppress_health_check=list(HealthCheck))
@given(
    seed=st.integers(0, 1 << 20),
    layers=st.integers(1, 6),
    images=st.sampled_from([1, 1, 2]),
    share=st.integers(0, 10),
    budget=st.sampled_from([1, 60, 400]),
)
def test_any_values_in_bands(seed: int, layers: int, images: int, share: int, budget: int) -> None:
    graph = draw(seed, layers)
    network = separate(legalize(graph, NANO, images), NANO)
    rng = np.random.default_rng(seed)
    names = {name for name in network.values if rng.random() < share / 10}
    banded = band(network, names, budget, NANO)
    verify_network(banded)
    verify_separated(banded)
    verify_fitted(banded, NANO)
    assert check(banded, graph, NANO, seed) > 0


def test_convolution_and_pooling_never_leave_the_chip(seed: int) -> None:
    """What does not fit is computed band by band, just before its pooling."""
    d = Draw(np.random.default_rng(seed), NANO)
    x = d.input((3, 32, 32), 3)
    for channels in (16, 24):
        x = d.conv(d.source(x, channels, (3, 3), padding=(1, 1, 1, 1)))
        x = d.pool(x, (2, 2), (2, 2), (0, 0, 0, 0))
    graph = d.graph(d.conv(d.source(x, 5, (8, 8))))
    network = fit(separate(legalize(graph, NANO), NANO), NANO)
    assert not [t for t in network.memory.values() if t.kind == "spill"]
    assert len(network.ops) > 8
    place(lay_out(network, NANO), NANO)
    check(network, graph, NANO, seed)


@pytest.mark.parametrize(("kernel", "rows"), [(1, [6]), (2, [12])])
def test_copies_for_strides_hold_the_rows_that_are_read(
    kernel: int, rows: list[int], seed: int
) -> None:
    """A shortcut with a stride of two reads every other row of a value that others read whole."""
    d = Draw(np.random.default_rng(seed), NANO)
    x = d.conv(d.source(d.input((3, 12, 12)), 8, (1, 1)))
    whole = d.conv(d.source(x, 8, (1, 1)))
    half = d.conv(d.source(x, 8, (kernel, kernel), stride=(2, 2)))
    graph = d.graph(whole, half)
    network = separate(legalize(graph, NANO), NANO)
    assert [op.region.rows for op in network.ops if op.kind == "copy"] == rows
    verify_separated(network)
    check(network, graph, NANO, seed)


@pytest.mark.parametrize("slots", [512, 1024, 2048])
def test_spilled_skips(slots: int, seed: int) -> None:
    """Two joined full-size tensors are too much: parts are spilled and read again in bands."""
    config = replace(NANO, name="tiny", act_slots=slots)
    d = Draw(np.random.default_rng(seed), config)
    same = (1, 1, 1, 1)
    x = d.conv(d.source(d.input((3, 24, 24), 2), 8, (3, 3), padding=same))
    y = d.pool(x, (2, 2), (2, 2), (0, 0, 0, 0))
    y = d.conv(d.source(y, 8, (2, 2), padding=same, upsampling=(2, 2)))
    kind = replace(d.kinds[y], zero=d.kinds[x].zero)
    d.nodes[-1], d.kinds[y] = replace(d.nodes[-1], type=kind), kind
    z = d.gather([y, x], [(i, j) for i in (0, 1) for j in range(8)])
    graph = d.graph(d.conv(d.source(z, 8, (3, 3), padding=same)))
    network = fit(separate(legalize(graph, config), config), config)
    verify_network(network)
    verify_separated(network)
    verify_fitted(network, config)
    assert [t for t in network.memory.values() if t.kind == "spill"]
    verify_placed(place(lay_out(network, config), config), config)
    check(network, graph, config, seed)
