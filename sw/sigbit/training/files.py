"""Files of a run's folder: JSON, CSV, states with tensors, weights."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as encode
from torch import nn

from sigbit.errors import TrainingError
from sigbit_tools.files import replacing, write_text


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
    """Write tensors and plain values; by way of memory, as torch hides what a full disk says."""
    content = io.BytesIO()
    torch.save(dict(state), content)
    with replacing(path) as file:
        file.write(content.getbuffer())


def restore(path: Path) -> dict[str, Any]:
    """What :func:`save` wrote, on the CPU; nothing in the file can run code."""
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, ValueError, KeyError) as error:
        raise TrainingError(f"{path} is not a readable checkpoint: {error}") from error
    except Exception as error:  # pickle's own, which it does not gather in a class
        raise TrainingError(f"{path} is not a checkpoint: {error}") from error
    return state


def save_weights(model: nn.Module, path: Path) -> None:
    """Write a float network's tensors."""
    tensors = {k: v.detach().cpu().contiguous() for k, v in model.state_dict().items()}
    with replacing(path) as file:
        file.write(encode(tensors))


def load_weights(model: nn.Module, path: Path) -> None:
    """Read what :func:`save_weights` wrote."""
    try:
        model.load_state_dict(load_file(path))
    except (SafetensorError, RuntimeError, OSError) as error:
        raise TrainingError(
            f"{path} does not hold the weights of this network ({error}): remove it, and the "
            "float network is trained again"
        ) from error
