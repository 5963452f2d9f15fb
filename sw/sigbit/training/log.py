"""The log of a run: one row per epoch, as CSV and optionally for TensorBoard."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sigbit.errors import TrainingError
from sigbit.training.files import write_csv

COLUMNS = ("phase", "epoch", "step", "loss", "lr", "accuracy", "seconds")


class Log:
    """``log.csv`` in ``folder``: phase, epoch, step, mean loss of the epoch's batches, learning
    rate of its last step, accuracy on the test split, seconds since the start of the phase.

    ``tensorboard`` also writes the values to the folder ``events``.
    """

    def __init__(self, folder: Path, *, tensorboard: bool = False) -> None:
        self._path = folder / "log.csv"
        self.rows: list[dict[str, Any]] = []
        self._board = _board(folder / "events") if tensorboard else None

    def add(self, row: Mapping[str, Any]) -> None:
        """Append a row of :data:`COLUMNS`."""
        self.rows.append({name: row[name] for name in COLUMNS})
        write_csv(self._path, self.rows)
        if self._board is not None:
            for name in ("loss", "lr", "accuracy"):
                self._board.add_scalar(f"{row['phase']}/{name}", row[name], row["step"])
            self._board.flush()

    def rewind(self, rows: list[dict[str, Any]]) -> None:
        """Replace the content by ``rows``."""
        self.rows = list(rows)
        write_csv(self._path, self.rows)


def _board(folder: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise TrainingError(
            "TensorBoard is not installed: pip install tensorboard, or log as CSV alone"
        ) from error
    return SummaryWriter(str(folder))
