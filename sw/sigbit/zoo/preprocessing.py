"""Conversion of a data set's arrays to a network's input: resizing, scaling, layout."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sigbit.errors import ZooError
from sigbit_hw.arch.preprocessing import ImagePreprocessing

Floats = NDArray[np.float32]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class FeaturePreprocessing:
    """Features in the form that a network reads: ``scale * x + offset``, in the network's shape.

    Parameters
    ----------
    shape : tuple of int
        Shape of the network's input, without the batch.
    scale, offset : float
        The same for all features.
    """

    shape: tuple[int, ...]
    scale: float = 1.0
    offset: float = 0.0

    def __call__(self, features: Iterable[NDArray[np.generic]]) -> Floats:
        """Numbers ``[N, ...]`` to float32 ``[N, *shape]``."""
        batch = np.stack([np.asarray(feature) for feature in features])
        if batch[0].size != int(np.prod(self.shape)):
            raise ZooError(f"features must fill {list(self.shape)}, not {list(batch.shape[1:])}")
        real = batch.astype(np.float32) * np.float32(self.scale) + np.float32(self.offset)
        return real.reshape(-1, *self.shape)


Preprocessing = ImagePreprocessing | FeaturePreprocessing


def imagenet(size: int = 224, resize: int = 256) -> ImagePreprocessing:
    """Preprocessing of torchvision's ImageNet networks."""
    return ImagePreprocessing((size, size), IMAGENET_MEAN, IMAGENET_STD, resize=resize)


def tensorflow(size: int) -> ImagePreprocessing:
    """Preprocessing of TensorFlow's MobileNets: ``byte / 127.5 - 1``."""
    return ImagePreprocessing((size, size), (0.5,) * 3, (0.5,) * 3, resize=size)
