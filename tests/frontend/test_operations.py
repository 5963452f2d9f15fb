"""Every translated operation computes what PyTorch computes."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sigbit.frontend import UnsupportedModel, import_model

Function = Callable[[Tensor], Tensor | tuple[Tensor, ...]]


class Lambda(nn.Module):
    def __init__(self, function: Function) -> None:
        super().__init__()
        self._function = function

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        return self._function(x)


def check(model: nn.Module, *shape: int) -> None:
    torch.manual_seed(0)
    model = model.double().eval()
    x = torch.randn(2, *shape, dtype=torch.float64)
    graph = import_model(model, x)
    wanted = model(x)
    results = graph.results({graph.inputs[0].name: x})
    for got, want in zip(results, wanted if isinstance(wanted, tuple) else [wanted], strict=True):
        torch.testing.assert_close(got, want, rtol=1e-9, atol=1e-9)


W = torch.linspace(-1, 1, 12, dtype=torch.float64)
FUNCTIONS: dict[str, Function] = {
    "clamp": lambda x: x.clamp(-0.5, 0.25),
    "clamp_max": lambda x: x.clamp(max=0.25),
    "hardtanh": F.hardtanh,
    "leaky_relu": lambda x: F.leaky_relu(x, 0.2),
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "hardswish": F.hardswish,
    "hardsigmoid": F.hardsigmoid,
    "silu": F.silu,
    "mish": F.mish,
    "gelu": F.gelu,
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "elu": lambda x: F.elu(x, 0.7),
    "selu": F.selu,
    "softplus": lambda x: F.softplus(x, 2.0),
    "square": lambda x: x**2,
    "abs": torch.abs,
    "sub": lambda x: x - torch.sigmoid(x),
    "alpha": lambda x: torch.add(x, torch.sigmoid(x), alpha=3),
    "rsub": lambda x: 1 - x,
    "constants": lambda x: (2 * x + W[:12, None, None]) / 3 - 1,
    "gate": lambda x: x * torch.sigmoid(x.mean((2, 3), keepdim=True)),
    "gate_vector": lambda x: torch.sigmoid(x.mean((2, 3)))[:, :, None, None] * x,
    "shuffle": lambda x: x.view(2, 3, 4, 8, 6).transpose(1, 2).reshape(2, 12, 8, 6) * 2,
    "native_shuffle": lambda x: F.relu(F.channel_shuffle(x, 3)),
    "chunk": lambda x: torch.cat(x.chunk(3, 1)[::-1], 1),
    "split": lambda x: tuple(F.relu(p) for p in x.split([5, 7], 1)),
    "narrow": lambda x: F.relu(x.narrow(1, 2, 5)),
    "crop": lambda x: F.relu(x[:, 1:, 2:-1, 1:]),
    "strided": lambda x: F.relu(x[:, :, 1::3, ::2]),
    "zeros": lambda x: F.relu(F.pad(x[:, :, ::2, ::2], (0, 1, 2, 0, 3, 1)) + 1),
    "nhwc_linear": lambda x: F.linear(x.permute(0, 2, 3, 1).flatten(1), W.repeat(2, 48)),
    "part_linear": lambda x: F.linear(x[:, :, :1].flatten(1), W.repeat(2, 6)),
    "matmul": lambda x: x.mean((2, 3)) @ W.view(12, 1).repeat(1, 3),
    "nearest": lambda x: F.interpolate(x, scale_factor=(2, 3)),
    "max_ceil": lambda x: F.max_pool2d(x, 3, 2, 1, ceil_mode=True),
    "avg_pad": lambda x: F.avg_pool2d(x, (3, 2), (2, 1), (1, 0)),
    "avg_divisor": lambda x: F.avg_pool2d(x, 3, 2, ceil_mode=True, divisor_override=5),
    "adaptive": lambda x: F.adaptive_avg_pool2d(x, (4, 2)),
    "adaptive_up": lambda x: F.adaptive_avg_pool2d(x, (16, 2)),
    "adaptive_max": lambda x: F.adaptive_max_pool2d(x, (4, 2)),
    "sum": lambda x: x.sum((2, 3)),
    "amax": lambda x: x.amax((2, 3), keepdim=True),
    "softmax": lambda x: x.mean((2, 3)).softmax(1),
    "log_softmax": lambda x: x.mean((2, 3)).log_softmax(-1),
    "argmax": lambda x: x.mean((2, 3)).argmax(1),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_function(name: str) -> None:
    check(Lambda(FUNCTIONS[name]), 12, 8, 6)


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize(("stride", "dilation"), [(1, 1), (2, 1), (3, 2)])
@pytest.mark.parametrize("transposed", [False, True], ids=["conv", "transposed"])
def test_convolution(groups: int, stride: int, dilation: int, transposed: bool) -> None:
    options = {"stride": stride, "dilation": dilation, "groups": groups, "padding": (1, 2)}
    if transposed:
        check(nn.ConvTranspose2d(4, 8, (3, 2), output_padding=stride - 1, **options), 4, 7, 9)
    else:
        check(
            nn.Sequential(nn.ZeroPad2d((1, 0, 2, 0)), nn.Conv2d(4, 8, (3, 2), **options)), 4, 7, 9
        )


@pytest.mark.parametrize("padding", ["same", "valid"])
def test_named_padding(padding: str) -> None:
    check(nn.Conv2d(4, 8, (4, 3), padding=padding, dilation=2), 4, 9, 9)


def test_states_are_not_exchanged_with_samples() -> None:
    class Exchanged(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm = nn.LSTM(5, 6, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            return self.lstm(x)[0].transpose(0, 1)[:, -1]

    with pytest.raises(UnsupportedModel, match="rearranges the states"):
        import_model(Exchanged(), torch.randn(3, 3, 5))
