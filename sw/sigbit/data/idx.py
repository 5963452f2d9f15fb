"""MNIST and Fashion-MNIST in their IDX files.

An IDX file: two zero bytes, the element type (8: unsigned byte), the number of dimensions, each
dimension as a big-endian 32-bit number, then the elements.
"""

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sigbit.data.dataset import Dataset
from sigbit.data.files import Files, Remote
from sigbit.errors import DataError
from sigbit_tools.files import FileError, read_bytes

DIMENSIONS_MAX = 3
"""Maximum number of dimensions of an IDX file: those of images."""
UNPACKED_MAX = 1 << 28
"""Maximum size of an IDX file in bytes; those of MNIST have 47 million."""

_PREFIXES = {"train": "train", "test": "t10k"}
_IMAGES, _LABELS = "-images-idx3-ubyte.gz", "-labels-idx1-ubyte.gz"

_MNIST_URL = "https://ossci-datasets.s3.amazonaws.com/mnist/"
_MNIST = {
    "train-images": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    "train-labels": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
    "t10k-images": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    "t10k-labels": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
}
_FASHION_URL = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"
_FASHION = {
    "train-images": "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
    "train-labels": "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
    "t10k-images": "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
    "t10k-labels": "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
}
_FASHION_CLASSES = (
    "T-shirt/top", "trouser", "pullover", "dress", "coat",
    "sandal", "shirt", "sneaker", "bag", "ankle boot",
)  # fmt: skip


def read_idx(path: Path) -> NDArray[np.uint8]:
    """Return the bytes of an IDX file, gzipped or not; raises :class:`DataError` if it is not
    one."""
    content = _content(path)
    if len(content) < 4 or content[:3] != b"\0\0\x08" or len(content) < 4 + 4 * content[3]:
        raise DataError(f"{path} is not an IDX file of unsigned bytes")
    if content[3] > DIMENSIONS_MAX:
        raise DataError(f"{path} must have at most {DIMENSIONS_MAX} dimensions, not {content[3]}")
    shape = struct.unpack_from(f">{content[3]}I", content, 4)
    start = 4 + 4 * content[3]
    if len(content) - start != math.prod(shape):
        wanted, got = math.prod(shape), len(content) - start
        raise DataError(f"{path} must hold {wanted} bytes for {list(shape)}, not {got}")
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def _content(path: Path) -> bytes:
    """Content of a file, unpacked if it is a gzip file."""
    try:
        if path.suffix != ".gz":
            return read_bytes(path, UNPACKED_MAX, "an IDX file")
        with gzip.open(path) as file:
            content = file.read(UNPACKED_MAX + 1)
    except FileError as error:
        raise DataError(str(error)) from error
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} is not a complete gzip file: {error}") from error
    if len(content) > UNPACKED_MAX:
        raise DataError(f"{path} holds more than {UNPACKED_MAX:,} bytes: it is not an IDX file")
    return content


def _load(
    title: str, files: Files, split: str, classes: tuple[str, ...], url: str, sums: dict[str, str]
) -> Dataset:
    prefix = _PREFIXES[split]
    arrays = []
    for suffix, kind, dimensions in ((_IMAGES, "images", 3), (_LABELS, "labels", 1)):
        name = prefix + suffix
        path = files.find(name.removesuffix(".gz")) or files.fetch(
            Remote(name, url + name, "sha256:" + sums[f"{prefix}-{kind}"])
        )
        array = read_idx(path)
        if array.ndim != dimensions:
            raise DataError(f"{path} must have {dimensions} dimensions, not {array.ndim}")
        arrays.append(array)
    images, labels = arrays
    return Dataset(title, split, images, labels.astype(np.int64), classes)


def load_mnist(files: Files, split: str) -> Dataset:
    """60,000 training or 10,000 test images ``[N, 28, 28]`` of handwritten digits."""
    return _load("MNIST", files, split, tuple("0123456789"), _MNIST_URL, _MNIST)


def load_fashion_mnist(files: Files, split: str) -> Dataset:
    """60,000 training or 10,000 test images ``[N, 28, 28]`` of clothes."""
    return _load("Fashion-MNIST", files, split, _FASHION_CLASSES, _FASHION_URL, _FASHION)
