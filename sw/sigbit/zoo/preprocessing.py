"""Conversion of a data set's arrays to a network's input: resizing, scaling, layout."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sigbit.errors import ZooError

Floats = NDArray[np.float32]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class ImagePreprocessing:
    """Images in the form that a network reads: ``(scale * byte - mean) / std``, after cropping and
    resizing.

    Parameters
    ----------
    size : tuple of int
        Height and width of the network's input.
    mean, std : tuple of float
        One value per channel, of the scaled image.
    scale : float
        Factor of the bytes 0 to 255.
    resize : int or None
        The largest centred square is scaled to this side (bilinear), then its centre is cut to
        ``size``. None: images must have ``size`` already.
    """

    size: tuple[int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    scale: float = 1 / 255
    resize: int | None = None

    def __call__(self, images: Iterable[NDArray[np.uint8]]) -> Floats:
        """Bytes ``[N, H, W, C]``, ``[N, H, W]`` or a list to float32 ``[N, C, *size]``."""
        batch = np.stack([self._fit(np.asarray(image)) for image in images])
        real = batch.astype(np.float32) * np.float32(self.scale)
        mean, std = np.array(self.mean, np.float32), np.array(self.std, np.float32)
        real = (real - mean) / std
        return np.ascontiguousarray(real.transpose(0, 3, 1, 2))

    def _fit(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        if image.dtype != np.uint8:
            raise ZooError(f"images must be bytes (uint8), not {image.dtype}")
        image = image[:, :, None] if image.ndim == 2 else image
        if image.ndim != 3 or image.shape[2] != len(self.mean):
            raise ZooError(
                f"an image must be [height, width, {len(self.mean)}], not {list(image.shape)}"
            )
        if self.resize is not None:
            image = _resized(image, self.resize)
            top, left = (self.resize - self.size[0]) // 2, (self.resize - self.size[1]) // 2
            image = image[top : top + self.size[0], left : left + self.size[1]]
        if image.shape[:2] != self.size:
            raise ZooError(f"an image must be {self.size} pixels, not {image.shape[:2]}")
        return image


def _resized(image: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    height, width, channels = image.shape
    if height == width == side:
        return image
    square = min(height, width)
    top, left = (height - square) // 2, (width - square) // 2
    picture = Image.fromarray(image[:, :, 0] if channels == 1 else image)
    picture = picture.crop((left, top, left + square, top + square))
    picture = picture.resize((side, side), Image.Resampling.BILINEAR)
    return np.asarray(picture).reshape(side, side, channels)


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
