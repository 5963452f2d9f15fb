"""A quantized layer: sources with integer weights, one accumulator, requantization. The same
arithmetic in training and in the integer model.

Real values: ``w = scale_w[c] n_w``, ``x = scale_x n_x``, ``y = scale_y n_y``. One accumulator step
represents ``S[c] = scale_w[c] scale_x``, the same for all sources of a layer, and ``scale of y /
S[c]`` must be a step that the requantizer can hold; so S, and with it the weights' scales, snap to
the nearest (by up to 2^-15 where a step of y is at least one of the accumulator) before weights are
rounded.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from sigbit.errors import QuantizationError
from sigbit.ir.floating import BatchNorm, Relu, Unary
from sigbit.quant.layers.function import Preactivation, lookup
from sigbit.quant.layers.given import Exactness, GivenCodes
from sigbit.quant.layers.integers import exact_bias
from sigbit.quant.layers.normalization import normalize
from sigbit.quant.layers.real import RealLayer
from sigbit.quant.layers.requant import (
    Requantization,
    hardware_table,
    table_of,
)
from sigbit.quant.layers.sources import accumulate, window
from sigbit.quant.layers.values import Arithmetic, Deployed, Levels, Relaxation
from sigbit.quant.numbers.grid import quantize_ste
from sigbit.quant.plan.plans import LayerPlan, SourcePlan
from sigbit.quant.quantizers import Quantizer
from sigbit.quant.spec import ActGrid, QuantSpec

_MARGIN = 1 + 2**-10
"""Margin for a scale that snapping lowers."""
_HEADROOM = 1.25
"""Margin by which integers may exceed their real values because of rounding and snapping."""


class QuantLayer(RealLayer):
    """One :class:`LayerPlan` with its quantizers; ``values`` are the float model's parameters, by
    name, shared between layers.

    Parameters
    ----------
    in_grids : tuple of ActGrid
        Grids of the sources' tensors.
    terms : tuple of int
        Weight terms of the sources.
    weight_quantizer, out_quantizer : Quantizer
        Shared between layers where tensors are shared.
    preactivation : Preactivation or None
        The grid of y for activation functions other than ReLU.
    follows : bool
        True if the weights are ones and the result's scale follows from them.
    weight_factor : int
        Factor that turns the quantizer's integers into values of the native grid.

    Attributes
    ----------
    given : GivenCodes or None
        The codes of the layer in its original quantized model, until it is trained or its
        parameters are changed.
    """

    def __init__(
        self,
        plan: LayerPlan,
        spec: QuantSpec,
        values: Mapping[str, Tensor],
        in_grids: tuple[ActGrid, ...],
        terms: tuple[int, ...],
        grid: ActGrid,
        *,
        weight_quantizer: Quantizer | None,
        out_quantizer: Quantizer,
        preactivation: Preactivation | None,
        follows: bool,
        is_output: bool,
        weight_factor: int,
    ) -> None:
        super().__init__(plan, values, weight_quantizer, out_quantizer)
        self.weight_factor = weight_factor
        self.spec, self.grid, self.is_output = spec, grid, is_output
        self.sources, self.in_grids, self.terms = plan.sources, in_grids, terms
        self.follows, self.preactivation = follows, preactivation
        self.given: GivenCodes | None = None
        self.relaxations: list[Relaxation[QuantLayer]] = []

    def _wanted_step(
        self,
        weights: tuple[Tensor, ...],
        scales: list[Tensor],
        plain: Tensor | None,
        factor: Tensor | None,
    ) -> Tensor:
        """Return the accumulator step ``[oc]`` for the scales of the first source's weights;
        without one, the finest that weights allow. ``plain`` and ``factor`` are results of
        :meth:`_folded`."""
        if (quantizer := self.weight_quantizer) is not None:
            scale = quantizer.scale(weights[0] if plain is None else plain) / self.weight_factor
            scale = scale if factor is None else scale * factor.detach().abs().double()
            return (scale * scales[0]).expand(self.plan.shape[0])
        units = torch.stack(
            [w.detach().abs().amax().double() * s for w, s in zip(weights, scales, strict=True)]
        )
        if self.plan.weightless and len(weights) > 1 and bool((units == units[0]).all()):
            return units[0].expand(self.plan.shape[0])  # weights of 1 and -1
        finest = [
            w.detach().abs().amax((1, 2, 3)).double() * s / self.spec.weight_contiguous(t)
            for w, s, t in zip(weights, scales, self.terms, strict=True)
        ]
        return torch.stack(finest).amax(0)

    def _step_floor(
        self, weights: tuple[Tensor, ...], scales: list[Tensor], bias: Tensor, y_scale: Tensor
    ) -> Tensor:
        """Return the smallest accumulator step at which further sources fit their grids, and the
        accumulator fits its bits."""
        floors = [self.spec.finest_step(y_scale).expand_as(bias)]
        reach = bias.detach().abs()
        for w, s, g in zip(weights, scales, self.in_grids, strict=True):
            reach = reach + w.detach().abs().sum((1, 2, 3)).double() * s * max(g.high, -g.low)
        floors.append(reach * (_HEADROOM * 2.0 ** (1 - self.spec.acc_bits)))
        start = 1 if self.weight_quantizer is not None else 0
        for w, s, t in list(zip(weights, scales, self.terms, strict=True))[start:]:
            floors.append(
                w.detach().abs().amax((1, 2, 3)).double()
                * s
                * _MARGIN
                / self.spec.weight_grid(t).max
            )
        return torch.stack(floors).amax(0)

    def arithmetic(self, in_scales: list[Tensor]) -> Arithmetic:
        """Return integer weights and requantization for inputs with the given scales (float64, of
        one level each)."""
        scales = [s.detach() for s in in_scales]
        first, plain, factor = self._folded(0)
        others = (self._folded(i)[0] for i in range(1, len(self.plan.sources)))
        weights = (first, *others)
        if self.given is not None:
            bias = exact_bias(self.plan, self.values, self.out_quantizer.log_scale)
            out_scale = self.out_quantizer.scale()
            still = self.given.holds(weights, bias, scales, out_scale)
            if still and not self.relaxations:
                return self._given_arithmetic(self.given, bias)
            self._leave_given()
        bias = self.real_bias()
        if self.training and self.weight_quantizer is not None:
            self.weight_quantizer.observe(first if plain is None else plain)
        out_scale = self.out_quantizer.scale()
        pre = self.preactivation
        y_grid = self.grid if pre is None else pre.grid
        y_scale = out_scale.detach() * 2.0**-y_grid.pre_shift if pre is None else pre.step
        if self.follows:
            step = (scales[0] * abs(self.plan.sources[0].scale)).expand_as(bias)
        else:
            step = self._wanted_step(weights, scales, plain, factor)
            floor = self._step_floor(weights, scales, bias, y_scale)
            step = torch.maximum(step, floor)
            if not math.isfinite(float((step.detach() / y_scale).max())):
                raise QuantizationError(
                    f"{self.plan.name} ({self.plan.location}): parameters or scales have become "
                    "NaN or infinite: the training diverged; lower the learning rate"
                )
        fmt = self.spec.params
        steps = fmt.nearest_step((y_scale / step).detach(), torch)
        if self.follows:  # the weights are ones, so it is the scale of y that moves
            y_scale = step[0].detach() * steps[0]
            out_scale = out_scale if pre else y_scale * 2.0**y_grid.pre_shift
        else:
            step = step + (y_scale / steps - step).detach()
        integers = tuple(
            self._used_weights(i, w, step, s, plain if i == 0 else None, factor)
            for i, (w, s) in enumerate(zip(weights, scales, strict=True))
        )
        base = bias.detach() / step.detach() + steps * (0.5 - y_grid.centre - y_grid.offset)
        requantization = Requantization(
            fmt.nearest_base(base, torch),
            steps,
            y_grid,
            self._limit(out_scale),
            isinstance(self.plan.activation, Relu),
            self.is_output and pre is None,
            self.out_quantizer if pre is None else None,
        )
        return Arithmetic(integers, requantization, bias, step.detach(), y_scale, out_scale)

    def _leave_given(self) -> None:
        """Drop the codes of the quantized model; the layer uses its own."""
        if self.given is not None and self.given.quantizer.thresholds is not None:
            raise QuantizationError(
                f"{self.plan.name} ({self.plan.location}): its thresholds are for the weights and "
                "scales of the model, which must not change: train the model before it has any"
            )
        self.given = None

    def _given_arithmetic(self, given: GivenCodes, bias: Tensor) -> Arithmetic:
        """Return the arithmetic of the quantized model."""
        found, device = given.found, bias.device
        out_scale = torch.tensor(given.out_scale, dtype=torch.float64, device=device)
        requantization = Requantization(
            found.base.to(device),
            found.step.to(device),
            given.grid,
            None,
            tie=found.tie.to(device),
            table=found.table.to(device),
        )
        weights = tuple(w.to(device) for w in given.weights)
        return Arithmetic(
            weights, requantization, bias, given.step.to(device), out_scale, out_scale
        )

    @property
    def exactness(self) -> Exactness | None:
        """Exactness of the layer's :attr:`given` codes; None without such codes."""
        return None if self.given is None else self.given.found.exactness

    def _used_weights(
        self,
        index: int,
        weight: Tensor,
        step: Tensor,
        in_scale: Tensor,
        plain: Tensor | None,
        factor: Tensor | None,
    ) -> Tensor:
        """Return the integer weights of a source, possibly replaced by relaxations."""
        if plain is None or self.follows:
            integers = self._integer_weights(index, weight, step, in_scale)
        else:
            integers = self._method_weights(plain, factor, step / in_scale)
        if self.relaxations:
            scale = (step.detach() / in_scale).to(weight.dtype)
            real = weight / scale.view(-1, 1, 1, 1)
            for relaxation in self.relaxations:
                integers = relaxation.weights(self, index, real, integers)
        return integers

    def _integer_weights(
        self, index: int, weight: Tensor, step: Tensor, in_scale: Tensor
    ) -> Tensor:
        if self.follows:
            source = self.plan.sources[index]
            return (window(source) * math.copysign(1, source.scale)).to(weight)
        if index == 0 and self.weight_quantizer is not None:
            scale = step / in_scale * self.weight_factor
            return self.weight_quantizer.quantize(weight, scale) * self.weight_factor
        scale = (step.detach() / in_scale).to(weight.dtype)
        return quantize_ste(weight, scale, self.spec.weight_grid(self.terms[index]))

    def _method_weights(self, plain: Tensor, factor: Tensor | None, scale: Tensor) -> Tensor:
        """Return the integers of a kernel quantized before its batch norms, with ``scale`` after
        them: the magnitude of the norms' factor is part of the scale, its sign part of the
        integers. A channel with a factor of 0 is 0."""
        assert self.weight_quantizer is not None
        scale = scale * self.weight_factor
        if factor is None:
            return self.weight_quantizer.quantize(plain, scale) * self.weight_factor
        size = factor.detach().abs()
        size = torch.where(size > 0, size, 1.0)
        integers = self.weight_quantizer.quantize(plain, scale / size.double())
        return integers * (factor / size * self.weight_factor).to(plain.dtype).view(-1, 1, 1, 1)

    def _limit(self, out_scale: Tensor) -> float | None:
        activation = self.plan.activation
        if not isinstance(activation, Relu) or activation.limit is None:
            return None
        return activation.limit / float(out_scale.detach())

    def sums(self, arithmetic: Arithmetic, inputs: list[Levels]) -> Tensor:
        """Return the exact accumulators of the hardware, before the bias."""
        acc = self._sum(arithmetic, inputs, lambda source: True)
        assert acc is not None
        return acc

    def _sum(
        self,
        arithmetic: Arithmetic,
        inputs: list[Levels],
        of: Callable[[SourcePlan], bool],
        acc: Tensor | None = None,
    ) -> Tensor | None:
        """Return ``acc`` plus the sources for which ``of`` holds."""
        for source, weight, x in zip(self.sources, arithmetic.weights, inputs, strict=True):
            if of(source):
                acc = accumulate(acc, x.levels, weight, source)
        return acc

    def _normalized(self, a: Arithmetic, inputs: list[Levels]) -> tuple[Arithmetic, Tensor]:
        """Return arithmetic and accumulators in which batch norms use the statistics of the
        batch."""
        total = None
        for norm in self._norms:
            acc = self._sum(a, inputs, partial(_has, norm))
            factor = self._factor((norm,))
            assert acc is not None
            assert factor is not None
            offset = self._offset(norm)
            part = normalize(acc, norm, factor.detach(), a.step, offset, self.values)
            total = part if total is None else total + part
        norms = set(self._norms)
        total = self._sum(a, inputs, lambda source: norms.isdisjoint(source.norms), total)
        assert total is not None
        rest = self.real_bias(lambda b: b.term not in norms and norms.isdisjoint(b.norms))
        r = a.requantization
        base = r.base + (rest.detach() - a.bias.detach()) / a.step
        return replace(a, requantization=replace(r, base=base), bias=rest), total

    def forward(self, inputs: list[Levels]) -> Levels:
        """Return output levels; the accumulators equal those of the hardware exactly, except for
        batch norms in training with :attr:`batch_statistics`."""
        if self.training and torch.is_grad_enabled():
            self._leave_given()
        a = self.arithmetic([x.scale for x in inputs])
        if self.normalizing:
            a, acc = self._normalized(a, inputs)
        else:
            acc = self.sums(a, inputs)
        return self._result(a, acc)

    def result(self, a: Arithmetic, inputs: list[Levels]) -> Levels:
        """Return output levels with ``a``, the previously computed :meth:`arithmetic` of the
        layer."""
        return self._result(a, self.sums(a, inputs))

    def _result(self, a: Arithmetic, acc: Tensor) -> Levels:
        for relaxation in self.relaxations:
            if (relaxed := relaxation.output(self, a, acc)) is not None:
                return Levels(relaxed, a.out_scale)
        if self.preactivation is None:
            levels = a.requantization(acc, a.bias, a.step, a.out_scale)
        else:
            y = a.requantization(acc, a.bias, a.step, a.y_scale)
            levels = lookup(
                y, a.y_scale, a.out_scale, self._function(), self.preactivation, self.out_quantizer
            )
        return Levels(levels, a.out_scale)

    def _function(self) -> Unary:
        assert isinstance(self.plan.activation, Unary)
        return self.plan.activation

    def deploy(self, in_scales: list[Tensor]) -> Deployed:
        """Return the same arithmetic in the accelerator's form. Raise ``QuantizationError`` while a
        training strategy replaces the layer's rounding."""
        if not all(r.deployable for r in self.relaxations):
            raise QuantizationError(
                f"{self.plan.name} ({self.plan.location}): a training strategy still replaces its "
                "rounding; finish the strategy before convert"
            )
        a = self.arithmetic(in_scales)
        r, pre = a.requantization, self.preactivation
        if pre is None:
            table = table_of(r.grid, r.limit, r.rectified, self.out_quantizer.round)
            table = table if r.table is None else hardware_table(r.table, self.grid.zero)
        else:
            window = self.out_quantizer.window
            levels = pre.table(self._function(), a.y_scale, a.out_scale, window)
            table = hardware_table(levels, self.grid.zero)
        tie = torch.zeros_like(r.step) if r.tie is None else r.tie
        return Deployed(a.weights, r.base, r.step, tie, table, a.out_scale)


def _has(norm: BatchNorm, source: SourcePlan) -> bool:
    return norm in source.norms
