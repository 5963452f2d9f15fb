"""Display of a network's results: the highest classes, or the values themselves."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sigbit.cli.console.output import say, show_table

SHOWN = 8
"""Maximum number of inputs in a table."""
_VALUES = 16
_TOP = 5


def show_answers(
    name: str, values: NDArray[Any], titles: Sequence[str], labels: Sequence[str]
) -> None:
    """Print results ``[N, ...]`` of output ``name``: as classes if each class has a number, by
    ``labels`` if there are as many."""
    flat = values.reshape(len(values), -1)
    labels = labels if flat.shape[1] in (1, len(labels)) else ()
    shown = flat[:SHOWN]
    if 1 < flat.shape[1] == values.shape[1]:
        show_table(
            f"Output {name}: {flat.shape[1]} classes, the highest first",
            ["input", "class", "value", "then"],
            [(titles[i], *_top(row, labels)) for i, row in enumerate(shown)],
            "  >",
        )
    else:
        show_table(
            f"Output {name} {list(values.shape)}",
            ["input", "values"],
            [(titles[i], _some(row, labels)) for i, row in enumerate(shown)],
        )
    if len(flat) > len(shown):
        say(f"{len(flat) - len(shown)} more; -o FILE writes all of them")


def _top(row: NDArray[Any], labels: Sequence[str]) -> tuple[str, str, str]:
    order = np.argsort(-row, kind="stable")[:_TOP]
    rest = ", ".join(f"{_label(i, labels)} {row[i]:.4g}" for i in order[1:])
    return _label(order[0], labels), f"{row[order[0]]:.4g}", rest


def _some(row: NDArray[Any], labels: Sequence[str]) -> str:
    if row.size == 1 and labels:
        return _label(row[0], labels)
    more = f" … {row.size - _VALUES} more" if row.size > _VALUES else ""
    return " ".join(f"{v:.4g}" for v in row[:_VALUES]) + more


def _label(number: Any, labels: Sequence[str]) -> str:
    index = int(number)
    return labels[index] if 0 <= index < len(labels) else str(index)
