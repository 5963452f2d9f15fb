"""Reconstruction: exact like any prepared model, better than rounding, the same after a cut."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from quant.graphs import GRAPHS, Builder
from quant.test_operations import check, inputs
from quant.test_post import separable
from quant.test_streaming import Chunks, graph_of, same, samples_of
from sigbit.data import load
from sigbit.frontend import import_model
from sigbit.ir.floating import Conv2d, FloatGraph, Linear
from sigbit.quant import QuantizationError, QuantSpec
from sigbit.quant.numbers.grid import LevelGrid, quantize
from sigbit.quant.plan.plans import InputPlan
from sigbit.quant.post import Reconstruction, post_training, reconstruct
from sigbit.quant.post.reconstruction import learning
from sigbit.quant.post.reconstruction import reconstruct as module
from sigbit.quant.post.reconstruction.blocks import joined, singles
from sigbit.quant.post.reconstruction.judge import Score
from sigbit.quant.post.reconstruction.ranges import equalize_activations
from sigbit.quant.post.reconstruction.rounding import compensated
from sigbit.quant.post.reconstruction.walk import BlockSite
from sigbit.quant.prepare import prepare
from sigbit.quant.prepared import PreparedModel

SPEC = QuantSpec(weight_scale="mse", act_scale="mse")
QUICK = Reconstruction(steps=4, judge=False)
GRIDS = (LevelGrid.uniform(-7, 7), LevelGrid((0, 1, 2, 3, 4, 6, 8, 12), True))


def residual(seed: int) -> FloatGraph:
    """A stem, two residual blocks, depthwise and dense layers, a classifier."""
    b = Builder(seed)
    x = b.relu(b.norm(b.conv(b.input(3, 8, 8), 8)))
    for _ in range(2):
        y = b.norm(b.conv(b.relu(b.norm(b.conv(x, 8))), 8))
        x = b.relu(b.plus(y, x))
    x = b.relu(b.conv(x, 8, groups=8), 6.0)
    x = b.relu(b.conv(x, 12, (1, 1), padding=(0, 0, 0, 0)))
    x = b.average(x, (8, 8), (1, 1), 64)
    return b.graph(b.linear(b.flatten(x), 5, bias=b.parameter(5)))


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("groups", [1, 3])
def test_compensation_lowers_the_error_of_the_results(
    grid: LevelGrid, groups: int, seed: int
) -> None:
    random = torch.Generator().manual_seed(seed)
    n, out = 12, 6
    mix = torch.randn(groups, n, n, generator=random, dtype=torch.float64)
    x = mix @ torch.randn(groups, n, 400, generator=random, dtype=torch.float64)
    covariance = x @ x.transpose(1, 2) / 400
    real = torch.randn(out, n, generator=random, dtype=torch.float64)
    scale = real.abs().amax(1) / grid.max
    found = compensated(real, scale, grid, covariance)
    assert set(found.unique().tolist()) <= set(grid.values)

    def error(integers: Tensor) -> float:
        wide = (integers * scale[:, None] - real).view(groups, -1, n)
        return float((wide @ x).square().mean())

    assert error(found) < 0.8 * error(quantize(real, scale, grid))


@pytest.mark.parametrize("constant", [1, 3, 12])
def test_inputs_that_never_change_do_no_harm(constant: int, seed: int) -> None:
    """Their covariance is singular."""
    random = torch.Generator().manual_seed(seed)
    x = torch.randn(1, 12, 50, generator=random, dtype=torch.float64)
    x[:, :constant] = 0
    real = torch.randn(4, 12, generator=random, dtype=torch.float64)
    scale = torch.full((4,), 0.2, dtype=torch.float64)
    found = compensated(real, scale, GRIDS[0], x @ x.transpose(1, 2) / 50)
    assert bool(torch.isfinite(found).all())
    assert torch.equal(found[:, :constant], quantize(real, scale, GRIDS[0])[:, :constant])


def test_inputs_without_correlation_are_rounded_to_the_nearest(seed: int) -> None:
    random = torch.Generator().manual_seed(seed)
    real = torch.randn(4, 9, generator=random, dtype=torch.float64)
    scale = torch.full((4,), 0.2, dtype=torch.float64)
    diagonal = torch.diag(torch.rand(9, generator=random, dtype=torch.float64) + 0.1)[None]
    assert torch.equal(
        compensated(real, scale, GRIDS[1], diagonal), quantize(real, scale, GRIDS[1])
    )


@pytest.mark.parametrize("cut", [singles, joined])
@pytest.mark.parametrize("name", [*GRAPHS, "residual"])
def test_blocks_are_the_network(name: str, cut: object, seed: int) -> None:
    graph = residual(seed) if name == "residual" else GRAPHS[name](seed)
    plan = prepare(graph, SPEC, inputs(graph)).plan
    blocks = cut(plan)  # type: ignore[operator]
    inside = [p.name for b in blocks for p in b.plans]
    known = [p.name for p in plan.layers if isinstance(p, InputPlan)]
    assert inside == [p.name for p in plan.layers if p.name not in known]
    available = set(known)
    for block in blocks:
        assert available.issuperset(block.reads)
        available |= set(block.gives)
    assert available.issuperset(name for name, _ in plan.outputs)


def test_blocks_end_where_one_tensor_leads_on(seed: int) -> None:
    plan = prepare(residual(seed), SPEC, inputs(residual(seed))).plan
    blocks = joined(plan)
    counts = [sum(p.sources[0].trained for p in b.layers) for b in blocks]
    assert counts == [3, 2, 2, 1]
    assert all(len(b.gives) == 1 for b in blocks)


@pytest.mark.network
@pytest.mark.parametrize("name", [*GRAPHS, "residual"])
def test_the_result_is_exact(name: str, seed: int) -> None:
    torch.manual_seed(seed)
    graph = residual(seed) if name == "residual" else GRAPHS[name](seed)
    x = inputs(graph, 24)
    before = {k: v.clone() for k, v in graph.parameters.items()}
    found = reconstruct(graph, x, SPEC, QUICK)
    assert [a.name for a in found.attempts][-2:] == ["compensated", "learned"]
    assert all(a.kept for a in found.attempts)
    check(found.prepared, tuple(torch.cat([v, 2 * torch.randn_like(v)]) for v in x))
    assert all(torch.equal(before[k], v) for k, v in graph.parameters.items())


def error(prepared: PreparedModel, graph: FloatGraph, x: tuple[Tensor, ...]) -> float:
    """Of the outputs, relative to how they vary."""
    wanted = graph.evaluate({graph.inputs[0].name: x[0]})[graph.outputs[0]]
    with torch.no_grad():
        got = prepared(*x)
    return float((got - wanted).square().mean() / wanted.var(0).mean())


@pytest.fixture(scope="module")
def digits() -> tuple[FloatGraph, Tensor, Tensor]:
    """A small trained network, and samples to calibrate and to test with."""
    train, test = (load("digits", split) for split in ("train", "test"))
    x, unseen = (torch.from_numpy(d.inputs).float().view(-1, 1, 8, 8) / 16 for d in (train, test))
    y = torch.from_numpy(train.labels).long()
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 12, 3, padding=1), nn.ReLU(),
        nn.Conv2d(12, 12, 3, padding=1, groups=12), nn.ReLU(), nn.Conv2d(12, 24, 1), nn.ReLU(),
        nn.Conv2d(24, 24, 3, padding=1), nn.ReLU(), nn.AvgPool2d(8), nn.Flatten(),
        nn.Linear(24, 10),
    )  # fmt: skip
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    for _ in range(150):
        chosen = torch.randint(len(x), (64,))
        optimizer.zero_grad()
        F.cross_entropy(model(x[chosen]), y[chosen]).backward()
        optimizer.step()
    return import_model(model.eval(), (x[:2],)), x[:160], unseen


@pytest.mark.network
def test_every_step_helps(digits: tuple[FloatGraph, Tensor, Tensor]) -> None:
    graph, x, unseen = digits
    spec = replace(SPEC, first_last_terms=1, wide_head=False)
    errors = [error(post_training(graph, x[:120], spec), graph, (unseen,))]
    for settings in (
        Reconstruction(learn=False, judge=False),
        Reconstruction(steps=40, judge=False),
        Reconstruction(steps=40),
    ):
        errors.append(error(reconstruct(graph, x, spec, settings).prepared, graph, (unseen,)))
    assert all(e < 0.8 * errors[0] for e in errors[1:]), errors


@pytest.mark.network
def test_learning_lowers_the_error_of_the_blocks(
    digits: tuple[FloatGraph, Tensor, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On all samples, from plain rounding: no block gets worse, and some get better, whatever the
    float network."""
    graph, x, _ = digits
    spec = replace(SPEC, first_last_terms=1, wide_head=False)
    learn = learning.BlockLearning.block
    losses = []

    def watched(step: learning.BlockLearning, site: BlockSite) -> None:
        before = learning._loss_of_all(site, 16)
        learn(step, site)
        losses.append((before, learning._loss_of_all(site, 16)))

    monkeypatch.setattr(learning.BlockLearning, "block", watched)
    reconstruct(graph, x, spec, Reconstruction(False, False, True, judge=False))
    assert all(after <= before * (1 + 1e-6) for before, after in losses), losses
    assert any(after < before for before, after in losses), losses


@pytest.mark.parametrize("limit", [None, 6.0])
def test_equalized_activations_use_their_levels(limit: float | None, seed: int) -> None:
    torch.manual_seed(seed)
    graph = separable(seed, limit)
    x = inputs(graph, 32)
    prepared = prepare(graph, SPEC, x)
    found = equalize_activations(graph, prepared, Chunks(x, (5,)))
    assert found is not None
    nodes = [n for n in graph.nodes if isinstance(n, Conv2d | Linear)]
    first = found.divisors[nodes[0].name]
    peaks = graph.evaluate({graph.inputs[0].name: x[0]})[nodes[0].name].amax((0, 2, 3))
    alive = peaks > 0
    assert float((peaks / first)[alive].log2().std()) < 0.6 * float(peaks[alive].log2().std())
    if limit is None:  # nothing is clipped in the float network
        equal = found.graph.evaluate({graph.inputs[0].name: x[0]})[graph.outputs[0]]
        plain = graph.evaluate({graph.inputs[0].name: x[0]})[graph.outputs[0]]
        assert torch.allclose(equal, plain)
    errors = [
        error(reconstruct(graph, x, SPEC, settings).prepared, graph, x)
        for settings in (
            Reconstruction(equalize=False, compensate=False, learn=False, judge=False),
            Reconstruction(compensate=False, learn=False, judge=False),
        )
    ]
    assert errors[1] < errors[0]


class _Cut(Exception):
    pass


@pytest.mark.network
@pytest.mark.parametrize("when", [1, 4, 9])
def test_it_goes_on_where_it_was_cut_off(when: int, seed: int, tmp_path: Path) -> None:
    torch.manual_seed(seed)
    graph = residual(seed)
    graph.parameters.update({k: v.float() for k, v in graph.parameters.items()})
    x = samples_of(graph, 24)
    whole = reconstruct(graph, x, SPEC, QUICK)
    calls = 0

    def cutting(what: str, done: int, of: int) -> None:
        nonlocal calls
        calls += done > 0
        if calls == when:
            raise _Cut

    with pytest.raises(_Cut):
        reconstruct(graph, x, SPEC, QUICK, tell=cutting, work=tmp_path)
    rest = 0

    def counting(what: str, done: int, of: int) -> None:
        nonlocal rest
        rest += done > 0

    again = reconstruct(graph, Chunks(x, (7,)), SPEC, QUICK, tell=counting, work=tmp_path)
    same(whole.prepared, again.prepared)
    assert whole.attempts == again.attempts
    assert not list(tmp_path.iterdir())


@pytest.mark.network
def test_other_samples_or_settings_begin_anew(seed: int, tmp_path: Path) -> None:
    torch.manual_seed(seed)
    graph = graph_of("dense block", seed)
    x = samples_of(graph, 12)

    def cut(what: str, done: int, of: int) -> None:
        if what.endswith("learned") and done:
            raise _Cut

    others = [(x, QUICK), (samples_of(graph, 12), QUICK), (x, Reconstruction(steps=5))]
    for samples, settings in others:
        with pytest.raises(_Cut):
            reconstruct(graph, samples, SPEC, settings, tell=cut, work=tmp_path)
    assert len(list(tmp_path.iterdir())) == 3


@given(st.data())
def test_a_score_beats_another_beyond_chance_only(data: st.DataObject) -> None:
    bits = st.lists(st.sampled_from([0.0, 1.0]), min_size=8, max_size=8)
    a, b = (Score(tuple(data.draw(bits)), (), data.draw(st.floats(0, 1))) for _ in range(2))
    assert not (a.beats(b) and b.beats(a))
    gained = sum(x > y for x, y in zip(a.same, b.same, strict=True))
    lost = sum(x < y for x, y in zip(a.same, b.same, strict=True))
    if (gained - lost) ** 2 > 4 * (gained + lost):
        assert a.beats(b) == (gained > lost)
    else:
        assert a.beats(b) == (a.error < b.error)


def test_what_does_not_help_is_not_kept(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A planted step that spoils the network."""

    class Spoiling(module.ErrorCompensation):
        def layer(self, site: object) -> None:
            model = site.walk.prepared  # type: ignore[attr-defined]
            with torch.no_grad():
                for p in model.parameters():
                    p.mul_(-1)

    torch.manual_seed(seed)
    graph = residual(seed)
    x = inputs(graph, 32)
    monkeypatch.setattr(module, "ErrorCompensation", Spoiling)
    settings = Reconstruction(equalize=False, learn=False)
    found = reconstruct(graph, x, SPEC, settings)
    assert [(a.name, a.kept) for a in found.attempts] == [("rounded", True), ("compensated", False)]
    plain = reconstruct(graph, x, SPEC, Reconstruction(False, False, False))
    same(found.prepared, plain.prepared)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"steps": 0}, "at least 1, not 0"),
        ({"drop": 1.5}, r"in \[0, 1\], not 1.5"),
        ({"held_out": 0.0}, "between 0 and 1, not 0.0"),
    ],
)
def test_wrong_settings(values: dict[str, float], message: str) -> None:
    with pytest.raises(QuantizationError, match=message):
        Reconstruction(**values)  # type: ignore[arg-type]


def test_a_single_sample_is_too_few(seed: int) -> None:
    graph = residual(seed)
    with pytest.raises(QuantizationError, match="at least 2 samples"):
        reconstruct(graph, inputs(graph, 1), SPEC, QUICK)
