"""The cache of builds: folders named after everything that could change what is in them."""

import fcntl
import hashlib
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sigbit_tools.toolchain import cache_dir


def key_of(*parts: str) -> str:
    """Return a name for this sequence of texts."""
    hasher = hashlib.sha256()
    for part in parts:
        data = part.encode()
        hasher.update(len(data).to_bytes(8, "little") + data)
    return hasher.hexdigest()[:24]


def cached_folder(name: str, make: Callable[[Path], None]) -> Path:
    """Return folder `name` of the cache; `make` fills one that is renamed when complete.

    Any number of processes may ask at once: one makes the folder, the others wait.
    """
    folder = cache_dir() / name
    if folder.is_dir():
        return folder
    with _locked(cache_dir() / f"{name}.lock"):
        if not folder.is_dir():
            partial = Path(tempfile.mkdtemp(prefix=f"{name}.", suffix=".tmp", dir=cache_dir()))
            try:
                make(partial)
                partial.rename(folder)
            finally:
                shutil.rmtree(partial, ignore_errors=True)
    return folder


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
