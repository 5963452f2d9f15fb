"""The networks by name: their construction, their data sets, and the preprocessing of their
inputs."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from sigbit.errors import ZooError
from sigbit.zoo.alexnet import AlexNet
from sigbit.zoo.densenet import DenseNet
from sigbit.zoo.digits import DigitsResNet
from sigbit.zoo.fashion import FashionResNet
from sigbit.zoo.mobilenet_v2 import MobileNetV2
from sigbit.zoo.preprocessing import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    FeaturePreprocessing,
    Preprocessing,
    imagenet,
    tensorflow,
)
from sigbit.zoo.recurrent import SequenceClassifier
from sigbit.zoo.resnet import ResNet
from sigbit.zoo.resnet_cifar import CifarResNet, TinyResNet8
from sigbit.zoo.separable import DsCnn, MobileNetV1
from sigbit.zoo.simplenet import CifarNet, SvhnNet
from sigbit.zoo.squeezenet import SqueezeNet
from sigbit.zoo.unet import UNet
from sigbit.zoo.vgg import Vgg11
from sigbit.zoo.vision_transformer import VisionTransformer
from sigbit_hw.arch.preprocessing import ImagePreprocessing


@dataclass(frozen=True)
class Entry:
    """A network of the zoo.

    Parameters
    ----------
    name : str
        Name for :func:`build`.
    network : callable
        The module's class.
    input_shape : tuple of int
        Shape of one input at full size, without the batch.
    preprocessing : Preprocessing
        From the arrays of ``dataset`` to inputs.
    dataset : str
        Name in :mod:`sigbit.data` of the data set that the network is meant for.
    summary : str
        One-line description for users.
    defaults : mapping
        Options that turn ``network`` into this entry.
    """

    name: str
    network: Callable[..., nn.Module]
    preprocessing: Preprocessing
    dataset: str
    summary: str
    defaults: Mapping[str, Any] = field(default_factory=dict)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one input at full size, without the batch."""
        if isinstance(self.preprocessing, FeaturePreprocessing):
            return self.preprocessing.shape
        return (len(self.preprocessing.mean), *self.preprocessing.size)

    @property
    def options(self) -> tuple[str, ...]:
        """Names of the options of :func:`build`."""
        return tuple(inspect.signature(self.network).parameters)


_CIFAR = ImagePreprocessing((32, 32), IMAGENET_MEAN, IMAGENET_STD)
_CENTERED = ImagePreprocessing((32, 32), (0.5,) * 3, (0.5,) * 3)
_BYTES = ImagePreprocessing((32, 32), (0.0,) * 3, (1.0,) * 3, scale=1.0)
_DIGITS = ImagePreprocessing((8, 8), (0.0,), (1.0,), scale=1 / 16)
_FASHION = ImagePreprocessing((28, 28), (0.0,), (1.0,))
_MEMBRANE = ImagePreprocessing((256, 256), (0.5,), (0.5,), resize=256)
_KEYWORDS = FeaturePreprocessing((1, 49, 10), scale=0.5847029, offset=-83 * 0.5847029)
_SPOKEN = FeaturePreprocessing((50, 20), scale=0.186, offset=1.78)  # mean 0, deviation 1

_ENTRIES = (
    Entry("alexnet", AlexNet, imagenet(), "imagenet", "AlexNet, torchvision's keys"),
    Entry("vgg11", Vgg11, imagenet(), "imagenet", "VGG-11, torchvision's keys"),
    Entry(
        "vgg11_bn",
        Vgg11,
        imagenet(),
        "imagenet",
        "VGG-11 with batch norm, torchvision's keys",
        {"batch_norm": True},
    ),
    Entry(
        "resnet18", ResNet, imagenet(), "imagenet", "ResNet-18, torchvision's keys", {"depth": 18}
    ),
    Entry(
        "resnet34", ResNet, imagenet(), "imagenet", "ResNet-34, torchvision's keys", {"depth": 34}
    ),
    Entry(
        "resnet50", ResNet, imagenet(), "imagenet", "ResNet-50, torchvision's keys", {"depth": 50}
    ),
    Entry("densenet121", DenseNet, imagenet(), "imagenet", "DenseNet-121, torchvision's keys"),
    Entry(
        "squeezenet1_0", SqueezeNet, imagenet(), "imagenet", "SqueezeNet 1.0, torchvision's keys"
    ),
    Entry(
        "squeezenet1_0_caffe",
        SqueezeNet,
        imagenet(227, 227),
        "imagenet",
        "SqueezeNet 1.0 as its authors trained it: 227x227, padded classifier",
        {"classifier_padding": 1},
    ),
    Entry(
        "mobilenet_v1",
        MobileNetV1,
        tensorflow(224),
        "imagenet",
        "MobileNetV1 with TensorFlow's padding",
    ),
    Entry(
        "mobilenet_v1_050_160",
        MobileNetV1,
        tensorflow(160),
        "imagenet",
        "MobileNetV1 at half width, 160x160, TensorFlow's padding",
        {"width": 0.5},
    ),
    Entry("mobilenet_v2", MobileNetV2, imagenet(), "imagenet", "MobileNetV2, torchvision's keys"),
    Entry(
        "mobilenet_v2_tf",
        MobileNetV2,
        tensorflow(224),
        "imagenet",
        "MobileNetV2, torchvision's keys, TensorFlow's padding",
        {"padding": "same"},
    ),
    Entry("deit_tiny", VisionTransformer, imagenet(), "imagenet", "DeiT-Tiny, timm's keys"),
    Entry(
        "deit_base",
        VisionTransformer,
        imagenet(),
        "imagenet",
        "DeiT-Base, timm's keys",
        {"width": 768, "heads": 12},
    ),
    Entry(
        "vit_32",
        VisionTransformer,
        _CIFAR,
        "cifar10",
        "Vision transformer for 32x32 images; sizes are ours",
        {"classes": 10, "size": 32, "patch": 4, "width": 64, "depth": 6, "heads": 2},
    ),
    Entry(
        "resnet20",
        CifarResNet,
        _CIFAR,
        "cifar10",
        "ResNet-20 for CIFAR-10, option A shortcuts",
        {"depth": 20},
    ),
    Entry("resnet8", TinyResNet8, _BYTES, "cifar10", "MLPerf Tiny image classification"),
    Entry("cifarnet", CifarNet, _CENTERED, "cifar10", "LeNet for CIFAR-10; widths are ours"),
    Entry("svhnnet", SvhnNet, _CENTERED, "svhn", "Seven convolutions for SVHN; widths are ours"),
    Entry("ds_cnn", DsCnn, _KEYWORDS, "keywords", "MLPerf Tiny keyword spotting"),
    Entry("unet", UNet, _MEMBRANE, "membrane", "U-Net with transposed convolutions"),
    Entry(
        "unet_nearest",
        UNet,
        _MEMBRANE,
        "membrane",
        "U-Net with nearest-neighbour upsampling",
        {"upsampling": "nearest"},
    ),
    Entry(
        "lstm",
        SequenceClassifier,
        _SPOKEN,
        "spoken-digits",
        "LSTM over log-mel frames",
        {"cell": "lstm"},
    ),
    Entry(
        "gru",
        SequenceClassifier,
        _SPOKEN,
        "spoken-digits",
        "GRU over log-mel frames",
        {"cell": "gru"},
    ),
    Entry("digits", DigitsResNet, _DIGITS, "digits", "Residual network for 8x8 digits"),
    Entry("fashion", FashionResNet, _FASHION, "fashion-mnist", "Residual network for 28x28 images"),
)
_BY_NAME = {entry.name: entry for entry in _ENTRIES}


def names() -> tuple[str, ...]:
    """Names of all networks."""
    return tuple(_BY_NAME)


def entry(name: str) -> Entry:
    """Return the network ``name``; raises :class:`ZooError` if there is none."""
    if name not in _BY_NAME:
        raise ZooError(f"there is no network {name!r}; there are {', '.join(_BY_NAME)}")
    return _BY_NAME[name]


def build(name: str, **options: Any) -> nn.Module:
    """Return the network ``name`` with seeded random weights (from torch's generator), in training
    mode.

    ``options`` are those of its class (:attr:`Entry.options`); raises :class:`ZooError` for others.
    """
    found = entry(name)
    if unknown := sorted(set(options) - set(found.options)):
        raise ZooError(
            f"{name} has no option {', '.join(unknown)}; it has {', '.join(found.options)}"
        )
    return found.network(**{**found.defaults, **options})
