"""Grids in torch equal those of sigbit_hw.arch, ties included; gradients are exact."""

import numpy as np
import pytest
import torch

from sigbit.quant.numbers.grid import LevelGrid, dequantize, fake_quantize, quantize, round_to_grid
from sigbit_hw.arch.formats import EsbFormat, TermGrid

FORMATS = [
    EsbFormat(b, k, signed)
    for b in range(2, 9)
    for signed in (True, False)
    for k in range(b - signed)
    if EsbFormat(b, k, signed).max < 1 << 40
]
SUMS = [
    TermGrid(EsbFormat(4, 1), 3, 2),
    TermGrid(EsbFormat(4, 1), 3, 3),
    TermGrid(EsbFormat(4, 2), 3, 2),
    TermGrid(EsbFormat(3, 0), 2, 2),
    TermGrid(EsbFormat(4, 3, False), 4, 2),
]


def reference(source: EsbFormat | TermGrid, x: np.ndarray) -> np.ndarray:
    return np.asarray(
        source.decode(source.quantize(x)) if isinstance(source, EsbFormat) else source.quantize(x)
    )


@pytest.mark.parametrize("source", [*FORMATS, *SUMS], ids=str)
def test_equals_arch_on_ties_and_random_values(
    source: EsbFormat | TermGrid, rng: np.random.Generator
) -> None:
    grid = LevelGrid.of(source)
    values = np.array(source.values, np.float64)
    ties = (values[1:] + values[:-1]) / 2
    near = np.concatenate([np.nextafter(ties, np.inf), np.nextafter(ties, -np.inf)])
    random = rng.normal(size=2000) * rng.choice([0.3, 1, values.max() / 2], 2000)
    x = np.concatenate(
        [values, ties, -ties, near, random, [values.max() * 3, -values.max() * 3, 0.0, -0.0]]
    )
    got = round_to_grid(torch.from_numpy(x), grid)
    assert np.array_equal(got.numpy(), reference(source, x))
    assert not bool(torch.signbit(got[got == 0]).any()), "no minus zero"
    single = torch.from_numpy(x).float()
    assert np.array_equal(
        round_to_grid(single, grid).double().numpy(), reference(source, single.double().numpy())
    )


def test_per_channel_scales(rng: np.random.Generator) -> None:
    grid = LevelGrid.of(EsbFormat(4, 1))
    x, scale = (
        torch.from_numpy(rng.normal(size=(3, 4, 2, 2))),
        torch.tensor([0.1, 0.3, 2.0]).double(),
    )
    q = quantize(x, scale, grid)
    for c in range(3):
        assert torch.equal(q[c], quantize(x[c], scale[c], grid))
    assert torch.equal(dequantize(q, scale)[1], q[1] * scale[1])
    assert torch.equal(fake_quantize(x, scale, grid), dequantize(q, scale))


@pytest.mark.parametrize(
    "grid", [LevelGrid.of(EsbFormat(4, 1)), LevelGrid.uniform(0, 14), LevelGrid.uniform(-7, 7)]
)
@pytest.mark.parametrize("channels", [True, False])
def test_gradients_are_those_of_lsq(
    grid: LevelGrid, channels: bool, rng: np.random.Generator
) -> None:
    x = torch.from_numpy(rng.normal(size=(3, 50)) * 5).requires_grad_()
    scale = torch.from_numpy(rng.uniform(0.2, 0.6, 3)) if channels else torch.tensor(0.3).double()
    scale.requires_grad_()
    upstream = torch.from_numpy(rng.normal(size=(3, 50)))
    (fake_quantize(x, scale, grid) * upstream).sum().backward()
    v = (x / (scale[:, None] if channels else scale)).detach()
    inside = (v > grid.min) & (v < grid.max)
    q = round_to_grid(v, grid)
    assert torch.allclose(x.grad, upstream * inside, rtol=1e-12)
    wanted = upstream * torch.where(inside, q - v, q)
    assert torch.allclose(scale.grad, wanted.sum(1) if channels else wanted.sum(), rtol=1e-10)


@pytest.mark.parametrize(
    ("magnitudes", "signed"),
    [((), True), ((1, 2), False), ((-1, 2), True), ((0, 2, 1), True), ((0, 1, 1), True)],
)
def test_level_tables_are_checked(magnitudes: tuple[int, ...], signed: bool) -> None:
    with pytest.raises(ValueError, match="magnitudes must ascend from 0"):
        LevelGrid(magnitudes, signed)


def test_grids_without_zero() -> None:
    grid = LevelGrid((1, 3), True)
    assert grid.values == (-3, -1, 1, 3)
    v = torch.tensor([-9.0, -2.0, -1.9, -0.1, 0.0, 1.9, 2.0, 9.0])
    assert round_to_grid(v, grid).tolist() == [-3, -3, -1, -1, 1, 1, 3, 3]


@pytest.mark.parametrize(
    ("low", "high", "signed", "floor"),
    [(0, 15, False, None), (0, 1, False, None), (-7, 7, True, None), (-1, 1, True, None),
     (-1, 15, True, -1), (-8, 7, True, -8), (-2, 1, True, -2)],
)  # fmt: skip
def test_uniform_grids(low: int, high: int, signed: bool, floor: int | None) -> None:
    """All integers of an interval; a floor where it is neither symmetric nor begins at 0."""
    grid = LevelGrid.uniform(low, high)
    assert (grid.signed, grid.floor, grid.min, grid.max) == (signed, floor, low, high)
    assert grid.values == tuple(range(low, high + 1))
    assert grid.is_uniform
