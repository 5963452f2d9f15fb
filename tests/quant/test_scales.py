"""Scale rules: published Gaussian constants, and a search that is never worse."""

import numpy as np
import pytest
import torch

from sigbit.errors import QuantizationError
from sigbit.quant.numbers.grid import LevelGrid, dequantize, quantize
from sigbit.quant.numbers.scales import (
    BINS,
    dda_scale,
    gaussian_error,
    gaussian_scale,
    histogram,
    mse_scale,
    percentile_scale,
    range_scale,
    scale_rule,
)
from sigbit_hw.arch.formats import EsbFormat

# (b, k): alpha* and its mean squared error for N(0, 1); the scale of one LSB is alpha * 2**-k
PUBLISHED = {
    (2, 0): (1.2240, 0.19017),
    (3, 0): (0.5181, 0.04756),
    (3, 1): (1.3015, 0.04686),
    (4, 0): (0.0655, 0.03774),
    (4, 1): (0.4871, 0.01268),
    (4, 2): (1.4136, 0.01289),
    (5, 2): (0.4828, 0.00326),
    (5, 3): (1.5460, 0.00369),
    (6, 3): (0.4997, 0.00083),
    (8, 4): (0.0412, 0.00018),
    (8, 5): (0.5527, 0.00005),
    (8, 6): (1.9757, 0.00009),
}


def error(x: torch.Tensor, scale: torch.Tensor, grid: LevelGrid) -> float:
    return float((x - dequantize(quantize(x, scale, grid), scale)).square().mean())


def test_percentiles_leave_outliers_beyond(rng: np.random.Generator) -> None:
    grid, plain = LevelGrid.of(EsbFormat(4, 1)), LevelGrid.uniform(0, 15)
    x = torch.from_numpy(rng.permutation(np.arange(-5000, 5000.0)))
    assert float(percentile_scale(x, grid)) == pytest.approx(4995 / 12, rel=1e-3)
    assert float(percentile_scale(x, plain)) == pytest.approx(4994 / 15, rel=1e-3)
    relu = torch.cat([x.clamp(min=0), x.new_zeros(5000)])
    assert float(percentile_scale(relu, plain)) == 4995 / 15, "zeros do not count"
    two = percentile_scale(torch.stack([x, x * 2]), grid, True)
    assert float(two[1]) == pytest.approx(2 * float(two[0]))
    assert float(percentile_scale(x[:3], grid)) == float(range_scale(x[:3], grid))
    assert float(percentile_scale(-x[x > 0], plain)) == 0
    assert scale_rule("percentile").choose is percentile_scale


@pytest.mark.parametrize(("b", "k"), PUBLISHED)
def test_gaussian_constants(b: int, k: int) -> None:
    alpha, least = PUBLISHED[b, k]
    grid = LevelGrid.of(EsbFormat(b, k))
    scale = gaussian_scale(grid)
    assert scale * 2**k == pytest.approx(alpha, abs=2e-4)
    assert float(gaussian_error(grid, torch.tensor([scale]).double())) == pytest.approx(
        least, abs=6e-6
    )


def test_closed_form_error_is_the_measured_one(rng: np.random.Generator) -> None:
    x, grid = torch.from_numpy(rng.normal(size=400_000)), LevelGrid.of(EsbFormat(4, 1))
    for s in (0.1, 0.25, 0.6):
        scale = torch.tensor([s]).double()
        assert error(x, scale[0], grid) == pytest.approx(
            float(gaussian_error(grid, scale)), rel=0.02
        )


def test_dda_follows_sigma_and_ignores_the_zeros_of_relu(rng: np.random.Generator) -> None:
    grid, x = LevelGrid.of(EsbFormat(4, 1)), torch.from_numpy(rng.normal(size=(4, 20_000)))
    sigma = torch.tensor([0.01, 1.0, 3.0, 0.0]).double()
    got = dda_scale(x * sigma[:, None], grid, channels=True)
    assert torch.allclose(got, sigma * gaussian_scale(grid), rtol=0.03)
    positive = LevelGrid.uniform(0, 14)
    assert float(dda_scale(x.relu(), positive)) == pytest.approx(gaussian_scale(positive), rel=0.03)


@pytest.mark.parametrize("kind", ["normal", "laplace", "uniform"])
@pytest.mark.parametrize(
    "fmt", [EsbFormat(4, 1), EsbFormat(4, 2), EsbFormat(6, 3), EsbFormat(4, 0)], ids=str
)
def test_search_is_never_worse_than_dda(
    kind: str, fmt: EsbFormat, rng: np.random.Generator
) -> None:
    x = torch.from_numpy(
        {"normal": rng.normal, "laplace": rng.laplace, "uniform": rng.uniform}[kind](size=50_000)
    )
    grid = LevelGrid.of(fmt)
    searched, aligned = error(x, mse_scale(x, grid), grid), error(x, dda_scale(x, grid), grid)
    assert searched <= aligned * 1.01
    if kind == "laplace" and fmt.bits == 6:
        assert searched < aligned / 2, "a Gaussian scale clips heavy tails"


def test_range_scale_saturates_nothing() -> None:
    x, grid = torch.tensor([-3.0, 2.0]), LevelGrid.uniform(-127, 127)
    assert float(range_scale(x, grid)) == pytest.approx(3 / 127)
    assert int(quantize(x, range_scale(x, grid), grid).abs().max()) == 127


def test_channels_are_searched_one_by_one(rng: np.random.Generator) -> None:
    x, grid = (
        torch.from_numpy(rng.normal(size=(3, 100)) * [[1], [10], [0]]),
        LevelGrid.of(EsbFormat(4, 1)),
    )
    together = mse_scale(x, grid, channels=True)
    assert torch.equal(together, torch.stack([mse_scale(row, grid) for row in x]))
    assert together[2] == 0


def test_unknown_rule_is_named() -> None:
    rules = "'dda', 'learned', 'mse', 'percentile', 'range'"
    with pytest.raises(QuantizationError, match=rf"must be one of \[{rules}\], not 'magic'"):
        scale_rule("magic")


def test_histograms() -> None:
    x = torch.randn(1000)
    means, counts = histogram(x)
    assert means.shape == counts.shape
    assert means.shape[0] == 1
    assert counts.sum() == x.numel()
    assert float((means * counts).sum()) == pytest.approx(float(x.double().sum()))
    for size in (1, 1000):
        zero, one = histogram(torch.zeros(size))
        assert zero.tolist() == [[0.0]]
        assert one.tolist() == [[1.0]]


def test_intervals_of_histograms() -> None:
    """Of equal width, from the largest magnitude below 0 to that above; both ends count."""
    generator = torch.Generator().manual_seed(2)
    for ends in ([-3.0, 3.0], [-3.0], [3.0]):
        inner = torch.rand(5000, generator=generator, dtype=torch.float64) * 5.9 - 2.95
        x = torch.cat([torch.tensor(ends, dtype=torch.float64), inner])
        means, counts = histogram(x.view(-1, 1))
        wanted, edges = np.histogram(x.numpy(), BINS, (-3.0, 3.0))
        assert counts.shape == (1, BINS)
        assert np.array_equal(counts[0], wanted)
        sums = np.histogram(x.numpy(), edges, weights=x.numpy())[0]
        assert np.allclose(means[0], sums / np.maximum(wanted, 1), atol=1e-12)
