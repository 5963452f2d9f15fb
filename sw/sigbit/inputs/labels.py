"""Names of classes."""

import re
from pathlib import Path

from sigbit.errors import UserError


def read_labels(path: Path | None) -> list[str]:
    """Names of the classes, one a line; WordNet's numbers in front of them are left out."""
    if path is None:
        return []
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text: give a file with a class a line") from error
    labels = [re.sub(r"^n\d{8}\s+", "", line).strip() for line in lines if line.strip()]
    if not labels:
        raise UserError(f"{path} names no classes: one a line is expected")
    return labels
