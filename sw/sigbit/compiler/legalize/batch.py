"""Batches: the order of the images' operations, and values in which images lie side by side.

Layers with small tensors run for all images one after the other, so that weights that are loaded
once serve all images; in the layers before them, one image runs after the other. A small tensor
that is only read through windows as wide as an image lies side by side with those of the other
images, and one operation serves all of them.
"""

from collections.abc import Sequence

from sigbit.compiler.legalize.join import Joins
from sigbit.ir.integer import (
    Constant,
    Conv,
    Gather,
    Input,
    IntegerGraph,
    Matmul,
    MaxPool,
    Node,
    tensors_of,
)
from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.arch.isa import Opcode, field_of

MAX_PHASES = field_of(Opcode.OUT, "phases").max
"""Maximum number of column phases of a value."""

SHARE = 2
"""Tensors of all images together may fill ``1 / SHARE`` of the activation memory."""


def first_shared(graph: IntegerGraph, config: ArchConfig, images: int) -> int:
    """Index of the first node from which all images run layer by layer."""
    last = {t: i for i, n in enumerate(graph.nodes) for t in tensors_of(n)}
    sizes = {n.name: _slots(n, config) for n in graph.nodes}
    first = len(graph.nodes)
    for index in reversed(range(len(graph.nodes))):
        alive = sum(
            sizes[n.name]
            for n in graph.nodes[: index + 1]
            if last.get(n.name, -1) >= index or n is graph.nodes[index]
        )
        if images * alive > config.act_slots // SHARE:
            break
        first = index
    return first


def side_by_side(graph: IntegerGraph, joins: Joins, shared: Sequence[Node]) -> set[str]:
    """Values in which the images lie side by side: those read only by ``shared`` nodes, through
    windows within the image whose results are a column of pixels."""
    names = {n.name for n in shared}
    names_of = {n.name for n in graph.nodes}
    aliases: dict[str, set[str]] = {v: set() for v in joins.members}
    for tensor, runs in joins.runs.items():
        for run in runs:
            aliases[joins.home[run[0]]].add(tensor)
    found = set()
    for value, tensors in aliases.items():
        own = [t for t in joins.members[value] if t in names_of]
        width = next((graph[t].type.shape[2] for t in tensors if t in names_of), MAX_PHASES + 1)
        readers = [n for n in graph.nodes if tensors & set(tensors_of(n))]
        narrow = all(n.name in names and _narrow(n, tensors, joins) for n in readers)
        late = all(t in names for t in own)
        stored = bool(tensors & set(graph.outputs)) and width > 1
        if (
            not any(isinstance(graph[t], Input | Constant) for t in own)
            and width <= MAX_PHASES
            and narrow
            and (late or (readers and not stored))
            and (readers or width == 1)
        ):
            found.add(value)
    return found


def _narrow(node: Node, tensors: set[str], joins: Joins) -> bool:
    """True if ``node`` reads ``tensors`` through windows inside the image, one per line."""
    moved = isinstance(node, Gather) and not (
        node.name in joins.clones or node.name in joins.selected
    )
    if isinstance(node, Matmul):
        return False
    if moved or node.type.shape[2] != 1:
        return moved
    if isinstance(node, Gather):
        return True
    if isinstance(node, MaxPool):
        return max(node.padding[1], node.padding[3]) <= 0
    assert isinstance(node, Conv)
    return all(
        max(s.padding[1], s.padding[3]) <= 0 and s.upsampling == (1, 1)
        for s in node.sources
        if s.tensor in tensors
    )


def _slots(node: Node, config: ArchConfig) -> int:
    channels, height, width = node.type.shape
    if isinstance(node, Gather):
        return 0
    return node.type.planes * -(-channels // config.ic_lanes) * (height + 2) * (width + 2)
