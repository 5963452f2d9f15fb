"""Transform Quantization: exact factors, diagonal covariances, equal slope, rate-distortion."""

from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from sigbit import zoo
from sigbit.quant import QuantizationError, QuantSpec, convert
from sigbit.quant.post import post_training
from sigbit.quant.post.linear_transforms import (
    basis,
    coding_gain,
    factors,
    gradient_covariance,
    weight_covariance,
)
from sigbit.quant.post.rate_distortion import (
    Curve,
    allocate,
    allocate_within,
    block_quantize,
    frontier,
)
from sigbit.quant.post.transform import Pair, collapse, plain_rounding, transform_quantize

pytestmark = pytest.mark.slow


def correlated(seed: int, n: int = 6, *rest: int) -> Tensor:
    random = torch.Generator().manual_seed(seed)
    mix = torch.randn(n, n, generator=random, dtype=torch.float64) * torch.logspace(
        0, -1.5, n, dtype=torch.float64
    )
    flat = torch.randn(n, int(torch.Size(rest).numel()), generator=random, dtype=torch.float64)
    return (mix @ flat).view(n, *rest)


def network(seed: int) -> nn.Sequential:
    torch.manual_seed(seed)
    net = nn.Sequential(
        nn.Conv2d(1, 6, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(6, 6, 3, padding=1, stride=2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(6 * 9, 3),
    )
    with torch.no_grad():
        net[2].weight.copy_(correlated(seed, 6, 6, 3, 3).transpose(0, 1) / 6)
    return net.eval()


X = torch.rand(8, 1, 6, 6, generator=torch.Generator().manual_seed(1))


def off_diagonal(c: Tensor) -> float:
    return float((c - c.diagonal().diag()).abs().max() / c.diagonal().abs().max())


def test_the_klt_diagonalises_and_loses_nothing(seed: int) -> None:
    theta = correlated(seed, 6, 5, 3, 3)
    c = weight_covariance(theta)
    u = basis(c)
    s, t = factors(theta, u)
    assert torch.allclose((s @ t.flatten(1)).view(theta.shape), theta, atol=1e-12)
    assert off_diagonal(weight_covariance(t)) < 1e-10
    variances = weight_covariance(t).diagonal()
    assert bool((variances.diff() <= 1e-12).all())
    assert torch.allclose(s.norm(dim=0), torch.ones(6, dtype=torch.float64))
    assert torch.allclose(u @ u.T, torch.eye(6, dtype=torch.float64), atol=1e-12)
    assert coding_gain(u, c) > 1


def test_the_elt_diagonalises_both_covariances(seed: int) -> None:
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Conv2d(2, 6, 3), nn.Tanh(), nn.Flatten(), nn.Linear(24, 3)).double()
    net[0].weight.data.copy_(correlated(seed, 6, 2, 3, 3))
    g = gradient_covariance(net, net[0].weight, torch.rand(3, 2, 4, 4, dtype=torch.float64), 0)
    t = weight_covariance(net[0].weight)
    u = basis(t, g)
    inverse = torch.linalg.inv(u)
    assert torch.allclose(u.T @ torch.linalg.inv(g) @ u, torch.eye(6, dtype=torch.float64))
    assert off_diagonal(u.T @ t @ u) < 1e-8
    assert off_diagonal(inverse @ g @ inverse.T) < 1e-8
    s, kernels = factors(net[0].weight, u)
    assert torch.allclose((s @ kernels.flatten(1)).view_as(kernels), net[0].weight.detach())
    assert coding_gain(u, t, g) >= coding_gain(basis(t), t, g) - 1e-9


def test_the_gradient_covariance_is_that_of_all_outputs(seed: int) -> None:
    torch.manual_seed(seed)
    net = nn.Linear(4, 3, bias=False).double()
    x = torch.randn(5, 4, dtype=torch.float64)
    found = gradient_covariance(net, net.weight, x, 1)
    expected = 3 * x.T @ x
    expected = expected + 1e-3 * torch.linalg.matrix_norm(expected) * torch.eye(4).double()
    assert torch.allclose(found, expected)


def test_blocks_round_as_published() -> None:
    x = torch.tensor([-9.0, -2.4, -0.5, 0.49, 1.0, 9.0])
    assert block_quantize(x, 2, 1.0).tolist() == [-2, -2, -1, 0, 1, 1]
    assert block_quantize(x, 3, 0.5).tolist() == [-2, -2, -0.5, 0.5, 1, 1.5]
    assert not block_quantize(x, 0, 1.0).any()


def test_slopes_are_equal(seed: int) -> None:
    """At the chosen rates no unit gains more than the slope by a bit more, nor saves more by one
    fewer."""
    random = torch.Generator().manual_seed(seed)
    variances = torch.rand(9, generator=random, dtype=torch.float64) * 10
    curves = [
        Curve(str(i), 10 * (i + 1), tuple(float(v) * 4.0**-r for r in range(9)), (1.0,) * 9)
        for i, v in enumerate(variances)
    ]
    found = allocate_within(curves, 3.0 * sum(c.weights for c in curves))
    assert found.stored <= 3.0 * sum(c.weights for c in curves)
    for c, r in zip(curves, found.bits, strict=True):
        per_bit = [(a - b) / c.weights for a, b in pairwise(c.distortion)]
        assert r == 8 or per_bit[r] <= found.slope * (1 + 1e-9)
        assert r == 0 or per_bit[r - 1] >= found.slope * (1 - 1e-9)
    points = frontier(curves)
    assert len(points) > 8
    for a, b in pairwise(points):
        assert b.stored > a.stored
        assert b.distortion < a.distortion
    assert allocate(curves, 1e9).stored == 0
    with pytest.raises(QuantizationError, match="below 0 bits"):
        allocate_within(curves, -1)


@pytest.mark.parametrize("side", ["row", "column"])
@pytest.mark.parametrize("transform", ["klt", "elt"])
def test_pairs_compute_what_the_layers_did(side: str, transform: str) -> None:
    net = network(3)
    found = transform_quantize(
        net,
        X,
        999.0,
        side=side,
        transform=transform,
        blocks=1,
        most_bits=16,
        candidates=3,
        always=True,
    )
    assert found.error < 1e-6
    options = {"side": side, "transform": transform, "blocks": 2, "candidates": 3, "always": True}
    fewer = transform_quantize(net, X, 20.0, **options)
    assert fewer.bits_per_weight <= 20
    with torch.no_grad():
        live = fewer.model(X)
        assert float((live - net(X)).square().mean()) == pytest.approx(fewer.error)
        assert torch.allclose(collapse(fewer.model)(X), live, atol=1e-6)
        folded = transform_quantize(net, X, 20.0, **options, fold=True).model
        assert torch.allclose(folded(X), live, atol=1e-5)
    assert [type(m) for m in folded] == [type(m) for m in net]


def test_the_curve_lies_below_that_of_plain_rounding() -> None:
    net = network(5)
    for bits in (3, 4):
        _, plain = plain_rounding(net, X, bits)
        found = transform_quantize(net, X, bits, blocks=3, candidates=6)
        assert found.bits_per_weight <= bits
        assert found.error < plain


def test_retraining_keeps_the_grids_and_the_result_deploys() -> None:
    net = network(7)
    found = transform_quantize(net, X, 4.0, blocks=2, candidates=4, powers_of_two=True)
    assert all(
        s == 0 or float(torch.tensor(s).log2()).is_integer() for c in found.curves for s in c.step
    )
    with torch.no_grad():
        target = net(X)
    model, errors = found.model, []
    optimizer = torch.optim.Adam(model.parameters(), 2e-3)
    for _ in range(30):
        loss = (model(X) - target).square().mean()
        errors.append(float(loss.detach()))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert errors[-1] < errors[0]
    with torch.no_grad():
        live = model(X)
        assert torch.allclose(collapse(model)(X), live, atol=1e-6)
    prepared = post_training(model, X, QuantSpec(weight_terms=2, weight_scale="mse"))
    assert torch.equal(convert(prepared)(X), prepared(X))


@pytest.mark.parametrize("side", ["row", "column"])
def test_layers_of_which_nothing_is_left_deploy(side: str) -> None:
    net = network(2)
    nn.init.zeros_(net[2].weight)
    nn.init.ones_(net[2].bias)
    found = transform_quantize(
        net, X, 999.0, side=side, blocks=1, candidates=2, most_bits=12, always=True
    )
    with torch.no_grad():
        live = found.model(X)
        assert torch.allclose(live, net(X), atol=1e-2)
        assert torch.allclose(collapse(found.model)(X), live, atol=1e-6)
    prepared = post_training(found.model, X, QuantSpec(weight_terms=2, weight_scale="mse"))
    assert torch.equal(convert(prepared)(X), prepared(X))


def test_what_is_left_alone_is_named() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        nn.ReLU(),
        nn.ConvTranspose2d(4, 3, 2, stride=2),
        nn.BatchNorm2d(3),
        nn.Flatten(2),
        nn.Conv1d(3, 2, 3),
        nn.Flatten(),
        nn.Linear(2 * 142, 3),
    ).eval()
    found = transform_quantize(net, X, 3.0, blocks=2, candidates=3, always=True)
    assert found.untouched == ("2.weight", "5.weight")
    for name in found.untouched:
        assert torch.equal(found.model.get_parameter(name), net.get_parameter(name))
    quantized = sum(net[i].weight.numel() for i in (0, 7))
    assert found.bits_per_weight == found.allocation.stored / quantized <= 3
    assert transform_quantize(network(1), X, 3.0, candidates=2).untouched == ()
    with pytest.raises(QuantizationError, match=r"Linear to quantize; 2\.weight would stay as"):
        transform_quantize(net[2:4], torch.rand(2, 4, 6, 6), 3.0)


@pytest.mark.parametrize("fold", [False, True])
@pytest.mark.parametrize("side", ["row", "column"])
def test_layers_that_are_used_twice_are_replaced_twice(side: str, fold: bool) -> None:
    torch.manual_seed(4)
    twice = nn.Conv2d(6, 6, 3, padding=1)
    net = nn.Sequential(nn.Conv2d(1, 6, 1), twice, nn.Tanh(), twice).eval()
    found = transform_quantize(
        net, X, 999.0, side=side, blocks=1, most_bits=12, candidates=3, always=True, fold=fold
    )
    assert found.model[1] is found.model[3]
    assert isinstance(found.model[1], Pair) is not fold
    with torch.no_grad():
        assert torch.allclose(found.model(X), net(X), atol=1e-2)
        assert torch.allclose(collapse(found.model)(X), net(X), atol=1e-2)


def test_parameters_are_checked() -> None:
    with pytest.raises(QuantizationError, match="side must be one of row, column, not 'rows'"):
        transform_quantize(network(1), X, 3.0, side="rows")  # type: ignore[arg-type]
    with pytest.raises(QuantizationError, match=r"no Conv2d and no Linear to quantize$"):
        transform_quantize(nn.ReLU(), X, 3.0)
    with pytest.raises(QuantizationError, match=r"give nn\.Sequential\(layer\)"):
        transform_quantize(nn.Linear(6, 3), X, 3.0)
    with pytest.raises(QuantizationError, match="must be positive"):
        transform_quantize(network(1), X, 0.0)


@pytest.mark.parametrize("side", ["row", "column"])
@pytest.mark.parametrize("name", ["fashion", "ds_cnn"])
def test_networks_whose_modules_hold_their_convolutions(name: str, side: str) -> None:
    torch.manual_seed(0)
    net = zoo.build(name).eval()
    x = torch.rand(2, *zoo.entry(name).input_shape)
    found = transform_quantize(
        net, x, 12.0, side=side, always=True, blocks=1, candidates=1, most_bits=12
    )
    pairs = [m for m in found.model.modules() if isinstance(m, Pair)]
    assert len(pairs) > 3
    with torch.no_grad():
        wanted = net(x)
        error = (collapse(found.model)(x) - wanted).norm() / wanted.norm()
    assert float(error) < 0.05
