"""Accelerators by name or file."""

from pathlib import Path

from sigbit_hw.arch.config import PRESETS, ArchConfig
from sigbit_tools.files import read_json

ACCELERATORS: dict[str, ArchConfig] = dict(PRESETS)
"""Accelerators by name: the presets, and what plugins add."""


def load_accelerator(name: str) -> ArchConfig:
    """The accelerator called ``name``, the ArchConfig in the JSON file of that name, or the one
    that the Program of that name was compiled for; ``ValueError`` if it is none of them."""
    if name in ACCELERATORS:
        return ACCELERATORS[name]
    path = Path(name)
    if not path.is_file():
        raise ValueError(
            f"no accelerator {name!r}: give a preset ({', '.join(ACCELERATORS)}), a Program or an "
            "existing JSON file; `sigbit arch show micro --json my.json` writes one to start from"
        )
    if path.suffix == ".sigbit":
        from sigbit_hw.arch.program import Program  # only here: `sigbit --help` needs no arrays

        return Program.load(path).config
    document = read_json(path)
    if isinstance(document, dict) and "config" in document:
        document = document["config"]
    try:
        return ArchConfig.from_json(document)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
