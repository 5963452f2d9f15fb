"""The number system of the array within a budget of LUTs."""

from dataclasses import replace

import pytest

from quant.strategies.harness import data, graph
from sigbit.quant import PreparedModel, QuantizationError, QuantSpec
from sigbit.quant.post import choose_number_system, post_training
from sigbit_hw.arch.config import PRESETS, ArchConfig
from sigbit_hw.arch.formats import EsbFormat

X = (data(1)[0][0],)
NANO = PRESETS["nano"]


def accelerator(bits: int, frac: int) -> ArchConfig:
    """`nano` with other weights, of 8-bit activations."""
    return replace(
        NANO,
        name=f"w{bits}f{frac}",
        weight_format=EsbFormat(bits, frac),
        acc_bits=32,
        act_format=EsbFormat(8, 6),
        term_radix_bits=7,
    )


ALL = [accelerator(*f) for f in ((4, 0), (4, 1), (4, 2), (8, 6))]
AREA = {"w4f0": 10.0, "w4f1": 12.0, "w4f2": 11.0, "w8f6": 40.0}


def quantize(config: ArchConfig) -> PreparedModel:
    """Native bits everywhere."""
    spec = QuantSpec.from_arch(
        config, input_range=(0.0, 1.0), first_last_terms=1, weight_scale="mse"
    )
    return post_training(graph(), X, spec)


def test_the_least_error_that_fits_and_no_area_more_than_needed() -> None:
    asked: list[str] = []

    def area(config: ArchConfig) -> float:
        asked.append(config.name)
        return AREA[config.name]

    results = {}
    for budget in (50, 15, 11.5, 10):
        asked.clear()
        found = choose_number_system(graph(), X, ALL, quantize, area, budget)
        assert AREA[found.config.name] <= budget
        finer = [t for t in found.trials if t.config != found.config and t.area is not None]
        assert all(AREA[t.config.name] > budget for t in finer)
        assert asked == ["w4f0", *(t.config.name for t in finer), found.config.name]
        errors = [t.error for t in found.trials if t.error is not None]
        assert errors == sorted(errors)
        assert len(errors) == len(ALL)
        assert min(errors) > 0
        results[budget] = found.config.name
    assert results[50] == "w8f6"
    assert results[10] == "w4f0"
    assert len(set(results.values())) >= 3


def test_refusals() -> None:
    def picky(config: ArchConfig) -> PreparedModel:
        if config.weight_format.bits == 8:
            raise QuantizationError("no such weights")
        return quantize(config)

    found = choose_number_system(graph(), X, ALL, picky, lambda c: AREA[c.name], 50)
    assert found.config.weight_format.bits == 4
    assert [t.refused for t in found.trials if t.error is None] == ["no such weights"]
    with pytest.raises(QuantizationError, match=r"budget of 9 LUTs is below 10, .* w4f0"):
        choose_number_system(graph(), X, ALL, quantize, lambda c: AREA[c.name], 9)
    with pytest.raises(QuantizationError, match=r"suits no .* 50 LUTs: w8f6: no such weights"):
        choose_number_system(graph(), X, ALL[-1:], picky, lambda c: AREA[c.name], 50)
