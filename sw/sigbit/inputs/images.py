"""Conversion of images and arrays to the inputs of networks and Programs."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sigbit.errors import UserError
from sigbit.inputs.arrays import read_arrays
from sigbit_hw.arch.preprocessing import Colours, ImagePreprocessing
from sigbit_tools.pictures import SUFFIXES, read_image

if TYPE_CHECKING:
    from sigbit.zoo import Entry
    from sigbit_hw.arch.program import Program

Floats = NDArray[np.float32]
Prepare = Callable[[Iterable[NDArray[Any]]], Floats]
"""Converts stored samples to a batch of inputs."""

Channels = str | Sequence[float] | None
"""One number per channel, or one for all; as text, separated by commas."""


@dataclass(frozen=True)
class ImageOptions:
    """Explicit options for the conversion of images to a network's input.

    Parameters
    ----------
    mean, std : str or floats, optional
        Mean and standard deviation of each channel of images in [0, 1]; as text, separated by
        commas. Defaults to 0 and 1 if only the other one is given.
    resize : int, optional
        Side to which the largest centred square is scaled before the input is cut out of its
        centre; the larger side of the input if not given.
    colours : "RGB" or "BGR", optional
        Order of the channels; RGB if not given.
    """

    mean: Channels = None
    std: Channels = None
    resize: int | None = None
    colours: Colours | None = None

    def preprocessing(
        self, shapes: Sequence[tuple[int, ...]], known: ImagePreprocessing | None
    ) -> ImagePreprocessing | None:
        """Return the ``known`` preprocessing, overridden by these options, for inputs of
        ``shapes``; None if nothing is known. Raise :class:`UserError` for options that do not fit
        the shapes."""
        given: dict[str, Any] = {
            name: value for name, value in vars(self).items() if value is not None
        }
        if not given:
            return known and _of_any_size(known)
        if len(shapes) != 1 or len(shapes[0]) != 3:
            inputs = ", ".join(str(list(shape)) for shape in shapes)
            raise UserError(f"--{next(iter(given))} is for images, the network reads {inputs}")
        if known is None and self.mean is None and self.std is None:
            option = next(iter(given))
            raise UserError(f"--{option} alone does not say how images become inputs: {ASK}")
        channels, height, width = shapes[0]
        how = known or ImagePreprocessing((height, width), (0.0,) * channels, (1.0,) * channels)
        numbers: dict[str, Any] = {
            name: _numbers(f"--{name}", given[name], channels)
            for name in ("mean", "std")
            if name in given
        }
        try:
            return _of_any_size(replace(how, **given | numbers))
        except ValueError as error:
            raise UserError(f"--{', --'.join(given)}: {error}") from None


NO_OPTIONS = ImageOptions()
"""No options given."""
ASK = "give --mean and --std of each channel of pixels in [0, 1], as in training"


def _of_any_size(how: ImagePreprocessing) -> ImagePreprocessing:
    return how if how.resize is not None else replace(how, resize=max(how.size))


def known_preprocessing(entry: "Entry | None") -> ImagePreprocessing | None:
    """Return the preprocessing of the zoo's ``entry``, if it reads images."""
    found = None if entry is None else entry.preprocessing
    return found if isinstance(found, ImagePreprocessing) else None


def preparation(
    entry: "Entry | None", shape: Sequence[int], how: ImagePreprocessing | None
) -> Prepare:
    """Return the conversion of samples to inputs ``[N, *shape]``: images of bytes according to
    ``how``, features as for the zoo's ``entry``, anything else unchanged."""
    from sigbit.zoo.preprocessing import FeaturePreprocessing

    features = FeaturePreprocessing(tuple(shape))
    if entry is not None and isinstance(entry.preprocessing, FeaturePreprocessing):
        features = entry.preprocessing

    def prepare(samples: Iterable[NDArray[Any]]) -> Floats:
        samples = [np.asarray(s) for s in samples]
        if len(shape) != 3 or samples[0].dtype != np.uint8:
            return features(np.stack(samples))
        if how is None:
            raise UserError(f"how images become the input of the network is not known: {ASK}")
        return prepared(how, samples)

    return prepare


def prepared(how: ImagePreprocessing, images: Iterable[NDArray[np.uint8]]) -> Floats:
    """Images of bytes as inputs, grey or coloured as the network requires."""
    return how(_with_channels(image, len(how.mean)) for image in images)


def read_inputs(
    program: "Program", paths: Sequence[Path], given: ImageOptions, *, stored: bool = False
) -> tuple[Any, list[str]]:
    """Read inputs for ``Session.run`` from one array file or any number of image files.

    Returns the inputs and the names of the images.
    """
    images = [path for path in paths if path.suffix.lower() in SUFFIXES]
    if len(images) < len(paths):
        if len(paths) > 1:
            raise UserError(
                "give one .npy or .npz file, or image files "
                f"({', '.join(SUFFIXES)}), not both or several arrays"
            )
        for option, value in vars(given).items():
            if value is not None:
                raise UserError(
                    f"--{option} is for images, and {paths[0]} is taken as it is: leave it out"
                )
        return read_arrays(paths[0]), []
    if stored:
        raise UserError("--stored is for arrays of stored integers, not for images: leave it out")
    if len(program.inputs) != 1:
        raise UserError(f"{program.name} has {len(program.inputs)} inputs: give an .npz file")
    how = given.preprocessing([program.inputs[0].own_shape], program.preprocessing)
    if how is None:
        raise UserError(f"{program.name} does not say how images become its inputs: {ASK}")
    read = (read_image(path, str(path)) for path in images)
    return prepared(how, read), [path.name for path in images]


def _with_channels(image: NDArray[np.uint8], channels: int) -> NDArray[np.uint8]:
    """Convert between grey and colour if the network requires the other one."""
    from PIL import Image

    have = 1 if image.ndim == 2 else image.shape[2]
    if have == channels or {have, channels} != {1, 3}:
        return image
    return np.asarray(Image.fromarray(image.squeeze()).convert("L" if channels == 1 else "RGB"))


def _numbers(option: str, given: str | Sequence[float], count: int) -> tuple[float, ...]:
    try:
        values = tuple(float(v) for v in (given.split(",") if isinstance(given, str) else given))
    except ValueError:
        values = ()
    if len(values) == 1:
        values *= count
    if (
        len(values) != count
        or not np.isfinite(values).all()
        or (option == "--std" and min(values) <= 0)
    ):
        raise UserError(
            f"{option} must be {count} {'positive ' if option == '--std' else ''}numbers, one for "
            f"each channel, separated by commas, or one for all, not {given!r}"
        )
    return values
