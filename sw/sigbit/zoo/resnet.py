"""ResNet-18, -34 and -50 (He et al. 2015; stride on the 3x3 convolution), keys of torchvision's
``resnet*``.
"""

from torch import Tensor, nn

from sigbit.errors import ZooError
from sigbit.zoo.layers import initialize


class BasicBlock(nn.Module):
    """``relu(x + two 3x3 convolutions)``."""

    expansion = 1

    def __init__(self, inputs: int, width: int, stride: int, downsample: nn.Module | None) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU()
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return self.relu(y + (x if self.downsample is None else self.downsample(x)))


class Bottleneck(nn.Module):
    """``relu(x + 1x1, 3x3 and 1x1 convolution)``; the output has four times as many channels as the
    3x3 convolution."""

    expansion = 4

    def __init__(self, inputs: int, width: int, stride: int, downsample: nn.Module | None) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, width * self.expansion, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(width * self.expansion)
        self.relu = nn.ReLU()
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return self.relu(y + (x if self.downsample is None else self.downsample(x)))


Block = type[BasicBlock] | type[Bottleneck]

DEPTHS: dict[int, tuple[Block, tuple[int, int, int, int]]] = {
    18: (BasicBlock, (2, 2, 2, 2)),
    34: (BasicBlock, (3, 4, 6, 3)),
    50: (Bottleneck, (3, 4, 6, 3)),
}
"""Kind of block and blocks of each stage, by depth."""


class ResNet(nn.Module):
    """A stem, four stages of residual blocks, global average and a linear layer.

    Parameters
    ----------
    depth : int
        18, 34 or 50.
    classes : int
        Outputs.
    width : int
        Channels of the first stage, doubled at every further one; 64 in the publication.

    ``[N, 3, H, W]`` (224 in the publication) to logits ``[N, classes]``.
    """

    def __init__(self, depth: int, classes: int = 1000, *, width: int = 64) -> None:
        super().__init__()
        if depth not in DEPTHS:
            raise ZooError(f"depth must be one of {sorted(DEPTHS)}, not {depth!r}")
        block, blocks = DEPTHS[depth]
        self.conv1 = nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU()
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.layer1 = _stage(block, width, width, blocks[0], stride=1)
        outputs = width * block.expansion
        self.layer2 = _stage(block, outputs, 2 * width, blocks[1], stride=2)
        self.layer3 = _stage(block, 2 * outputs, 4 * width, blocks[2], stride=2)
        self.layer4 = _stage(block, 4 * outputs, 8 * width, blocks[3], stride=2)
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(8 * outputs, classes)
        initialize(self)

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(self.avgpool(x).flatten(1))


def _stage(block: Block, inputs: int, width: int, blocks: int, stride: int) -> nn.Sequential:
    outputs = width * block.expansion
    downsample = None
    if stride != 1 or inputs != outputs:
        downsample = nn.Sequential(
            nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
        )
    first = block(inputs, width, stride, downsample)
    return nn.Sequential(first, *(block(outputs, width, 1, None) for _ in range(blocks - 1)))
