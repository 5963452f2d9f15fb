"""Learned rounding by blocks: weights, biases and activation scales of a block are trained until
its result, with the quantized inputs that it will get, matches that of the float network.

The objective is that of BRECQ (Li et al. 2021, arXiv 2102.05426), the squared error of a block's
result, and the learned quantity that of AdaRound (Nagel et al. 2020, arXiv 2004.10568): the one of
its adjacent levels to which a weight is rounded. Departure: weights move through the
straight-through rounding of the exact model, in steps that are small compared with a level, instead
of by a sigmoid with a penalty; a grid with unevenly spaced levels then needs no special case, and
biases and scales (LSQ, arXiv 1902.08153) learn in the same way. QDrop (Wei et al. 2022, arXiv
2203.05740) leaves a fraction of the activations inside the block real at every step.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from sigbit.ir.floating import Relu, Unary
from sigbit.quant.layers.layer import QuantLayer
from sigbit.quant.layers.values import Arithmetic, Relaxation
from sigbit.quant.plan.plans import tensors_of
from sigbit.quant.post.reconstruction.blocks import Block
from sigbit.quant.post.reconstruction.walk import BlockSite, Step, Values
from sigbit.quant.post.uses import Uses
from sigbit.quant.prepared import PreparedModel

BATCH, LEAST_BATCH = 16, 4
"""Samples per step, and their minimum number if tensors are large."""
ELEMENTS = 1 << 22
"""Maximum number of elements of all tensors of a block per step, if it leaves enough samples."""
_WEIGHT_RATE, _RATE = 0.05, 0.02
_FLAT_BIAS = 0.25
"""Step of a bias in levels if no activation function follows and the grid has both signs."""


class BlockLearning(Step):
    """Trains each block for ``steps`` steps of Adam, with a cosine learning rate schedule. A block
    whose loss on all samples is not lower afterwards keeps its former parameters.

    Parameters
    ----------
    uses : Uses
    steps : int
    drop : float
        Fraction of activations inside a block that remain real, drawn anew at every step.
    """

    needs_targets = True

    def __init__(self, uses: Uses, steps: int, drop: float) -> None:
        self._uses, self._steps, self._drop = uses, steps, drop

    def block(self, site: BlockSite) -> None:
        """Train the block."""
        model = site.walk.prepared
        targets = site.targets([0])
        if not targets:
            return
        with _learning(model, site.block, self._uses, site.values([0])) as parameters:
            if not parameters:
                return
            size = sum(math.prod(p.shape) for p in site.block.plans)
            batch = min(site.walk.samples, BATCH, max(LEAST_BATCH, ELEMENTS // size))
            former = [p.value.detach().clone() for p in parameters]
            before = _loss_of_all(site, batch)
            random = torch.Generator().manual_seed(site.number)
            layers = [_layer_of(model, p.name) for p in site.block.layers]
            inner = [m for m in layers if m.plan.name not in site.block.gives and not m.follows]
            drop = _Drop(self._drop, random)
            for module in inner:
                module.relaxations.append(drop)
            try:
                self._train(site, parameters, batch, random)
            finally:
                for module in inner:
                    module.relaxations.remove(drop)
            if not _loss_of_all(site, batch) < before:
                with torch.no_grad():
                    for parameter, value in zip(parameters, former, strict=True):
                        parameter.value.copy_(value)

    def _train(
        self,
        site: BlockSite,
        parameters: "list[_Parameter]",
        batch: int,
        random: torch.Generator,
    ) -> None:
        count = site.walk.samples
        optimizer = _Adam(parameters)
        for step in range(self._steps):
            chosen = torch.randperm(count, generator=random)[:batch].sort().values.tolist()
            with torch.enable_grad():
                loss = _loss(site, chosen)
            loss.backward()
            optimizer.step(0.5 * (1 + math.cos(math.pi * step / self._steps)))


@torch.no_grad()
def _loss_of_all(site: BlockSite, batch: int) -> float:
    """Mean loss over all samples, ``batch`` at a time."""
    parts = torch.arange(site.walk.samples).split(batch)
    total = sum(len(part) * float(_loss(site, part.tolist())) for part in parts)
    return total / site.walk.samples


def _loss(site: BlockSite, samples: list[int]) -> Tensor:
    """Squared errors of the block's results, each relative to its variance. Channels of a tensor
    count as in the network before equalization."""
    values = site.values(samples)
    total = torch.zeros(())
    for name, wanted in site.targets(samples).items():
        got = values[name].levels * values[name].scale.detach().to(values[name].levels.dtype)
        error = (got - wanted.reshape(got.shape)).square()
        divisor = site.walk.reference.divisors.get(name)
        if divisor is not None:
            weight = divisor.square() / divisor.square().mean()
            error = error * weight.to(error.dtype).view(-1, 1, 1)
        total = total + error.mean() / (wanted.var() + 1e-9)
    return total


def _layer_of(model: PreparedModel, name: str) -> QuantLayer:
    module = model.quant_module(name)
    assert isinstance(module, QuantLayer)
    return module


@dataclass
class _Parameter:
    """A learned parameter, its ``unit`` (the size of a level), and its learning rate in units per
    step."""

    value: Tensor
    unit: Tensor
    rate: float


@contextmanager
def _learning(
    model: PreparedModel, block: Block, uses: Uses, values: Values
) -> Iterator[list[_Parameter]]:
    """Learned parameters of a block; a context in which their gradients are enabled."""
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    found: list[_Parameter] = []
    quantizers = []
    for p in block.layers:
        module = _layer_of(model, p.name)
        if module.given is not None:
            continue
        a = module.arithmetic([values[t].scale for t in tensors_of(p)])
        found += _of_layer(model, module, a, uses, values[p.sources[0].tensor].scale)
        out = module.out_quantizer
        if _scale_is_free(model, module) and out not in quantizers:
            quantizers.append(out)
            found.append(_Parameter(out.log_scale, torch.ones_like(out.log_scale), _RATE))
    rules = [q.rule for q in quantizers]
    for q in quantizers:
        q.rule = replace(q.rule, learned=True)
    for item in found:
        item.value.requires_grad_(True)
    try:
        yield found
    finally:
        for q, rule in zip(quantizers, rules, strict=True):
            q.rule = rule
        for item in found:
            item.value.requires_grad_(False)
            item.value.grad = None


def _of_layer(
    model: PreparedModel, module: QuantLayer, a: Arithmetic, uses: Uses, in_scale: Tensor
) -> Iterator[_Parameter]:
    p = module.plan
    weight, bias = p.sources[0].weight, uses.bias_of(p)
    if weight is not None and uses.weight_is_free(p, module):
        value = model.parameter_of(weight)
        unit = (a.step / in_scale).detach().to(value.dtype)
        yield _Parameter(value, unit.view(-1, *[1] * (value.dim() - 1)), _WEIGHT_RATE)
    if bias is not None:
        value = model.parameter_of(bias)
        levels = 1.0 if p.activation else _FLAT_BIAS
        yield _Parameter(value, torch.full_like(value, levels * float(a.out_scale)), _RATE)


def _scale_is_free(model: PreparedModel, module: QuantLayer) -> bool:
    """True if a layer's scale is its own: not that of an output, not shared with other writers in
    the network, and not that of a table or a method with parameters of its own."""
    out = module.out_quantizer
    shared = sum(isinstance(m, QuantLayer) and m.out_quantizer is out for m in model.layers)
    return (
        shared == 1
        and not (module.follows or module.is_output or out.curved)
        and module.preactivation is None
        and not [p for p in out.parameters() if p is not out.log_scale]
    )


class _Drop(Relaxation[QuantLayer]):
    """Leaves a fraction of the results as they are before rounding."""

    def __init__(self, share: float, random: torch.Generator) -> None:
        self._share, self._random = share, random

    def output(self, layer: QuantLayer, arithmetic: Arithmetic, acc: Tensor) -> Tensor | None:
        """Return the levels, some of them real."""
        function = layer.plan.activation
        if not self._share or isinstance(function, Unary):
            return None
        a = arithmetic
        rounded = a.requantization(acc, a.bias, a.step, a.out_scale)
        unit = a.out_scale.detach()
        gain, start = ((x / unit).to(acc.dtype).view(-1, 1, 1) for x in (a.step, a.bias))
        real = acc * gain + start
        if isinstance(function, Relu):
            top = None if function.limit is None else function.limit / float(unit)
            real = real.clamp(0, top)
        kept = torch.rand(acc.shape, generator=self._random, dtype=acc.dtype) < self._share
        return torch.where(kept, real, rounded)


class _Adam:
    """Adam (Kingma and Ba 2015, arXiv 1412.6980) with steps in the parameters' units."""

    def __init__(self, parameters: Sequence[_Parameter]) -> None:
        self._state = [
            (p, torch.zeros_like(p.value), torch.zeros_like(p.value)) for p in parameters
        ]
        self._count = 0

    @torch.no_grad()
    def step(self, factor: float, beta1: float = 0.9, beta2: float = 0.99) -> None:
        """Make one step with ``factor`` times the learning rates."""
        self._count += 1
        for p, mean, square in self._state:
            if p.value.grad is None:
                continue
            gradient = p.value.grad * p.unit
            mean.mul_(beta1).add_(gradient, alpha=1 - beta1)
            square.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
            size = (square / (1 - beta2**self._count)).sqrt_().add_(1e-20)
            move = mean / (1 - beta1**self._count) / size
            p.value.sub_(move * p.unit, alpha=p.rate * factor)
            p.value.grad = None
