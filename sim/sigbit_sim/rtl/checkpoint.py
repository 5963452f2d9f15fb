"""Checkpoints of long simulations: one file with the results so far and the simulator's state.

The state is the memory image of a compiled model, which cannot be validated. A checkpoint therefore
begins with a signature made with a secret of the user (:func:`sigbit_tools.cache.cache_secret`); a
checkpoint that is damaged, or was written by somebody else, is refused before its content is read.
"""

import hmac
import json
import os
import tempfile
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from sigbit.runtime import Event
from sigbit_hw.arch.isa import Engine
from sigbit_sim.rtl.native.model import Model
from sigbit_tools.cache import cache_secret
from sigbit_tools.errors import SigbitError

Ints = NDArray[np.int64]

_SIGNATURE = 32
"""Length in bytes of the signature that precedes the zip archive."""


class CheckpointError(SigbitError):
    """A checkpoint belongs to another simulation, or cannot be read or written."""


@dataclass(frozen=True)
class Feed:
    """Cycles of the first run in which an EXEC fed the array: first, last, and count."""

    first: int
    last: int
    count: int


@dataclass
class Results:
    """Results of the finished runs: tensors by name, one array per run; counters of every run;
    timeline and feeding of the first."""

    outputs: dict[str, list[Ints]] = field(default_factory=dict)
    layers: dict[str, list[Ints]] = field(default_factory=dict)
    counters: list[dict[str, int]] = field(default_factory=list)
    timeline: list[Event] = field(default_factory=list)
    feeds: dict[int, Feed] = field(default_factory=dict)


class Checkpoint:
    """The file ``path`` of the simulation identified by ``key``."""

    def __init__(self, path: Path, key: str) -> None:
        self.path, self._key = path, key

    def save(self, model: Model, results: Results, *, spent: int) -> None:
        """Replace the file atomically. ``spent`` is the number of cycles of the current run."""
        document = {
            "key": self._key,
            "spent": spent,
            "counters": results.counters,
            "timeline": [(e.engine, e.index, e.start, e.end) for e in results.timeline],
            "feeds": [(i, f.first, f.last, f.count) for i, f in results.feeds.items()],
        }
        try:
            with tempfile.TemporaryDirectory(dir=self.path.parent, prefix=self.path.name) as name:
                state, file = Path(name) / "state", Path(name) / "file"
                model.save(state)
                with file.open("w+b") as out:
                    out.write(bytes(_SIGNATURE))
                    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
                        archive.writestr("document.json", json.dumps(document))
                        archive.write(state, "state")
                        for kind in ("outputs", "layers"):
                            for tensor, arrays in getattr(results, kind).items():
                                with archive.open(f"{kind}/{tensor}.npy", "w") as member:
                                    np.save(member, np.stack(arrays))
                    signature = _signature(out)
                    out.seek(0)
                    out.write(signature)
                os.replace(file, self.path)
        except OSError as error:
            raise CheckpointError(f"cannot write the checkpoint {self.path}: {error}") from None

    def restore(self, model: Model) -> tuple[Results, int] | None:
        """Restore the state of ``model``; return the results so far and the cycles of the current
        run, or None if there is no file."""
        if not self.path.exists():
            return None
        if not self.path.is_file():
            raise CheckpointError(f"the checkpoint {self.path} is not a regular file")
        try:
            with self.path.open("rb") as file:
                if not hmac.compare_digest(file.read(_SIGNATURE), _signature(file)):
                    raise CheckpointError(
                        f"the checkpoint {self.path} is damaged, or was not written by you and "
                        "with this cache of builds: delete it"
                    )
            with zipfile.ZipFile(self.path) as archive:
                document = json.loads(archive.read("document.json"))
                if document["key"] != self._key:
                    raise CheckpointError(
                        f"the checkpoint {self.path} belongs to another program, input, build of "
                        "the model or setting: delete it, or give another file"
                    )
                results = Results(
                    counters=document["counters"],
                    timeline=[Event(Engine(e), *rest) for e, *rest in document["timeline"]],
                    feeds={i: Feed(*rest) for i, *rest in document["feeds"]},
                )
                for member in archive.namelist():
                    kind, _, name = member.partition("/")
                    if name:
                        with archive.open(member) as entry:
                            arrays = list(np.load(entry))
                        getattr(results, kind)[name.removesuffix(".npy")] = arrays
                with tempfile.TemporaryDirectory() as folder:
                    model.restore(Path(archive.extract("state", folder)))
        except (OSError, zipfile.BadZipFile, KeyError, ValueError) as error:
            raise CheckpointError(
                f"cannot read the checkpoint {self.path} ({error}): delete it"
            ) from None
        return results, int(document["spent"])

    def delete(self) -> None:
        """Remove the file at the end of the simulation."""
        self.path.unlink(missing_ok=True)


def _signature(file: IO[bytes]) -> bytes:
    """Signature of the content of ``file`` that follows it."""
    file.seek(_SIGNATURE)
    signing = hmac.new(cache_secret(), digestmod="sha256")
    while chunk := file.read(1 << 20):
        signing.update(chunk)
    return signing.digest()
