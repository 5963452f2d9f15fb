"""Data sets as tensors, with fixed splits."""

from sigbit.data.digits import load_digits
from sigbit.data.split import Split

__all__ = ["Split", "load_digits"]
