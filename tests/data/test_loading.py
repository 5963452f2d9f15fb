"""Finding and downloading files, and the real data sets."""

import gzip
import hashlib
import http.server
import threading

import numpy as np
import pooch
import pytest

from sigbit import data
from sigbit.data import DataError, Dataset
from sigbit.data.files import Files, Remote

REAL = [
    ("mnist", "train", 60_000, (28, 28), 10),
    ("mnist", "test", 10_000, (28, 28), 10),
    ("fashion-mnist", "train", 60_000, (28, 28), 10),
    ("fashion-mnist", "test", 10_000, (28, 28), 10),
    ("cifar10-jpeg", "train", 50_000, (32, 32, 3), 10),
    ("cifar10-jpeg", "test", 10_000, (32, 32, 3), 10),
    ("tiny-imagenet-32", "train", 30_000, (32, 32, 3), 200),
    ("tiny-imagenet-32", "val", 10_000, (32, 32, 3), 200),
    ("imagenet", "val", 700, (227, 227, 3), 1000),
    ("membrane", "train", 24, (512, 512), 2),
    ("membrane", "test", 6, (512, 512), 2),
    ("spoken-digits", "train", 2_700, (50, 20), 10),
    ("spoken-digits", "test", 300, (50, 20), 10),
    ("keywords", "test", 1_000, (49, 10), 12),
]


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "split", "count", "shape", "classes"), REAL, ids=[f"{r[0]}-{r[1]}" for r in REAL]
)
def test_real(name, split, count, shape, classes, data_dir):
    found = data.load(name, split, data_dir)
    assert len(found) == count
    assert found.inputs[:2].shape == (2, *shape)
    assert len(found.classes) == classes
    present = np.unique(found.labels)
    assert len(present) == classes or name == "imagenet"


@pytest.mark.data
def test_fashion_mnist_mean(data_dir):
    images = data.load("fashion-mnist", "train", data_dir).inputs
    assert abs(images.mean() / 255 - 0.28604) < 1e-5
    assert abs(images.std() / 255 - 0.35302) < 1e-5


@pytest.mark.data
def test_cifar10_jpeg_is_balanced(data_dir):
    assert np.bincount(data.load("cifar10-jpeg", "test", data_dir).labels).tolist() == [1000] * 10


def test_bundled_digits():
    train, test = data.load("digits"), data.load("digits", "test")
    split = data.load_digits()
    assert (len(train), len(test)) == (1437, 360)
    assert train.inputs.max() == 16
    assert np.array_equal(test.inputs / 16, split.test_x.numpy()[:, 0])
    assert np.array_equal(train.labels, split.train_y.numpy())


def test_names_and_splits(tmp_path):
    with pytest.raises(DataError, match="no data set 'minst'; there are digits, mnist, "):
        data.load("minst")
    with pytest.raises(DataError, match="mnist has the splits train, test, not 'val'"):
        data.load("mnist", "val")
    with pytest.raises(DataError, match="is not a folder; mnist was to be read from it"):
        data.load("mnist", folder=tmp_path / "absent")
    with pytest.raises(DataError, match="images of mnist have one size"):
        data.load("mnist", folder=tmp_path, side=3)
    with pytest.raises(DataError, match="side must be at least 1 pixel, not 0"):
        data.load("imagenet", folder=tmp_path, side=0)


@pytest.mark.parametrize("name", [n for n in data.names() if data.source(n).origin != "bundled"])
def test_missing_files_are_named(name, tmp_path):
    source = data.source(name)
    for split in source.splits:
        with pytest.raises(DataError) as caught:
            data.load(name, split, tmp_path)
        assert f"{name} needs " in str(caught.value)
        assert str(tmp_path) in str(caught.value)
        assert ("it comes from http" in str(caught.value)) == (source.origin == "download")


def test_nothing_to_download(monkeypatch, tmp_path):
    monkeypatch.setattr(pooch, "os_cache", lambda project: tmp_path / project)
    with pytest.raises(DataError, match="membrane cannot be downloaded: name the folder"):
        data.load("membrane")


@pytest.fixture
def server(tmp_path):
    """Address of a server of the folder tmp_path/remote."""
    folder = tmp_path / "remote"
    folder.mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=str(folder))

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


@pytest.mark.parametrize("progress", [False, True])
def test_download(progress, server, tmp_path, monkeypatch):
    monkeypatch.setattr(pooch, "os_cache", lambda project: tmp_path / "cache")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    content = gzip.compress(b"some bytes" * 1000)
    (tmp_path / "remote" / "file.gz").write_bytes(content)
    checksum = "sha256:" + hashlib.sha256(content).hexdigest()
    files = Files("things", None, progress=progress)
    remote = Remote("file.gz", f"{server}/file.gz", checksum)
    path = files.fetch(remote)
    assert path == tmp_path / "cache" / "data" / "things" / "file.gz"
    assert path.read_bytes() == content
    (tmp_path / "remote" / "file.gz").unlink()
    assert files.fetch(remote) == path


def test_failed_downloads_leave_nothing(server, tmp_path, monkeypatch):
    monkeypatch.setattr(pooch, "os_cache", lambda project: tmp_path / "cache")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    (tmp_path / "remote" / "file.gz").write_bytes(b"other")
    files = Files("things", None)
    with pytest.raises(DataError, match=r"file\.gz has changed: .*SHA256 hash"):
        files.fetch(Remote("file.gz", f"{server}/file.gz", "sha256:" + "0" * 64))
    with pytest.raises(DataError, match=r"things: cannot download .*absent\.gz: 404"):
        files.fetch(Remote("absent.gz", f"{server}/absent.gz", "sha256:" + "0" * 64))
    assert [path for path in (tmp_path / "cache").rglob("*") if path.is_file()] == []


def test_datasets_are_consistent():
    with pytest.raises(DataError, match=r"x \(train\): 2 inputs but 3 labels"):
        Dataset("x", "train", np.zeros(2), np.zeros(3, np.int64), ("a",))
    with pytest.raises(DataError, match=r"x \(train\) is empty"):
        Dataset("x", "train", np.zeros(0), np.zeros(0, np.int64), ("a",))
    with pytest.raises(DataError, match=r"labels must be in \[0, 0\], not \[-1, 0\]"):
        Dataset("x", "train", np.zeros(2), np.array([-1, 0]), ("a",))
    with pytest.raises(ValueError, match="size must be at least 1"):
        next(Dataset("x", "train", np.zeros(2), np.array([0, 0]), ("a",)).batches(0))
