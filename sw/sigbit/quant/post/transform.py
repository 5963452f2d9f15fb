"""Transform Quantization (Young et al., TPAMI 2021, arXiv 2009.01174) of a float model.

Every ordinary convolution and linear layer becomes two: a *row* transform puts a 1x1 convolution of
its inputs before the kernel, a *column* transform one of its outputs after it. Kernel and basis are
divided into blocks; each has a rate and a step of its own, chosen by equal slope of the error of
the model's outputs. Channels between the two whose block has rate 0 are removed by
:func:`collapse`, so that the pair may be smaller than the layer.

The result is an ordinary model whose weights are on their grids; ``prepare`` or ``post_training``
continue from there. Its rounding remains in force while it is trained (straight-through at fixed
rates and steps) until :func:`collapse`. ``fold=True`` multiplies the pair back into one layer,
which gives up the grids and is intended for comparison only.

Grouped convolutions keep their kernel, without a transform. The rate includes the basis. Only
``Conv2d`` and ``Linear`` are quantized: the weights of transposed and one-dimensional convolutions
and of recurrent layers remain unchanged and do not count; :attr:`Transformed.untouched` names them.
"""

import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from sigbit.errors import QuantizationError
from sigbit.ir.convolution import row_major_convolutions
from sigbit.quant.post.linear_transforms import (
    Transform,
    basis,
    coding_gain,
    factors,
    gradient_covariance,
    weight_covariance,
)
from sigbit.quant.post.rate_distortion import (
    Allocation,
    Curve,
    allocate_within,
    block_quantize,
    curve,
    steps_to_try,
)

Side = Literal["row", "column"]
Layer = nn.Conv2d | nn.Linear


class BlockRounding(nn.Module):
    """Rounds blocks of a weight along ``dimension``, each with its rate and step, with
    straight-through gradients; as a parametrization."""

    def __init__(
        self, dimension: int, sizes: list[int], bits: list[int], steps: list[float]
    ) -> None:
        super().__init__()
        self.dimension, self.sizes, self.bits, self.steps = dimension, sizes, bits, steps

    def forward(self, weight: Tensor) -> Tensor:
        """The rounded weight."""
        with torch.no_grad():
            blocks = weight.split(self.sizes, self.dimension)
            rounded = torch.cat(
                [
                    block_quantize(x, b, s)
                    for x, b, s in zip(blocks, self.bits, self.steps, strict=True)
                ],
                self.dimension,
            )
        return weight + (rounded - weight).detach() if weight.requires_grad else rounded


class Pair(nn.Sequential):
    """The two layers that replace a layer."""

    @property
    def first(self) -> Layer:
        """The layer that reads the input."""
        layer = self[0]
        assert isinstance(layer, (nn.Conv2d, nn.Linear))
        return layer

    @property
    def second(self) -> Layer:
        """The layer that returns the result, with the bias."""
        layer = self[1]
        assert isinstance(layer, (nn.Conv2d, nn.Linear))
        return layer


@dataclass(frozen=True)
class Unit:
    """A block of a module's weight: entries ``begin`` to ``end`` along ``dimension``."""

    module: str
    dimension: int
    begin: int
    end: int


@dataclass(frozen=True)
class Transformed:
    """The result: the ``model``, the ``units`` with their ``curves`` and the ``allocation``,
    ``bits_per_weight`` of the quantized layers, the mean squared error of the outputs, and the
    names of weights of other layers, which are ``untouched``."""

    model: nn.Module
    units: tuple[Unit, ...]
    curves: tuple[Curve, ...]
    allocation: Allocation
    bits_per_weight: float
    error: float
    untouched: tuple[str, ...] = ()


@row_major_convolutions()
def transform_quantize(
    model: nn.Module,
    inputs: Tensor,
    bits: float,
    *,
    side: Side = "row",
    transform: Transform = "klt",
    blocks: int = 8,
    most_bits: int = 8,
    candidates: int = 16,
    powers_of_two: bool = False,
    always: bool = False,
    fold: bool = False,
) -> Transformed:
    """Quantize ``model`` with at most ``bits`` bits per weight on average, such that its outputs
    for ``inputs`` change least.

    Parameters
    ----------
    model : nn.Module
        Not changed; in evaluation mode.
    inputs : Tensor
        A batch as the model will see it, of tens of samples.
    bits : float
        Bits stored per weight of the quantized layers, including those of the bases.
    side, transform : str
        "row" or "column"; "klt" needs no gradients, "elt" does, "identity" does not transform.
    blocks : int
        Units of a kernel, and of a basis.
    most_bits, candidates : int
        Largest rate of a unit; number of steps that are tried for every rate.
    powers_of_two : bool
        Use steps that are powers of two, as in a shift-add array, rather than quarter octaves.
    always : bool
        Transform every layer; otherwise only those whose basis is no larger than they are, and
        where the coding gain saves more bits than the basis takes.
    fold : bool
        Multiply the pairs back into single layers.
    """
    for name, value, allowed in (
        ("side", side, get_args(Side)),
        ("transform", transform, get_args(Transform)),
    ):
        if value not in allowed:
            raise QuantizationError(f"{name} must be one of {', '.join(allowed)}, not {value!r}")
    if not bits > 0 or blocks < 1 or most_bits < 1 or candidates < 1:
        raise QuantizationError("bits, blocks, most_bits and candidates must be positive")
    if isinstance(model, (nn.Conv2d, nn.Linear)):
        raise QuantizationError("a layer cannot be replaced in itself: give nn.Sequential(layer)")
    work = copy.deepcopy(model).eval()
    names = [n for n, m in work.named_modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    untouched = _untouched(work)
    if not names:
        others = f"; {', '.join(untouched)} would stay as they are" if untouched else ""
        raise QuantizationError(f"the model has no Conv2d and no Linear to quantize{others}")
    weights = sum(_weight(work, n).numel() for n in names)
    parts: list[tuple[str, int]] = []
    for name in names:
        parts += _split(work, name, inputs, side, transform, math.inf if always else 1 / bits)
    units = tuple(u for name, dimension in parts for u in _units(work, name, dimension, blocks))
    curves = _curves(work, inputs, units, most_bits, candidates, 1 if powers_of_two else 4)
    allocation = allocate_within(curves, bits * weights)
    with torch.no_grad():
        reference = model.eval()(inputs)
        _apply(work, units, curves, allocation)
        error = float((work(inputs) - reference).square().mean())
    if fold:
        _fold(collapse(work), side)
    rate = allocation.stored / weights
    return Transformed(work, units, curves, allocation, rate, error, untouched)


@row_major_convolutions()
def plain_rounding(model: nn.Module, inputs: Tensor, bits: int) -> tuple[nn.Module, float]:
    """``model`` with the weights of all layers that are quantized here rounded to ``bits`` bits, at
    the step of least squared error of their weights, and the mean squared error of the outputs: the
    baseline for transforms."""
    work = copy.deepcopy(model).eval()
    with torch.no_grad():
        reference = model.eval()(inputs)
        for _, module in work.named_modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                w = module.weight
                w.copy_(block_quantize(w, bits, _nearest_step(w, bits)))
        return work, float((work(inputs) - reference).square().mean())


def _nearest_step(w: Tensor, bits: int) -> float:
    steps = steps_to_try(w, bits, 16)
    return min(steps, key=lambda s: float((block_quantize(w, bits, s) - w).square().sum()))


@torch.no_grad()
def collapse(model: nn.Module) -> nn.Module:
    """Return ``model`` itself with the rounded weights as its parameters, without further rounding,
    and with pairs without the channels that are 0. If all are 0, one remains, which the second
    layer reads with weight 0: a tensor of zeros could not be calibrated."""
    for module in list(model.modules()):
        if parametrize.is_parametrized(module, "weight"):
            parametrize.remove_parametrizations(module, "weight", leave_parametrized=True)
    for pair in model.modules():
        if isinstance(pair, Pair):
            used = pair.first.weight.flatten(1).any(1)
            used &= pair.second.weight.transpose(0, 1).flatten(1).any(1)
            if not bool(used.any()):
                used[0] = True
                pair.first.weight[0] = 1.0
                pair.second.weight[:, 0] = 0.0
            _set_weight(pair.first, pair.first.weight[used])
            _set_weight(pair.second, pair.second.weight[:, used])
    return model


def _untouched(model: nn.Module) -> tuple[str, ...]:
    """Names of the weights that are not those of a :data:`Layer`."""
    modules = model.named_modules(remove_duplicate=False)
    taken = {f"{n}.weight" for n, m in modules if isinstance(m, (nn.Conv2d, nn.Linear))}
    parameters = model.named_parameters(remove_duplicate=False)
    return tuple(n for n, p in parameters if p.dim() > 1 and n not in taken)


def _replace(model: nn.Module, old: nn.Module, new: nn.Module) -> None:
    """Replace every occurrence of ``old`` by ``new``."""
    for name in [n for n, m in model.named_modules(remove_duplicate=False) if m is old]:
        parent, _, last = name.rpartition(".")
        setattr(model.get_submodule(parent), last, new)


def _weight(model: nn.Module, name: str) -> nn.Parameter:
    weight = model.get_submodule(name).weight
    assert isinstance(weight, nn.Parameter)
    return weight


def _split(
    model: nn.Module, name: str, inputs: Tensor, side: Side, transform: Transform, worth: float
) -> list[tuple[str, int]]:
    """Replace the layer ``name`` by its pair if the bits that it saves, times ``worth``, pay for
    its basis; return (module, dimension of its blocks) of the parts."""
    layer = model.get_submodule(name)
    assert isinstance(layer, (nn.Conv2d, nn.Linear))
    if transform == "identity" or (isinstance(layer, nn.Conv2d) and layer.groups > 1):
        return [(name, 0)]
    dimension = 1 if side == "row" else 0
    theta = layer.weight.detach().transpose(0, dimension)
    c_tt = weight_covariance(theta)
    c_gg = None
    if transform == "elt":
        c_gg = gradient_covariance(model, _weight(model, name), inputs, dimension)
    u = basis(c_tt, c_gg)
    if not math.isinf(worth):
        saved = theta.numel() * math.log2(coding_gain(u, c_tt, c_gg)) / 2
        if len(u) ** 2 > theta.numel() or saved * worth <= len(u) ** 2:
            return [(name, 0)]
    s, t = (f.to(theta) for f in factors(theta, u))
    _replace(model, layer, _pair(layer, s, t.transpose(0, dimension), side))
    kernel, mix = ("1", "0") if side == "row" else ("0", "1")
    return [(f"{name}.{kernel}", dimension), (f"{name}.{mix}", 1 - dimension)]


def _pair(layer: Layer, s: Tensor, kernel: Tensor, side: Side) -> Pair:
    """The two layers; the bias is that of the second one."""
    mix = s.T if side == "row" else s
    outer = copy.deepcopy(layer)
    inner: Layer
    if isinstance(layer, nn.Conv2d):
        mix = mix[:, :, None, None]
        inner = nn.Conv2d(len(s), len(s), 1, bias=False)
    else:
        inner = nn.Linear(len(s), len(s), bias=False)
    inner = inner.to(s)
    _set_weight(inner, mix)
    _set_weight(outer, kernel)
    if side == "column":
        outer.bias, inner.bias = None, outer.bias
        return Pair(outer, inner)
    return Pair(inner, outer)


def _set_weight(layer: Layer, weight: Tensor) -> None:
    """Set a layer's weight and the corresponding sizes."""
    layer.weight = nn.Parameter(weight.detach().clone().contiguous())
    outputs, inputs = weight.shape[:2]
    if isinstance(layer, nn.Conv2d):
        layer.in_channels, layer.out_channels = inputs * layer.groups, outputs
    else:
        layer.in_features, layer.out_features = inputs, outputs


def _units(model: nn.Module, name: str, dimension: int, blocks: int) -> Iterator[Unit]:
    size = _weight(model, name).shape[dimension]
    edges = [size * i // min(blocks, size) for i in range(min(blocks, size) + 1)]
    for begin, end in pairwise(edges):
        yield Unit(name, dimension, begin, end)


@torch.no_grad()
def _curves(
    model: nn.Module,
    inputs: Tensor,
    units: tuple[Unit, ...],
    most_bits: int,
    candidates: int,
    per_octave: int,
) -> tuple[Curve, ...]:
    """Curve of every unit for the mean squared error of the outputs, with all others unchanged."""
    reference = model(inputs)

    def distortion_of(block: Tensor) -> Callable[[Tensor], float]:
        original = block.clone()

        def distortion(quantized: Tensor) -> float:
            block.copy_(quantized)
            error = float((model(inputs) - reference).square().mean())
            block.copy_(original)
            return error

        return distortion

    found = []
    for u in units:
        block = _weight(model, u.module).narrow(u.dimension, u.begin, u.end - u.begin)
        label = f"{u.module}[{u.begin}:{u.end}]"
        measure = distortion_of(block)
        found.append(curve(label, block.clone(), measure, most_bits, candidates, per_octave))
    return tuple(found)


def _apply(
    model: nn.Module, units: tuple[Unit, ...], curves: tuple[Curve, ...], allocation: Allocation
) -> None:
    """Activate the rounding."""
    by_module: dict[str, list[tuple[Unit, int, float]]] = {}
    for u, c, b in zip(units, curves, allocation.bits, strict=True):
        by_module.setdefault(u.module, []).append((u, b, c.step[b]))
    for name, members in by_module.items():
        sizes = [u.end - u.begin for u, _, _ in members]
        rounding = BlockRounding(
            members[0][0].dimension, sizes, [b for _, b, _ in members], [s for _, _, s in members]
        )
        parametrize.register_parametrization(model.get_submodule(name), "weight", rounding)


@torch.no_grad()
def _fold(model: nn.Module, side: Side) -> None:
    """Multiply every pair into that one of its layers that has the kernel."""
    for pair in list(model.modules()):
        if not isinstance(pair, Pair):
            continue
        a, b = pair.first, pair.second
        if side == "row":
            layer, product = b, torch.einsum("ok...,ki->oi...", b.weight, a.weight.flatten(1))
        else:
            layer, product = a, torch.einsum("ok,k...->o...", b.weight.flatten(1), a.weight)
        layer.bias = b.bias
        _set_weight(layer, product)
        _replace(model, pair, layer)
