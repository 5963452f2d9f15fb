"""Names of classes."""

import re
from pathlib import Path

from sigbit.errors import UserError
from sigbit_hw.arch.program import Program
from sigbit_tools.files import read_text
from sigbit_tools.shown import shown

LABELS_MAX = 1 << 20
"""Maximum bytes of a file with names of classes."""


def read_labels(path: Path | None) -> list[str]:
    """Read the names of classes, one per line, without leading WordNet numbers; return none if
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


def class_names(program: Program, path: Path | None) -> list[str]:
    """Return the names in the file ``path``, as many as the Program has classes if it has any; the
    Program's own names if it is None."""
    if path is None:
        return list(program.classes)
    labels, result = read_labels(path), program.results[0]
    ports = {port.name: port.shape for port in program.outputs}
    count: int | None = result.axes.channels(ports[result.port])
    if program.host:
        shapes = {r.name: r.axes.shape(ports[r.port]) for r in program.results}
        count = program.host.classes(shapes)
    if count is not None and len(labels) != count:
        raise UserError(
            f"{path} names {len(labels)} classes, {program.name} has {count}: one per line"
        )
    return labels
