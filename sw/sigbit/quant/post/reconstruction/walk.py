"""A walk through the prepared network and the float one side by side, block by block: every layer
gets the quantized inputs of the final network, and the float values that it should return."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from sigbit.quant.calibration.reference import Reference, result
from sigbit.quant.calibration.samples import MICRO_BATCH, SampleChunks, micro_batches
from sigbit.quant.layers.layer import QuantLayer
from sigbit.quant.layers.plain import QuantInput, QuantState
from sigbit.quant.layers.products import QuantConstant
from sigbit.quant.layers.values import Levels
from sigbit.quant.plan.plans import InputPlan, LayerPlan, Plan, tensors_of
from sigbit.quant.post.reconstruction.blocks import Block
from sigbit.quant.post.reconstruction.store import Store
from sigbit.quant.prepared import PreparedModel

Values = dict[str, Levels]


class Step:
    """Operation on each layer, then on each block; this base class does nothing."""

    needs_targets = False
    """True if :meth:`block` needs float values."""

    def layer(self, site: "LayerSite") -> None:
        """Change a layer in place."""

    def block(self, site: "BlockSite") -> None:
        """Change a block in place, after its layers."""


class Walk:
    """Both networks on ``samples``, up to the present position of the walk; a context manager.

    Parameters
    ----------
    prepared : PreparedModel
        In evaluation mode; later values are computed with its parameters at that time.
    reference : Reference
        The float network.
    samples : SampleChunks
        Read once.
    blocks : sequence of Block
    targets : bool
        Store float values.
    """

    def __init__(
        self,
        prepared: PreparedModel,
        reference: Reference,
        samples: SampleChunks,
        blocks: Sequence[Block],
        targets: bool,
    ) -> None:
        self.prepared, self.reference, self.blocks = prepared, reference, blocks
        self.levels, self.floats = Store(), Store()
        self.scales: dict[str, Tensor] = {}
        self.samples = len(samples)
        self._targets = targets
        self._last = {t: i for i, b in enumerate(blocks) for t in b.reads}
        self._stack = ExitStack()
        self._stack.enter_context(self.levels)
        self._stack.enter_context(self.floats)
        self._begin(samples)

    @torch.no_grad()
    def _begin(self, samples: SampleChunks) -> None:
        plans = [p for p in self.prepared.plan.layers if isinstance(p, InputPlan)]
        for batch in micro_batches(samples):
            given = dict(zip((p.name for p in plans), batch, strict=True))
            for p in plans:
                module = self.prepared.quant_module(p.name)
                assert isinstance(module, QuantInput | QuantState)
                found = module(given[p.name])
                self.scales[p.name] = found.scale
                self.levels.append(p.name, found.levels.to(torch.int16))
                if self._targets:
                    self.floats.append(p.name, given[p.name])
        self._dtype = next((p.dtype for p in self.prepared.parameters()), torch.float32)

    def batches(self) -> Iterator[tuple[int, int]]:
        """First sample, and last sample plus one, of every micro-batch."""
        for first in range(0, self.samples, MICRO_BATCH):
            yield first, min(first + MICRO_BATCH, self.samples)

    def read(self, p: Plan, first: int, last: int) -> list[Levels]:
        """The quantized tensors that a plan reads."""
        return [
            Levels(self.levels.read(t, first, last).to(self._dtype), self.scales[t])
            for t in tensors_of(p)
        ]

    def some(self, block: Block, samples: list[int]) -> Values:
        """The tensors that a block reads, for selected samples."""
        return {
            t: Levels(self.levels.gather(t, samples).to(self._dtype), self.scales[t])
            for t in block.reads
        }

    @torch.no_grad()
    def put(self, p: Plan) -> None:
        """Compute the tensor of a plan; the layer's constants are determined once."""
        module = self.prepared.quant_module(p.name)
        assert not isinstance(module, QuantInput)
        self.levels.drop(p.name)
        a = None
        if isinstance(module, QuantLayer):
            a = module.arithmetic([self.scales[t] for t in tensors_of(p)])
        for first, last in self.batches():
            inputs = self.read(p, first, last)
            if a is not None and isinstance(module, QuantLayer):
                found = module.result(a, inputs)
            elif isinstance(module, QuantConstant):
                found = module(self.prepared.parameter_of(module.plan.parameter), last - first)
            else:
                found = module(inputs)
            self.levels.append(p.name, found.levels.to(torch.int16))
            self.scales[p.name] = found.scale

    @torch.no_grad()
    def advance_floats(self, index: int) -> None:
        """Store the float values that the block returns."""
        block, graph = self.blocks[index], self.reference.graph
        known = list(self.floats)
        names = {node.name for node in graph.nodes}
        for first, last in self.batches():
            values = self.reference.known({n: self.floats.read(n, first, last) for n in known})
            for name in block.gives:
                if name in names:
                    self.floats.append(name, values.plain(name))

    def forget(self, index: int) -> None:
        """Remove tensors that are no longer read after a block, except the inputs of the float
        network."""
        inputs = {node.name for node in self.reference.graph.inputs}
        for store in (self.levels, self.floats):
            for name in list(store):
                kept = store is self.floats and name in inputs
                if self._last.get(name, -1) <= index and not kept:
                    store.drop(name)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()


@dataclass(frozen=True)
class LayerSite:
    """A layer whose inputs have been computed."""

    walk: Walk
    plan: LayerPlan

    @property
    def module(self) -> QuantLayer:
        """The layer."""
        module = self.walk.prepared.quant_module(self.plan.name)
        assert isinstance(module, QuantLayer)
        return module

    def scales(self) -> list[Tensor]:
        """The scales of its inputs."""
        return [self.walk.scales[t] for t in tensors_of(self.plan)]

    def inputs(self) -> Iterator[list[Levels]]:
        """Its quantized inputs, micro-batch by micro-batch."""
        for first, last in self.walk.batches():
            yield self.walk.read(self.plan, first, last)


@dataclass(frozen=True)
class BlockSite:
    """A block whose layers are done; ``number`` counts from 0."""

    walk: Walk
    block: Block
    number: int

    def values(self, samples: list[int]) -> Values:
        """The quantized tensors of the block and those that it reads, with gradients."""
        walk = self.walk
        values = walk.some(self.block, samples)
        for p in self.block.plans:
            values[p.name] = walk.prepared.step(p, values, {})
        return values

    def targets(self, samples: list[int]) -> Mapping[str, Tensor]:
        """The float values that the block should return, divided as in the reference."""
        found = {}
        for p in self.block.plans:
            if p.name in self.block.gives and p.name in self.walk.floats:
                known = {p.name: self.walk.floats.gather(p.name, samples)}
                values = self.walk.reference.known(known)
                found[p.name] = result(p, values) if isinstance(p, LayerPlan) else values[p.name]
        return found


def go(
    walk: Walk,
    steps: Sequence[Step],
    done: int = 0,
    after: Callable[[int], None] = lambda number: None,
) -> None:
    """Apply ``steps`` to every block from number ``done`` on; ``after`` is called with the number
    of completed blocks."""
    learning = any(step.needs_targets for step in steps)
    for number, block in enumerate(walk.blocks):
        for p in block.plans:
            if number >= done and isinstance(p, LayerPlan):
                for step in steps:
                    step.layer(LayerSite(walk, p))
            walk.put(p)
        if learning:
            walk.advance_floats(number)
        if learning and number >= done:
            for step in steps:
                step.block(BlockSite(walk, block, number))
            for p in block.plans:
                walk.put(p)
        walk.forget(number)
        after(number + 1)
