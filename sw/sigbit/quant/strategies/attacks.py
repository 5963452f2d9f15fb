"""Adversarial examples: FGSM (Goodfellow et al. 2015) and PGD (Madry et al. 2018), on float,
prepared and integer-equal models, and the remaining accuracy.

Straight-through gradients mask gradients: for claims of robustness, use at least 20 steps of PGD,
together with a transfer attack from the float twin.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from sigbit.ir.convolution import row_major_convolutions
from sigbit.quant.layers.plain import QuantInput
from sigbit.quant.layers.values import Levels

Loss = Callable[[Tensor, Tensor], Tensor]
Range = tuple[float, float]


def pass_input_gradients(model: nn.Module) -> list[RemovableHandle]:
    """Pass gradients straight through the network's inputs (inside their range), which otherwise
    stop them, until the returned handles are removed."""

    def through(module: nn.Module, inputs: tuple[Tensor, ...], result: Levels) -> Levels:
        assert isinstance(module, QuantInput)
        v = module.plan.axes.to_stored(inputs[0], module.plan.shape) / result.scale.to(
            inputs[0].dtype
        )
        v = v.clamp(module.low + module.grid.zero, module.high + module.grid.zero)
        return Levels(result.levels + (v - v.detach()), result.scale)

    return [m.register_forward_hook(through) for m in model.modules() if isinstance(m, QuantInput)]


@contextmanager
def input_gradients(model: nn.Module) -> Iterator[None]:
    """Context manager of :func:`pass_input_gradients`."""
    handles = pass_input_gradients(model)
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@row_major_convolutions()
def _ascent(model: nn.Module, x: Tensor, y: Tensor, loss: Loss) -> Tensor:
    """Sign of the gradient of the loss at ``x``; parameters get no gradient."""
    point = x.detach().requires_grad_()
    with torch.enable_grad():
        (gradient,) = torch.autograd.grad(loss(model(point), y), point)
    return gradient.sign()


def fgsm(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    epsilon: float,
    *,
    loss: Loss = F.cross_entropy,
    bounds: Range = (0.0, 1.0),
) -> Tensor:
    """``clip(x + epsilon sign(grad))``."""
    with input_gradients(model):
        return (x + epsilon * _ascent(model, x, y, loss)).clamp(*bounds).detach()


def pgd(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    epsilon: float,
    *,
    steps: int = 20,
    step: float | None = None,
    seed: int = 0,
    loss: Loss = F.cross_entropy,
    bounds: Range = (0.0, 1.0),
) -> Tensor:
    """``steps`` steps of ``step`` (epsilon / 4 if absent) along the sign of the gradient, from a
    random start, always within ``epsilon`` of ``x``."""
    size = epsilon / 4 if step is None else step
    generator = torch.Generator().manual_seed(seed)
    start = (torch.rand(x.shape, generator=generator) * 2 - 1).to(x) * epsilon
    point = (x + start).clamp(*bounds)
    with input_gradients(model):
        for _ in range(steps):
            point = point + size * _ascent(model, point, y, loss)
            point = torch.minimum(torch.maximum(point, x - epsilon), x + epsilon).clamp(*bounds)
    return point.detach()


@row_major_convolutions()
def robust_accuracy(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    attack: Callable[[nn.Module, Tensor, Tensor], Tensor],
    batch_size: int = 256,
) -> float:
    """Fraction of the images that are classified correctly under ``attack(model, x, y)``; the model
    is in evaluation mode during the attack."""
    training = model.training
    model.eval()
    right = 0
    for images, labels in zip(x.split(batch_size), y.split(batch_size), strict=True):
        attacked = attack(model, images, labels)
        with torch.no_grad():
            right += int((model(attacked).argmax(1) == labels).sum())
    model.train(training)
    return right / len(x)
