"""Names of classes."""

import re
from pathlib import Path

from sigbit.errors import UserError
from sigbit_tools.files import read_text
from sigbit_tools.shown import shown

LABELS_MAX = 1 << 20
"""Bytes of a file with names of classes at most."""


def read_labels(path: Path | None) -> list[str]:
    """Read the names of classes, one per line, without WordNet's numbers in front of them; none if
    ``path`` is None."""
    if path is None:
        return []
    lines = read_text(path, LABELS_MAX, "a list of classes, one per line").splitlines()
    labels = [re.sub(r"^n\d{8}\s+", "", line).strip() for line in lines if line.strip()]
    if not labels:
        raise UserError(f"{path} names no classes: one per line is expected")
    if wrong := [label for label in labels if not label.isprintable()]:
        raise UserError(f"{path} names classes that cannot be printed, such as {shown(wrong[0])}")
    return labels
