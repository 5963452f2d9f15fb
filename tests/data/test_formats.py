"""Loaders on small files in the data sets' own formats, whole and damaged."""

import gzip
import io
import pickle
import struct
import tarfile
import wave

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from sigbit import data
from sigbit.data import DataError


def idx(array):
    head = b"\0\0\x08" + bytes([array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return head + array.tobytes()


def jpeg(image):
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "JPEG")
    return stream.getvalue()


def save_packed(path, images, labels):
    files = [jpeg(image) for image in images]
    offsets = np.cumsum([0, *map(len, files)])
    names = np.array([f"{i}.jpg".encode() for i in range(len(files))])
    blob = np.frombuffer(b"".join(files), np.uint8)
    np.savez(path, blob=blob, offsets=offsets, labels=np.array(labels, np.int16), names=names)


@pytest.fixture
def digits_folder(tmp_path, rng):
    """Three training images and labels in the IDX format; (folder, images)."""
    images = rng.integers(0, 256, (3, 28, 28), dtype=np.uint8)
    labels = np.array([7, 0, 9], np.uint8)
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(images)))
    (tmp_path / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(labels)))
    return tmp_path, images


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_idx(name, digits_folder):
    folder, images = digits_folder
    found = data.load(name, "train", folder)
    assert np.array_equal(found.inputs, images)
    assert found.labels.tolist() == [7, 0, 9]
    assert found.labels.dtype == np.int64
    assert len(found.classes) == 10


def test_idx_unpacked_in_its_own_folder(tmp_path, rng):
    folder = tmp_path / "mnist"
    folder.mkdir()
    images = rng.integers(0, 256, (2, 28, 28), dtype=np.uint8)
    (folder / "t10k-images-idx3-ubyte").write_bytes(idx(images))
    (folder / "t10k-labels-idx1-ubyte").write_bytes(idx(np.array([1, 2], np.uint8)))
    assert np.array_equal(data.load("mnist", "test", tmp_path).inputs, images)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"not gzip", "not a complete gzip file"),
        (gzip.compress(b"\0\0\x08\x03")[:-6], "not a complete gzip file"),
        (gzip.compress(b"\0\0\x0d\x01\0\0\0\0"), "not an IDX file"),
        (gzip.compress(b"\0\0\x08\x03\0\0"), "not an IDX file"),
        (gzip.compress(idx(np.zeros((3, 2, 2), np.uint8))[:-1]), "must hold 12 bytes"),
        (gzip.compress(idx(np.zeros(3, np.uint8))), "must have 3 dimensions, not 1"),
        (gzip.compress(idx(np.zeros((2, 28, 28), np.uint8))), "2 inputs but 3 labels"),
    ],
    ids=["not_gzip", "cut", "kind", "header", "short", "one_dimension", "labels"],
)
def test_damaged_idx(content, message, digits_folder):
    folder, _ = digits_folder
    (folder / "train-images-idx3-ubyte.gz").write_bytes(content)
    with pytest.raises(DataError, match=message):
        data.load("mnist", "train", folder)


def cifar10_files(rng):
    """The pickles of a tiny CIFAR-10 by name, and the images of the five training batches."""
    images = rng.integers(0, 256, (10, 32, 32, 3), dtype=np.uint8)
    rows = images.transpose(0, 3, 1, 2).reshape(10, -1)
    files = {
        f"data_batch_{i + 1}": {b"data": rows[2 * i : 2 * i + 2], b"labels": [2 * i, 2 * i + 1]}
        for i in range(5)
    }
    files["test_batch"] = {b"data": rows[:1], b"labels": [3]}
    files["batches.meta"] = {b"label_names": [f"c{i}".encode() for i in range(10)]}
    return {name: pickle.dumps(value, protocol=2) for name, value in files.items()}, images


def archive(path, files, folder):
    with tarfile.open(path, "w:gz") as target:
        for name, content in files.items():
            member = tarfile.TarInfo(f"{folder}/{name}")
            member.size = len(content)
            target.addfile(member, io.BytesIO(content))


@pytest.mark.parametrize("form", ["archive", "unpacked", "flat"])
def test_cifar10(form, tmp_path, rng):
    files, images = cifar10_files(rng)
    if form == "archive":
        archive(tmp_path / "cifar-10-python.tar.gz", files, "cifar-10-batches-py")
    else:
        folder = tmp_path / "cifar-10-batches-py" if form == "unpacked" else tmp_path
        folder.mkdir(exist_ok=True)
        for name, content in files.items():
            (folder / name).write_bytes(content)
    train, test = (data.load("cifar10", split, tmp_path) for split in ("train", "test"))
    assert np.array_equal(train.inputs, images)
    assert train.labels.tolist() == list(range(10))
    assert train.classes[3] == "c3"
    assert np.array_equal(test.inputs, images[:1])


def test_cifar100(tmp_path, rng):
    images = rng.integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    batch = {
        b"data": images.transpose(0, 3, 1, 2).reshape(2, -1),
        b"fine_labels": [99, 0],
        b"coarse_labels": [1, 2],
    }
    names = {b"fine_label_names": [str(i).encode() for i in range(100)]}
    files = {"train": pickle.dumps(batch), "meta": pickle.dumps(names)}
    archive(tmp_path / "cifar-100-python.tar.gz", files, "cifar-100-python")
    found = data.load("cifar100", "train", tmp_path)
    assert np.array_equal(found.inputs, images)
    assert found.labels.tolist() == [99, 0]
    with pytest.raises(DataError, match="lacks cifar-100-python/test"):
        data.load("cifar100", "test", tmp_path)


class _Code:
    def __reduce__(self):
        return (print, ("run",))


def test_damaged_cifar(tmp_path, rng, capsys):
    files, _ = cifar10_files(rng)
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    for content, message in (
        (pickle.dumps({b"data": _Code()}), "has no place in a CIFAR batch"),
        (files["test_batch"][:-20], "not a CIFAR batch"),
        (pickle.dumps([1]), "it holds a list"),
        (pickle.dumps({b"data": np.zeros((1, 5), np.uint8), b"labels": [1]}), "rows of 3072"),
        (pickle.dumps({b"labels": [1]}), "lacks the entry b'data'"),
    ):
        (tmp_path / "test_batch").write_bytes(content)
        with pytest.raises(DataError, match=message):
            data.load("cifar10", "test", tmp_path)
    assert "run" not in capsys.readouterr().out
    (tmp_path / "test_batch").unlink()
    with pytest.raises(DataError, match="cifar10 needs test_batch, which is not in"):
        data.load("cifar10", "test", tmp_path)


def test_svhn(tmp_path, rng):
    images = rng.integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    labels = np.array([[10], [1], [9]], np.uint8)
    savemat(tmp_path / "test_32x32.mat", {"X": images.transpose(1, 2, 3, 0), "y": labels})
    found = data.load("svhn", "test", tmp_path)
    assert np.array_equal(found.inputs, images)
    assert found.labels.tolist() == [0, 1, 9]
    savemat(tmp_path / "train_32x32.mat", {"X": images})
    with pytest.raises(DataError, match="must hold the arrays X and y"):
        data.load("svhn", "train", tmp_path)
    savemat(tmp_path / "train_32x32.mat", {"X": images, "y": labels})
    with pytest.raises(DataError, match=r"X must be bytes \[32, 32, 3, N\]"):
        data.load("svhn", "train", tmp_path)
    (tmp_path / "train_32x32.mat").write_bytes(b"x" * 300)
    with pytest.raises(DataError, match="not a MATLAB file"):
        data.load("svhn", "train", tmp_path)


def test_packed(tmp_path, rng):
    images = rng.integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)
    save_packed(tmp_path / "cifar10_test_jpeg.npz", images, [0, 9, 5, 5])
    found = data.load("cifar10-jpeg", "test", tmp_path)
    assert found.name == "CIFAR-10 (JPEG)"
    assert found.labels.tolist() == [0, 9, 5, 5]
    decoded = np.asarray(Image.open(io.BytesIO(jpeg(images[2]))))
    assert np.array_equal(found.inputs[2], decoded)
    assert np.asarray(found.inputs).shape == (4, 32, 32, 3)
    sizes = [(len(x), y.tolist()) for x, y in found.batches(3)]
    assert sizes == [(3, [0, 9, 5]), (1, [5])]
    assert np.array_equal(found.take([2]).inputs[0], decoded)


def test_damaged_packed(tmp_path, rng):
    path = tmp_path / "cifar10_test_jpeg.npz"
    images = rng.integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    save_packed(path, images, [0, 10])
    with pytest.raises(DataError, match=r"labels must be in \[0, 9\], not \[0, 10\]"):
        data.load("cifar10-jpeg", "test", tmp_path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError, match=r"is not an \.npz file"):
        data.load("cifar10-jpeg", "test", tmp_path)
    with path.open("wb") as stream:
        np.save(stream, np.zeros(4, np.uint8))
    with pytest.raises(DataError, match=r"is not an \.npz file"):
        data.load("cifar10-jpeg", "test", tmp_path)
    np.savez(path, blob=np.zeros(4, np.uint8))
    with pytest.raises(DataError, match="lacks the array offsets, labels, names"):
        data.load("cifar10-jpeg", "test", tmp_path)
    names = np.array([b"a", b"b"])
    for offsets in ([0, 9, 4], [0, 2], [0, 2, 5]):
        np.savez(path, blob=np.zeros(4, np.uint8), offsets=offsets, labels=[0, 1], names=names)
        with pytest.raises(DataError, match="offsets do not divide"):
            data.load("cifar10-jpeg", "test", tmp_path)
    for wrong in ({"labels": ["a", "b"]}, {"blob": np.zeros((4, 2), np.uint8)}, {"offsets": [0.5]}):
        arrays = {"blob": np.zeros(4, np.uint8), "offsets": [0, 2, 4], "labels": [0, 1]}
        np.savez(path, **(arrays | wrong), names=names)
        with pytest.raises(DataError, match="each of one dimension, not"):
            data.load("cifar10-jpeg", "test", tmp_path)
    np.savez(path, blob=np.zeros(4, np.uint8), offsets=[0, 2, 4], labels=[0, 1], names=names)
    with pytest.raises(DataError, match=r"jpeg\.npz, b is not a readable image"):
        data.load("cifar10-jpeg", "test", tmp_path).inputs[1]


def test_imagenet_names(tmp_path, rng):
    images = rng.integers(0, 256, (1, 20, 20, 3), dtype=np.uint8)
    save_packed(tmp_path / "imagenet_val1.npz", images, [999])
    found = data.load("imagenet", "val", tmp_path)
    assert found.name == "ImageNet (1 validation images)"
    assert len(found.classes) == 1000
    words = "".join(f"n{i:08} thing {i}, stuff\n" for i in range(1000))
    (tmp_path / "synset_words.txt").write_text(words)
    assert data.load("imagenet", "val", tmp_path).classes[999] == "thing 999, stuff"
    with pytest.raises(DataError, match=r"imagenet needs train \(a folder of class folders\)"):
        data.load("imagenet", "train", tmp_path)


def test_image_folder(tmp_path, rng):
    for name, shape in (("dog/b.png", (20, 30)), ("cat/a.png", (40, 25)), ("cat/c.PNG", (9, 9))):
        path = tmp_path / "train" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (*shape, 3), dtype=np.uint8)).save(path)
    (tmp_path / "train" / "cat" / "notes.txt").write_text("no image")
    found = data.load("image-folder", "train", tmp_path)
    assert found.classes == ("cat", "dog")
    assert found.labels.tolist() == [0, 0, 1]
    assert [image.shape for image in found.inputs] == [(40, 25, 3), (9, 9, 3), (20, 30, 3)]
    with pytest.raises(DataError, match="images of 3 sizes"):
        found.inputs[:]
    square = data.load("image-folder", "train", tmp_path, side=16)
    assert square.inputs[:].shape == (3, 16, 16, 3)
    assert data.load("imagenet", "train", tmp_path, side=8).inputs[[0, 2]].shape == (2, 8, 8, 3)
    (tmp_path / "train" / "eel").mkdir()
    with pytest.raises(DataError, match="eel holds no image"):
        data.load("image-folder", "train", tmp_path)
    (tmp_path / "val").mkdir()
    with pytest.raises(DataError, match="must hold a folder for every class"):
        data.load("image-folder", "val", tmp_path)


def test_membrane(tmp_path, rng):
    pixels = rng.integers(0, 256, (30, 6, 8), dtype=np.uint8)
    masks = (rng.integers(0, 2, (30, 6, 8)) * 255).astype(np.uint8)
    for kind, arrays in (("image", pixels), ("label", masks)):
        (tmp_path / "train" / kind).mkdir(parents=True)
        for number, array in enumerate(arrays):
            Image.fromarray(array).save(tmp_path / "train" / kind / f"{number}.png")
    train, test = (data.load("membrane", split, tmp_path) for split in ("train", "test"))
    assert np.array_equal(train.inputs, pixels[:24])
    assert np.array_equal(test.labels, masks[24:] // 255)
    Image.fromarray(masks[0, :3]).save(tmp_path / "train" / "label" / "2.png")
    with pytest.raises(DataError, match="section 2 and its mask must be"):
        data.load("membrane", "train", tmp_path)
    (tmp_path / "train" / "image" / "25.png").unlink()
    with pytest.raises(DataError, match=r"25\.png, which is not there"):
        data.load("membrane", "test", tmp_path)


def save_wave(path, samples, rate=8000):
    with wave.open(str(path), "wb") as recording:
        recording.setnchannels(1)
        recording.setsampwidth(2)
        recording.setframerate(rate)
        recording.writeframes(samples.astype("<i2").tobytes())


def test_spoken_digits(tmp_path, rng):
    sounds = [rng.integers(-9999, 9999, n).astype(np.int16) for n in (4000, 9000, 160)]
    folder = tmp_path / "recordings"
    folder.mkdir()
    for name, sound in zip(("0_ann_4", "1_bob_5", "2_bob_11"), sounds, strict=True):
        save_wave(folder / f"{name}.wav", sound)
    packed = tmp_path / "packed"
    packed.mkdir()
    np.savez(
        packed / "fsdd_8khz_int16.npz",
        pcm=np.concatenate(sounds),
        offsets=np.cumsum([0, *map(len, sounds)]),
        digit=np.array([0, 1, 2], np.uint8),
        index=np.array([4, 5, 11], np.uint8),
    )
    for split, digits in (("test", [0]), ("train", [1, 2])):
        files = data.load("spoken-digits", split, tmp_path)
        npz = data.load("spoken-digits", split, packed)
        assert sorted(files.labels.tolist()) == digits
        assert np.array_equal(np.sort(files.inputs, axis=0), np.sort(npz.inputs, axis=0))
        assert files.inputs.shape[1:] == (50, 20)
    save_wave(folder / "3_ann_1.wav", sounds[0], rate=16000)
    with pytest.raises(DataError, match="must be mono, 16 bit, 8000 Hz, not 1 channels, 16 bit"):
        data.load("spoken-digits", "train", tmp_path)
    (folder / "3_ann_1.wav").rename(folder / "three.wav")
    with pytest.raises(DataError, match=r"must be named DIGIT_SPEAKER_TAKE\.wav"):
        data.load("spoken-digits", "train", tmp_path)


def test_log_mel_hears_a_tone():
    from sigbit.data.speech import log_mel, mel_filters

    tone = (8000 * np.sin(2 * np.pi * 1000 / 8000 * np.arange(4000))).astype(np.int16)
    features = log_mel(tone)
    assert np.allclose(features[:20], np.log(1e-6))
    band = int(mel_filters()[:, 32].argmax())  # bin 32 of 256 at 8 kHz is 1 kHz
    assert set(features[30:].argmax(axis=1)) == {band}


def test_keywords(tmp_path):
    path = tmp_path / "kws01_mfcc_int8.npz"
    np.savez(path, x=np.zeros((2, 49, 10), np.int8), y=np.array([11, 0], np.uint8))
    assert data.load("keywords", "test", tmp_path).labels.tolist() == [11, 0]
    np.savez(path, x=np.zeros((2, 49, 9), np.int8), y=np.array([11, 0], np.uint8))
    with pytest.raises(DataError, match=r"must be int8 \[N, 49, 10\]"):
        data.load("keywords", "test", tmp_path)
