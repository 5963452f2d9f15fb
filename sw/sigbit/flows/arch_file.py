"""The accelerator's file beside the files made for it."""

import json
from pathlib import Path

from sigbit_hw.arch.config import ArchConfig
from sigbit_tools.files import write_text


def arch_path(folder: Path) -> Path:
    """Return the name of the accelerator's file in ``folder``."""
    return folder / "arch.json"


def write_arch(config: ArchConfig, folder: Path) -> Path:
    """Write ``config`` into ``folder``, for ``--arch`` of other commands; return the file."""
    path = arch_path(folder)
    write_text(path, json.dumps(config.to_json(), indent=2) + "\n")
    return path
