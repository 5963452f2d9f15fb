"""Files of data sets."""

import gzip
import io
import pickle
import struct
import tarfile
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy.io import savemat

from hostile.kinds import Kind, Rng
from hostile.models import Canary
from hostile.tensors import ANY_ZIP
from sigbit import data

Craft = Callable[[bytes], bytes]
_IDX = "t10k-images-idx3-ubyte.gz"


def _idx(values: np.ndarray) -> bytes:
    dims = struct.pack(f">{values.ndim}I", *values.shape)
    return bytes([0, 0, 8, values.ndim]) + dims + values.tobytes()


def _write_idx(folder: Path, rng: Rng) -> None:
    images = rng.integers(0, 256, (5, 28, 28)).astype(np.uint8)
    (folder / _IDX).write_bytes(gzip.compress(_idx(images), mtime=0))
    labels = _idx(np.arange(5).astype(np.uint8))
    (folder / "t10k-labels-idx1-ubyte").write_bytes(labels)


def _loaded(name: str, split: str, up: int = 0) -> Callable[[Path], object]:
    def read(path: Path) -> None:
        found = data.load(name, split, path.parents[up])
        for _ in found.batches(2):
            pass

    return read


def _constant(content: bytes) -> Craft:
    return lambda data: content


def _gz(content: bytes) -> Craft:
    return lambda data: gzip.compress(content, mtime=0)


_IDXS: dict[str, Craft] = {
    "nothing": _constant(b""),
    "text": _constant(b"not gzip"),
    "nothing, packed": _gz(b""),
    "2^96 bytes": _gz(bytes([0, 0, 8, 3]) + b"\xff" * 12 + bytes(100)),
    "255 dimensions": _gz(bytes([0, 0, 8, 255]) + bytes(1020)),
    "floats": _gz(bytes([0, 0, 13, 1]) + struct.pack(">I", 4) + bytes(16)),
    "a byte more": _gz(_idx(np.zeros((5, 28, 28), np.uint8)) + b"\0"),
    "no images": _gz(_idx(np.zeros((0, 28, 28), np.uint8))),
    "a bomb of 512 MiB": lambda data: gzip.compress(bytes(1 << 29), 1),
}


def _batch(rng: Rng) -> dict[bytes, Any]:
    pixels = rng.integers(0, 256, (4, 3072)).astype(np.uint8)
    return {b"data": pixels, b"labels": [0, 1, 2, 3], b"batch_label": b"testing"}


_META = {b"label_names": [f"class {i}".encode() for i in range(10)]}


def _write_batch(folder: Path, rng: Rng) -> None:
    inside = folder / "cifar-10-batches-py"
    inside.mkdir()
    (inside / "test_batch").write_bytes(pickle.dumps(_batch(rng), 2))
    (inside / "batches.meta").write_bytes(pickle.dumps(_META, 2))


def _tar(entries: dict[str, bytes], mode: Any = "w:gz") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:
        for name, content in entries.items():
            info = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def _write_tar(folder: Path, rng: Rng) -> None:
    entries = {"test_batch": pickle.dumps(_batch(rng), 2), "batches.meta": pickle.dumps(_META, 2)}
    (folder / "cifar-10-python.tar.gz").write_bytes(_tar(entries))


_PICKLES: dict[str, bytes] = {
    "nothing": b"",
    "text": b"not a pickle",
    "code": pickle.dumps(Canary()),
    "code within": pickle.dumps({b"data": Canary(), b"labels": [0]}, 2),
    "a list": pickle.dumps([1, 2], 2),
    "no data": pickle.dumps({b"labels": [0]}, 2),
    "data of text": pickle.dumps({b"data": "x", b"labels": [0]}, 2),
    "data of objects": pickle.dumps({b"data": np.array([{}]), b"labels": [0]}, 2),
    "data of another shape": pickle.dumps({b"data": np.zeros((2, 5), np.uint8), b"labels": [0]}, 2),
    "labels of text": pickle.dumps({b"data": np.zeros((1, 3072), np.uint8), b"labels": ["x"]}, 2),
    "labels of 2^70": pickle.dumps(
        {b"data": np.zeros((1, 3072), np.uint8), b"labels": [1 << 70]}, 2
    ),
    "a memory of 2^32": b"\x80\x02K\x01r\xff\xff\xff\xff.",
    "2^31 bytes": b"\x80\x02B\xff\xff\xff\x7f.",
    "2^60 bytes": b"\x80\x04\x8e" + (1 << 60).to_bytes(8, "little") + b".",
    "a frame of 2^60": b"\x80\x04\x95" + (1 << 60).to_bytes(8, "little") + b"K\x01.",
    "100,000 lists": b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b".",
}


def _packed_tar(content: bytes) -> Craft:
    return lambda data: _tar({"test_batch": content, "batches.meta": pickle.dumps(_META, 2)})


def _long_header(data: bytes) -> bytes:
    """A tar file with an extended header of 8 GiB."""
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.XHDTYPE, (8 << 30) - 1
    return gzip.compress(info.tobuf(tarfile.GNU_FORMAT) + bytes(1024), mtime=0)


_TARS: dict[str, Craft] = {
    "nothing": _constant(b""),
    "text": _constant(b"not a tar file"),
    "nothing, packed": _gz(b""),
    "an empty archive": lambda data: _tar({}),
    "a header of 8 GiB": _long_header,
    "a bomb of 2 GiB": lambda data: gzip.compress(
        tarfile.TarInfo("x").tobuf() + bytes(1024), mtime=0
    ),
    **{f"{name}, packed": _packed_tar(content) for name, content in _PICKLES.items() if content},
}


def _write_svhn(folder: Path, rng: Rng) -> None:
    images = rng.integers(0, 256, (32, 32, 3, 4)).astype(np.uint8)
    content = {"X": images, "y": np.array([[1], [2], [10], [4]], np.uint8)}
    savemat(folder / "test_32x32.mat", content, do_compression=bool(rng.random() < 0.5))


def _mat(**arrays: Any) -> Craft:
    def craft(data: bytes) -> bytes:
        buffer = io.BytesIO()
        savemat(buffer, arrays, do_compression=True)
        return buffer.getvalue()

    return craft


_MATS: dict[str, Craft] = {
    "nothing": _constant(b""),
    "text": _constant(b"not a MATLAB file" * 20),
    "no labels": _mat(X=np.zeros((32, 32, 3, 2), np.uint8)),
    "another shape": _mat(X=np.zeros((3, 3), np.uint8), y=np.ones((2, 1))),
    "images of floats": _mat(X=np.zeros((32, 32, 3, 2)), y=np.ones((2, 1))),
    "images of objects": _mat(X=np.array([[{"a": 1}]], object), y=np.ones((2, 1))),
    "labels of text": _mat(X=np.zeros((32, 32, 3, 2), np.uint8), y="ab"),
    "labels of 99": _mat(X=np.zeros((32, 32, 3, 2), np.uint8), y=np.full((2, 1), 99)),
}


def _wave(frames: int = 4000, rate: int = 8000, channels: int = 1, width: int = 2) -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as sound:
        sound.setparams((channels, width, rate, 0, "NONE", ""))
        sound.writeframes(bytes(frames * channels * width))
    return buffer.getvalue()


def _write_wave(folder: Path, rng: Rng) -> None:
    inside = folder / "recordings"
    inside.mkdir()
    content = bytearray(_wave())
    content[44:] = rng.integers(0, 256, len(content) - 44).astype(np.uint8).tobytes()
    (inside / "3_a_0.wav").write_bytes(content)


_WAVES: dict[str, Craft] = {
    "nothing": _constant(b""),
    "text": _constant(b"not a wave file"),
    "two channels": _constant(_wave(channels=2)),
    "8 bits": _constant(_wave(width=1)),
    "44 kHz": _constant(_wave(rate=44100)),
    "a header alone": _constant(_wave()[:20]),
    "0 channels": lambda data: data[:22] + b"\0\0" + data[24:],
}


def _jpeg(rng: Rng) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(rng.integers(0, 256, (32, 32, 3)).astype(np.uint8)).save(buffer, "JPEG")
    return buffer.getvalue()


def _write_packed(folder: Path, rng: Rng) -> None:
    files = [_jpeg(rng) for _ in range(3)]
    np.savez(
        folder / "cifar10_test_jpeg.npz",
        blob=np.frombuffer(b"".join(files), np.uint8),
        offsets=np.cumsum([0, *map(len, files)]),
        labels=np.arange(3),
        names=np.array([f"{i}.jpg" for i in range(3)]),
    )


def _npz(**changes: Any) -> Craft:
    def craft(content: bytes) -> bytes:
        with np.load(io.BytesIO(content)) as arrays:
            new = dict(arrays) | changes
        buffer = io.BytesIO()
        np.savez(buffer, **{k: v for k, v in new.items() if v is not None})
        return buffer.getvalue()

    return craft


_PACKED = ANY_ZIP | {
    "offsets backwards": _npz(offsets=np.array([0, 50, 10, 60])),
    "offsets below 0": _npz(offsets=np.array([-5, 50, 60, 70])),
    "offsets behind the end": _npz(offsets=np.array([0, 50, 60, 1 << 40])),
    "offsets of floats": _npz(offsets=np.array([0.0, 1.0, 2.0, 3.0])),
    "offsets of nothing": _npz(offsets=np.zeros(0, np.int64)),
    "labels of -1": _npz(labels=np.array([-1, 0, 1])),
    "labels of text": _npz(labels=np.array(["a", "b", "c"])),
    "no labels": _npz(labels=None),
    "two dimensions": _npz(blob=np.zeros((2, 2), np.uint8)),
}

KINDS = (
    Kind("MNIST, IDX", _IDX, _write_idx, _loaded("mnist", "test"), crafted=_IDXS),
    Kind(
        "CIFAR-10, batch",
        "cifar-10-batches-py/test_batch",
        _write_batch,
        _loaded("cifar10", "test", 1),
        crafted={name: _constant(content) for name, content in _PICKLES.items()},
    ),
    Kind(
        "CIFAR-10, archive",
        "cifar-10-python.tar.gz",
        _write_tar,
        _loaded("cifar10", "test"),
        crafted=_TARS,
    ),
    Kind("SVHN", "test_32x32.mat", _write_svhn, _loaded("svhn", "test"), crafted=_MATS),
    Kind(
        "spoken digits, WAV",
        "recordings/3_a_0.wav",
        _write_wave,
        _loaded("spoken-digits", "test", 1),
        crafted=_WAVES,
    ),
    Kind(
        "packed images, .npz",
        "cifar10_test_jpeg.npz",
        _write_packed,
        _loaded("cifar10-jpeg", "test"),
        crafted=_PACKED,
    ),
)
