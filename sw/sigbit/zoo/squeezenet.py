"""SqueezeNet 1.0 (Iandola et al. 2016), keys of torchvision's ``squeezenet1_0``."""

import torch
from torch import Tensor, nn

from sigbit.zoo.layers import initialize


class Fire(nn.Module):
    """A 1x1 convolution, then a 1x1 and a 3x3 convolution side by side."""

    def __init__(self, inputs: int, squeeze: int, expand: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(inputs, squeeze, 1)
        self.squeeze_activation = nn.ReLU()
        self.expand1x1 = nn.Conv2d(squeeze, expand, 1)
        self.expand1x1_activation = nn.ReLU()
        self.expand3x3 = nn.Conv2d(squeeze, expand, 3, padding=1)
        self.expand3x3_activation = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        x = self.squeeze_activation(self.squeeze(x))
        return torch.cat(
            [
                self.expand1x1_activation(self.expand1x1(x)),
                self.expand3x3_activation(self.expand3x3(x)),
            ],
            dim=1,
        )


class SqueezeNet(nn.Module):
    """Fire modules between strided max poolings; the classifier is a convolution.

    Parameters
    ----------
    classes : int
        Outputs.
    classifier_padding : int
        Zeros around the last 1x1 convolution: 0 in torchvision, 1 in the original.

    ``[N, 3, H, W]`` (227 in the publication, at least 21) to logits ``[N, classes]``.
    """

    def __init__(self, classes: int = 1000, *, classifier_padding: int = 0) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 96, 7, stride=2),
            nn.ReLU(),
            nn.MaxPool2d(3, 2, ceil_mode=True),
            Fire(96, 16, 64),
            Fire(128, 16, 64),
            Fire(128, 32, 128),
            nn.MaxPool2d(3, 2, ceil_mode=True),
            Fire(256, 32, 128),
            Fire(256, 48, 192),
            Fire(384, 48, 192),
            Fire(384, 64, 256),
            nn.MaxPool2d(3, 2, ceil_mode=True),
            Fire(512, 64, 256),
        )
        self.classifier = nn.Sequential(
            nn.Dropout(),
            nn.Conv2d(512, classes, 1, padding=classifier_padding),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d((1, 1)),
        )
        initialize(self)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x)).flatten(1)
