"""Division of a network into blocks that are reconstructed as a whole."""

from collections.abc import Iterator
from dataclasses import dataclass

from sigbit.quant.plan.plans import (
    InputPlan,
    LayerPlan,
    MaxPoolPlan,
    MovePlan,
    NetworkPlan,
    Plan,
    tensors_of,
)

_LEAST, _MOST = 2, 6
"""Minimum number of layers with weights per block, and maximum where there is no suitable
boundary."""


@dataclass(frozen=True)
class Block:
    """Consecutive plans; ``reads``: the tensors from earlier plans that they read, ``gives``: those
    that later plans read, or that are outputs."""

    plans: tuple[Plan, ...]
    reads: tuple[str, ...]
    gives: tuple[str, ...]

    @property
    def layers(self) -> Iterator[LayerPlan]:
        """The sums among the plans."""
        return (p for p in self.plans if isinstance(p, LayerPlan))


def singles(plan: NetworkPlan) -> list[Block]:
    """Blocks of one plan each."""
    return _blocks(plan, [[p] for p in plan.layers if not isinstance(p, InputPlan)])


def joined(plan: NetworkPlan) -> list[Block]:
    """Blocks that end where a single tensor leads on: residual blocks, fire modules, depthwise
    layers with the following dense one.

    BRECQ (Li et al. 2021, arXiv 2102.05426) reports that such blocks work better than layers, whose
    errors are not independent, and than the whole network, for which a small number of samples is
    insufficient.
    """
    plans = [p for p in plan.layers if not isinstance(p, InputPlan)]
    last = _last_reads(plan)
    groups: list[list[Plan]] = [[]]
    for i, p in enumerate(plans):
        groups[-1].append(p)
        if i + 1 == len(plans):
            break
        done = {q.name for q in plans[: i + 1]}
        live = sum(last.get(name, -1) > i for name in done)
        weighted = [q for q in groups[-1] if isinstance(q, LayerPlan) and q.sources[0].trained]
        if _pooled(plans[i + 1]):
            continue
        if len(weighted) >= _MOST or (
            live <= 1
            and len(weighted) >= _LEAST
            and isinstance(weighted[-1], LayerPlan)
            and weighted[-1].sources[0].groups == 1
        ):
            groups.append([])
    return _blocks(plan, groups)


def _pooled(p: Plan) -> bool:
    return isinstance(p, MaxPoolPlan) or (isinstance(p, MovePlan) and p.kind == "maxpool")


def _last_reads(plan: NetworkPlan) -> dict[str, int]:
    """Number of the last plan, excluding inputs, that reads a tensor; for outputs one more than the
    last plan."""
    plans = [p for p in plan.layers if not isinstance(p, InputPlan)]
    last = {t: i for i, p in enumerate(plans) for t in tensors_of(p)}
    return last | {name: len(plans) for name, _ in plan.outputs}


def _blocks(plan: NetworkPlan, groups: list[list[Plan]]) -> list[Block]:
    last = _last_reads(plan)
    blocks, end = [], 0
    for group in groups:
        end += len(group)
        own = {p.name for p in group}
        reads = dict.fromkeys(t for p in group for t in tensors_of(p) if t not in own)
        gives = tuple(p.name for p in group if last.get(p.name, -1) >= end)
        blocks.append(Block(tuple(group), tuple(reads), gives))
    return blocks
