"""Image files from untrusted sources."""

import io
import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sigbit_tools.files import FileError

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm", ".tif", ".tiff")
"""Suffixes of image files."""

PIXELS_MAX = 1 << 25
"""Maximum number of pixels of an image: slightly more than 7680 x 4320."""

_FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "PPM", "TIFF")


def read_image(source: Path | bytes, name: str, mode: str = "RGB") -> NDArray[np.uint8]:
    """Return the pixels ``[H, W, 3]``, or ``[H, W]`` if ``mode`` is "L", of an image file or its
    content. Raises :class:`FileError`, which refers to it as ``name``, if it is not an image."""
    from PIL import Image, UnidentifiedImageError

    file = io.BytesIO(source) if isinstance(source, bytes) else source
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about metadata, which are not used
            with Image.open(file, formats=_FORMATS) as image:
                if image.width * image.height > PIXELS_MAX:
                    raise FileError(
                        f"{name} has {image.width} x {image.height} pixels, at most "
                        f"{PIXELS_MAX:,} are read: scale it down first"
                    )
                return np.array(image.convert(mode))
    except FileError:
        raise
    except Image.DecompressionBombError as error:
        raise FileError(
            f"{name} has far more than the {PIXELS_MAX:,} pixels that are read"
        ) from error
    except UnidentifiedImageError as error:
        raise FileError(f"{name} is not a readable image: {_KNOWN}") from error
    except Exception as error:  # any failure of a decoder
        if isinstance(error, OSError) and error.filename is not None:
            raise
        raise FileError(
            f"{name} is not a readable image ({type(error).__name__}: {error})"
        ) from error


def centre_square(image: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """The largest centred square of an image ``[H, W, C]``, scaled (bilinear) to ``side``."""
    from PIL import Image

    height, width, channels = image.shape
    if height == width == side:
        return image
    square = min(height, width)
    top, left = (height - square) // 2, (width - square) // 2
    picture = Image.fromarray(image[:, :, 0] if channels == 1 else image)
    picture = picture.crop((left, top, left + square, top + square))
    picture = picture.resize((side, side), Image.Resampling.BILINEAR)
    return np.asarray(picture).reshape(side, side, channels)


_KNOWN = f"known are {', '.join(_FORMATS)}"
