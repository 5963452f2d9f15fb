"""PyTorch's operators between two linear layers, deployed: operators that move elements or change
nothing have data to move, and the device's integers are compared with those of the integer
model."""

import warnings
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sigbit.bench.imports import torch_suite
from sigbit.bench.imports.torch_suite import Case
from sigbit.bench.imports.verdicts import Judged, Verdict
from sigbit.compiler import compile_graph
from sigbit.errors import CompileError, QuantizationError
from sigbit.frontend import UnsupportedModel, import_model
from sigbit.ir.convolution import row_major_convolutions
from sigbit.quant import QuantSpec, convert
from sigbit.quant.post import post_training
from sigbit.runtime import stored_inputs
from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.arch.program import Program

SUITE = "deployed"
LEAST_SNR = 15.0
"""Minimum ratio in decibels of the float results to the error of the deployed ones: a clipped range
or a wrong scale leaves less."""
ABRUPT = frozenset(
    [
        "ceil",
        "floor",
        "frac",
        "nn.functional.hardshrink",
        "nn.functional.threshold",
        "reciprocal",
        "round",
        "trunc",
    ]
)
"""Functions with steps or poles, near which a small error becomes a large one: their integers are
compared, but not their noise."""


class Layers(Protocol):
    """Runs a Program on stored integers and returns the integers of every layer."""

    def __call__(
        self, program: Program, stored: Mapping[str, NDArray[np.int64]]
    ) -> Mapping[str, NDArray[np.int64]]: ...


class _Between(nn.Module):
    """A call between two layers; the second layer is added if the result is an image or a
    vector."""

    def __init__(self, case: Case, shape: torch.Size) -> None:
        super().__init__()
        self._call = case.module
        torch.manual_seed(2)
        channels = case.given[0].shape[1]
        image = case.given[0].dim() == 4
        self._before = _layer(image, channels, channels)
        self._after: nn.Module = nn.Identity()
        if len(shape) in (2, 4):
            self._after = _layer(len(shape) == 4, shape[1], 4)

    def forward(self, *inputs: Tensor) -> Tensor:
        found = self._call(*(self._before(x) for x in inputs))
        if isinstance(found, (list, tuple)):
            (found,) = found
        result: Tensor = self._after(found)
        return result


def _layer(image: bool, channels: int, out: int) -> nn.Module:
    return nn.Conv2d(channels, out, 1) if image else nn.Linear(channels, out)


def judge_suite(
    config: ArchConfig, layers: Layers, only: Collection[str] | None = None
) -> Iterator[Judged]:
    """Judge the cases whose operands are images or vectors, or those of them with these names."""
    for case in torch_suite.cases(only):
        shapes = {x.shape for x in case.given}
        if len(shapes) == 1 and len(case.given[0].shape) in (2, 4):
            found = _judge(case, config, layers)
            if found is not None:
                yield found


def _judge(case: Case, config: ArchConfig, layers: Layers) -> Judged | None:
    """Judge one case; None if its result is not a single float32 tensor."""
    inputs = case.given
    with torch.no_grad(), row_major_convolutions(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what is deprecated in torch
        results = torch_suite.results(case, inputs)
        if results is None or len(results) != 1 or results[0].dtype != torch.float32:
            return None
        if results[0].dim() not in (2, 4) or not results[0].numel():
            return None
        model = _Between(case, results[0].shape).eval()
        want = model(*inputs)
    try:
        difference = _difference(case, model, inputs, want, config, layers)
    except UnsupportedModel as error:
        row = error.rows[0]
        return Judged(SUITE, case.name, Verdict.REFUSED, row.op, row.reason)
    except (CompileError, QuantizationError) as error:
        reason = str(error).split("\n")[0]
        return Judged(SUITE, case.name, Verdict.REFUSED, type(error).__name__, reason)
    except Exception as error:  # anything but a refusal is a fault
        text = f"{type(error).__name__}: {error}".split("\n")[0]
        return Judged(SUITE, case.name, Verdict.CRASH, "", text)
    verdict = Verdict.WRONG if difference else Verdict.RIGHT
    return Judged(SUITE, case.name, verdict, "", difference)


def _difference(
    case: Case,
    model: nn.Module,
    inputs: tuple[Tensor, ...],
    want: Tensor,
    config: ArchConfig,
    layers: Layers,
) -> str:
    """Description of the difference; "" if there is none."""
    spec = QuantSpec.from_arch(
        config, weight_terms=3, act_planes=3, first_last_terms=3, weight_scale="mse",
        act_scale="mse",
    )  # fmt: skip
    integer = convert(post_training(import_model(model, inputs), inputs, spec))
    with torch.no_grad():
        codes = integer.stored(*inputs)
        got: Any = integer(*inputs)
    program = compile_graph(integer.graph, config)
    arrays = {p.name: x.numpy() for p, x in zip(program.inputs, inputs, strict=True)}
    for name, values in layers(program, stored_inputs(program, arrays)).items():
        if name in codes:
            wanted = codes[name].numpy().reshape(values.shape)
            if (values != wanted).any():
                return f"{int((values != wanted).sum())} integers of {name} differ"
    if case.name.split("/")[0] in ABRUPT:
        return ""
    error = float(((got.reshape(want.shape) - want).double() ** 2).sum())
    signal = float((want.double() ** 2).sum())
    snr = 10 * float(np.log10(signal / error)) if error and signal else np.inf
    return f"{snr:.0f} dB above the error" if snr < LEAST_SNR else ""
