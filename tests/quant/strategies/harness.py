"""A tiny network, a training loop in its shortest form, and comparisons."""

import copy
from collections.abc import Iterable, Iterator, Sequence
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sigbit.frontend import import_model
from sigbit.ir.floating import FloatGraph
from sigbit.quant import PreparedModel, QuantSpec, prepare
from sigbit.quant.strategies import Run, Step, Strategy, optimizer_groups

SIDE, CHANNELS, CLASSES, BATCH = 8, 1, 4, 16


class Net(nn.Module):
    """Stem, one residual block, linear classifier; batch norms with statistics of their own."""

    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.stem = nn.Conv2d(CHANNELS, width, 3, padding=1)
        self.conv1 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.pool = nn.AvgPool2d(SIDE)
        self.head = nn.Linear(width, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.stem(x))
        y = torch.relu(self.bn1(self.conv1(x)))
        y = torch.relu(self.bn2(self.conv2(y)) + x)
        return self.head(self.pool(y).flatten(1))


def data(steps: int, seed: int = 5) -> list[tuple[Tensor, Tensor]]:
    """Batches of images in [0, 1] whose class is the quadrant that is bright."""
    random = torch.Generator().manual_seed(seed)
    batches = []
    for _ in range(steps):
        y = torch.randint(CLASSES, (BATCH,), generator=random)
        x = torch.rand(BATCH, CHANNELS, SIDE, SIDE, generator=random) * 0.5
        for i, c in enumerate(y.tolist()):
            x[i, :, 4 * (c // 2) : 4 * (c // 2) + 4, 4 * (c % 2) : 4 * (c % 2) + 4] += 0.5
        batches.append((x, y))
    return batches


@cache
def twin() -> Net:
    """The float model, which no strategy changes."""
    torch.manual_seed(0)
    net = Net()
    for norm in (net.bn1, net.bn2):
        norm.running_mean.uniform_(-0.1, 0.1)
        norm.running_var.uniform_(0.5, 1.5)
        nn.init.uniform_(norm.weight, 0.5, 1.5)
    return net.eval()


@cache
def graph() -> FloatGraph:
    """The float model's graph."""
    return import_model(twin(), data(1)[0][0])


def prepared(net: nn.Module, **changes: object) -> PreparedModel:
    """``net`` in 4 bits, or as ``changes`` say."""
    source = graph() if net is twin() else import_model(net, data(1)[0][0])
    spec = QuantSpec(**{"act_scale": "mse", "input_range": (0.0, 1.0)} | changes)  # type: ignore[arg-type]
    x = data(2)[0][0]
    return prepare(source, spec, (x,), (x,))


class Training:
    """A run that can be saved and loaded between steps."""

    def __init__(
        self,
        model: PreparedModel,
        net: nn.Module,
        strategies: Sequence[Strategy],
        steps: int,
        *,
        lr: float = 0.05,
        seed: int = 3,
        momentum: float = 0.9,
        weight_decay: float = 1e-4,
    ) -> None:
        self.model, self.strategies, self.steps = model.train(), strategies, steps
        self.run = Run(model, net, steps, 1, F.cross_entropy, seed)
        for strategy in strategies:
            strategy.start(self.run)
        groups = optimizer_groups(model, strategies, weight_decay)
        self.optimizer = torch.optim.SGD(groups, lr=lr, momentum=momentum)
        self.done = 0

    def step(self, x: Tensor, y: Tensor) -> Step:
        """One step."""
        step = Step(self.done, self.done / self.steps, 0, x, y)
        for strategy in self.strategies:
            strategy.before_step(step)
            strategy.batch(step)
        output = self.model(step.x)
        assert isinstance(output, Tensor)
        step.output, step.task_loss = output, F.cross_entropy(output, y)
        extra = [loss for s in self.strategies if (loss := s.loss(step)) is not None]
        total = step.task_loss + sum(extra)
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()
        for strategy in self.strategies:
            strategy.after_backward(step)
        self.optimizer.step()
        for strategy in self.strategies:
            strategy.after_step(step)
        self.done += 1
        return step

    def __iter__(self) -> Iterator[Step]:
        for x, y in data(self.steps)[self.done :]:
            yield self.step(x, y)

    def train(self) -> None:
        """All steps that are left, and the end."""
        for _ in self:
            pass
        self.finish()

    def finish(self) -> None:
        """The end."""
        for strategy in reversed(self.strategies):
            strategy.finish()
        self.model.eval()

    def state(self) -> dict[str, object]:
        """A copy of everything."""
        return copy.deepcopy(
            {
                "model": self.model.state_dict(),
                "strategies": [s.state_dict() for s in self.strategies],
                "optimizer": self.optimizer.state_dict(),
                "done": self.done,
            }
        )

    def load(self, state: dict[str, object]) -> None:
        """Go on from ``state``."""
        self.model.load_state_dict(state["model"])  # type: ignore[arg-type]
        for s, saved in zip(self.strategies, state["strategies"], strict=True):  # type: ignore[call-overload]
            s.load_state_dict(saved)
        self.optimizer.load_state_dict(state["optimizer"])  # type: ignore[arg-type]
        self.done = state["done"]  # type: ignore[assignment]


def same_state(a: PreparedModel, b: PreparedModel) -> bool:
    """Whether two models have equal states."""
    left, right = a.state_dict(), b.state_dict()
    return left.keys() == right.keys() and all(torch.equal(left[k], right[k]) for k in left)


def total(tensors: Iterable[Tensor]) -> float:
    """Sum of the magnitudes."""
    return sum(float(t.abs().sum()) for t in tensors)
