"""Plain convolutional networks for SVHN and CIFAR-10, of the size used in the SINAREQ experiments.

Their publication gives neither layers nor widths. The shapes here are the usual ones for such
studies (seven convolutions for SVHN, a LeNet for CIFAR-10); the exact widths are ours.
"""

from torch import Tensor, nn

from sigbit.zoo.layers import ConvNorm, initialize


class SvhnNet(nn.Module):
    """Seven convolutions, two 2x2 max poolings and a linear layer.

    Parameters
    ----------
    classes : int
        Outputs.
    width : int
        Channels of the first convolution; the following ones have 1, 1, 2, 2, 2 and 8 times as
        many.

    ``[N, 3, 32, 32]`` to logits ``[N, classes]``.
    """

    def __init__(self, classes: int = 10, *, width: int = 64) -> None:
        super().__init__()
        self.features = nn.Sequential(
            ConvNorm(3, width, 5),
            nn.MaxPool2d(2, 2),
            ConvNorm(width, width, 3),
            nn.MaxPool2d(2, 2),
            ConvNorm(width, width, 3),
            ConvNorm(width, 2 * width, 3, 2),
            ConvNorm(2 * width, 2 * width, 3),
            ConvNorm(2 * width, 2 * width, 3),
            nn.Conv2d(2 * width, 8 * width, 4, bias=False),
            nn.BatchNorm2d(8 * width),
            nn.ReLU(),
        )
        self.classifier = nn.Linear(8 * width, classes)
        initialize(self)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x).flatten(1))


class CifarNet(nn.Module):
    """Two 5x5 convolutions with 2x2 max pooling and three linear layers.

    Parameters
    ----------
    classes : int
        Outputs.
    widths : tuple of int
        Channels of the convolutions and of the two hidden linear layers; LeNet-5's by default.

    ``[N, 3, 32, 32]`` to logits ``[N, classes]``.
    """

    def __init__(
        self, classes: int = 10, *, widths: tuple[int, int, int, int] = (6, 16, 120, 84)
    ) -> None:
        super().__init__()
        first, second, third, fourth = widths
        self.features = nn.Sequential(
            nn.Conv2d(3, first, 5),
            nn.ReLU(),
            nn.MaxPool2d(2, 2),
            nn.Conv2d(first, second, 5),
            nn.ReLU(),
            nn.MaxPool2d(2, 2),
        )
        self.classifier = nn.Sequential(
            nn.Linear(second * 5 * 5, third),
            nn.ReLU(),
            nn.Linear(third, fourth),
            nn.ReLU(),
            nn.Linear(fourth, classes),
        )
        initialize(self)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x).flatten(1))
