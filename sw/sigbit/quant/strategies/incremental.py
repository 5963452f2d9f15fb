"""Incremental network quantization (INQ, Zhou et al. 2017): the largest weights are frozen at their
quantized values and the others are trained further in full precision, until all are frozen.

Frozen weights keep their integer and their parameter, bit for bit, regardless of the optimizer;
weights that are not frozen are not rounded in training. Scales remain those of the pretrained
network, as the exponents do in the publication. The quantizer ``inq`` stores its frozen weights
itself; for any other quantizer they are the strategy's state. Levels that move (``lq-nets``) and
soft ones (``qn``) cannot be frozen. Between portions the publication resets the learning rate,
which is a matter of the run's schedule.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from sigbit.errors import QuantizationError
from sigbit.quant.layers.layer import QuantLayer
from sigbit.quant.layers.sources import kernel
from sigbit.quant.layers.values import Relaxation
from sigbit.quant.quantizers.inq import Inq
from sigbit.quant.quantizers.lq_nets import LqNets
from sigbit.quant.quantizers.qn import QuantizationNetwork
from sigbit.quant.strategies.base import Run, Step, Strategy, check, users, weighted_layers
from sigbit.quant.strategies.levels import rounded_input


class Freezer(Relaxation[QuantLayer]):
    """Weights of which those under ``mask`` are the integers ``levels``."""

    def __init__(self, mask: Tensor, levels: Tensor) -> None:
        self.mask, self.levels = mask, levels
        self.portion = 0.0

    @property
    def deployable(self) -> bool:
        """True if all weights are frozen."""
        return bool(self.mask.all())

    def weights(self, layer: QuantLayer, index: int, real: Tensor, integers: Tensor) -> Tensor:
        """Frozen weights as integers, the others as real numbers."""
        if index:
            return integers
        if self.portion:
            self.freeze(layer.kernel_of_method().detach().abs(), integers.detach())
        free = real if layer.training else integers
        return torch.where(self.mask, self.levels.to(real.dtype), free)

    def freeze(self, size: Tensor, integers: Tensor) -> None:
        """Freeze the weights of the largest ``size`` until ``portion`` of all are frozen."""
        wanted = round(self.portion * size.numel()) - int(self.mask.sum())
        self.portion = 0.0
        if wanted > 0:
            free = size.masked_fill(self.mask, -1.0).flatten()
            chosen = torch.zeros_like(self.mask).flatten()
            chosen[free.topk(wanted).indices] = True
            chosen = chosen.view_as(self.mask)
            self.mask |= chosen
            self.levels.copy_(torch.where(chosen, integers.to(self.levels.dtype), self.levels))


class Incremental(Strategy):
    """INQ's schedule, with any grid.

    Parameters
    ----------
    portions : sequence of float
        Fraction of each layer's weights that are frozen, accumulated, ascending to 1.
    at : sequence of float, optional
        Progress at which each portion is frozen, ascending from 0, each below 1; equally spaced if
        absent.
    first_last : bool
        Include the first and the last layers; otherwise they are quantized throughout.
    """

    def __init__(
        self,
        portions: Sequence[float] = (0.5, 0.75, 0.875, 1.0),
        *,
        at: Sequence[float] | None = None,
        first_last: bool = True,
    ) -> None:
        super().__init__()
        portions = tuple(portions)
        ascending = bool(portions) and list(portions) == sorted(set(portions))
        check(
            ascending and portions[0] > 0 and portions[-1] == 1,
            "portions",
            "ascending, above 0, and end at 1",
            portions,
        )
        times = tuple(i / len(portions) for i in range(len(portions))) if at is None else tuple(at)
        check(
            len(times) == len(portions) and list(times) == sorted(times) and times[0] >= 0,
            "at",
            f"{len(portions)} ascending numbers from 0 on",
            times,
        )
        check(times[-1] < 1, "at", "below 1", times)
        self.portions, self.at, self.first_last = portions, times, first_last
        self.freezers: dict[str, Freezer] = {}
        self._places: list[Tensor] = []
        self._held: list[Tensor] = []

    def start(self, run: Run) -> None:
        """Fix the scales; no weight is frozen yet."""
        super().start(run)
        self.layers = weighted_layers(run.model, first_last=self.first_last)
        for i, (name, layer) in enumerate(self.layers.items()):
            quantizer = layer.weight_quantizer
            assert quantizer is not None
            self._places.append(_places(layer, self._parameter(layer)))
            if isinstance(quantizer, Inq):
                continue
            if isinstance(quantizer, LqNets | QuantizationNetwork):
                raise QuantizationError(
                    f"incremental: the weights of {name!r} have no levels to be frozen at: those "
                    "of lq-nets move, those of qn are soft until its temperature has risen"
                )
            with torch.no_grad():
                weight, scale = rounded_input(layer)
                quantizer.give(scale.double().reshape(quantizer.log_scale.shape))
            for parameter in quantizer.parameters():
                parameter.requires_grad_(False)
            self.register_buffer(f"mask{i}", torch.zeros_like(weight, dtype=torch.bool))
            self.register_buffer(f"levels{i}", torch.zeros_like(weight, dtype=torch.int16))
            freezer = Freezer(self.get_buffer(f"mask{i}"), self.get_buffer(f"levels{i}"))
            self.freezers[name] = freezer
            for user in users(run.model, layer):  # before relaxations of other strategies
                user.relaxations.insert(0, freezer)

    def mask(self, name: str) -> Tensor:
        """Mask of the frozen weights ``[out, in / groups, kh, kw]`` of a layer."""
        quantizer = self.layers[name].weight_quantizer
        return quantizer.frozen if isinstance(quantizer, Inq) else self.freezers[name].mask

    def levels(self, name: str) -> Tensor:
        """Integers of a layer's frozen weights, at the same positions."""
        quantizer = self.layers[name].weight_quantizer
        return quantizer.fixed if isinstance(quantizer, Inq) else self.freezers[name].levels

    def _parameter(self, layer: QuantLayer) -> Tensor:
        name = layer.sources[0].weight
        assert name is not None
        parameter = self.run.model.parameter_of(name)
        if not parameter.is_leaf:
            raise QuantizationError(
                f"incremental: the parameter {name!r} is composed of others (deep_projection); "
                "use one of the two strategies"
            )
        return parameter

    def before_step(self, step: Step) -> None:
        """Request the portion of this step, which the forward pass freezes; record the frozen
        weights."""
        due = [p for p, t in zip(self.portions, self.at, strict=True) if step.progress >= t]
        portion = due[-1] if due else 0.0
        for freezer in self.freezers.values():
            freezer.portion = portion
        for layer in self.layers.values():
            if isinstance(layer.weight_quantizer, Inq):
                layer.weight_quantizer.freeze(layer.kernel_of_method().detach(), portion)
        with torch.no_grad():
            self._held = [
                self._parameter(layer).flatten()[places].clone()
                for layer, places in zip(self.layers.values(), self._places, strict=True)
            ]

    @torch.no_grad()
    def after_step(self, step: Step) -> None:
        """Restore frozen parameters to their values before the step."""
        for (name, layer), places, held in zip(
            self.layers.items(), self._places, self._held, strict=True
        ):
            flat = self._parameter(layer).view(-1)
            flat[places] = torch.where(self.mask(name), held, flat[places])

    def finish(self) -> None:
        """Check that all weights are frozen; the integers remain in force."""
        for name in self.layers:
            if missing := int((~self.mask(name)).sum()):
                raise QuantizationError(
                    f"incremental: {missing} weights of {name!r} are not frozen yet: train to the "
                    "end of the run"
                )


def _places(layer: QuantLayer, parameter: Tensor) -> Tensor:
    """Position of each weight ``[out, in / groups, kh, kw]`` of a layer in its parameter."""
    index = torch.arange(parameter.numel(), device=parameter.device).view(parameter.shape)
    return kernel(replace(layer.sources[0], scale=1.0), index)
