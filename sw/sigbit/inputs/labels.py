"""Names of classes."""

import re
from pathlib import Path

from sigbit.errors import UserError


def read_labels(path: Path | None) -> list[str]:
    """Read the names of classes, one per line, without WordNet's numbers in front of them; none if
    ``path`` is None."""
    if path is None:
        return []
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text: give a file with one class per line") from error
    labels = [re.sub(r"^n\d{8}\s+", "", line).strip() for line in lines if line.strip()]
    if not labels:
        raise UserError(f"{path} names no classes: one per line is expected")
    return labels
