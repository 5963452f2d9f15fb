"""One split of a data set: inputs as bytes or features, labels, class names."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sigbit.errors import DataError
from sigbit_tools.files import FileError
from sigbit_tools.pictures import read_image

Bytes = NDArray[np.uint8]


class EncodedImages:
    """Image files (JPEG, PNG, ...) that are decoded when they are read, to RGB bytes.

    Parameters
    ----------
    names : sequence of str
        Names of the files, for error messages.
    read : callable
        Returns the content of file i.
    side : int or None
        The largest centred square is scaled to this side (bilinear). None: images keep their size.

    ``images[3]`` is one image ``[H, W, 3]``, ``images[10:20]`` and ``images[[1, 5]]`` are arrays
    ``[N, H, W, 3]``, which require images of one size. Raises :class:`DataError` for a file that is
    not an image.
    """

    def __init__(
        self, names: Sequence[str], read: Callable[[int], bytes], side: int | None = None
    ) -> None:
        self._names, self._read, self._side = names, read, side

    def __len__(self) -> int:
        return len(self._names)

    @overload
    def __getitem__(self, index: int) -> Bytes: ...
    @overload
    def __getitem__(self, index: slice | Sequence[int] | NDArray[np.integer]) -> Bytes: ...
    def __getitem__(self, index: Any) -> Bytes:
        if isinstance(index, int | np.integer):
            return self._decode(range(len(self))[index])
        return _stack([self._decode(int(i)) for i in np.arange(len(self))[index]])

    def __iter__(self) -> Iterator[Bytes]:
        return (self._decode(i) for i in range(len(self)))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self[:], dtype=dtype)

    def _decode(self, index: int) -> Bytes:
        try:
            pixels = read_image(self._read(index), self._names[index])
        except FileError as error:
            raise DataError(str(error)) from error
        except OSError as error:
            raise DataError(f"{self._names[index]} cannot be read: {error.strerror}") from error
        if self._side is not None:
            picture = Image.fromarray(pixels)
            square = min(picture.size)
            left, top = (picture.width - square) // 2, (picture.height - square) // 2
            picture = picture.crop((left, top, left + square, top + square))
            pixels = np.array(picture.resize((self._side, self._side), Image.Resampling.BILINEAR))
        return pixels


def _stack(images: list[Bytes]) -> Bytes:
    sizes = {image.shape[:2] for image in images}
    if len(sizes) > 1:
        some = ", ".join(f"{height}x{width}" for height, width in sorted(sizes)[:3])
        raise DataError(
            f"images of {len(sizes)} sizes ({some}, ...) are no array: read them one by one, or "
            "load the data set with a side to scale them to"
        )
    return np.stack(images) if images else np.zeros((0, 0, 0, 3), np.uint8)


@dataclass(frozen=True)
class Dataset:
    """One split of a data set.

    Parameters
    ----------
    name : str
        Name as written in figures.
    split : str
        Name of the split: "train", "test", ...
    inputs : array or EncodedImages
        Images as bytes ``[N, H, W]`` or ``[N, H, W, 3]``, or features ``[N, ...]``.
    labels : array
        Classes ``[N]`` as int64, or of every pixel ``[N, H, W]`` as bytes.
    classes : tuple of str
        Names of the classes.

    Raises
    ------
    DataError
        Inputs and labels differ in number, there are none, or a label is not a class.
    """

    name: str
    split: str
    inputs: NDArray[Any] | EncodedImages
    labels: NDArray[Any]
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        where = f"{self.name} ({self.split})"
        if len(self.inputs) != len(self.labels):
            raise DataError(f"{where}: {len(self.inputs)} inputs but {len(self.labels)} labels")
        if not len(self.labels):
            raise DataError(f"{where} is empty")
        low, high = int(self.labels.min()), int(self.labels.max())
        if low < 0 or high >= len(self.classes):
            raise DataError(
                f"{where}: labels must be in [0, {len(self.classes) - 1}], not [{low}, {high}]"
            )

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: Sequence[int] | slice | NDArray[np.integer]) -> "Dataset":
        """Return the examples ``indices``, read into memory."""
        return Dataset(
            self.name, self.split, self.inputs[indices], self.labels[indices], self.classes
        )

    def batches(self, size: int) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
        """Yield inputs and labels of ``size`` examples at a time, in order; the last batch may be
        smaller."""
        if size < 1:
            raise ValueError(f"size must be at least 1, not {size}")
        for start in range(0, len(self), size):
            part = slice(start, start + size)
            yield self.inputs[part], self.labels[part]
