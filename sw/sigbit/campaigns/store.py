"""The results of a campaign: a folder of JSON files, and locks on the jobs that are running."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

from filelock import FileLock, Timeout
from pydantic import Field

from sigbit.campaigns.job import Job, Row
from sigbit.errors import UserError
from sigbit_hw.arch.documents import Schema, validated
from sigbit_tools.files import FileError, read_json, write_text

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Record:
    """Result of a job.

    Parameters
    ----------
    rows : tuple of Row
        Rows that its function returned, with times added where it returned none.
    seconds, cpu_seconds : float
        Times of the job.
    worker : str
        Machine and process that ran it.
    """

    rows: tuple[Row, ...]
    seconds: float
    cpu_seconds: float
    worker: str


class _Stored(Schema):
    """A :class:`Record` in a file."""

    rows: tuple[dict[str, Any], ...]
    seconds: Annotated[float, Field(strict=True, ge=0, allow_inf_nan=False)]
    cpu_seconds: Annotated[float, Field(strict=True, ge=0, allow_inf_nan=False)]
    worker: Annotated[str, Field(strict=True)]


class Store:
    """A folder shared by any number of processes, with a file ``KEY.json`` for each finished job.

    A running job is claimed by a file lock, which the system releases when a process dies. Machines
    that share the folder need a file system whose locks apply to all of them, such as NFS 4.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            self._locks.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(
                f"cannot keep results in {folder}: {error.strerror}; name a folder that can be "
                "written"
            ) from error

    @property
    def _locks(self) -> Path:
        return self.folder / "locks"

    def _file(self, key: str) -> Path:
        return self.folder / f"{key}.json"

    def load(self, key: str) -> Record | None:
        """Return the result of a job; None if there is none, or none that this release can read."""
        path = self._file(key)
        try:
            document = read_json(path)
            if document["schema_version"] != SCHEMA_VERSION:
                return None
            record = validated(_Stored, document["record"])
            return Record(**dict(record))
        except (FileNotFoundError, FileError, KeyError, TypeError, ValueError):
            return None

    def save(self, key: str, job: Job, record: Record) -> None:
        """Store the result of a job together with its origin; the file is written atomically."""
        document: dict[str, Any] = {
            "schema_version": SCHEMA_VERSION,
            "job": {
                "name": job.name,
                "function": job.function,
                "parameters": job.parameters,
                "code": job.code,
                "releases": job.releases,
            },
            "record": asdict(record),
        }
        write_text(self._file(key), json.dumps(document, indent=2, allow_nan=False) + "\n")
        for path in self.folder.glob(f".{key}.json.*.tmp"):  # of a killed worker
            path.unlink(missing_ok=True)

    @contextmanager
    def claim(self, key: str) -> Iterator[bool]:
        """Claim the job for the duration of the block; yields False if another process has it."""
        lock = FileLock(self._locks / f"{key}.lock")
        try:
            lock.acquire(blocking=False)
        except Timeout:
            yield False
            return
        try:
            yield True
        finally:
            # A process that opened the file before its removal finds the result once it holds the
            # lock.
            if self._file(key).exists():
                Path(lock.lock_file).unlink(missing_ok=True)
            lock.release()

    def claimed(self, key: str) -> bool:
        """True if a process is running the job now."""
        with self.claim(key) as free:
            return not free
