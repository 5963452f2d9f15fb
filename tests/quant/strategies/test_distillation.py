"""Joint distillation: the formulas, and who learns from whom."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from quant.strategies.harness import Training, data, prepared, total, twin
from sigbit.quant import QuantizationError
from sigbit.quant.strategies import Step, strategy
from sigbit.quant.strategies.distillation import Distillation, soft_cross

pytestmark = pytest.mark.network


def distillation(**options: object) -> Distillation:
    part = strategy("distillation", options)
    assert isinstance(part, Distillation)
    return part


def test_the_formula(seed: int) -> None:
    torch.manual_seed(seed)
    a, b = torch.randn(2, 6, 5, dtype=torch.float64)
    a.requires_grad_()
    b.requires_grad_()
    loss = soft_cross(a, b, 3.0)
    p, q = (a / 3).softmax(1), (b / 3).softmax(1)
    expected = 9 * (p * (p / q).log()).sum(1).mean()
    assert torch.allclose(loss, expected)
    loss.backward()
    assert a.grad is None
    assert torch.allclose(b.grad, 3 * (q - p) / 6)
    assert float(soft_cross(a, a.detach(), 2.0).detach()) == pytest.approx(0, abs=1e-12)
    binary = soft_cross(torch.randn(2, 1, 3, 3), torch.randn(2, 1, 3, 3), 1.0)
    assert float(binary) > 0


def losses(part: Distillation, training: Training) -> tuple[Tensor, Tensor, Tensor]:
    """(added loss, student's output, target) of one batch."""
    x, y = data(1)[0]
    step = Step(0, 0.0, 0, x, y)
    step.output = training.model(x)
    step.task_loss = F.cross_entropy(step.output, y)
    return part.loss(step), step.output, step.task_loss


@pytest.mark.parametrize("features", [{}, {"relu_1": "bn1"}], ids=["mutual", "guided"])
def test_no_gradient_crosses(features: dict[str, str]) -> None:
    net = twin()
    names = {p.name for p in prepared(net).plan.layers}
    features = {t: m for t, m in features.items() if t in names}
    model = prepared(net)
    own = [p for p in model.parameters() if p.requires_grad]
    for task, teacher in ((0.0, 1.0), (1.0, 0.0)):
        part = distillation(
            task=1.0,
            mutual=1 - teacher,
            teacher_task=teacher,
            teacher_mutual=teacher,
            features=features,
            guide=0.0,
        )
        training = Training(model, net, [part], 4)
        loss, _, _ = losses(part, training)
        mine = torch.autograd.grad(loss, own, allow_unused=True, retain_graph=True)
        theirs = torch.autograd.grad(loss, list(part.teacher.parameters()), allow_unused=True)
        left, right = (total(g for g in grads if g is not None) for grads in (mine, theirs))
        assert (left > 0) == (teacher == 0)
        assert (right > 0) == (teacher == 1)
        assert task in (0.0, 1.0)
        part.finish()


def test_the_loss_is_what_the_publication_adds_up() -> None:
    net = twin()
    part = distillation(task=0.7, mutual=0.4, teacher_task=1.0, teacher_mutual=0.5, temperature=2.0)
    training = Training(prepared(net), net, [part], 4)
    x, y = data(1)[0]
    part.teacher.eval()
    loss, z_s, task_loss = losses(part, training)
    z_t = part.teacher(x)
    expected = 0.7 * task_loss + 0.4 * soft_cross(z_t, z_s, 2.0)
    expected = expected + F.cross_entropy(z_t, y) + 0.5 * soft_cross(z_s, z_t, 2.0)
    assert torch.allclose(loss + task_loss, expected, rtol=1e-5)


def test_the_teacher_learns_and_the_twin_does_not() -> None:
    net = twin()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    part = distillation(teacher_lr=0.01)
    training = Training(prepared(net), net, [part], 5)
    rates = {g["lr"] for g in training.optimizer.param_groups}
    assert rates == {0.05, 0.01}
    training.train()
    assert all(torch.equal(before[k], v) for k, v in net.state_dict().items())
    after = part.teacher.state_dict()
    assert not torch.equal(after["conv1.weight"], before["conv1.weight"])


def test_features_are_drawn_together() -> None:
    net = twin()
    model = prepared(net)
    tensor = next(p.name for p in model.plan.layers[1:])
    part = distillation(features={tensor: "stem"}, guide=1.0, mutual=0.0, teacher_mutual=0.0)
    training = Training(model, net, [part], 4)
    loss, _, task_loss = losses(part, training)
    z_t = part.teacher(data(1)[0][0])
    plain = 0.5 * task_loss + F.cross_entropy(z_t, data(1)[0][1])
    assert bool(loss + task_loss > plain)
    training.train()
    with pytest.raises(QuantizationError, match="the twin has no module 'stam'; it has 'stem'"):
        Training(prepared(net), net, [distillation(features={tensor: "stam"})], 4)
    with pytest.raises(QuantizationError, match="the network has no layer 'nothing'; it has"):
        Training(prepared(net), net, [distillation(features={"nothing": "stem"})], 4)
