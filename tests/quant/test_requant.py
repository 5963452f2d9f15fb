"""Requantization in floats equals the contract's integers; straight-through gradients."""

import numpy as np
import pytest
import torch

from sigbit.quant.layers.requant import (
    Requantization,
    level_table,
    table_of,
)
from sigbit.quant.spec import ActGrid, QuantSpec, act_grid
from sigbit_hw.arch import numerics
from sigbit_hw.arch.formats import EsbFormat
from sigbit_hw.arch.params import in_units

SPECS = {
    "esb42": QuantSpec(),
    "esb41": QuantSpec(act_format=EsbFormat(4, 1)),
    "esb85": QuantSpec(act_format=EsbFormat(8, 5)),
    "ternary": QuantSpec(act_format=EsbFormat(2, 0)),
    "unsigned": QuantSpec(act_format=EsbFormat(4, 3, False)),
}
SIGNS = {"positive": 0, "skewed": 1 / 8, "signed": 1}
GRIDS = {
    f"{name}-{sign}": act_grid(spec, SIGNS[sign], 1)
    for name, spec in SPECS.items()
    for sign in SIGNS
    if sign == "positive" or spec.act_format.signed
}
GRIDS |= {
    f"{planes}-{sign}": act_grid(QuantSpec(), SIGNS[sign], planes)
    for sign in SIGNS
    for planes in (2, 3)
}


def requantization(grid: ActGrid, limit: float | None, rng: np.random.Generator) -> Requantization:
    c, fmt = 24, QuantSpec().params
    step = 2.0 ** rng.integers(-2, 13, c) * rng.choice([1.0, 1.3, 1.9], c)
    base = rng.integers(-(1 << 16), 1 << 16, c) * rng.choice([1.0, 0.37], c)
    base, step = fmt.nearest_base(base, np), fmt.nearest_step(step, np)
    return Requantization(torch.from_numpy(base), torch.from_numpy(step), grid, limit)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("limit", [None, 3.4])
@pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS)
def test_levels_are_those_of_the_hardware(
    grid: ActGrid, limit: float | None, dtype: torch.dtype, rng: np.random.Generator
) -> None:
    r = requantization(grid, limit, rng)
    spread = 2.0 * numerics.Y_MAX * r.step.numpy()
    acc = np.round(
        (rng.uniform(-1, 1, (4, 40, 40, 24)) * spread - r.base.numpy()).transpose(0, 3, 1, 2)
    )
    acc[0, :, 0, 0] = (1 << 23) - 1
    acc[0, :, 0, 1] = -acc[0, :, 0, 0]
    one = torch.ones((), dtype=torch.float64)
    got = r(torch.from_numpy(acc).to(dtype), r.base, torch.ones(24).double(), one)
    columns = (in_units(a.numpy())[:, None, None] for a in (r.base, r.step))
    y = numerics.requantize(acc.astype(np.int64), *columns)
    assert np.array_equal(got.long().numpy(), table_of(grid, limit).numpy()[y & 255] + grid.zero)
    assert len(np.unique(y)) == 256, "every pre-activation occurs"


@pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS)
def test_table_is_the_nearest_level(grid: ActGrid) -> None:
    table = level_table(grid, None)
    y = torch.arange(-128, 128).double() + grid.offset + grid.centre
    values = {v for m in grid.levels.magnitudes for v in (m, -m) if v >= grid.low}
    levels = torch.tensor(sorted(values | {grid.low}))
    best = (y[:, None] * 2.0**-grid.pre_shift - levels).abs().amin(1)
    assert torch.equal((y * 2.0**-grid.pre_shift - table).abs(), best)
    if grid.pre_shift >= 0 and grid.levels.is_uniform:
        assert set(table.tolist()) == set(levels.double().tolist()), "every level is reached"


@pytest.mark.parametrize("limit", [None, 3.4])
@pytest.mark.parametrize(
    "name", ["esb42-positive", "esb41-signed", "3-signed", "3-positive", "esb42-skewed"]
)
def test_gradient_is_straight_through(
    name: str, limit: float | None, rng: np.random.Generator
) -> None:
    grid = GRIDS[name]
    r = requantization(grid, limit, rng)
    ratio = 1 / r.step
    out_scale = torch.tensor(0.37, dtype=torch.float64, requires_grad=True)
    step = ratio * out_scale.detach() * 2.0**-grid.pre_shift
    bias = ((r.base + (grid.offset + grid.centre - 0.5) * r.step) * step).requires_grad_()
    spread = 2.0 * numerics.Y_MAX * r.step.numpy()[:, None, None]
    acc = torch.from_numpy(np.round(rng.uniform(-1, 1, (2, 24, 6, 6)) * spread))
    acc = (acc - r.base.round().view(-1, 1, 1)).requires_grad_()
    upstream = torch.from_numpy(rng.normal(size=acc.shape))
    levels = r(acc, bias, step, out_scale)
    (levels * upstream).sum().backward()
    v = ((acc * step.view(-1, 1, 1) + bias.view(-1, 1, 1)) / out_scale).detach()
    high = grid.high if limit is None else float(level_table(grid, limit).max())
    blur = 1e-6
    edge = (
        ((v - grid.low).abs() < blur)
        | ((v - high).abs() < blur)
        | ((v - 256 + grid.offset).abs() < 2)
    )
    inside = ((v > grid.low) & (v < high)).double()
    gain = (step / out_scale.detach()).view(-1, 1, 1)
    keep = ~edge
    assert torch.allclose(acc.grad[keep], (upstream * inside * gain)[keep], rtol=1e-12, atol=0)
    assert int(keep.sum()) > keep.numel() * 0.8
    if not bool(edge.any()):
        assert torch.allclose(bias.grad, (upstream * inside).sum((0, 2, 3)) / out_scale.detach())
    expected = (upstream * (levels.detach() - v * inside)).sum() / out_scale.detach()
    tolerance = (
        float(edge.sum()) * 4 * max(abs(grid.low), grid.high) / 0.37
        + 0.1 * acc.numel() ** 0.5 / 0.37
        + 1e-9
    )
    assert abs(float(out_scale.grad - expected)) < tolerance
