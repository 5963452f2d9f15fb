"""Distillation from the float network, which is not trained (Hinton et al. 2015, arXiv 1503.02531):

    L = c task(z) + d T^2 KL(softmax(z_t / T) || softmax(z / T))

of the outputs z of the quantized network and z_t of the teacher at temperature T. Without the task
(c = 0), labels are not used.
"""

import copy
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from sigbit.ir.convolution import row_major_convolutions
from sigbit.quant.strategies.base import Run, Step, Strategy, check
from sigbit.quant.strategies.distillation import soft_cross


class FrozenTeacher(Strategy):
    """The float twin as a teacher.

    Parameters
    ----------
    task : float
        c, the weight of the loop's own loss.
    match : float
        d, the weight of the teacher's outputs.
    temperature : float
        T.
    """

    teacher: nn.Module

    def __init__(self, *, task: float = 0.0, match: float = 1.0, temperature: float = 1.0) -> None:
        super().__init__()
        check(task >= 0, "task", "at least 0", task)
        check(match > 0, "match", "positive", match)
        check(temperature > 0, "temperature", "positive", temperature)
        self.task, self.match, self.temperature = task, match, temperature

    def start(self, run: Run) -> None:
        """Copy the twin, which itself remains unchanged."""
        super().start(run)
        self.teacher = copy.deepcopy(run.twin).eval().requires_grad_(False)

    def train(self, mode: bool = True) -> "FrozenTeacher":
        """Set the mode of the strategy; the teacher stays in evaluation mode."""
        super().train(mode)
        if hasattr(self, "teacher"):
            self.teacher.eval()
        return self

    def parameter_groups(self) -> Iterable[dict[str, Any]]:
        """None: the teacher does not learn."""
        return []

    @row_major_convolutions()
    def loss(self, step: Step) -> Tensor:
        """The distance from the teacher, minus the part of the task loss that the loop adds."""
        assert step.output is not None
        assert step.task_loss is not None
        with torch.no_grad():
            wanted = self.teacher(step.x.detach()).reshape(step.output.shape)
        distance = soft_cross(wanted, step.output, self.temperature)
        return (self.task - 1) * step.task_loss + self.match * distance
