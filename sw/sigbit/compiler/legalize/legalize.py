"""Pass: convert an integer graph to operations of the array on named values, proven to fit its
formats and accumulators."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from sigbit.compiler.legalize.absorb import absorbed
from sigbit.compiler.legalize.accumulators import check_accumulators, check_results, rest_of
from sigbit.compiler.legalize.batch import first_shared, side_by_side
from sigbit.compiler.legalize.fold import choose_folds, folded
from sigbit.compiler.legalize.join import Run, join
from sigbit.compiler.legalize.upsample import lattice, operand_of
from sigbit.compiler.network import MemoryTensor, Network, Op, Operand, Region, Rows, Value
from sigbit.errors import CompileError
from sigbit.ir.integer import (
    Constant,
    Conv,
    Gather,
    Input,
    IntegerGraph,
    Matmul,
    MaxPool,
    Node,
    Source,
)
from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.arch.numerics import PRE_BITS, TABLE_ENTRIES, UNIT, wrap

Ints = NDArray[np.int64]
Shape = tuple[int, int, int]


def legalize(
    graph: IntegerGraph, config: ArchConfig, images: int = 1, shared: bool = True
) -> Network:
    """Operations and values of ``graph`` for ``images`` images; if ``shared``, layers of small
    tensors run for all of them one after the other. Raises :class:`CompileError` if it does not fit
    the formats of ``config`` or could overflow an accumulator."""
    _check_formats(graph, config)
    _check_products(graph, config)
    if not graph.inputs or not graph.outputs:
        raise CompileError(f"{graph.name}: a network needs at least one input and one output")
    if images < 1:
        raise CompileError(f"{graph.name}: a run takes at least 1 image, not {images}")
    return _Legalizer(graph, config, images, shared).network()


def _check_formats(graph: IntegerGraph, config: ArchConfig) -> None:
    for what, wanted, given in (
        ("weight format", graph.weight_format, config.weight_format),
        ("activation format", graph.act_format, config.act_format),
        ("radix", graph.radix_bits, config.term_radix_bits),
    ):
        if wanted != given:
            raise CompileError(
                f"{graph.name} was quantized for {what} {wanted}, but {config.name} has {given}: "
                f"quantize it for {config.name}, or choose an accelerator with {what} {wanted}"
            )


def _check_products(graph: IntegerGraph, config: ArchConfig) -> None:
    """Check that slots of weight digits are weight words."""
    if config.weight_format.bits == config.act_format.lane_bits:
        return
    for node in graph.nodes:
        if isinstance(node, Matmul):
            raise CompileError(
                f"{node.name}: products of two computed tensors need weights with as many bits as "
                f"lanes of activations; {config.name} has {config.weight_format.bits} and "
                f"{config.act_format.lane_bits}: choose an accelerator with equal ones"
            )


class _Legalizer:
    """Values are named by tensor until an image is chosen; those side by side keep that name."""

    def __init__(self, graph: IntegerGraph, config: ArchConfig, images: int, shared: bool) -> None:
        self.graph, self.config, self.images = graph, config, images
        self.returned = {tensor for _, tensor, _ in graph.returned}
        self.states = {state for state, _ in graph.kept}
        self.folds = choose_folds(graph, config)
        self.joins = join(graph, config)
        self.first = 0 if images == 1 else len(graph.nodes)
        if images > 1 and shared:
            self.first = first_shared(graph, config, images)
        together = graph.nodes[self.first :] if images > 1 else ()
        self.wide = side_by_side(graph, self.joins, together)
        self.ranges: dict[str, tuple[int, int]] = {}
        self.kinds: dict[str, Value] = {}
        self.values: dict[str, Value] = {}
        self.memory: dict[str, MemoryTensor] = {}
        self.ops: list[Op] = []

    def network(self) -> Network:
        """All operations: image by image, then layer by layer."""
        self._declare()
        for image in range(self.images):
            for node in self.graph.nodes[: self.first]:
                self._node(node, range(image, image + 1))
        for node in self.graph.nodes[self.first :]:
            self._node(node, range(self.images))
        used = {name for op in self.ops for name in (op.result, *(o.value for o in op.operands))}
        values = {name: value for name, value in self.values.items() if name in used}
        return Network(self.graph.name, values, tuple(self.ops), self.memory, self.images)

    def _declare(self) -> None:
        """Values by tensor, and the ranges of their content."""
        members = {clone.name: clone for c in self.joins.clones.values() for clone in c}
        for node in self.graph.nodes:
            self.ranges[node.name] = self._range(node)
            for clone in self.joins.clones.get(node.name, ()):
                self.ranges[clone.name] = self.ranges[node.name]
        types = {node.name: node.type for node in self.graph.nodes}
        for node in self.graph.nodes:
            for clone in self.joins.clones.get(node.name, ()):
                types[clone.name] = node.type
        for name, tensors in self.joins.members.items():
            kind = types[name]
            _, height, width = kind.shape
            lows, highs = zip(*(self.ranges[t] for t in tensors), strict=True)
            tensor = name if name not in members else members[name].source[0]
            shape: Shape = (self.joins.total(name), height, width)
            if name in self.folds:
                shape = self.folds[name].shape(shape)
            low, high = min(lows), max(highs)
            self.kinds[name] = Value(
                name, tensor, shape, kind.planes, low, high, weights=kind.weights
            )

    def _range(self, node: Node) -> tuple[int, int]:
        """Smallest and largest stored integer that ``node`` can produce."""
        if isinstance(node, Input):
            ends = {node.low, node.high}
            if node.name in self.folds and any(self.folds[node.name].padding):
                ends.add(-node.type.zero)
            return min(ends), max(ends)
        if isinstance(node, Conv | Matmul):
            return int(node.table.min()), int(node.table.max())
        if isinstance(node, Constant):
            return int(node.values.min()), int(node.values.max())
        if isinstance(node, Gather):
            lows, highs = zip(*(self.ranges[t] for t in node.tensors), strict=True)
            return min(lows), max(highs)
        low, high = self.ranges[node.tensor]
        return (min(low, self.config.act_format.min) if any(node.padding) else low), high

    def _node(self, node: Node, images: range) -> None:
        if isinstance(node, Input):
            for image in images:
                self._input(node, image)
        elif isinstance(node, Constant):
            for image in images:
                self._constant(node, image)
        elif isinstance(node, Conv):
            self._conv(node, images)
        elif isinstance(node, Matmul):
            self._matmul(node, images)
        elif isinstance(node, MaxPool):
            operand = self._whole(node.tensor)
            operand = replace(
                operand,
                kernel=node.kernel,
                stride=node.stride,
                padding=(node.padding[0], node.padding[1]),
                halo=self.config.act_format.min,
            )
            op = Op(node.name, "max", (operand,), "", self._region(node), 0, node=node)
            self._result(op, node.name, images)
        else:
            for clone in self.joins.clones.get(node.name, ()):
                self._copy(clone.name, clone.source, images)
            if node.name in self.joins.selected:
                self._select(node, images)
        for image in images:
            if node.name in self.returned:
                self._output(node, image)
            for state, tensor in self.graph.kept:
                if tensor == node.name:
                    self._state(node, state, image)
            if node.type.weights:
                self._words(node, image)

    def _input(self, node: Input, image: int) -> None:
        name = self._name(node.name, image)
        value = self.kinds[node.name]
        if node.name in self.states:
            self.values[name] = replace(value, name=name, load=self._home(node.name, image))
            return
        self.memory[name] = MemoryTensor(
            name,
            "input",
            node.name,
            image,
            value.shape,
            value.planes,
            fold=self.folds.get(node.name),
        )
        self.values[name] = replace(value, name=name, load=Rows(name))

    def _constant(self, node: Constant, image: int) -> None:
        name = self._name(node.name, image)
        value = self.kinds[node.name]
        memory = f"constant {name}"
        self.memory[memory] = MemoryTensor(
            memory,
            "constant",
            node.name,
            image,
            value.shape,
            value.planes,
            constant=node.values,
        )
        self.values[name] = replace(value, name=name, load=Rows(memory))

    def _words(self, node: Node, image: int) -> None:
        """Store a tensor of weight digits as weight words."""
        name = self._name(node.name, image)
        value = self.values[name]
        memory = f"words {name}"
        self.memory[memory] = MemoryTensor(
            memory, "words", node.name, image, value.shape, value.planes
        )
        self.values[name] = replace(value, store=Rows(memory))

    def _output(self, node: Node, image: int) -> None:
        """Store an output."""
        memory = f"output {node.name}{self._suffix(image)}"
        kind = node.type
        self.memory[memory] = MemoryTensor(
            memory, "output", node.name, image, kind.shape, kind.planes
        )
        self._store(node, image, Rows(memory), f"{node.name}>")

    def _state(self, node: Node, state: str, image: int) -> None:
        """Store the next run's state."""
        self._store(node, image, self._home(state, image), f"{state}>")

    def _home(self, state: str, image: int) -> Rows:
        """Place of a state in the DMA window."""
        memory, kind = f"state {state}{self._suffix(image)}", self.graph[state].type
        self.memory[memory] = MemoryTensor(memory, "state", state, image, kind.shape, kind.planes)
        return Rows(memory)

    def _suffix(self, image: int) -> str:
        return f"@{image}" if self.images > 1 else ""

    def _store(self, node: Node, image: int, rows: Rows, copy: str) -> None:
        """Store a tensor, from a value of its own, ``copy``, if its value holds other data as well
        or is stored already."""
        kind = node.type
        base, _ = self.joins.place(node.name)
        name = self._name(base, image)
        value = self.values[name]
        if value.shape != kind.shape or value.load or value.store:
            name = f"{copy}{self._suffix(image)}"
            self.values[name] = replace(
                self.kinds[base], name=name, tensor=node.name, shape=kind.shape, store=None
            )
            operand = self._images((self._whole(node.name),), image)
            self.ops.append(
                Op(f"copy {name}", "copy", operand, name, self._region(node), kind.shape[0])
            )
        self.values[name] = replace(self.values[name], store=rows)

    def _conv(self, node: Conv, images: range) -> None:
        """One operation for every phase of the output."""
        for region in lattice(node.sources, *node.type.shape[1:]):
            operands: list[Operand] = []
            base = node.base
            for source in node.sources:
                kind = self.graph[source.tensor].type
                for piece, operand in self._sources(source):
                    operand, lost = operand_of(piece, operand, region, kind.zero)
                    base = base + lost * UNIT
                    operands.append(replace(operand, halo=-kind.zero))
            real = [o for o in operands if o.weights is not None and o.weights.any()]
            op = Op(
                node.name,
                "conv",
                tuple(real or operands[:1]),
                "",
                region,
                0,
                node=node,
                base=base,
                step=node.step,
                tie=node.tie,
                table=node.table,
            )
            self._result(op, node.name, images)

    def _matmul(self, node: Matmul, images: range) -> None:
        operand = replace(
            self._whole(node.left), right=node.right, terms=self.graph[node.right].type.planes
        )
        op = Op(
            node.name,
            "conv",
            (operand,),
            "",
            self._region(node),
            0,
            node=node,
            base=node.base,
            step=node.step,
            tie=node.tie,
            table=node.table,
        )
        self._result(op, node.name, images)

    def _sources(self, source: Source) -> list[tuple[Source, Operand]]:
        """Tensors that ``source`` reads, as operands without windows; with no more terms than its
        weights need (those of an average are ones)."""
        source = replace(source, terms=self._terms(source))
        if source.tensor in self.folds:
            source = folded(source, self.folds[source.tensor])
            whole = self._whole(source.tensor)
            return [(source, replace(whole, terms=source.terms))]
        if source.tensor not in self.joins.absorbed:
            whole = self._whole(source.tensor)
            return [(source, replace(whole, terms=source.terms, groups=source.groups))]
        runs = self.joins.runs[source.tensor]
        pieces = absorbed(source.weights, source.groups, runs, self.joins.channels)
        return [
            (
                replace(source, weights=weights, groups=1),
                replace(self._run((tensor, 0, weights.shape[1])), terms=source.terms),
            )
            for tensor, weights in pieces
        ]

    def _terms(self, source: Source) -> int:
        """The smallest number of terms that can represent all weights."""
        fewer = range(1, source.terms)
        grids = ((t, self.config.weight_grid(t).values) for t in fewer)
        fits = (t for t, values in grids if bool(np.isin(source.weights, values).all()))
        return next(fits, source.terms)

    def _select(self, node: Gather, images: range) -> None:
        """Gather channels with weights of 0 and 1, through the identity."""
        channels = node.type.shape[0]
        picks: dict[str, Ints] = {}
        for at, (index, channel) in enumerate(node.channels.tolist()):
            tensor, source = self.joins.resolve(node.tensors[index], channel)
            pick = picks.setdefault(
                tensor, np.zeros((channels, self.joins.channels[tensor], 1, 1), np.int64)
            )
            pick[at, source] = 1
        operands = tuple(
            replace(self._run((tensor, 0, weights.shape[1])), weights=weights)
            for tensor, weights in picks.items()
        )
        values = self.config.act_grid(node.type.planes).values
        half = 1 << (self.config.result_bits - 1)
        offset = -half - values.min()
        table = wrap(np.arange(TABLE_ENTRIES), PRE_BITS).clip(-half, half - 1) - offset
        op = Op(
            f"select {node.name}",
            "conv",
            operands,
            "",
            self._region(node),
            0,
            base=np.full(channels, offset * UNIT),
            step=np.full(channels, UNIT),
            tie=np.zeros(channels, np.int64),
            table=np.where(np.isin(table, values), table, 0),
        )
        self._result(op, node.name, images)

    def _copy(self, name: str, run: Run, images: range) -> None:
        operand = self._run(run)
        _, height, width = self.kinds[operand.value].shape
        region = Region(0, 0, height, width)
        self._result(Op(f"copy {name}", "copy", (operand,), "", region, 0), name, images)

    def _result(self, op: Op, tensor: str, images: range) -> None:
        """``op`` as the writer of ``tensor``, for ``images``: one for all if they lie side by side
        in all its values."""
        base, channel = self.joins.locate((tensor, 0, 0))
        op = replace(
            op,
            channel=channel,
            channels=self.joins.channels[tensor],
            operands=tuple(self._bordered(o, op.region) for o in op.operands),
            node_region=op.region if op.node else None,
        )
        if op.kind == "conv":
            check_accumulators(op, self.kinds, self.config)
            check_results(op, self.config)
            op = self._rested(op, self.kinds[base])
        region, wide = op.region, base in self.wide
        width = self.kinds[base].shape[2]
        together = wide and all(o.value in self.wide for o in op.operands)
        if together and len(images) > 1 and width == 1:
            operands = tuple(
                replace(o, stride=(o.stride[0], self.kinds[o.value].shape[2])) for o in op.operands
            )
            self._declared(base, 0)
            region = replace(region, columns=self.images, step=(region.step[0], 1))
            self.ops.append(
                replace(op, operands=operands, result=base, region=region, images=self.images)
            )
            return
        for image in images:
            shift = image * width if wide else 0
            self.ops.append(
                replace(
                    op,
                    name=self._name(op.name, image) if op.node is None else op.name,
                    operands=self._images(op.operands, image),
                    result=self._declared(base, image),
                    region=replace(region, x=region.x + shift),
                    image=image,
                )
            )

    def _rested(self, op: Op, value: Value) -> Op:
        """``op`` with the result of channels that do not exist, such that products with what it
        writes there are 0."""
        if not value.weights or op.channels % self.config.ic_lanes == 0:
            return op
        assert op.table is not None
        rest = rest_of(op.table, self.config)
        if rest is None:
            raise CompileError(
                f"{op.where}: {op.channels} channels do not fill slots of {self.config.ic_lanes}, "
                "and its table of weight digits has no 0 for the rest: use a range that contains 0"
            )
        return replace(op, rest=rest)

    def _declared(self, base: str, image: int) -> str:
        """Name of a value that operations write; declares the value."""
        name = self._name(base, image)
        if name not in self.values:
            value = self.kinds[base]
            channels, height, width = value.shape
            columns = width * self.images if base in self.wide else width
            self.values[name] = replace(value, name=name, shape=(channels, height, columns))
        return name

    def _name(self, base: str, image: int) -> str:
        return base if self.images == 1 or base in self.wide else f"{base}@{image}"

    def _images(self, operands: tuple[Operand, ...], image: int) -> tuple[Operand, ...]:
        """``operands`` as they read one image."""
        found = []
        for o in operands:
            shift = image * self.kinds[o.value].shape[2] if o.value in self.wide else 0
            padding = (o.padding[0], o.padding[1] - shift)
            right = self._name(o.right, image) if o.right else ""
            found.append(replace(o, value=self._name(o.value, image), padding=padding, right=right))
        return tuple(found)

    def _bordered(self, operand: Operand, region: Region) -> Operand:
        """``operand`` without a halo if its windows stay inside the image."""
        _, *size = self.kinds[operand.value].shape
        spans = [operand.span(a, n) for a, n in enumerate((region.rows, region.columns))]
        outside = any(a < 0 or b >= n for (a, b), n in zip(spans, size, strict=True))
        return operand if outside else replace(operand, halo=None)

    def _whole(self, tensor: str) -> Operand:
        """All channels of a tensor, pixel by pixel."""
        value, channel = self.joins.place(tensor)
        if value in self.folds:
            return Operand(value, (1, 1), self.kinds[value].shape[0])
        channels = sum(n for _, _, n in self.joins.runs[tensor])
        return Operand(value, (1, 1), channels, channel)

    def _run(self, run: Run) -> Operand:
        value, channel = self.joins.locate(run)
        return Operand(value, (1, 1), run[2], channel)

    def _region(self, node: Node) -> Region:
        return Region(0, 0, *node.type.shape[1:])
