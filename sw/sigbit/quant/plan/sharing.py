"""Sharing of one grid and one scale between tensors, required or preferred.

*Required*: the parts of a concatenation, the input and the output of a maximum or a copy, a state
and its next value.
*Preferred*: the same value at every step of an unrolled recurrence, so that the same integers serve
all steps: layers with the same weights read one scale and write one scale, and likewise through the
sums and products between them.
"""

from collections.abc import Hashable, Iterable
from dataclasses import replace

from sigbit.quant.plan.plans import (
    InputPlan,
    LayerPlan,
    NetworkPlan,
    PairPlan,
    Plan,
    SourcePlan,
    SquarePlan,
    inherited,
    tensors_of,
)


class Groups:
    """Disjoint sets of tensors."""

    def __init__(self, names: Iterable[str]) -> None:
        self._parent = {name: name for name in names}

    def of(self, name: str) -> str:
        """Return the representative of a tensor's set."""
        root = name
        while self._parent[root] != root:
            root = self._parent[root]
        while self._parent[name] != root:
            self._parent[name], name = root, self._parent[name]
        return root

    def join(self, a: str, b: str) -> bool:
        """Merge two sets; return whether they were different. The earlier representative is
        kept."""
        a, b = self.of(a), self.of(b)
        self._parent[b] = a
        return a != b

    def members(self) -> dict[str, list[str]]:
        """Return all sets by their representatives."""
        sets: dict[str, list[str]] = {}
        for name in self._parent:
            sets.setdefault(self.of(name), []).append(name)
        return sets


def share(plan: NetworkPlan) -> Groups:
    """Return the sets of tensors of ``plan`` that share one grid and one scale."""
    groups = Groups(p.name for p in plan.layers)
    by_name = {p.name: p for p in plan.layers}
    for p in plan.layers:
        for tensor in inherited(p):
            groups.join(tensor, p.name)
    for state, tensor in plan.states:
        groups.join(state, tensor)
    joined: set[str] = set()
    changed = _join_equal_weights(plan, groups, by_name, joined)
    while changed:
        changed = _join_recurrence(plan, groups, by_name, joined)
    return groups


def _tie(groups: Groups, by_name: dict[str, Plan], a: str, b: str, joined: set[str]) -> bool:
    """Join two tensors unless one is a network input, whose scale is its own."""
    if isinstance(by_name[a], InputPlan) or isinstance(by_name[b], InputPlan):
        return False
    joined |= {a, b}
    return groups.join(a, b)


def _join_equal_weights(
    plan: NetworkPlan, groups: Groups, by_name: dict[str, Plan], joined: set[str]
) -> bool:
    outputs: dict[Hashable, str] = {}
    inputs: dict[Hashable, str] = {}
    changed = False
    for p in plan.layers:
        if not isinstance(p, LayerPlan):
            continue
        trained = [s for s in p.sources if s.trained]
        for s in trained:
            first = inputs.setdefault((s.weight, s.rows, s.padding), s.tensor)
            changed |= first != s.tensor and _tie(groups, by_name, first, s.tensor, joined)
        if trained:
            key = (trained[0].weight, trained[0].rows, _function(p), p.shape)
            first = outputs.setdefault(key, p.name)
            changed |= first != p.name and _tie(groups, by_name, first, p.name, joined)
    return changed


def _join_recurrence(
    plan: NetworkPlan, groups: Groups, by_name: dict[str, Plan], joined: set[str]
) -> bool:
    """Go one step from equal tensors to their operands, and to their readers, through plans without
    parameters; return whether sets were joined."""
    changed = False
    before: dict[Hashable, Plan] = {}
    after: dict[Hashable, str] = {}
    for p in reversed(plan.layers):
        if (signature := _signature(p)) is None:
            continue
        key = (signature, groups.of(p.name))
        if p.name in joined:
            first = before.setdefault(key, p)
            for a, b in zip(tensors_of(first), tensors_of(p), strict=True):
                changed |= a != b and _tie(groups, by_name, a, b, joined)
    for p in plan.layers:
        tensors = tensors_of(p)
        if (signature := _signature(p)) is not None and joined.issuperset(tensors):
            first_name = after.setdefault((signature, *map(groups.of, tensors)), p.name)
            changed |= first_name != p.name and _tie(groups, by_name, first_name, p.name, joined)
    return changed


def _function(p: LayerPlan) -> Hashable:
    return None if p.activation is None else _anonymous(p.activation)


def _anonymous(node: object) -> Hashable:
    fields = {k: v for k, v in vars(node).items() if k not in ("name", "inputs", "location")}
    return (type(node), *sorted(fields.items()))


def _signature(p: Plan) -> Hashable | None:
    """Return a key for the function of a plan without parameters, regardless of its operands; None
    for other plans."""
    if isinstance(p, SquarePlan):
        return (SquarePlan, p.shape, p.sign, _windows(p.sources))
    if isinstance(p, PairPlan):
        return (PairPlan, p.shape, p.inner, _windows(p.sources))
    if isinstance(p, LayerPlan) and p.weightless:
        return (LayerPlan, p.shape, _function(p), _windows(p.sources))
    return None


def _windows(sources: tuple[SourcePlan, ...]) -> Hashable:
    return tuple(replace(s, tensor="") for s in sources)
