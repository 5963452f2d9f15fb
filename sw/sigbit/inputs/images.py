"""From what users have (images, arrays, data sets) to what networks read."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sigbit.errors import UserError
from sigbit.inputs.arrays import read_arrays

if TYPE_CHECKING:
    from sigbit.zoo import Entry
    from sigbit_hw.arch.program import Program

Floats = NDArray[np.float32]
Prepare = Callable[[Iterable[NDArray[Any]]], Floats]
"""From samples as they are stored to a batch of inputs."""

IMAGE_FILES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm", ".tif", ".tiff")
"""Suffixes of image files."""


def preparation(
    entry: "Entry | None", shape: Sequence[int], mean: str | None, std: str | None
) -> Prepare:
    """How samples become inputs ``[N, *shape]``: as the zoo's ``entry`` does it; else images of
    bytes are scaled to [0, 1], resized and normalized, and features are taken as they are."""
    from sigbit.zoo.preprocessing import FeaturePreprocessing, ImagePreprocessing

    features, images = FeaturePreprocessing(tuple(shape)), None
    if entry is not None and mean is None and std is None:
        if isinstance(entry.preprocessing, ImagePreprocessing):
            images = entry.preprocessing
        else:
            features = entry.preprocessing
    elif len(shape) == 3:
        channels = shape[0]
        images = ImagePreprocessing(
            (shape[1], shape[2]),
            _numbers("--mean", mean, channels, 0.0),
            _numbers("--std", std, channels, 1.0),
        )
    if images is not None and images.resize is None:
        images = replace(images, resize=max(images.size))

    def prepare(samples: Iterable[NDArray[Any]]) -> Floats:
        samples = [np.asarray(s) for s in samples]
        if images is None or samples[0].dtype != np.uint8:
            return features(np.stack(samples))
        return images(_with_channels(sample, len(images.mean)) for sample in samples)

    return prepare


def read_inputs(
    program: "Program", paths: Sequence[Path], mean: str | None, std: str | None
) -> tuple[Any, list[str]]:
    """What ``Session.run`` takes, from one array file or any number of image files, and the names
    of the images."""
    images = [path for path in paths if path.suffix.lower() in IMAGE_FILES]
    if len(images) < len(paths):
        if len(paths) > 1:
            raise UserError(
                "give one .npy or .npz file, or image files "
                f"({', '.join(IMAGE_FILES)}), not both or several arrays"
            )
        return read_arrays(paths[0]), []
    entry = _entry(program)
    if entry is None and mean is None and std is None:
        raise UserError(
            f"{program.name} is no network of the zoo, so that nothing says how images become its "
            "inputs: give --mean and --std, of each channel of pixels in [0, 1], as in its training"
        )
    if len(program.inputs) != 1:
        raise UserError(f"{program.name} has {len(program.inputs)} inputs: give an .npz file")
    prepare = preparation(entry, program.inputs[0].shape, mean, std)
    return prepare(_pixels(path) for path in images), [path.name for path in images]


def _entry(program: "Program") -> "Entry | None":
    """The zoo's network that a Program was made of, by its name and input."""
    from sigbit import zoo

    if program.name not in zoo.names():
        return None
    entry = zoo.entry(program.name)
    return entry if entry.input_shape == tuple(program.inputs[0].shape) else None


def _pixels(path: Path) -> NDArray[np.uint8]:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"))
    except UnidentifiedImageError as error:
        raise UserError(f"{path} is not an image that can be read") from error


def _with_channels(image: NDArray[np.uint8], channels: int) -> NDArray[np.uint8]:
    """Grey images of three channels, and colour images in grey, where the network wants that."""
    from PIL import Image

    have = 1 if image.ndim == 2 else image.shape[2]
    if have == channels or {have, channels} != {1, 3}:
        return image
    return np.asarray(Image.fromarray(image.squeeze()).convert("L" if channels == 1 else "RGB"))


def _numbers(option: str, text: str | None, count: int, default: float) -> tuple[float, ...]:
    if text is None:
        return (default,) * count
    try:
        values = tuple(float(v) for v in text.split(","))
    except ValueError:
        values = ()
    if len(values) == 1:
        values *= count
    if len(values) != count or not np.isfinite(values).all() or (option == "--std" and 0 in values):
        raise UserError(
            f"{option} must be {count} numbers with commas between them, or one, "
            f"{'none of them 0, ' if option == '--std' else ''}not {text!r}"
        )
    return values
