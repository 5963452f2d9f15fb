"""A quantized layer: sources with integer weights, one accumulator, requantization. The same
arithmetic in training and in the integer model.

Real values: ``w = scale_w[c] n_w``, ``x = scale_x n_x``, ``y = scale_y n_y``. One accumulator step
stands for ``S[c] = scale_w[c] scale_x``, the same for all sources of a layer, and ``S[c] / scale of
y`` must be a representable requantization scale (m/8 2^-s); so S, and with it the weights' scales,
snap to that grid before weights are rounded.

Batch norm is folded into weights and biases in every forward pass, with the running statistics of
the float model, which stay as they are; its weight and bias go on training. So training sees the
very weights that are deployed, and the scale and offset of each channel are as free as before.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sigbit.ir.floating import BatchNorm, pad
from sigbit.quant.fusion import LayerPlan, SourcePlan
from sigbit.quant.grid import quantize_ste
from sigbit.quant.quantizers import Quantizer
from sigbit.quant.requant import Requantization, rounding, scale_value, snap_scale
from sigbit.quant.scales import OUTPUT_RULE, ScaleRule, scale_rule
from sigbit.quant.spec import ActGrid, QuantSpec

_MARGIN = 17 / 16
"""Snapping a scale may lower it by up to 1/16."""
_SCALE_ROOM = 10
"""One step of y is worth at most ``2**(acc_bits - 10)`` accumulator steps."""
_HEADROOM = 1.25
"""By how much integers may exceed the real values that they stand for: rounding and snapping."""


@dataclass(frozen=True)
class Levels:
    """A tensor in training: integer ``levels`` (stored + zero, in floats) and the real ``scale`` of
    one level (float64).
    """

    levels: Tensor
    scale: Tensor


@dataclass(frozen=True)
class Deployed:
    """What a layer computes with: integer weights of each source (in floats), the requantization,
    real scales.
    """

    weights: tuple[Tensor, ...]
    requantization: Requantization
    bias: Tensor
    step: Tensor
    out_scale: Tensor


class QuantLayer(nn.Module):
    """One :class:`LayerPlan` with its quantizers; ``parameters_of`` are the float model's, by name,
    shared between layers.
    """

    def __init__(
        self,
        plan: LayerPlan,
        spec: QuantSpec,
        parameters_of: Mapping[str, Tensor],
        channels: tuple[int, ...],
        in_grids: tuple[ActGrid, ...],
        terms: tuple[int, ...],
        grid: ActGrid,
        is_output: bool,
    ) -> None:
        super().__init__()
        self.plan, self.spec, self.grid, self.is_output = plan, spec, grid, is_output
        self.channels, self.in_grids, self.terms = channels, in_grids, terms
        self._values = parameters_of
        self.weight_quantizer: Quantizer | None = None
        if plan.sources[0].dense:
            rule = scale_rule(spec.weight_scale)
            self.weight_quantizer = Quantizer(
                spec.weight_grid(terms[0]), rule, plan.shape[0] if spec.per_channel else None
            )
        self.out_quantizer = Quantizer(grid.levels, self._out_rule())

    def _out_rule(self) -> ScaleRule:
        if self.plan.averages:
            return scale_rule("mse")
        return OUTPUT_RULE if self.is_output else scale_rule(self.spec.act_scale)

    def _factor(self, norms: tuple[BatchNorm, ...]) -> Tensor | None:
        """The product of the batch norms' factors, ``[C]``."""
        factor = None
        for norm in norms:
            f = torch.rsqrt(self._values[norm.var] + norm.eps)
            f = f if norm.weight is None else f * self._values[norm.weight]
            factor = f if factor is None else factor * f
        return factor

    def real_weights(self) -> tuple[Tensor, ...]:
        """Weights ``[oc, ic or 1, kh, kw]`` of each source with batch norms folded in."""
        return tuple(
            self._real_weight(s, c) for s, c in zip(self.plan.sources, self.channels, strict=True)
        )

    def _real_weight(self, source: SourcePlan, channels: int) -> Tensor:
        factor = self._factor(source.norms)
        if source.weight is not None:
            weight = self._values[source.weight].view(self.plan.shape[0], channels, *source.kernel)
        else:
            weight = torch.full(
                (channels, 1, *source.kernel),
                source.constant,
                dtype=torch.float64,
                device=self.out_quantizer.log_scale.device,
            )
        return weight if factor is None else weight * factor.view(-1, 1, 1, 1)

    def real_bias(self) -> Tensor:
        """Bias ``[oc]`` (float64) with batch norms folded in."""
        device = self.out_quantizer.log_scale.device
        total = torch.zeros(self.plan.shape[0], dtype=torch.float64, device=device)
        for bias in self.plan.biases:
            if isinstance(bias.term, str):
                value = self._values[bias.term]
            else:
                factor = self._factor((bias.term,))
                assert factor is not None
                value = -self._values[bias.term.mean] * factor
                value = value if bias.term.bias is None else value + self._values[bias.term.bias]
            factor = self._factor(bias.norms)
            total = total + (value if factor is None else value * factor)
        return total

    def _wanted_step(self, weights: tuple[Tensor, ...], scales: list[Tensor]) -> Tensor:
        """The accumulator step ``[oc]`` that the first source's weights want; without one, as fine
        as weights allow.
        """
        if self.weight_quantizer is not None:
            return (self.weight_quantizer.scale(weights[0]) * scales[0]).expand(self.plan.shape[0])
        finest = [
            w.detach().double().abs().amax((1, 2, 3)) * s / self.spec.weight_contiguous(t)
            for w, s, t in zip(weights, scales, self.terms, strict=True)
        ]
        return torch.stack(finest).amax(0)

    def _step_floor(
        self, weights: tuple[Tensor, ...], scales: list[Tensor], bias: Tensor, y_scale: Tensor
    ) -> Tensor:
        """The least accumulator step at which further sources fit their grids, and the accumulator
        fits its bits.
        """
        floors = [(y_scale * 2.0 ** -(self.spec.acc_bits - _SCALE_ROOM)).expand_as(bias)]
        reach = bias.detach().abs()
        for w, s, g in zip(weights, scales, self.in_grids, strict=True):
            reach = reach + w.detach().double().abs().sum((1, 2, 3)) * s * max(g.high, -g.low)
        floors.append(reach * (_HEADROOM * 2.0 ** (1 - self.spec.acc_bits)))
        start = 1 if self.weight_quantizer is not None else 0
        for w, s, t in list(zip(weights, scales, self.terms, strict=True))[start:]:
            floors.append(
                w.detach().double().abs().amax((1, 2, 3))
                * s
                * _MARGIN
                / self.spec.weight_grid(t).max
            )
        return torch.stack(floors).amax(0)

    def deploy(self, in_scales: list[Tensor]) -> Deployed:
        """Integer weights and requantization for inputs of the given scales (float64, of one level
        each).
        """
        scales = [s.detach() for s in in_scales]
        weights, bias = self.real_weights(), self.real_bias()
        out_scale = self.out_quantizer.scale()
        y_scale = out_scale.detach() * 2.0**-self.grid.pre_shift
        if self.plan.averages:
            step = (scales[0] * self.plan.sources[0].constant).expand_as(bias)
        else:
            wanted = self._wanted_step(weights, scales)
            floor = self._step_floor(weights, scales, bias, y_scale)
            step = torch.maximum(wanted, floor)
        mantissa, shift = snap_scale(step / y_scale)
        ratio = scale_value(mantissa, shift)
        if self.plan.averages:  # the weights are ones, so it is the output's scale that moves
            y_scale = step[0].detach() / ratio[0]
            out_scale = y_scale * 2.0**self.grid.pre_shift
        else:
            step = step + (ratio * y_scale - step).detach()
        integers = tuple(
            self._integer_weights(i, w, step, s)
            for i, (w, s) in enumerate(zip(weights, scales, strict=True))
        )
        steps = bias.detach() / step.detach() - self.grid.offset / ratio + rounding(shift)
        requantization = Requantization(
            (steps + 0.5).floor(),
            mantissa,
            shift,
            self.grid,
            self._limit(out_scale),
            self.is_output,
        )
        return Deployed(integers, requantization, bias, step.detach(), out_scale)

    def _integer_weights(
        self, index: int, weight: Tensor, step: Tensor, in_scale: Tensor
    ) -> Tensor:
        if self.plan.averages:
            return torch.ones_like(weight)
        if index == 0 and self.weight_quantizer is not None:
            return self.weight_quantizer.quantize(weight, step / in_scale)
        scale = (step.detach() / in_scale).to(weight.dtype)
        return quantize_ste(weight, scale, self.spec.weight_grid(self.terms[index]))

    def _limit(self, out_scale: Tensor) -> float | None:
        activation = self.plan.activation
        if activation is None or activation.limit is None:
            return None
        return activation.limit / float(out_scale.detach())

    def forward(self, inputs: list[Levels]) -> Levels:
        """Output levels; the accumulators are those of the hardware, exactly."""
        deployed = self.deploy([x.scale for x in inputs])
        acc = None
        for source, weight, x in zip(self.plan.sources, deployed.weights, inputs, strict=True):
            acc = accumulate(acc, x.levels, weight, source)
        assert acc is not None
        levels = deployed.requantization(acc, deployed.bias, deployed.step, deployed.out_scale)
        return Levels(levels, deployed.out_scale)


def accumulate(acc: Tensor | None, x: Tensor, weight: Tensor, source: SourcePlan) -> Tensor:
    """``acc`` plus one source's convolution."""
    weight = weight.to(x.dtype)
    if not source.dense and source.kernel == (1, 1) and source.stride == (1, 1):
        scaled = weight.view(-1, 1, 1)
        return x * scaled if acc is None else torch.addcmul(acc, x, scaled)
    top, left, bottom, right = source.padding
    padding: tuple[int, int] | int = 0
    if (top, left) == (bottom, right):
        padding = (top, left)
    else:
        x = pad(x, source.padding)
    part = F.conv2d(
        x, weight, stride=source.stride, padding=padding, groups=1 if source.dense else x.shape[1]
    )
    return part if acc is None else acc + part
