"""Jacobian adversarially regularized training (JARN, Chan et al., ICLR 2020, arXiv 1912.10185): the
network's input gradient is trained to look like an image, which makes the network harder to attack.

An adaptor turns the gradient J of the target class's probability into an image J'; a discriminator
distinguishes J' from real images; the classifier and the adaptor learn to deceive it, which needs
the second derivative through the quantizers (straight-through ones are linear in the gradient, so
that it is finite). Both helpers are removed after training.

As in the authors' code, J and images have mean 0 and length 1 per sample; the adaptor is a 1x1
convolution and tanh; the discriminator has up to five 4x4 convolutions of stride 2 (as many as the
image has room for), batch norm and leaky ReLU 0.1; images get noise of ``epsilon``; the
discriminator learns in every ``every``-th step, and the term is active from progress ``active`` on.
"""

import math
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from sigbit.errors import QuantizationError
from sigbit.ir.convolution import row_major_convolutions
from sigbit.quant.plan.plans import InputPlan
from sigbit.quant.strategies.attacks import fgsm, pass_input_gradients, pgd, robust_accuracy
from sigbit.quant.strategies.base import Hooked, Run, Step, check, device_of


def normalized(x: Tensor) -> Tensor:
    """Return every sample of ``[N, C, H, W]`` with mean 0 and length 1."""
    x = x - x.mean((1, 2, 3), keepdim=True)
    return x / (x.square().sum((1, 2, 3), keepdim=True) + 1e-12).sqrt()


class Discriminator(nn.Module):
    """Two logits per image: generated (0) or real (1)."""

    def __init__(self, channels: int, height: int, width: int, base: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        size, before, after = min(height, width), channels, base
        while len(layers) < 3 * 5 and size >= 2:
            layers += [
                nn.Conv2d(before, after, 4, 2, 1),
                nn.BatchNorm2d(after, momentum=0.1),
                nn.LeakyReLU(0.1),
            ]
            size, before, after = size // 2, after, 2 * after
        self.body = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head = nn.Linear(before, 2)

    def forward(self, x: Tensor) -> Tensor:
        """``[N, 2]``."""
        result: Tensor = self.head(self.body(x))
        return result


class Jarn(Hooked):
    """JARN, for classifiers of images.

    Parameters
    ----------
    strength : float
        lambda of the adversarial term.
    epsilon : float
        Half range of the noise on images, and of the attacks in its evaluation; in units of the
        network's inputs, which differ from those of pixels if inputs are normalized.
    active : float
        Progress from which the term is active.
    every : int
        Steps of the classifier per step of the discriminator.
    base : int
        Channels of the discriminator's first layer, doubled in each further one.
    helper_lr : float, optional
        Learning rate of adaptor and discriminator; that of the run if absent.
    helper_weight_decay : float
        Weight decay of adaptor and discriminator.
    """

    adaptor: nn.Module
    discriminator: nn.Module

    def __init__(
        self,
        strength: float = 1.0,
        *,
        epsilon: float = 8 / 255,
        active: float = 0.875,
        every: int = 20,
        base: int = 32,
        helper_lr: float | None = None,
        helper_weight_decay: float = 2e-4,
    ) -> None:
        super().__init__()
        check(strength >= 0, "strength", "at least 0", strength)
        check(epsilon >= 0, "epsilon", "at least 0", epsilon)
        check(0 <= active <= 1, "active", "in [0, 1]", active)
        check(every >= 1, "every", "at least 1", every)
        check(base >= 1, "base", "at least 1", base)
        self.strength, self.epsilon, self.active, self.every = strength, epsilon, active, every
        self.base, self.helper_lr, self.helper_weight_decay = base, helper_lr, helper_weight_decay

    def start(self, run: Run) -> None:
        """Create adaptor and discriminator; pass gradients through the network's input."""
        super().start(run)
        shapes = [p.shape for p in run.model.plan.layers if isinstance(p, InputPlan)]
        if len(shapes) != 1 or min(shapes[0][1:]) < 2 or len(run.model.plan.outputs) != 1:
            raise QuantizationError(
                "jarn is for classifiers of one image; this network has inputs of "
                f"{', '.join(map(str, shapes))} and {len(run.model.plan.outputs)} outputs"
            )
        (channels, height, width), device = shapes[0], device_of(run.model)
        dtype = next(run.model.parameters()).dtype
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(run.seed)
            adaptor = nn.Sequential(nn.Conv2d(channels, channels, 1), nn.Tanh())
            discriminator = Discriminator(channels, height, width, self.base)
        self.adaptor = adaptor.to(device, dtype)
        self.discriminator = discriminator.to(device, dtype)
        self.keep(pass_input_gradients(run.model))

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Parameters of adaptor and discriminator."""
        group: dict[str, Any] = {
            "params": list(self.parameters()),
            "weight_decay": self.helper_weight_decay,
        }
        return [group if self.helper_lr is None else group | {"lr": self.helper_lr}]

    def _is_active(self, step: Step) -> bool:
        return step.progress >= self.active

    def batch(self, step: Step) -> None:
        """Add noise to the images, and let them get gradients."""
        if self._is_active(step):
            x = step.x.detach()
            noise = torch.rand(
                x.shape, generator=self.random.generator, device=x.device, dtype=x.dtype
            )
            step.x = (x + (noise * 2 - 1) * self.epsilon).requires_grad_()

    @row_major_convolutions()
    def loss(self, step: Step) -> Tensor | None:
        """Train the classifier and the adaptor to deceive, and the discriminator in its turn."""
        if not self._is_active(step):
            return None
        assert step.output is not None
        if step.output.dim() != 2 or not step.x.requires_grad:
            raise QuantizationError(
                "jarn needs outputs [batch, classes] of the very images that its batch hook gives; "
                f"the output has shape {list(step.output.shape)}"
            )
        probability = step.output.softmax(1).gather(1, step.y[:, None]).sum()
        (jacobian,) = torch.autograd.grad(probability, step.x, create_graph=True)
        images = step.x.detach()
        made, real = self.adaptor(normalized(jacobian)), normalized(images)
        labels = torch.arange(2, device=images.device).repeat_interleave(len(images))
        fixed = {k: v.detach() for k, v in self.discriminator.named_parameters()}
        still = {k: v.clone() for k, v in self.discriminator.named_buffers()}
        logits = functional_call(
            self.discriminator, fixed | still, (torch.cat([made, real.to(made)]),)
        )
        total = -self.strength * F.cross_entropy(logits, labels)
        if step.number % self.every == 0:
            learned = self.discriminator(torch.cat([made.detach(), real.to(made)]))
            total = total + F.cross_entropy(learned, labels)
        return total

    def measures(self, x: Tensor, y: Tensor) -> dict[str, float]:
        """Accuracy on images attacked within ``epsilon``, of the quantized network and of its
        twin: by FGSM, and by 20 steps of PGD."""
        device = device_of(self.run.model)
        x, y = x.to(device), y.to(device)
        bounds = self.run.model.spec.input_range or (-math.inf, math.inf)
        attacks = {
            "fgsm": partial(fgsm, epsilon=self.epsilon, bounds=bounds),
            "pgd": partial(pgd, epsilon=self.epsilon, bounds=bounds, seed=self.run.seed),
        }
        models = {"": self.run.model, "_float": self.run.twin}
        return {
            name + of: robust_accuracy(model, x, y, attack)
            for name, attack in attacks.items()
            for of, model in models.items()
        }
