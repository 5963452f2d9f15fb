"""The build cache: folders named after everything that could change their content.

A name consists of a kind and a result of :func:`key_of`, never of texts from a file, which could
point outside the cache.
"""

import fcntl
import hashlib
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sigbit_tools.toolchain import cache_dir

_NAME = re.compile(r"[a-z0-9-]+")
SECRET = "secret"
"""File name of :func:`cache_secret`."""


def key_of(*parts: str) -> str:
    """Return a name for this sequence of texts."""
    hasher = hashlib.sha256()
    for part in parts:
        data = part.encode()
        hasher.update(len(data).to_bytes(8, "little") + data)
    return hasher.hexdigest()[:24]


def cached_folder(name: str, make: Callable[[Path], None]) -> Path:
    """Return folder `name` of the cache; `make` fills a new one, which is renamed when complete.

    Any number of processes may ask at once: one makes the folder, the others wait. Raises
    ``ValueError`` if the name is not valid in the cache.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(f"a folder of the cache must be named by a-z, 0-9 and -, not {name!r}")
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


def cache_secret() -> bytes:
    """Return 32 random bytes that only this user can read, for signing the user's own files. They
    last as long as the cache."""
    path = cache_dir() / SECRET
    with _locked(cache_dir() / f"{SECRET}.lock"):
        if not path.is_file() or path.stat().st_size != 32:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(handle, "wb") as file:
                file.write(secrets.token_bytes(32))
        return path.read_bytes()


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
