"""Inputs for calibration and testing: from a data set by name, or from array files."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sigbit.errors import UserError
from sigbit.inputs.arrays import read_arrays
from sigbit.inputs.images import (
    NO_OPTIONS,
    ImageOptions,
    Prepare,
    known_preprocessing,
    preparation,
)
from sigbit.inputs.labels import check_count
from sigbit.inputs.networks import FloatNetwork
from sigbit_hw.arch.preprocessing import ImagePreprocessing

if TYPE_CHECKING:
    from sigbit.data import Dataset, DatasetEntry
    from sigbit.ir.floating import FloatGraph

Floats = NDArray[np.float32]
SAMPLES = 32
"""Default number of calibration samples."""


@dataclass(frozen=True)
class Samples:
    """Inputs that are read on demand, and classes if there are any.

    Parameters
    ----------
    count : int
        Number of samples.
    batch : callable
        Returns the samples in a range of indices, end excluded: ``[n, *shape]`` for each input of
        the network.
    labels : array, optional
        Their classes.
    origin : str
        Their origin, for display.
    chunk : int
        Number of samples read at a time.
    classes : tuple of str
        Names of the classes, if they have any.
    """

    count: int
    batch: Callable[[int, int], tuple[Floats, ...]]
    labels: NDArray[Any] | None
    origin: str
    chunk: int = 32
    classes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        """Yield all samples, in chunks."""
        for first in range(0, self.count, self.chunk):
            yield self.tensors(first, first + self.chunk)

    def tensors(self, first: int, last: int) -> tuple[Tensor, ...]:
        """Return the samples from ``first`` to ``last``, excluded, as far as they exist."""
        return tuple(map(torch.from_numpy, self.batch(first, min(last, self.count))))


SampleData = str | NDArray[Any] | Mapping[str, NDArray[Any]]
"""The name of a data set, an ``.npy`` or ``.npz`` file, or arrays."""


@dataclass(frozen=True)
class Calibration:
    """Samples for calibration, and others for testing.

    Parameters
    ----------
    data : str, array or mapping of arrays
        The name of a data set; or inputs ``[N, *shape]``, in an ``.npy`` file or as an array, or
        several inputs by name, in an ``.npz`` file or a mapping. An array ``y`` among
        named ones holds the labels.
    images : int, optional
        Samples for calibration; 32 if not given, and more for steps that learn from them.
    test : int
        Samples for testing.
    chunk : int
        Samples read at a time. The result does not depend on it.
    bulk : bool
        Test by ONNX Runtime (extra ``bulk``), a sample compared with the integer model.
    folder : Path, optional
        The folder of data sets.
    images_as : ImageOptions
        Conversion of images to inputs, stored in the Program. Arrays are used unchanged.
    classes : tuple of str
        Names of the classes, stored in the Program; the data set's names if not given.
    details : bool
        Also measure the data that only a report shows.
    """

    data: SampleData
    images: int | None = None
    test: int = 100
    chunk: int = 32
    bulk: bool = False
    folder: Path | None = None
    images_as: ImageOptions = NO_OPTIONS
    classes: tuple[str, ...] = ()
    details: bool = False

    @classmethod
    def of(cls, samples: "Calibration | SampleData") -> Self:
        """Return ``samples``, or the default number of samples from a source."""
        return samples if isinstance(samples, cls) else cls(cast("SampleData", samples))

    @property
    def count(self) -> int:
        """Number of calibration samples."""
        return SAMPLES if self.images is None else self.images

    @property
    def name(self) -> str:
        """Name of the source, for display."""
        return self.data if isinstance(self.data, str) else "arrays"


def preprocessing_of(wanted: Calibration, network: FloatNetwork) -> ImagePreprocessing | None:
    """Return the conversion of images to the input of ``network``; None if unknown."""
    shapes = [node.shape for node in network.graph.given]
    return wanted.images_as.preprocessing(shapes, known_preprocessing(network.entry))


def classes_of(wanted: Calibration, network: FloatNetwork, samples: Samples) -> tuple[str, ...]:
    """Return the names of the classes of ``network``: the given ones, of which there must be as
    many as a result has classes, or those of ``samples`` if their number matches; none if they are
    unknown."""
    counts = network.classes
    if wanted.classes:
        check_count("--labels", wanted.classes, "the network", counts)
    known = samples.classes if len(samples.classes) in counts.values() else ()
    return wanted.classes or known


def load_samples(wanted: Calibration, network: FloatNetwork) -> tuple[Samples, Samples]:
    """Return samples for calibration and others for testing, both chosen by a fixed seed; of a
    network with states, the first ones and those that follow them, with the float network's own
    states."""
    data = wanted.data
    if not isinstance(data, str):
        return _of_arrays(data, "the given samples", network, wanted)
    if data.endswith((".npy", ".npz")):
        return _of_arrays(read_arrays(Path(data)), data, network, wanted)
    return _of_dataset(data, network, wanted)


def _of_dataset(name: str, network: FloatNetwork, wanted: Calibration) -> tuple[Samples, Samples]:
    from sigbit.data import source

    if network.graph.states:
        raise UserError(
            f"{network.graph.name} has states, and the samples of a data set do not follow each "
            "other in time: give an .npy file of consecutive steps"
        )
    shapes = [node.shape for node in network.graph.inputs]
    if len(shapes) != 1:
        raise UserError(
            f"{network.graph.name} has {len(shapes)} inputs: give an .npz with an array for each "
            f"of {', '.join(node.name for node in network.graph.inputs)}"
        )
    prepare = preparation(network.entry, shapes[0], preprocessing_of(wanted, network))
    found = source(name)
    tested = _loaded(found, [s for s in ("test", "val", "train") if s in found.splits], wanted)
    seen = tested
    if "train" in found.splits and tested.split != "train":
        seen = _loaded(found, ["train", tested.split], wanted)
    if seen.split == tested.split:
        order = np.random.default_rng(0).permutation(len(tested))
        first = min(wanted.count, max(1, len(tested) // 2))
        chosen = order[:first], order[first:][: wanted.test]
    else:
        chosen = _chosen(len(seen), wanted.count), _chosen(len(tested), wanted.test)
    _check_classes(f"{name}, {tested.split}", np.asarray(tested.labels), network)
    calibration, test = (
        _samples(data, indices, prepare, shapes[0], wanted)
        for data, indices in zip((seen, tested), chosen, strict=True)
    )
    return calibration, test


def _loaded(found: "DatasetEntry", splits: list[str], wanted: Calibration) -> "Dataset":
    """Return the first existing one of ``splits``; a user's folder may lack some."""
    from sigbit.data import DataError, load

    for split in splits[:-1] if found.origin == "folder" else ():
        try:
            return load(found.name, split, wanted.folder)
        except DataError:
            continue
    return load(found.name, splits[-1 if found.origin == "folder" else 0], wanted.folder)


def _chosen(count: int, wanted: int) -> NDArray[np.int64]:
    return np.random.default_rng(0).permutation(count)[:wanted]


def _samples(
    data: "Dataset",
    indices: NDArray[np.int64],
    prepare: Prepare,
    shape: tuple[int, ...],
    wanted: Calibration,
) -> Samples:
    if not len(indices):
        raise UserError(f"{wanted.name} has too few samples to calibrate and to test: {len(data)}")

    def batch(first: int, last: int) -> tuple[Floats]:
        inputs = prepare(data.inputs[int(i)] for i in indices[first:last])
        if inputs.shape[1:] != tuple(shape):
            raise UserError(
                f"samples of {wanted.name} are {list(inputs.shape[1:])}, the network reads "
                f"{list(shape)}"
            )
        return (inputs,)

    batch(0, 1)
    labels = data.labels[indices].astype(np.int64)
    origin = f"{len(indices)} of {data.name}, {data.split}"
    return Samples(len(indices), batch, labels, origin, wanted.chunk, data.classes)


def _of_arrays(
    given: NDArray[Any] | Mapping[str, NDArray[Any]],
    path: str,
    network: FloatNetwork,
    wanted: Calibration,
) -> tuple[Samples, Samples]:
    nodes = network.graph.given
    named = given if isinstance(given, Mapping) else {"x": given}
    arrays = {name: np.asarray(array) for name, array in named.items()}
    labels = arrays.pop("y", None)
    if labels is not None:
        _check_labels(path, labels, network)
    names = [node.name for node in nodes]
    if len(nodes) == 1 and len(arrays) == 1:
        arrays = {names[0]: next(iter(arrays.values()))}
    if set(arrays) != set(names):
        raise UserError(
            f"{path}: the arrays are {', '.join(sorted(arrays)) or 'none'}, the inputs of the "
            f"network {', '.join(names)}; labels are the array y"
        )
    batches = [_batch(path, n.name, arrays[n.name], n.shape) for n in nodes]
    counts = {len(b) for b in batches} | ({len(labels)} if labels is not None else set())
    if len(counts) > 1:
        raise UserError(f"{path}: the arrays hold different numbers of samples: {sorted(counts)}")
    count = len(batches[0])
    order = np.random.default_rng(0).permutation(count)
    if network.graph.states:
        order = np.arange(min(count, wanted.count + wanted.test))
        batches = _with_states(network.graph, names, [b[order] for b in batches])
    parts = order[: wanted.count], order[wanted.count :][: wanted.test]
    if not len(parts[1]):
        parts = (parts[0], parts[0][: wanted.test])
    chosen = "the first ones" if network.graph.states else "chosen by seed 0"
    others = "others" if count > len(parts[0]) else "the same ones"
    calibration, test = (
        Samples(
            len(part),
            _rows(batches, part),
            None if labels is None else labels[part].astype(np.int64),
            f"{len(part)} of {count} in {path}, {title}",
            wanted.chunk,
        )
        for part, title in zip(parts, (chosen, others), strict=True)
    )
    return calibration, test


def _with_states(graph: "FloatGraph", names: list[str], batches: list[Floats]) -> list[Floats]:
    """Return samples of all inputs in their order, from consecutive ones of those that are no
    states."""
    from sigbit.quant.calibration.streams import states_of

    steps = {name: torch.from_numpy(b) for name, b in zip(names, batches, strict=True)}
    known = steps | states_of(graph, steps)
    return [known[node.name].numpy() for node in graph.inputs]


def _rows(
    batches: list[Floats], rows: NDArray[np.int64]
) -> Callable[[int, int], tuple[Floats, ...]]:
    return lambda first, last: tuple(b[rows[first:last]] for b in batches)


def _check_labels(path: str, labels: NDArray[Any], network: FloatNetwork) -> None:
    """Check that labels are numbers of the network's classes."""
    if labels.dtype.kind not in "iu":
        raise UserError(f"{path}: y must hold the numbers of classes, not {labels.dtype}")
    _check_classes(f"{path}: y", labels, network)


def _check_classes(what: str, labels: NDArray[Any], network: FloatNetwork) -> None:
    classes = next(iter(network.classes.values()))
    if classes is None:
        return
    if (
        labels.ndim == 1
        and labels.size
        and not 0 <= int(labels.min()) <= int(labels.max()) < classes
    ):
        raise UserError(
            f"{what} must hold classes from 0 to {classes - 1}, which the network has, not "
            f"{int(labels.min())} to {int(labels.max())}"
        )


def _batch(path: str, name: str, array: NDArray[Any], shape: tuple[int, ...]) -> Floats:
    if array.dtype.kind not in "fiu":
        raise UserError(f"{path}: {name} must hold numbers, not {array.dtype}")
    if array.shape[1:] != tuple(shape) or not len(array):
        raise UserError(
            f"{path}: {name} must have shape [N, {', '.join(map(str, shape))}] with N >= 1, not "
            f"{list(array.shape)}"
        )
    if wrong := int((~np.isfinite(array)).sum()):
        raise UserError(f"{path}: {name} holds NaN or infinity ({wrong} of {array.size} values)")
    return array.astype(np.float32)
