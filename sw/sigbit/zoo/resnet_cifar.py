"""ResNets for 32x32 images: ResNet-20 and its deeper relatives, and MLPerf Tiny's ResNet-8."""

import torch.nn.functional as F
from torch import Tensor, nn

from sigbit.errors import ZooError
from sigbit.zoo.layers import Padding, check_padding, convolution, convolve, initialize


class PaddedBlock(nn.Module):
    """``relu(shortcut(x) + two 3x3 convolutions)`` with the shortcut without parameters (option A
    of He et al. 2015): every other pixel, and zero channels on both sides where the width grows."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self._stride = stride
        self._zeros = (outputs - inputs) // 2

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return F.relu(y + self.shortcut(x))

    def shortcut(self, x: Tensor) -> Tensor:
        """``x`` in the shape of the block's result."""
        if self._stride != 1:
            x = x[:, :, :: self._stride, :: self._stride]
        if self._zeros:
            x = F.pad(x, (0, 0, 0, 0, self._zeros, self._zeros))
        return x


class CifarResNet(nn.Module):
    """The CIFAR network of He et al. 2015; keys of akamaster's pytorch_resnet_cifar10.

    Parameters
    ----------
    depth : int
        ``6 n + 2`` layers: 20, 32, 44, 56, 110.
    classes : int
        Outputs.
    width : int
        Channels of the first of three stages, 16 in the publication; even.

    ``[N, 3, 32, 32]`` to logits ``[N, classes]``.
    """

    def __init__(self, depth: int = 20, classes: int = 10, *, width: int = 16) -> None:
        super().__init__()
        if depth < 8 or (depth - 2) % 6:
            raise ZooError(
                f"depth must be 6 n + 2 (8, 14, 20, 32, 44, 56, 110, ...), not {depth!r}"
            )
        if width < 2 or width % 2:
            raise ZooError(f"width must be even and positive, not {width!r}")
        blocks = (depth - 2) // 6
        self.conv1 = nn.Conv2d(3, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.layer1 = _stage(width, width, blocks, stride=1)
        self.layer2 = _stage(width, 2 * width, blocks, stride=2)
        self.layer3 = _stage(2 * width, 4 * width, blocks, stride=2)
        self.linear = nn.Linear(4 * width, classes)
        initialize(self)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.linear(F.adaptive_avg_pool2d(x, 1).flatten(1))


def _stage(inputs: int, outputs: int, blocks: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        PaddedBlock(inputs, outputs, stride),
        *(PaddedBlock(outputs, outputs, 1) for _ in range(blocks - 1)),
    )


class ProjectedBlock(nn.Module):
    """``relu(shortcut(x) + two 3x3 convolutions)``; a strided shortcut is a 1x1 convolution with
    bias and without batch norm."""

    def __init__(self, inputs: int, outputs: int, stride: int, padding: Padding) -> None:
        super().__init__()
        self.conv1 = convolution(inputs, outputs, 3, stride, padding=padding)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = convolution(outputs, outputs, 3, padding=padding)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Conv2d(inputs, outputs, 1, stride) if stride != 1 else None
        self._padding = padding

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(convolve(x, self.conv1, self._padding)))
        y = self.bn2(convolve(y, self.conv2, self._padding))
        return F.relu(y + (x if self.shortcut is None else self.shortcut(x)))


class TinyResNet8(nn.Module):
    """The image classification network of MLPerf Tiny.

    Parameters
    ----------
    classes : int
        Outputs.
    width : int
        Channels of the first of three blocks, 16 in the benchmark.
    padding : "same" or "symmetric"
        The benchmark's weights were trained with ``same``.

    ``[N, 3, 32, 32]`` (values 0 to 255) to logits ``[N, classes]``.
    """

    def __init__(self, classes: int = 10, *, width: int = 16, padding: Padding = "same") -> None:
        super().__init__()
        check_padding(padding)
        self.conv1 = convolution(3, width, 3, padding=padding)
        self.bn1 = nn.BatchNorm2d(width)
        self.layer1 = nn.Sequential(ProjectedBlock(width, width, 1, padding))
        self.layer2 = nn.Sequential(ProjectedBlock(width, 2 * width, 2, padding))
        self.layer3 = nn.Sequential(ProjectedBlock(2 * width, 4 * width, 2, padding))
        self.linear = nn.Linear(4 * width, classes)
        self._padding = padding
        initialize(self)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(convolve(x, self.conv1, self._padding)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.linear(F.adaptive_avg_pool2d(x, 1).flatten(1))
