"""From images and arrays to what networks and Programs read."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sigbit.errors import UserError
from sigbit.inputs.arrays import read_arrays
from sigbit_hw.arch.preprocessing import ImagePreprocessing
from sigbit_tools.pictures import SUFFIXES, read_image

if TYPE_CHECKING:
    from sigbit.zoo import Entry
    from sigbit_hw.arch.program import Program

Floats = NDArray[np.float32]
Prepare = Callable[[Iterable[NDArray[Any]]], Floats]
"""Turns samples as they are stored into a batch of inputs."""

Channels = str | Sequence[float] | None
"""A number for each channel, or one for all; as text, separated by commas."""


def preparation(
    entry: "Entry | None", shape: Sequence[int], mean: Channels, std: Channels
) -> Prepare:
    """Return what turns samples into inputs ``[N, *shape]``.

    The zoo's ``entry`` says how; without it images of bytes are scaled to [0, 1], resized and
    normalized, and features are taken as they are.
    """
    from sigbit.zoo.preprocessing import FeaturePreprocessing

    features, images = FeaturePreprocessing(tuple(shape)), None
    if len(shape) != 3:
        refuse_channels(mean, std, f"the network reads {list(shape)}")
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
    program: "Program", paths: Sequence[Path], mean: Channels, std: Channels
) -> tuple[Any, list[str]]:
    """Read inputs for ``Session.run`` from one array file or any number of image files.

    Returns them and the names of the images.
    """
    images = [path for path in paths if path.suffix.lower() in SUFFIXES]
    if not images:
        refuse_channels(mean, std, f"{paths[0]} is taken as it is")
    if len(images) < len(paths):
        if len(paths) > 1:
            raise UserError(
                "give one .npy or .npz file, or image files "
                f"({', '.join(SUFFIXES)}), not both or several arrays"
            )
        return read_arrays(paths[0]), []
    entry = _entry(program)
    if entry is None and mean is None and std is None:
        raise UserError(
            f"{program.name} is not a network of the zoo, so how images become its inputs is "
            "unknown: give --mean and --std of each channel of pixels in [0, 1], as in training"
        )
    if len(program.inputs) != 1:
        raise UserError(f"{program.name} has {len(program.inputs)} inputs: give an .npz file")
    prepare = preparation(entry, program.inputs[0].shape, mean, std)
    return prepare(read_image(path, str(path)) for path in images), [path.name for path in images]


def refuse_channels(mean: Channels, std: Channels, instead: str) -> None:
    """Raise :class:`UserError` if ``mean`` or ``std`` are given where there are no images."""
    for option, value in (("--mean", mean), ("--std", std)):
        if value is not None:
            raise UserError(f"{option} is for images, and {instead}: leave it out")


def _entry(program: "Program") -> "Entry | None":
    """Return the zoo's network that a Program was made of, by its name and input."""
    from sigbit import zoo

    if program.name not in zoo.names():
        return None
    entry = zoo.entry(program.name)
    return entry if entry.input_shape == tuple(program.inputs[0].shape) else None


def _with_channels(image: NDArray[np.uint8], channels: int) -> NDArray[np.uint8]:
    """Convert between grey and colour where the network wants the other one."""
    from PIL import Image

    have = 1 if image.ndim == 2 else image.shape[2]
    if have == channels or {have, channels} != {1, 3}:
        return image
    return np.asarray(Image.fromarray(image.squeeze()).convert("L" if channels == 1 else "RGB"))


def _numbers(option: str, given: Channels, count: int, default: float) -> tuple[float, ...]:
    if given is None:
        return (default,) * count
    try:
        values = tuple(float(v) for v in (given.split(",") if isinstance(given, str) else given))
    except ValueError:
        values = ()
    if len(values) == 1:
        values *= count
    if len(values) != count or not np.isfinite(values).all() or (option == "--std" and 0 in values):
        raise UserError(
            f"{option} must be {count} numbers separated by commas, or one, "
            f"{'none of them 0, ' if option == '--std' else ''}not {given!r}"
        )
    return values
