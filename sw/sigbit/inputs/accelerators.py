"""Accelerators by name."""

from sigbit.accelerators import load_accelerator
from sigbit.errors import UserError
from sigbit_hw.arch.config import ArchConfig


def load_arch(arch: str | ArchConfig) -> ArchConfig:
    """Return the accelerator ``arch``: a preset, a JSON file or a Program by name, or a
    configuration, which is returned unchanged."""
    if isinstance(arch, ArchConfig):
        return arch
    try:
        return load_accelerator(arch)
    except ValueError as error:
        raise UserError(str(error)) from error
