"""DenseNet-121 (Huang et al. 2017), keys of torchvision's ``densenet121``."""

import re
from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sigbit.zoo.layers import initialize


class DenseLayer(nn.Module):
    """``x`` with ``growth`` more channels: norm, ReLU, 1x1, norm, ReLU, 3x3 of all of them."""

    def __init__(self, inputs: int, growth: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(inputs)
        self.relu1 = nn.ReLU()
        self.conv1 = nn.Conv2d(inputs, 4 * growth, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(4 * growth)
        self.relu2 = nn.ReLU()
        self.conv2 = nn.Conv2d(4 * growth, growth, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(self.relu1(self.norm1(x)))
        y = self.conv2(self.relu2(self.norm2(y)))
        return torch.cat([x, y], dim=1)


class DenseNet(nn.Module):
    """Four dense blocks with halving transitions between them.

    Parameters
    ----------
    classes : int
        Outputs.
    growth : int
        Channels that every layer adds, 32 in the publication.
    blocks : tuple of int
        Layers of the dense blocks.

    ``[N, 3, H, W]`` (224 in the publication, at least 32) to logits ``[N, classes]``.
    """

    def __init__(
        self, classes: int = 1000, *, growth: int = 32, blocks: tuple[int, ...] = (6, 12, 24, 16)
    ) -> None:
        super().__init__()
        channels = 2 * growth
        layers: OrderedDict[str, nn.Module] = OrderedDict(
            conv0=nn.Conv2d(3, channels, 7, stride=2, padding=3, bias=False),
            norm0=nn.BatchNorm2d(channels),
            relu0=nn.ReLU(),
            pool0=nn.MaxPool2d(3, stride=2, padding=1),
        )
        for index, count in enumerate(blocks, start=1):
            layers[f"denseblock{index}"] = nn.Sequential(
                OrderedDict(
                    (f"denselayer{i + 1}", DenseLayer(channels + i * growth, growth))
                    for i in range(count)
                )
            )
            channels += count * growth
            if index < len(blocks):
                layers[f"transition{index}"] = nn.Sequential(
                    OrderedDict(
                        norm=nn.BatchNorm2d(channels),
                        relu=nn.ReLU(),
                        conv=nn.Conv2d(channels, channels // 2, 1, bias=False),
                        pool=nn.AvgPool2d(2, stride=2),
                    )
                )
                channels //= 2
        layers["norm5"] = nn.BatchNorm2d(channels)
        self.features = nn.Sequential(layers)
        self.classifier = nn.Linear(channels, classes)
        initialize(self)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.features(x))
        return self.classifier(F.adaptive_avg_pool2d(x, 1).flatten(1))

    @staticmethod
    def checkpoint_key(key: str) -> str:
        """Present name of a tensor in torchvision's old files (``denselayer1.norm.1.weight``)."""
        return re.sub(r"(denselayer\d+\.(?:norm|relu|conv))\.([12])\.", r"\1\2.", key)
