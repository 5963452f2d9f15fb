"""Names of classes."""

import re
from collections.abc import Mapping, Sequence
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
    """Return the names in the file ``path``, as many as a result of the Program has classes; the
    Program's own names if it is None."""
    if path is None:
        return list(program.classes)
    labels, ports = read_labels(path), {port.name: port.shape for port in program.outputs}
    counts: dict[str, int | None]
    if program.host:
        shapes = {r.name: r.axes.shape(ports[r.port]) for r in program.results}
        counts = program.host.classes(shapes)
    else:
        counts = {r.name: r.axes.channels(ports[r.port]) for r in program.results}
    check_count(str(path), labels, program.name, counts)
    return labels


def check_count(
    what: str, labels: Sequence[str], network: str, counts: Mapping[str, int | None]
) -> None:
    """Raise unless a result of ``network`` has as many classes, of ``counts``, as there are
    ``labels``. Any number may be given if there is a result without classes, such as boxes."""
    if None in counts.values() or len(labels) in counts.values():
        return
    found = [f"{count} ({name})" for name, count in counts.items()]
    has = " and ".join(found) if len(found) > 1 else next(iter(counts.values()))
    raise UserError(f"{what} names {len(labels)} classes, {network} has {has}: one per line")
