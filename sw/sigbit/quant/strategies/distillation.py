"""Joint knowledge distillation (Zhuang et al., CVPR 2018 and TPAMI 2021): a full-precision teacher
is trained at the same time, and both learn from each other.

Mutual form, of the outputs z_s of the quantized network and z_t of the teacher at temperature T:

    L_s = c_s task(z_s) + d_s T^2 KL(softmax(z_t / T) || softmax(z_s / T))      z_t without gradient
    L_t = c_t task(z_t) + d_t T^2 KL(softmax(z_s / T) || softmax(z_t / T))      z_s without gradient

Guided form, for feature maps F: both get ``guide * distance(F_s, Q(F_t))``, where the teacher's map
first passes through the quantizer of the network's own. The student's task weight is included: the
loop's own task loss is scaled by c_s.

The two losses share no gradients, so that one backward pass and one optimizer are equivalent to
two.
"""

import copy
from collections.abc import Mapping
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from sigbit.errors import QuantizationError
from sigbit.ir.convolution import row_major_convolutions
from sigbit.quant.layers.layer import QuantLayer
from sigbit.quant.layers.values import Levels
from sigbit.quant.numbers.grid import fake_quantize
from sigbit.quant.strategies.base import Run, Step, Strategy, check

Distance = Literal["l1", "l2"]
"""Distance of feature maps: mean |a - b|, or half the mean of the squares."""


def soft_cross(target: Tensor, output: Tensor, temperature: float) -> Tensor:
    """``T^2 KL(softmax(target / T) || softmax(output / T))`` over dimension 1, averaged over all
    other dimensions; ``target`` gets no gradient. A single logit stands for a binary decision."""
    if target.shape[1] == 1:
        target = torch.cat([target, torch.zeros_like(target)], 1)
        output = torch.cat([output, torch.zeros_like(output)], 1)
    a = F.log_softmax(target.detach() / temperature, 1)
    b = F.log_softmax(output / temperature, 1)
    return temperature**2 * (a.exp() * (a - b)).sum(1).mean()


class Distillation(Strategy):
    """A teacher that is trained together with the network.

    Parameters
    ----------
    task, mutual : float
        c_s and d_s, of the quantized network.
    teacher_task, teacher_mutual : float
        c_t and d_t, of the teacher.
    temperature : float
        T.
    teacher_lr : float, optional
        Learning rate of the teacher; that of the run if absent.
    teacher_weight_decay : float
        Weight decay of the teacher's matrices.
    features : mapping of str to str
        For the guided form: tensors of the prepared network by name, and the modules of the twin
        that produce them.
    guide : float
        Strength of the guided form.
    distance : "l1" or "l2"
        Distance of feature maps.
    """

    teacher: nn.Module

    def __init__(
        self,
        *,
        task: float = 0.5,
        mutual: float = 0.5,
        teacher_task: float = 1.0,
        teacher_mutual: float = 0.5,
        temperature: float = 1.0,
        teacher_lr: float | None = None,
        teacher_weight_decay: float = 1e-4,
        features: Mapping[str, str] | None = None,
        guide: float = 0.1,
        distance: Distance = "l2",
    ) -> None:
        super().__init__()
        for name, value in (
            ("task", task),
            ("mutual", mutual),
            ("teacher_task", teacher_task),
            ("teacher_mutual", teacher_mutual),
            ("guide", guide),
        ):
            check(value >= 0, name, "at least 0", value)
        check(temperature > 0, "temperature", "positive", temperature)
        check(distance in get_args(Distance), "distance", f"in {get_args(Distance)}", distance)
        self.task, self.mutual, self.temperature = task, mutual, temperature
        self.teacher_task, self.teacher_mutual = teacher_task, teacher_mutual
        self.teacher_lr, self.teacher_weight_decay = teacher_lr, teacher_weight_decay
        self.features, self.guide, self.distance = dict(features or {}), guide, distance
        self._student: dict[str, tuple[QuantLayer, Levels]] = {}
        self._maps: dict[str, Tensor] = {}
        self._handles: list[RemovableHandle] = []

    def start(self, run: Run) -> None:
        """Copy the twin, which itself remains unchanged."""
        super().start(run)
        self.teacher = copy.deepcopy(run.twin).train()
        for parameter in self.teacher.parameters():
            parameter.requires_grad_(True)
        modules = dict(self.teacher.named_modules())
        for tensor, name in self.features.items():
            if name not in modules:
                raise QuantizationError(
                    f"distillation: the twin has no module {name!r}; it has "
                    f"{', '.join(repr(n) for n in modules if n)}"
                )
            layers = {
                p.name: m
                for p in run.model.plan.layers
                if isinstance(m := run.model.quant_module(p.name), QuantLayer)
            }
            if tensor not in layers:
                raise QuantizationError(
                    f"distillation: the network has no layer {tensor!r}; it has "
                    f"{', '.join(map(repr, layers))}"
                )
            self._listen(tensor, layers[tensor], modules[name])

    def _listen(self, tensor: str, layer: QuantLayer, module: nn.Module) -> None:
        def student(module: nn.Module, inputs: object, result: Levels) -> None:
            self._student[tensor] = (layer, result)

        def teacher(module: nn.Module, inputs: object, result: Tensor) -> None:
            self._maps[tensor] = result

        self._handles.append(layer.register_forward_hook(student))
        self._handles.append(module.register_forward_hook(teacher))

    def parameter_groups(self) -> list[dict[str, Any]]:
        """The teacher's parameters."""
        parameters = list(self.teacher.parameters())
        groups = [
            {
                "params": [p for p in parameters if p.dim() > 1],
                "weight_decay": self.teacher_weight_decay,
            },
            {"params": [p for p in parameters if p.dim() <= 1], "weight_decay": 0.0},
        ]
        rate = {} if self.teacher_lr is None else {"lr": self.teacher_lr}
        return [g | rate for g in groups if g["params"]]

    @row_major_convolutions()
    def loss(self, step: Step) -> Tensor:
        """Losses of both networks, minus the part of the task loss that the loop adds."""
        assert step.output is not None
        assert step.task_loss is not None
        z_t, z_s = self.teacher(step.x.detach()), step.output
        student = (self.task - 1) * step.task_loss + self.mutual * soft_cross(
            z_t, z_s, self.temperature
        )
        teacher = self.teacher_task * self.run.task_loss(z_t, step.y)
        teacher = teacher + self.teacher_mutual * soft_cross(z_s, z_t, self.temperature)
        return student + teacher + self._guidance()

    def _guidance(self) -> Tensor | float:
        """The guided form: each network is drawn to the other's feature maps."""
        total: Tensor | float = 0.0
        for tensor, (layer, result) in self._student.items():
            scale = result.scale.detach().to(result.levels.dtype)
            ours = result.levels * scale
            theirs = fake_quantize(self._maps[tensor].reshape_as(ours), scale, layer.grid.levels)
            for a, b in ((ours, theirs.detach()), (theirs, ours.detach())):
                total = total + self.guide * self._distance(a - b)
        self._student, self._maps = {}, {}
        return total

    def _distance(self, difference: Tensor) -> Tensor:
        if self.distance == "l1":
            return difference.abs().mean()
        return 0.5 * difference.square().mean()

    def finish(self) -> None:
        """Remove the teacher from the network."""
        for handle in self._handles:
            handle.remove()
        self._handles = []
