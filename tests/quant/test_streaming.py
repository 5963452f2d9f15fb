"""Calibration in chunks: the same bits however the samples are read, in memory that does not grow
with their number."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from quant.graphs import GRAPHS
from quant.test_operations import check
from sigbit.ir.floating import FloatGraph
from sigbit.quant import PreparedModel, QuantizationError, QuantSpec, prepare
from sigbit.quant.calibration import statistics
from sigbit.quant.calibration.samples import MICRO_BATCH, InMemory, Part, micro_batches
from sigbit.quant.calibration.statistics import observe
from sigbit.quant.post import post_training
from sigbit.quant.post.mixed import Goal, mixed_precision
from sigbit.quant.post.reconstruction import store


@dataclass
class Chunks:
    """Samples in chunks of given sizes, over and over; counts what is held at a time."""

    inputs: tuple[Tensor, ...]
    sizes: tuple[int, ...]
    largest: int = field(default=0, init=False)

    def __len__(self) -> int:
        return len(self.inputs[0])

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        first, turn = 0, 0
        while first < len(self):
            last = first + self.sizes[turn % len(self.sizes)]
            self.largest = max(self.largest, last - first)
            yield tuple(x[first:last] for x in self.inputs)
            first, turn = last, turn + 1


def graph_of(name: str, seed: int) -> FloatGraph:
    """In float32, where sums depend on their order."""
    graph = GRAPHS[name](seed)
    graph.parameters.update({k: v.float() for k, v in graph.parameters.items()})
    return graph


def samples_of(graph: FloatGraph, count: int) -> tuple[Tensor, ...]:
    return tuple(torch.randn(count, *n.shape) for n in graph.inputs)


def state(prepared: PreparedModel) -> dict[str, Tensor]:
    return prepared.state_dict()


def same(a: PreparedModel, b: PreparedModel) -> None:
    one, other = state(a), state(b)
    assert one.keys() == other.keys()
    assert all(torch.equal(one[k], other[k]) for k in one)


@given(
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=4),
    count=st.integers(1, 50),
    first=st.integers(0, 20),
    last=st.integers(21, 60),
)
def test_micro_batches_are_the_same_for_any_chunks(
    sizes: list[int], count: int, first: int, last: int
) -> None:
    x = torch.arange(count, dtype=torch.float32)[:, None]
    wanted = x[first:last].split(MICRO_BATCH)
    chunks = Part(Chunks((x,), tuple(sizes)), first, last)
    assert len(chunks) == len(x[first:last])
    found = [batch[0] for batch in micro_batches(chunks)] if len(chunks) else []
    assert len(found) == (len(wanted) if len(chunks) else 0)
    assert all(torch.equal(a, b) for a, b in zip(found, wanted, strict=False))


@pytest.mark.network
@pytest.mark.parametrize("name", GRAPHS)
def test_any_chunks_give_the_same_bits(name: str, seed: int) -> None:
    torch.manual_seed(seed)
    graph = graph_of(name, seed)
    x = samples_of(graph, 35)
    whole = post_training(graph, x, equalize=True, activation_aware=True)
    for sizes in ((1,), (32,), (35,), (3, 17)):
        read = post_training(graph, Chunks(x, sizes), equalize=True, activation_aware=True)
        same(whole, read)
    check(whole.double(), tuple(v.double() for v in x))


@pytest.mark.network
def test_prepare_and_sensitivities_do_not_depend_on_chunks() -> None:
    torch.manual_seed(0)
    graph = graph_of("dense block", 0)
    x = samples_of(graph, 20)
    spec = QuantSpec(weight_scale="mse", act_scale="percentile")
    whole = prepare(graph, spec, x)
    found = mixed_precision(graph, spec, x, (1, 2), (1, 3), Goal(cost=1e9))
    for sizes in ((1,), (30,), (3, 17, 2)):
        chunks = Chunks(x, sizes)
        same(whole, prepare(graph, spec, x, chunks))
        assert mixed_precision(graph, spec, chunks, (1, 2), (1, 3), Goal(cost=1e9)) == found


def test_large_tensors_in_files_change_nothing(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(seed)
    graph = graph_of("mixture", seed)
    x = samples_of(graph, 20)
    inside = post_training(graph, x)
    monkeypatch.setattr(store, "ROOM", 1)
    same(inside, post_training(graph, x))


def test_what_is_kept_has_a_fixed_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistics, "KEPT", 1 << 10)
    torch.manual_seed(0)
    graph = graph_of("dense block", 0)
    sizes, x = [], samples_of(graph, 64)
    for count in (16, 32, 64):
        found = observe(graph, tuple(v[:count] for v in x))
        sizes.append({k: len(s.values) for k, s in found.results.items()})
    most = (1 << 10) + 2
    assert all(n <= most for of in sizes for n in of.values())
    assert sum(n == most for n in sizes[2].values()) > 10


def test_a_sample_of_the_values_is_like_all_of_them() -> None:
    torch.manual_seed(0)
    graph = graph_of("dense block", 0)
    x = samples_of(graph, 64)
    whole = observe(graph, x)
    before = statistics.KEPT
    try:
        statistics.KEPT = 1 << 11
        part = observe(graph, x)
    finally:
        statistics.KEPT = before
    for name, spread in whole.results.items():
        some = part.results[name]
        assert (some.low, some.high) == (spread.low, spread.high)
        assert (float(some.values.min()), float(some.values.max())) == (some.low, some.high)
        for of in (Tensor.mean, Tensor.std):
            error = abs(float(of(some.values)) - float(of(spread.values)))
            assert error < 0.1 * float(spread.values.std()), name


def test_no_samples_are_refused() -> None:
    graph = graph_of("dense block", 0)
    with pytest.raises(QuantizationError, match="no samples"):
        observe(graph, InMemory(samples_of(graph, 0)))
