"""MobileNetV2 (Sandler et al. 2018), keys of torchvision's ``mobilenet_v2``."""

from torch import Tensor, nn

from sigbit.errors import ZooError
from sigbit.zoo.layers import ConvNorm, Padding, check_padding, initialize

STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
"""Expansion, channels, blocks and stride of the first block, for each stage."""


class InvertedResidual(nn.Module):
    """1x1 expansion, depthwise 3x3, linear 1x1; added to its input where the shapes agree."""

    def __init__(
        self, inputs: int, outputs: int, stride: int, expansion: int, padding: Padding
    ) -> None:
        super().__init__()
        hidden = inputs * expansion
        layers: list[nn.Module] = []
        if expansion != 1:
            layers.append(ConvNorm(inputs, hidden, 1, activation=nn.ReLU6))
        layers.append(
            ConvNorm(hidden, hidden, 3, stride, groups=hidden, padding=padding, activation=nn.ReLU6)
        )
        layers += [nn.Conv2d(hidden, outputs, 1, bias=False), nn.BatchNorm2d(outputs)]
        self.conv = nn.Sequential(*layers)
        self._adds = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x) if self._adds else self.conv(x)


class MobileNetV2(nn.Module):
    """Inverted residuals with linear bottlenecks, ReLU6.

    Parameters
    ----------
    classes : int
        Outputs.
    width : float
        Factor of the channel counts, which are rounded to multiples of 8.
    padding : "symmetric" or "same"
        torchvision's checkpoints were trained with ``symmetric``, TensorFlow's with ``same``.

    ``[N, 3, H, W]`` (224 in the publication) to logits ``[N, classes]``.
    """

    def __init__(
        self, classes: int = 1000, *, width: float = 1.0, padding: Padding = "symmetric"
    ) -> None:
        super().__init__()
        check_padding(padding)
        if not width > 0:
            raise ZooError(f"width must be positive, not {width!r}")
        channels = multiple_of_8(32 * width)
        layers: list[nn.Module] = [
            ConvNorm(3, channels, 3, 2, padding=padding, activation=nn.ReLU6)
        ]
        for expansion, stage_channels, blocks, stage_stride in STAGES:
            outputs = multiple_of_8(stage_channels * width)
            for index in range(blocks):
                stride = stage_stride if index == 0 else 1
                layers.append(InvertedResidual(channels, outputs, stride, expansion, padding))
                channels = outputs
        last = multiple_of_8(1280 * max(1.0, width))
        layers.append(ConvNorm(channels, last, 1, activation=nn.ReLU6))
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(last, classes))
        initialize(self)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x).mean((2, 3)))


def multiple_of_8(channels: float) -> int:
    """``channels`` rounded to a multiple of 8, at least 8, and down by at most 10 %."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded
