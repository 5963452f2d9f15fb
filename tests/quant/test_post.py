"""Post-training quantization: what must not change does not, and errors become smaller."""

import pytest
import torch
from torch import Tensor, nn

from quant.graphs import GRAPHS, Builder
from quant.test_operations import check, inputs
from sigbit.ir.floating import BatchNorm, Conv2d, FloatGraph, Relu
from sigbit.quant import QuantSpec
from sigbit.quant.numbers.grid import LevelGrid, dequantize, quantize
from sigbit.quant.numbers.scales import dda_scale, mse_scale, range_scale
from sigbit.quant.post import post_training
from sigbit.quant.post.equalization import equalize
from sigbit.quant.post.folding import fold_batch_norms

pytestmark = pytest.mark.network


def evaluated(graph: FloatGraph, x: tuple[Tensor, ...]) -> dict[str, Tensor]:
    return graph.evaluate(dict(zip((n.name for n in graph.inputs), x, strict=True)))


@pytest.mark.parametrize("name", GRAPHS)
def test_folding_keeps_the_outputs(name: str, seed: int) -> None:
    graph = GRAPHS[name](seed)
    folded = fold_batch_norms(graph)
    x = inputs(graph)
    before, after = evaluated(graph, x), evaluated(folded, x)
    assert all(torch.allclose(before[o], after[o], rtol=1e-10) for o in graph.outputs)
    norms = [sum(isinstance(n, BatchNorm) for n in g.nodes) for g in (graph, folded)]
    assert (norms[1] < norms[0]) == (norms[0] > 0)


def separable(seed: int, limit: float | None) -> FloatGraph:
    """Dense, depthwise, dense, with channels of very different size."""
    b = Builder(seed)
    x = b.conv(b.input(3, 8, 8), 8)
    x = b.conv(b.relu(x, limit), 8, groups=8)
    x = b.conv(b.relu(x, limit), 4, (1, 1), padding=(0, 0, 0, 0))
    graph = b.graph(x)
    first = next(n for n in graph.nodes if isinstance(n, Conv2d))
    sizes = torch.logspace(-2, 1, 8, dtype=torch.float64)
    b.parameters[first.weight] *= sizes.view(-1, 1, 1, 1)
    b.parameters[first.bias or ""] *= sizes
    return b.graph(x)


@pytest.mark.parametrize("limit", [None, 6.0])
def test_equalization_keeps_the_function_and_balances_ranges(
    limit: float | None, seed: int
) -> None:
    torch.manual_seed(seed)
    graph = separable(seed, limit)
    x = inputs(graph)
    values = evaluated(graph, x)
    equal = equalize(graph, x)
    assert torch.allclose(evaluated(equal, x)[graph.outputs[0]], values[graph.outputs[0]])
    ranges = []
    for g in (graph, equal):
        convolutions = [n for n in g.nodes if isinstance(n, Conv2d)]
        first, second = (g.parameters[n.weight] for n in convolutions[:2])
        ranges.append((first.flatten(1).abs().amax(1), second.flatten(1).abs().amax(1)))
    if limit is None:
        assert torch.allclose(ranges[1][0], ranges[1][1], rtol=0.02)
        assert float((ranges[0][0] / ranges[0][1]).log2().abs().max()) > 3
    elsewhere = graph.parameters
    assert all(torch.equal(elsewhere[k], v) for k, v in separable(seed, limit).parameters.items())


def test_bias_correction_restores_means(seed: int) -> None:
    torch.manual_seed(seed)
    graph = GRAPHS["mixture"](seed)
    x = inputs(graph, 32)
    output = graph.outputs[0]
    want = evaluated(graph, x)[output].mean((0, 2, 3))
    errors = []
    for correct in (False, True):
        spec = QuantSpec(weight_scale="mse", first_last_terms=1)
        got = post_training(graph, x, spec, correct_bias=correct)(*x)[0].detach()
        errors.append(float((got.mean((0, 2, 3)) - want).norm()))
    assert errors[1] < errors[0] / 4


@pytest.mark.parametrize("limit", [None, 6.0])
def test_means_behind_a_relu_are_restored_too(limit: float | None, seed: int) -> None:
    """Also of channels that are mostly below half a level, which would become 0."""
    torch.manual_seed(seed)
    graph = separable(seed, limit)
    x = inputs(graph, 32)
    wanted = evaluated(graph, x)
    spec = QuantSpec(weight_scale="mse", act_scale="mse", first_last_terms=1)
    errors = []
    for correct in (False, True):
        levels = post_training(graph, x, spec, correct_bias=correct).levels(*x)
        (relu, *_) = (n.name for n in graph.nodes if isinstance(n, Relu))
        got = levels[relu].levels.detach().mean((0, 2, 3))
        want = (wanted[relu] / levels[relu].scale).mean((0, 2, 3))
        errors.append((got - want).abs())
    assert float(errors[1].max()) < 0.03 < float(errors[0].max())


@pytest.mark.parametrize("equalized", [False, True])
@pytest.mark.parametrize("name", GRAPHS)
def test_the_result_is_a_prepared_model(name: str, equalized: bool, seed: int) -> None:
    torch.manual_seed(seed)
    graph = GRAPHS[name](seed)
    x = inputs(graph)
    check(post_training(graph, x, equalize=equalized), x)


@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("correct", [False, True])
def test_activation_aware_scales_have_the_least_error_of_the_results(
    groups: int, per_channel: bool, correct: bool, seed: int
) -> None:
    b = Builder(seed)
    out = b.conv(b.relu(b.conv(b.input(2, 8, 8), 8)), 6, groups=groups)
    graph = b.graph(out)
    first = next(n for n in graph.nodes if isinstance(n, Conv2d))
    last = graph[out]
    assert isinstance(last, Conv2d)
    half = 4 // groups
    sizes = torch.tensor([1e-3, 1.0], dtype=torch.float64).repeat_interleave(half).repeat(groups)
    graph.parameters[first.weight].mul_(sizes.view(-1, 1, 1, 1))  # half of the channels are weak
    assert first.bias
    graph.parameters[first.bias].mul_(sizes)
    weak = graph.parameters[last.weight].view(groups, -1, 8 // groups, 3, 3)
    weak[:, :, :half] *= 8  # their weights are large, and hardly matter
    torch.manual_seed(seed)
    x = inputs(graph, 32)
    values = evaluated(graph, x)
    spec = QuantSpec(
        per_channel=per_channel, weight_scale="mse", act_planes=3, first_last_terms=1, acc_bits=32
    )
    errors = []
    for aware in (False, True):
        model = post_training(graph, x, spec, correct_bias=correct, activation_aware=aware)
        errors.append(float((model(*x) - values[out]).detach().square().mean()))
    assert errors[1] < errors[0]
    check(model, x)


@pytest.mark.parametrize("name", GRAPHS)
def test_activation_aware_scales_of_any_layer(name: str, seed: int) -> None:
    torch.manual_seed(seed)
    graph = GRAPHS[name](seed)
    x = inputs(graph)
    check(post_training(graph, x, activation_aware=True), x)


def test_a_module_is_left_alone() -> None:
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Conv2d(3, 2, 3))
    before = {k: v.clone() for k, v in model.state_dict().items()}
    x = torch.randn(8, 2, 8, 8)
    got = post_training(model, x, QuantSpec(weight_terms=2, act_planes=3))(x)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    got, want = got.detach(), model.eval()(x).detach()
    assert float((got - want).norm() / want.norm()) < 0.05


def test_searches_on_histograms_are_as_good() -> None:
    torch.manual_seed(0)
    x = torch.randn(1 << 17).double() * torch.rand(1 << 17).exp() ** 3
    for grid in (LevelGrid.uniform(-7, 7), LevelGrid.uniform(-128, 127)):
        errors = [
            float((x - dequantize(quantize(x, s, grid), s)).square().mean())
            for s in (mse_scale(x, grid), dda_scale(x, grid), range_scale(x, grid))
        ]
        assert errors[0] <= 1.01 * min(errors)
