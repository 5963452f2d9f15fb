"""Files of a run's folder: JSON, CSV, states with tensors, weights."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save as encode
from torch import nn

from sigbit.errors import TrainingError
from sigbit.training.states import check_tensors
from sigbit.zoo.tensor_files import read_pytorch, read_safetensors
from sigbit_tools.files import FileError, replacing, write_text


def write_json(path: Path, document: Mapping[str, Any]) -> None:
    """Write ``document``."""
    write_text(path, json.dumps(document, indent=2, allow_nan=False) + "\n")


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write ``rows``, which have the same keys."""
    text = io.StringIO()
    if rows:
        writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    write_text(path, text.getvalue())


def save(path: Path, state: Mapping[str, Any]) -> None:
    """Write tensors and plain values, through memory, because torch hides the error of a full
    disk."""
    content = io.BytesIO()
    torch.save(dict(state), content)
    with replacing(path) as file:
        file.write(content.getbuffer())


def restore(path: Path) -> dict[str, Any]:
    """Return the data written by :func:`save`, on the CPU; nothing in the file can run code."""
    try:
        state = read_pytorch(path, "a checkpoint of this software")
    except FileError as error:
        raise TrainingError(f"{error}: remove it, and begin again") from error
    if not isinstance(state, dict) or not all(isinstance(key, str) for key in state):
        raise TrainingError(f"{path} is not a checkpoint: it holds a {type(state).__name__}")
    return state


def save_weights(model: nn.Module, path: Path) -> None:
    """Write a float network's tensors."""
    tensors = {k: v.detach().cpu().contiguous() for k, v in model.state_dict().items()}
    with replacing(path) as file:
        file.write(encode(tensors))


def load_weights(model: nn.Module, path: Path) -> None:
    """Read the tensors written by :func:`save_weights`."""
    try:
        tensors = read_safetensors(path)
        check_tensors(tensors, model.state_dict(), "the weights")
        model.load_state_dict(tensors)
    except (FileError, TrainingError) as error:
        raise TrainingError(
            f"{path} does not hold the weights of this network ({error}): remove it, and the "
            "float network is trained again"
        ) from error
