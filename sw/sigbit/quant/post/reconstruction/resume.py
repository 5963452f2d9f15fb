"""Resumption of interrupted reconstructions."""

import hashlib
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sigbit.ir.floating import FloatGraph
from sigbit.quant.calibration.samples import SampleChunks, micro_batches
from sigbit.quant.prepared import PreparedModel
from sigbit_tools.files import replacing

_VERSION = 2


def digest_of(graph: FloatGraph, samples: SampleChunks, *settings: object) -> str:
    """Digest of everything that distinguishes reconstructions: network, samples, settings, release
    of torch."""
    found = hashlib.sha256(repr((_VERSION, torch.__version__, settings)).encode())
    for name, value in sorted(graph.parameters.items()):
        found.update(name.encode())
        found.update(value.detach().cpu().contiguous().numpy().tobytes())
    found.update(repr(graph.nodes).encode())
    for batch in micro_batches(samples):
        for x in batch:
            found.update(x.cpu().contiguous().numpy().tobytes())
    return found.hexdigest()[:24]


class Progress:
    """State of one reconstruction in a folder: ``begun`` is the interrupted attempt.

    Parameters
    ----------
    folder : Path, optional
        None: nothing is stored.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def load(self, attempt: str, prepared: PreparedModel) -> Mapping[str, Any]:
        """Restore the state of ``attempt`` to ``prepared``. Returns the number of its completed
        blocks, and its score if it is complete; nothing if it was not begun."""
        path = self._path(attempt)
        if path is None or not path.exists():
            return {}
        kept: dict[str, Any] = torch.load(path, weights_only=True)
        prepared.load_state_dict(kept.pop("state"))
        return kept

    def save(self, attempt: str, prepared: PreparedModel, **stands: Any) -> None:
        """Store the state of ``attempt``."""
        path = self._path(attempt)
        if path is None:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        state: dict[str, Tensor] = prepared.state_dict()
        with replacing(path) as file:
            torch.save({"state": state, **stands}, file)

    def finish(self) -> None:
        """Remove all stored state."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _path(self, attempt: str) -> Path | None:
        return None if self._folder is None else self._folder / f"{attempt}.pt"
