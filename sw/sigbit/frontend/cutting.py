"""Import of networks in two parts: one for the accelerator, and the host's steps behind it."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from sigbit.frontend.cut import Cut, Operation, cut_at, cut_before
from sigbit.frontend.report import UnreadableModel, UnsupportedModel, UnsupportedNode
from sigbit.frontend.source import Origin
from sigbit.frontend.tail import Tail, with_tail
from sigbit.frontend.values import Refusal
from sigbit.ir.floating import FloatGraph

_ATTEMPTS = 8
"""Maximum number of times that a cut is moved forward."""


class Front(Protocol):
    """The import of a network, or of the part of it before a cut."""

    def run(self) -> FloatGraph:
        """Return the graph; raise :class:`UnsupportedModel` if it cannot be built."""

    @property
    def refused(self) -> frozenset[str]:
        """The tensors whose operations :meth:`run` refused; none if it refused anything else."""


class Cuttable(Protocol):
    """A network as its importer presents it for a cut: operations in topological order, names of
    the results and inputs, known shapes without the batch."""

    operations: list[Operation]
    outputs: list[str]
    inputs: list[str]

    @property
    def sides(self) -> Mapping[str, tuple[int, ...]]:
        """Shapes of tensors without the batch, as far as they are known."""

    def where(self, index: int) -> Origin:
        """Return the source location of operation ``index``."""

    def steps(self, behind: Sequence[int]) -> tuple[Tail, dict[int, Refusal]]:
        """Return operations as host steps, and the reason for each operation that cannot be one."""

    def front(self, boundary: tuple[str, ...]) -> Front:
        """Return the import of the part that computes the tensors ``boundary``."""


class _NotInFront(Exception):
    """Operations before a cut are not supported."""

    def __init__(self, error: UnsupportedModel, refused: frozenset[str]) -> None:
        self.error, self.refused = error, refused
        super().__init__(str(error))


def cut_import(network: Cuttable, name: str, cuts: Sequence[str]) -> FloatGraph:
    """Return the graph cut at the tensors ``cuts``.

    Raises ``UserError`` for invalid cuts, :class:`UnsupportedModel` for operations that neither the
    accelerator nor the host supports.
    """
    at = cut_at(network.operations, network.outputs, cuts)
    try:
        return _imported(network, name, at)
    except Refusal as refusal:
        row = UnsupportedNode(name, "graph", "", refusal.reason, refusal.remedy)
        raise UnsupportedModel(name, (row,)) from refusal
    except _NotInFront as error:
        raise error.error from None


def shortened_import(network: Cuttable, name: str, refused: frozenset[str]) -> FloatGraph | None:
    """Return the graph cut before the unsupported operations of the tensors ``refused``; None where
    the host does not support all later operations, or nothing is left for the accelerator."""
    more = refused
    try:
        for _ in range(_ATTEMPTS):
            at = cut_before(network.operations, network.outputs, network.inputs, refused)
            if not more or at is None or network.steps(at.behind)[1]:
                return None
            try:
                return _imported(network, name, at)
            except _NotInFront as error:
                more = error.refused - refused
                refused |= more
    except (Refusal, UnreadableModel):
        return None
    return None


def _imported(network: Cuttable, name: str, at: Cut) -> FloatGraph:
    tail, refused = network.steps(at.behind)
    if refused:
        rows = []
        for index, why in refused.items():
            where = network.where(index)
            rows.append(
                UnsupportedNode(where.name, where.op, where.location, why.reason, why.remedy)
            )
        raise UnsupportedModel(name, tuple(rows))
    front = network.front(at.boundary)
    try:
        graph = front.run()
    except UnsupportedModel as error:
        raise _NotInFront(error, front.refused) from error
    return with_tail(graph, at.boundary, network.sides, tail, network.outputs)
