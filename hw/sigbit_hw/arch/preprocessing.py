"""From images to a network's input, as the network was trained: part of what a Program says."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sigbit_tools.errors import SigbitError
from sigbit_tools.pictures import centre_square

Colours = Literal["RGB", "BGR"]


class ImageError(SigbitError):
    """An image is not what the network's preprocessing takes."""


@dataclass(frozen=True)
class ImagePreprocessing:
    """Images as a network wants them: ``(scale * byte - mean) / std``, after cropping and resizing.

    Parameters
    ----------
    size : tuple of int
        Height and width of the network's input.
    mean, std : tuple of float
        One value per channel of the network's input, of the scaled image.
    scale : float
        Factor of the bytes 0 to 255.
    resize : int or None
        The largest centred square is scaled to this side (bilinear), then its centre is cut to
        ``size``. None: images must have ``size`` already.
    colours : "RGB" or "BGR"
        Order of the channels of the network's input, if there are three.
    """

    size: tuple[int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    scale: float = 1 / 255
    resize: int | None = None
    colours: Colours = "RGB"

    def __post_init__(self) -> None:
        for name, kind in (("size", int), ("mean", float), ("std", float)):
            object.__setattr__(self, name, tuple(map(kind, getattr(self, name))))
        numbers = np.array([*self.mean, *self.std, self.scale], np.float64)
        if not self.mean or len(self.mean) != len(self.std):
            raise ValueError(
                "mean and std must have a number for each channel, not "
                f"{len(self.mean)} and {len(self.std)}"
            )
        if not np.isfinite(numbers).all() or min(*self.std, self.scale) <= 0:
            raise ValueError("mean must be finite, std and scale positive")
        if min(self.size) < 1 or (self.resize is not None and self.resize < max(self.size)):
            raise ValueError(f"{self.size} pixels cannot be cut of images of side {self.resize}")
        if self.colours == "BGR" and len(self.mean) != 3:
            raise ValueError(f"an order of colours needs 3 channels, not {len(self.mean)}")

    def require(self, shapes: Sequence[tuple[int, ...]]) -> None:
        """Raise ``ValueError`` unless a network with inputs of ``shapes`` takes what this makes."""
        if [tuple(shape) for shape in shapes] != [self.shape]:
            raise ValueError(
                f"preprocessing makes one input of {list(self.shape)}, not "
                f"{', '.join(str(list(shape)) for shape in shapes)}"
            )

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape (channels, height, width) of the network's input."""
        return (len(self.mean), *self.size)

    def __call__(self, images: Iterable[NDArray[Any]]) -> NDArray[np.float32]:
        """Bytes ``[N, H, W, C]``, colours as RGB, ``[N, H, W]`` or a list to float32
        ``[N, C, *size]``."""
        batch = np.stack([self._fit(np.asarray(image)) for image in images])
        if self.colours == "BGR":
            batch = batch[..., ::-1]
        real = batch.astype(np.float32) * np.float32(self.scale)
        mean, std = np.array(self.mean, np.float32), np.array(self.std, np.float32)
        real = (real - mean) / std
        return np.ascontiguousarray(real.transpose(0, 3, 1, 2))

    def _fit(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        if image.dtype != np.uint8:
            raise ImageError(f"images must be bytes (uint8), not {image.dtype}")
        image = image[:, :, None] if image.ndim == 2 else image
        if image.ndim != 3 or image.shape[2] != len(self.mean):
            raise ImageError(
                f"an image must be [height, width, {len(self.mean)}], not {list(image.shape)}"
            )
        if self.resize is not None:
            image = centre_square(image, self.resize)
            top, left = (self.resize - self.size[0]) // 2, (self.resize - self.size[1]) // 2
            image = image[top : top + self.size[0], left : left + self.size[1]]
        if image.shape[:2] != tuple(self.size):
            raise ImageError(f"an image must be {self.size} pixels, not {image.shape[:2]}")
        return image
