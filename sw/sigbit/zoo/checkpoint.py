"""Loading of trained weights from files: everything fits, or nothing is changed."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from sigbit.errors import ZooError
from sigbit.zoo.tensor_files import read_pytorch, read_safetensors
from sigbit_tools.files import FileError
from sigbit_tools.shown import shown

_SHOWN = 4
"""Maximum number of tensors that an error names."""


def load_checkpoint(model: nn.Module, path: str | Path) -> None:
    """Load the weights in ``path`` into ``model``.

    Parameters
    ----------
    model : nn.Module
        A network of the zoo, or any other.
    path : str or Path
        A safetensors file, or a PyTorch file (.pt, .pth, .th) of tensors only; keys may be in a
        "state_dict" and begin with "module.", as training scripts write them.

    Every parameter and buffer must be present, with its shape and finite, and nothing else; the
    counters ``num_batches_tracked``, which no network uses, may be absent. Otherwise raises
    :class:`ZooError` with all differences, and ``model`` is unchanged.
    """
    path = Path(path)
    tensors = _read(path)
    rename = getattr(model, "checkpoint_key", None)
    if rename is not None:
        tensors = {rename(key): value for key, value in tensors.items()}
    problems = _differences(model.state_dict(), tensors)
    if problems:
        raise ZooError(
            f"{path} does not fit {type(model).__name__}:\n  "
            + "\n  ".join(problems)
            + "\nBuild the network with the options it was trained with."
        )
    model.load_state_dict(tensors)


def _read(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise ZooError(f"there is no file {path}")
    if path.suffix not in (".safetensors", ".pt", ".pth", ".th"):
        raise ZooError(f"{path} must end in .safetensors, .pt, .pth or .th")
    try:
        if path.suffix == ".safetensors":
            return read_safetensors(path)
        content = read_pytorch(path)
    except FileError as error:
        raise ZooError(str(error)) from error
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        content = content["state_dict"]
    if not isinstance(content, Mapping) or not all(isinstance(v, Tensor) for v in content.values()):
        raise ZooError(f"{path} holds no state_dict: a mapping of names to tensors")
    tensors = {str(key).removeprefix("module."): value for key, value in content.items()}
    if len(tensors) < len(content):
        raise ZooError(f"{path} holds tensors of one name, with and without 'module.' before it")
    return tensors


def _differences(wanted: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> list[str]:
    missing = [k for k in wanted if k not in found and not k.endswith(".num_batches_tracked")]
    unknown = [k for k in found if k not in wanted]
    shared = [k for k in wanted if k in found]
    shapes = [
        f"{k} is {list(found[k].shape)}, must be {list(wanted[k].shape)}"
        for k in shared
        if found[k].shape != wanted[k].shape
    ]
    kinds = [
        f"{k} is {found[k].dtype}, must be {wanted[k].dtype}"
        for k in shared
        if _kind(found[k]) != _kind(wanted[k])
    ]
    infinite = [
        k
        for k in shared
        if found[k].shape == wanted[k].shape
        and _kind(found[k]) == "float"
        and not bool(torch.isfinite(found[k].float()).all())
    ]
    groups = (
        ("missing", missing),
        ("not in the network", unknown),
        ("other shape", shapes),
        ("other type", kinds),
        ("not finite", infinite),
    )
    return [f"{title}: {_list(items)}" for title, items in groups if items]


def _kind(value: Tensor) -> str:
    return "float" if value.is_floating_point() else "complex" if value.is_complex() else "whole"


def _list(items: list[str]) -> str:
    more = f" and {len(items) - _SHOWN} more" if len(items) > _SHOWN else ""
    return ", ".join(item if item.isprintable() else shown(item) for item in items[:_SHOWN]) + more
