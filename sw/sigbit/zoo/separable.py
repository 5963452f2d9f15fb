"""Networks of depthwise separable convolutions: MobileNetV1 and the DS-CNN for keyword spotting.

Keys: ``features.0.{conv,bn}`` for the stem, ``features.i.{dw,dw_bn,pw,pw_bn}`` for the separable
layers, ``classifier`` for the linear layer.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from sigbit.errors import ZooError
from sigbit.zoo.layers import Padding, check_padding, convolution, convolve, initialize


class Stem(nn.Module):
    """Convolution, batch norm, activation."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: tuple[int, int],
        stride: int,
        padding: Padding,
        activation: type[nn.Module],
    ) -> None:
        super().__init__()
        self.conv = convolution(inputs, outputs, kernel, stride, padding=padding)
        self.bn = nn.BatchNorm2d(outputs)
        self.activation = activation()
        self._padding = padding

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(self.bn(convolve(x, self.conv, self._padding)))


class Separable(nn.Module):
    """A depthwise 3x3 and a pointwise convolution, each with batch norm and activation."""

    def __init__(
        self, inputs: int, outputs: int, stride: int, padding: Padding, activation: type[nn.Module]
    ) -> None:
        super().__init__()
        self.dw = convolution(inputs, inputs, 3, stride, groups=inputs, padding=padding)
        self.dw_bn = nn.BatchNorm2d(inputs)
        self.pw = nn.Conv2d(inputs, outputs, 1, bias=False)
        self.pw_bn = nn.BatchNorm2d(outputs)
        self.activation = activation()
        self._padding = padding

    def forward(self, x: Tensor) -> Tensor:
        x = self.activation(self.dw_bn(convolve(x, self.dw, self._padding)))
        return self.activation(self.pw_bn(self.pw(x)))


class SeparableNet(nn.Module):
    """A stem, separable layers, global average and a linear layer."""

    def __init__(self, features: nn.Sequential, channels: int, classes: int) -> None:
        super().__init__()
        self.features = features
        self.classifier = nn.Linear(channels, classes)
        initialize(self)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(F.adaptive_avg_pool2d(self.features(x), 1).flatten(1))


MOBILENET_V1 = (
    (64, 1),
    (128, 2),
    (128, 1),
    (256, 2),
    (256, 1),
    (512, 2),
    (512, 1),
    (512, 1),
    (512, 1),
    (512, 1),
    (512, 1),
    (1024, 2),
    (1024, 1),
)
"""Channels and stride of the separable layers at width 1."""


class MobileNetV1(SeparableNet):
    """MobileNet (Howard et al. 2017) with ReLU6.

    Parameters
    ----------
    classes : int
        Outputs.
    width : float
        Factor of all channel counts: 1, 0.75, 0.5 or 0.25 in the publication.
    padding : "same" or "symmetric"
        TensorFlow's checkpoints were trained with ``same``.

    ``[N, 3, H, W]`` (128 to 224 in the publication) to logits ``[N, classes]``.
    """

    def __init__(
        self, classes: int = 1000, *, width: float = 1.0, padding: Padding = "same"
    ) -> None:
        check_padding(padding)
        if not width > 0 or int(32 * width) < 1:
            raise ZooError(f"width must leave at least one channel of 32, not {width!r}")
        channels = int(32 * width)
        layers: list[nn.Module] = [Stem(3, channels, (3, 3), 2, padding, nn.ReLU6)]
        for outputs, stride in MOBILENET_V1:
            outputs = int(outputs * width)
            layers.append(Separable(channels, outputs, stride, padding, nn.ReLU6))
            channels = outputs
        super().__init__(nn.Sequential(*layers), channels, classes)


class DsCnn(SeparableNet):
    """The keyword spotting network of MLPerf Tiny (after Zhang et al. 2017, DS-CNN small).

    Parameters
    ----------
    classes : int
        Outputs.
    channels : int
        Channels of every layer, 64 in the benchmark.
    layers : int
        Separable layers, 4 in the benchmark.
    padding : "same" or "symmetric"
        The benchmark's weights were trained with ``same``.

    ``[N, 1, 49, 10]`` (frames by cepstral coefficients) to logits ``[N, classes]``.
    """

    def __init__(
        self,
        classes: int = 12,
        *,
        channels: int = 64,
        layers: int = 4,
        padding: Padding = "same",
    ) -> None:
        check_padding(padding)
        stem = Stem(1, channels, (10, 4), 2, padding, nn.ReLU)
        body = [Separable(channels, channels, 1, padding, nn.ReLU) for _ in range(layers)]
        super().__init__(nn.Sequential(stem, *body), channels, classes)
