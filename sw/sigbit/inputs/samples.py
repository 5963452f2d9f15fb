"""Inputs to calibrate with and to test with: of a data set by name, or in array files."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, cast

import numpy as np
from numpy.typing import NDArray

from sigbit.errors import UserError
from sigbit.inputs.arrays import read_arrays
from sigbit.inputs.images import Channels, Prepare, preparation, refuse_channels
from sigbit.inputs.networks import FloatNetwork

if TYPE_CHECKING:
    from sigbit.data import Dataset, DatasetEntry

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Samples:
    """Batches ``[N, *shape]``, one for each input of the network, and classes if there are any;
    ``origin`` is for people."""

    inputs: tuple[Floats, ...]
    labels: NDArray[Any] | None
    origin: str

    def __len__(self) -> int:
        return len(self.inputs[0])


SampleData = str | NDArray[Any] | Mapping[str, NDArray[Any]]
"""The name of a data set, an ``.npy`` or ``.npz`` file, or arrays."""


@dataclass(frozen=True)
class Calibration:
    """Samples to calibrate with, and others to test with.

    Parameters
    ----------
    data : str, array or mapping of arrays
        The name of a data set; or inputs ``[N, *shape]``, in an ``.npy`` file or as an array, or
        those of several inputs by name, in an ``.npz`` file or a mapping. An array ``y`` among
        named ones holds the labels.
    images, test : int
        Samples to calibrate with and to test with.
    bulk : bool
        Test by ONNX Runtime (extra ``bulk``), a sample compared with the integer model.
    folder : Path, optional
        The folder of data sets.
    mean, std : str or floats, optional
        Mean and standard deviation of each channel of images in [0, 1]; as text,
        separated by commas.
    """

    data: SampleData
    images: int = 32
    test: int = 100
    bulk: bool = False
    folder: Path | None = None
    mean: Channels = None
    std: Channels = None

    @classmethod
    def of(cls, samples: "Calibration | SampleData") -> Self:
        """Return ``samples``, or the usual number of them from a source."""
        return samples if isinstance(samples, cls) else cls(cast("SampleData", samples))

    @property
    def name(self) -> str:
        """How people call the source."""
        return self.data if isinstance(self.data, str) else "arrays"


def load_samples(wanted: Calibration, network: FloatNetwork) -> tuple[Samples, Samples]:
    """Return samples to calibrate with and others to test with, both chosen by a fixed seed."""
    data = wanted.data
    if not isinstance(data, str):
        return _of_arrays(data, "the given samples", network, wanted)
    if data.endswith((".npy", ".npz")):
        return _of_arrays(read_arrays(Path(data)), data, network, wanted)
    return _of_dataset(data, network, wanted)


def _of_dataset(name: str, network: FloatNetwork, wanted: Calibration) -> tuple[Samples, Samples]:
    from sigbit.data import source

    shapes = [node.shape for node in network.graph.inputs]
    if len(shapes) != 1:
        raise UserError(
            f"{network.graph.name} has {len(shapes)} inputs: give an .npz with an array for each "
            f"of {', '.join(node.name for node in network.graph.inputs)}"
        )
    prepare = preparation(network.entry, shapes[0], wanted.mean, wanted.std)
    found = source(name)
    tested = _loaded(found, [s for s in ("test", "val", "train") if s in found.splits], wanted)
    seen = tested
    if "train" in found.splits and tested.split != "train":
        seen = _loaded(found, ["train", tested.split], wanted)
    if seen.split == tested.split:
        order = np.random.default_rng(0).permutation(len(tested))
        first = min(wanted.images, max(1, len(tested) // 2))
        chosen = order[:first], order[first:][: wanted.test]
    else:
        chosen = _chosen(len(seen), wanted.images), _chosen(len(tested), wanted.test)
    calibration, test = (
        _samples(data, indices, prepare, shapes[0], name)
        for data, indices in zip((seen, tested), chosen, strict=True)
    )
    return calibration, test


def _loaded(found: "DatasetEntry", splits: list[str], wanted: Calibration) -> "Dataset":
    """Return the first of ``splits`` that is there; a folder of the user's may lack some."""
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
    data: "Dataset", indices: NDArray[np.int64], prepare: Prepare, shape: tuple[int, ...], name: str
) -> Samples:
    if not len(indices):
        raise UserError(f"{name} has too few samples to calibrate and to test: {len(data)}")
    inputs = prepare(data.inputs[int(i)] for i in indices)
    if inputs.shape[1:] != tuple(shape):
        raise UserError(
            f"samples of {name} are {list(inputs.shape[1:])}, the network reads {list(shape)}"
        )
    labels = data.labels[indices].astype(np.int64)
    return Samples((inputs,), labels, f"{len(indices)} of {data.name}, {data.split}")


def _of_arrays(
    given: NDArray[Any] | Mapping[str, NDArray[Any]],
    path: str,
    network: FloatNetwork,
    wanted: Calibration,
) -> tuple[Samples, Samples]:
    refuse_channels(wanted.mean, wanted.std, f"the arrays of {path} are taken as they are")
    nodes = network.graph.inputs
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
    parts = order[: wanted.images], order[wanted.images :][: wanted.test]
    if not len(parts[1]):
        parts = (parts[0], parts[0][: wanted.test])
    others = "others" if count > len(parts[0]) else "the same ones"
    calibration, test = (
        Samples(
            tuple(b[part] for b in batches),
            None if labels is None else labels[part].astype(np.int64),
            f"{len(part)} of {count} in {path}, {title}",
        )
        for part, title in zip(parts, ("chosen by seed 0", others), strict=True)
    )
    return calibration, test


def _check_labels(path: str, labels: NDArray[Any], network: FloatNetwork) -> None:
    """Labels are numbers of the network's classes."""
    if labels.dtype.kind not in "iu":
        raise UserError(f"{path}: y must hold the numbers of classes, not {labels.dtype}")
    classes = network.graph[network.graph.outputs[0]].shape[0]
    if (
        labels.ndim == 1
        and labels.size
        and not 0 <= int(labels.min()) <= int(labels.max()) < classes
    ):
        raise UserError(
            f"{path}: y must hold classes from 0 to {classes - 1}, which the network has, not "
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
