"""VGG-11 (Simonyan and Zisserman 2014, configuration A), keys of torchvision's ``vgg11`` and
``vgg11_bn``.
"""

from torch import Tensor, nn

from sigbit.zoo.layers import initialize

STAGES = ((64,), (128,), (256, 256), (512, 512), (512, 512))
"""Channels of the 3x3 convolutions; every stage ends with a 2x2 max pooling."""


class Vgg11(nn.Module):
    """Eight 3x3 convolutions and three linear layers.

    Parameters
    ----------
    classes : int
        Outputs.
    batch_norm : bool
        True if every convolution is followed by a batch norm.
    hidden : int
        Width of the two hidden linear layers, 4096 in the publication.

    ``[N, 3, H, W]`` (H, W at least 32; 224 in the publication) to logits ``[N, classes]``.
    """

    def __init__(
        self, classes: int = 1000, *, batch_norm: bool = False, hidden: int = 4096
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        inputs = 3
        for stage in STAGES:
            for channels in stage:
                layers.append(nn.Conv2d(inputs, channels, 3, padding=1))
                if batch_norm:
                    layers.append(nn.BatchNorm2d(channels))
                layers.append(nn.ReLU())
                inputs = channels
            layers.append(nn.MaxPool2d(2, 2))
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d((7, 7))
        self.classifier = nn.Sequential(
            nn.Linear(inputs * 7 * 7, hidden),
            nn.ReLU(),
            nn.Dropout(),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Dropout(),
            nn.Linear(hidden, classes),
        )
        initialize(self)

    def forward(self, x: Tensor) -> Tensor:
        x = self.avgpool(self.features(x))
        return self.classifier(x.flatten(1))
