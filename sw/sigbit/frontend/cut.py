"""Cut of a network in two: the accelerator's part, and the host's part behind it."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from sigbit.errors import UserError


@dataclass(frozen=True)
class Operation:
    """One operation: the tensors that it reads, and those that it computes."""

    operands: tuple[str, ...]
    results: tuple[str, ...]


@dataclass(frozen=True)
class Cut:
    """The tensors that the accelerator computes, and the operations (by index) that the host
    executes."""

    boundary: tuple[str, ...]
    behind: tuple[int, ...]


def cut_at(operations: Sequence[Operation], outputs: Sequence[str], names: Sequence[str]) -> Cut:
    """Return the cut at the tensors ``names``; raise :class:`UserError` unless each is a tensor,
    and everything behind them depends on nothing else."""
    computed = {r for o in operations for r in o.results}
    for name in names:
        if name not in computed:
            near = get_close_matches(name, sorted(computed), 3, 0.3)
            hint = f"; nearest are {', '.join(near)}" if near else ""
            raise UserError(f"--cut {name}: the network computes no tensor of this name{hint}")
    before = _before(operations, names)
    behind = [i for i in _behind(operations, names) if i not in before]
    needed = _before([operations[i] for i in behind], outputs)
    behind = [i for n, i in enumerate(behind) if n in needed]
    cut = _cut(operations, outputs, behind)
    for tensor in cut.boundary:
        if tensor not in names and tensor not in outputs:
            reader = next(operations[i] for i in behind if tensor in operations[i].operands)
            raise UserError(
                f"--cut {' --cut '.join(names)}: {reader.results[0]}, which is behind it, also "
                f"reads {tensor}, which is not: add --cut {tensor}"
            )
    for name in names:
        if name not in cut.boundary:
            raise UserError(
                f"--cut {name}: nothing behind it that is not before another cut leads to an "
                "output: leave it out"
            )
    return cut


def cut_before(
    operations: Sequence[Operation],
    outputs: Sequence[str],
    inputs: Collection[str],
    refused: Iterable[str],
) -> Cut | None:
    """Return the cut before the operations that compute the tensors ``refused``; None if nothing
    would be left for the accelerator, or they lead to no output."""
    names = set(refused)
    first = [i for i, o in enumerate(operations) if names.intersection(o.results)]
    operands = [t for i in first for t in operations[i].results]
    behind = sorted({*first, *_behind(operations, operands)})
    needed = _before([operations[i] for i in behind], outputs)
    behind = [i for n, i in enumerate(behind) if n in needed]
    cut = _cut(operations, outputs, behind)
    if not behind or set(cut.boundary).intersection(inputs):
        return None
    return cut


def _before(operations: Sequence[Operation], tensors: Iterable[str]) -> set[int]:
    """Return the operations that ``tensors`` depend on."""
    needed, found = set(tensors), set()
    for i in reversed(range(len(operations))):
        if needed.intersection(operations[i].results):
            found.add(i)
            needed.update(operations[i].operands)
    return found


def _behind(operations: Sequence[Operation], tensors: Iterable[str]) -> list[int]:
    """Return the operations that depend on ``tensors``, in order."""
    known, found = set(tensors), []
    for i, operation in enumerate(operations):
        if known.intersection(operation.operands):
            found.append(i)
            known.update(operation.results)
    return found


def _cut(operations: Sequence[Operation], outputs: Sequence[str], behind: list[int]) -> Cut:
    """Return the cut with these operations behind it."""
    on_host = {r for i in behind for r in operations[i].results}
    read = [t for i in behind for t in operations[i].operands]
    boundary = dict.fromkeys(t for t in (*read, *outputs) if t not in on_host)
    return Cut(tuple(boundary), tuple(behind))
