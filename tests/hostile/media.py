"""Image files."""

import io
import struct
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from hostile.kinds import Kind, Rng, Unsound
from sigbit_tools.pictures import PIXELS_MAX, read_image

Craft = Callable[[bytes], bytes]
FORMATS = {
    "png": "PNG",
    "jpg": "JPEG",
    "bmp": "BMP",
    "webp": "WEBP",
    "ppm": "PPM",
    "tiff": "TIFF",
}


def _write(suffix: str, folder: Path, rng: Rng) -> None:
    pixels = rng.integers(0, 256, (24, 32, 3)).astype(np.uint8)
    picture = Image.fromarray(pixels)
    if rng.random() < 0.3:
        picture = picture.convert("L")
    options = {"compression": "tiff_deflate"} if suffix == "tiff" and rng.random() < 0.5 else {}
    picture.save(folder / f"x.{suffix}", FORMATS[suffix], **options)


def _read(path: Path) -> None:
    pixels = read_image(path, str(path))
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
        raise Unsound(f"an image of {pixels.dtype} {pixels.shape}")
    if pixels.shape[0] * pixels.shape[1] > PIXELS_MAX:
        raise Unsound(f"an image of {pixels.shape}")


def png(width: int, height: int, rows: bytes = b"") -> bytes:
    """A PNG file that claims a size."""
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


def _saved(suffix: str, picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, FORMATS[suffix])
    return buffer.getvalue()


def _constant(content: bytes) -> Craft:
    return lambda data: content


ANY_IMAGE: dict[str, Craft] = {
    "nothing": _constant(b""),
    "text": _constant(b"not an image"),
    "a script": _constant(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(x) run\n"),
    "a vector image": _constant(b"<svg xmlns='http://www.w3.org/2000/svg'/>"),
    "an animation": _constant(b"GIF89a" + bytes(32)),
    "40,000 x 40,000 pixels": _constant(png(40_000, 40_000, bytes(1000))),
    "2^31 pixels": _constant(png((1 << 31) - 1, 1)),
    "0 pixels": _constant(png(0, 10)),
    "a bomb": _constant(png(8000, 8000, bytes(8001 * 8000))),
    "half of a row": _constant(png(100, 100, bytes(50))),
    "a file cut short": lambda data: data[: len(data) // 2],
}
_CUT = {name: craft for name, craft in ANY_IMAGE.items() if name != "a file cut short"}

KINDS = tuple(
    Kind(
        f"image, {suffix}",
        f"x.{suffix}",
        partial(_write, suffix),
        _read,
        crafted=ANY_IMAGE if suffix == "png" else _CUT,
    )
    for suffix in FORMATS
)
