"""Atomic writing of files and folders."""

import shutil
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

from sigbit_tools.errors import SigbitError
from sigbit_tools.files import replacing

_EPOCH = (1980, 1, 1, 0, 0, 0)


class ExportError(SigbitError):
    """Raised if the requested output cannot be written; the text gives the reason and a remedy."""


def write_file(path: Path, content: bytes) -> None:
    """Write ``content`` atomically; readers see the old file or the new one."""
    with replacing(path) as file:
        file.write(content)


def write_zip(path: Path, files: Mapping[str, bytes]) -> None:
    """Write a zip file, the same bytes for the same files."""
    with tempfile.TemporaryFile() as buffer:
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in files.items():
                entry = zipfile.ZipInfo(name, _EPOCH)
                entry.compress_type = zipfile.ZIP_DEFLATED
                archive.writestr(entry, content)
        buffer.seek(0)
        write_file(path, buffer.read())


def write_folder(path: Path, files: Mapping[str, bytes], marker: str) -> None:
    """Write a folder; an existing one is replaced if it holds ``marker`` or nothing."""
    if path.exists() and not path.is_dir():
        raise ExportError(f"{path} is a file: give a folder, or a name that ends in .zip")
    if path.exists() and any(path.iterdir()) and not (path / marker).is_file():
        raise ExportError(f"{path} holds other files: give an empty or a new folder")
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp"))
    try:
        for name, content in files.items():
            file = fresh / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        fresh.chmod(0o755)
        if path.exists():
            old = fresh.with_suffix(".old")
            path.rename(old)
            fresh.rename(path)
            shutil.rmtree(old)
        else:
            fresh.rename(path)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise
