"""A small residual network for 28x28 images: MNIST and Fashion-MNIST."""

from torch import Tensor, nn

from sigbit.zoo.digits import ResidualBlock
from sigbit.zoo.layers import ConvNorm, initialize


class FashionResNet(nn.Module):
    """Strided stem, three residual blocks on 14x14, 7x7 and 4x4 pixels, global average pooling,
    linear classifier.

    Parameters
    ----------
    width : int
        Channels of the first block; the others have twice and four times as many.
    classes : int
        Outputs.

    ``[N, 1, 28, 28]`` in [0, 1] to logits ``[N, classes]``.
    """

    def __init__(self, width: int = 16, classes: int = 10) -> None:
        super().__init__()
        self.stem = ConvNorm(1, width, 3, 2)
        self.block1 = ResidualBlock(width, width)
        self.block2 = ResidualBlock(width, 2 * width, stride=2)
        self.block3 = ResidualBlock(2 * width, 4 * width, stride=2)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(4 * width, classes)
        initialize(self)

    def forward(self, x: Tensor) -> Tensor:
        x = self.block3(self.block2(self.block1(self.stem(x))))
        return self.classifier(self.pool(x).flatten(1))
