"""Verifier of integer graphs, which may come from a file or a user's program."""

import re
from collections.abc import Callable, Iterable, Sequence
from math import isfinite
from typing import Any, Protocol

import numpy as np

from sigbit.ir.arrays import Ints
from sigbit.ir.integer_nodes import (
    Constant,
    Conv,
    Gather,
    Input,
    Matmul,
    MaxPool,
    Node,
    Source,
    TensorType,
    tensors_of,
    window,
)
from sigbit.ir.states import State, check_states
from sigbit_hw.arch import numerics
from sigbit_hw.arch.axes import Axes
from sigbit_hw.arch.formats import MAX_DIGITS, Format, TermGrid
from sigbit_hw.arch.host import HostPart
from sigbit_hw.arch.names import check_name, is_name
from sigbit_hw.arch.preprocessing import ImagePreprocessing
from sigbit_tools.errors import SigbitError

RADIX_MAX = 7
"""Maximum bits between the digit weights of a tensor."""
VALUE_BITS = 31
"""Maximum bits of a native magnitude: products fit the accumulators of any accelerator."""
GRID_STEPS = 1 << 20
"""Maximum number of digit sums that are tried to list the values of a tensor or of weights."""

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")

Need = Callable[[bool, str], None]
"""Raises an error with a message unless the condition holds."""


class GraphError(SigbitError):
    """A graph is malformed; the message names the node."""


class Graph(Protocol):
    """The verified attributes of an integer graph."""

    @property
    def name(self) -> str: ...
    @property
    def weight_format(self) -> Format: ...
    @property
    def act_format(self) -> Format: ...
    @property
    def radix_bits(self) -> int: ...
    @property
    def nodes(self) -> tuple[Node, ...]: ...
    @property
    def outputs(self) -> tuple[str, ...]: ...
    @property
    def output_axes(self) -> tuple[Axes, ...]: ...
    @property
    def output_names(self) -> tuple[str, ...]: ...
    @property
    def preprocessing(self) -> ImagePreprocessing | None: ...
    @property
    def classes(self) -> tuple[str, ...]: ...
    @property
    def states(self) -> tuple[State, ...]: ...
    @property
    def host(self) -> HostPart: ...


def verify(graph: Graph) -> None:
    """Raise :class:`GraphError` unless every node is well formed and every value lies on its
    grid."""
    _Verifier(graph).run()


class _Verifier:
    """One verification; grids and arrays shared by several nodes are checked once."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._seen: dict[str, Node] = {}
        self._grids: dict[tuple[Format, int], Ints] = {}
        self._on_grid: dict[tuple[int, int], bool] = {}

    def run(self) -> None:
        graph = self._graph
        self._check_formats()
        for index, node in enumerate(graph.nodes):
            need = _needs(node.name if is_name(node.name) else f"node {index}")
            self._check_node(node, need)
            match node:
                case Input():
                    self._check_input(node, need)
                case Constant():
                    self._check_constant(node, need)
                case Conv():
                    self._check_conv(node, need)
                case Matmul():
                    self._check_matmul(node, need)
                case MaxPool():
                    self._check_max_pool(node, need)
                case Gather():
                    self._check_gather(node, need)
            self._seen[node.name] = node
        self._check_outputs()

    def _check_formats(self) -> None:
        graph = self._graph
        need = _needs("graph")
        _need_name(graph.name, "the name", need)
        radix = graph.radix_bits
        need(1 <= radix <= RADIX_MAX, f"radix_bits must be in [1, {RADIX_MAX}], not {radix}")
        for what in ("weight_format", "act_format"):
            bits = getattr(graph, what).range_bits
            need(
                bits <= VALUE_BITS,
                f"{what} must have magnitudes of at most {VALUE_BITS} bits, not {bits}",
            )

    def _grid(self, native: Format, digits: int, need: Need) -> Ints:
        """Values of ``digits`` native digits, ascending."""
        key = (native, digits)
        if key not in self._grids:
            need(
                1 <= digits <= MAX_DIGITS,
                f"planes and terms must be in [1, {MAX_DIGITS}], not {digits}",
            )
            radix = self._graph.radix_bits
            need(
                _grid_steps(native, radix, digits) <= GRID_STEPS,
                f"{digits} digits of {native.bits} bits have too many values to list: take fewer "
                "digits, or a format of fewer bits",
            )
            self._grids[key] = TermGrid(native, radix, digits).values
        return self._grids[key]

    def _stored(self, kind: TensorType, need: Need) -> Ints:
        """Values that a tensor may hold, ascending."""
        native = self._graph.weight_format if kind.weights else self._graph.act_format
        return self._grid(native, kind.planes, need)

    def _check_node(self, node: Node, need: Need) -> None:
        _need_name(node.name, "a name", need)
        need(node.name not in self._seen, "a second node of this name")
        kind = node.type
        need(min(kind.shape) >= 1, f"shape must be positive, not {kind.shape}")
        need(isfinite(kind.scale) and kind.scale > 0, f"scale must be positive, not {kind.scale}")
        self._stored(kind, need)
        need(
            not kind.weights or (isinstance(node, Conv | Matmul) and kind.zero == 0),
            "weight digits are results of convolutions and products, with zero 0",
        )
        for tensor in tensors_of(node):
            need(tensor in self._seen, f"reads {tensor!r}, which is not an earlier node")
            read = self._seen[tensor].type
            need(
                _within(np.array([-read.zero]), self._stored(read, need)),
                f"the zero of {tensor!r} is not a stored value",
            )
        self._check_digits(node, need)
        if not isinstance(node, Input | Constant):
            _need_name(node.kind, "kind", need)
            need(
                not node.location or _is_text(node.location),
                "location must not have control characters",
            )

    def _check_input(self, node: Input, need: Need) -> None:
        values = self._stored(node.type, need)
        first, last = np.searchsorted(values, [node.low, node.high], side="left")
        need(
            node.low <= node.high
            and last < len(values)
            and values[last] == node.high
            and last - first == node.high - node.low,
            f"[{node.low}, {node.high}] is not within the values of {node.type.planes} planes",
        )
        if node.axes is Axes.FEATURES:
            need(
                node.type.shape[1:] == (1, 1), f"features must be [n, 1, 1], not {node.type.shape}"
            )

    def _check_digits(self, node: Node, need: Need) -> None:
        """Check that products alone read weight digits, on their right."""
        plain = (node.left,) if isinstance(node, Matmul) else tuple(tensors_of(node))
        for tensor in plain:
            need(not self._seen[tensor].type.weights, f"{tensor!r} must not be weight digits")
        if isinstance(node, Matmul):
            need(self._seen[node.right].type.weights, f"{node.right!r} must be weight digits")

    def _check_constant(self, node: Constant, need: Need) -> None:
        _need_ints(node.values, "values", node.type.shape, need)
        need(
            _within(node.values, self._stored(node.type, need)),
            f"values that {node.type.planes} planes cannot store",
        )

    def _check_conv(self, node: Conv, need: Need) -> None:
        self._check_requantization(node, need)
        need(len(node.sources) > 0, "a convolution needs a source")
        for source in node.sources:
            self._check_source(node, source, need)

    def _check_matmul(self, node: Matmul, need: Need) -> None:
        self._check_requantization(node, need)
        left, right = (self._seen[t].type for t in (node.left, node.right))
        need(
            left.shape[0] == right.shape[0],
            f"{node.left!r} has {left.shape[0]} channels, {node.right!r} has {right.shape[0]}",
        )
        need(left.zero == 0, f"the zero of {node.left!r} must be 0, not {left.zero}")
        shape = (right.shape[1] * right.shape[2], *left.shape[1:])
        need(shape == node.type.shape, f"gives {shape}, not {node.type.shape}")

    def _check_requantization(self, node: Conv | Matmul, need: Need) -> None:
        channels = node.type.shape[0]
        for name, length in (
            ("base", channels),
            ("step", channels),
            ("tie", channels),
            ("table", numerics.TABLE_ENTRIES),
        ):
            _need_ints(getattr(node, name), name, (length,), need)
        need(
            _within(node.table, self._stored(node.type, need)),
            f"table holds values that {node.type.planes} planes cannot store",
        )
        for name, low, high in (
            ("step", 1, numerics.STEP_MAX),
            ("tie", 0, 1),
            ("base", -numerics.BASE_MAX - 1, numerics.BASE_MAX),
        ):
            array = getattr(node, name)
            need(
                bool(((array >= low) & (array <= high)).all()), f"{name} must be in [{low}, {high}]"
            )

    def _check_source(self, node: Conv, s: Source, need: Need) -> None:
        channels, height, width = node.type.shape
        c, h, w = self._seen[s.tensor].type.shape
        for name in ("stride", "dilation", "upsampling"):
            pair = getattr(s, name)
            need(min(pair) >= 1, f"{name} must be positive, not {pair}")
        need(
            s.groups > 0 and c % s.groups == 0 and channels % s.groups == 0,
            f"groups must divide {c} input and {channels} output channels, not {s.groups}",
        )
        need(
            s.upsampling == (1, 1) or s.stride == (1, 1),
            f"upsampling {s.upsampling} needs a stride of 1, not {s.stride}",
        )
        need(
            s.weights.dtype == np.int64 and s.weights.ndim == 4 and min(s.weights.shape) >= 1,
            f"weights must be int64 [out, in / groups, height, width], not {s.weights.dtype} "
            f"{list(s.weights.shape)}",
        )
        need(
            s.weights.shape[:2] == (channels, c // s.groups),
            f"weights {list(s.weights.shape)} do not fit {c} input and {channels} output channels",
        )
        got = s.window((h, w))
        need(got == (height, width), f"source {s.tensor!r} gives {got}, not {(height, width)}")
        key = (id(s.weights), s.terms)
        if key not in self._on_grid:
            grid = self._grid(self._graph.weight_format, s.terms, need)
            self._on_grid[key] = bool(np.isin(s.weights, grid).all())
        need(self._on_grid[key], f"weights lie outside the grid of {s.terms} terms")

    def _check_max_pool(self, node: MaxPool, need: Need) -> None:
        read = self._seen[node.tensor].type
        need(
            min(*node.kernel, *node.stride) >= 1,
            f"kernel and stride must be positive, not {node.kernel} and {node.stride}",
        )
        size = window(read.shape[1:], node.kernel, node.stride, node.padding)
        shape = (read.shape[0], *size)
        need(shape == node.type.shape, f"gives {shape}, not {node.type.shape}")
        need(node.type.planes == 1 and read.planes == 1, "max pooling needs one plane")

    def _check_gather(self, node: Gather, need: Need) -> None:
        types = [self._seen[t].type for t in node.tensors]
        same = {(t.shape[1:], t.planes, t.scale, t.zero) for t in (*types, node.type)}
        need(len(types) > 0, "a gather needs a tensor")
        need(len(same) == 1, f"tensors differ in size, planes, scale or zero: {sorted(same)[:4]}")
        _need_ints(node.channels, "channels", (node.type.shape[0], 2), need)
        counts = np.array([t.shape[0] for t in types])
        tensor, channel = node.channels.T
        known = (tensor >= 0) & (tensor < len(types))
        need(
            bool(known.all()) and bool(((channel >= 0) & (channel < counts[tensor])).all()),
            "channels name what its tensors do not have",
        )

    def _check_outputs(self) -> None:
        graph = self._graph
        need = _needs("graph")
        own = {state.input for state in graph.states}
        inputs = [n for n in graph.nodes if isinstance(n, Input) and n.name not in own]
        need(bool(inputs), "there is no input" + " besides states" * bool(own))
        need(
            len(graph.output_axes) == len(graph.outputs),
            f"{len(graph.outputs)} outputs have {len(graph.output_axes)} kinds of axes",
        )
        for name in graph.output_names:
            _need_name(name, "the name of an output", need)
        need(
            len(set(graph.output_names)) == len(graph.outputs),
            f"{len(graph.outputs)} outputs have the names {', '.join(graph.output_names)}",
        )
        for name in graph.outputs:
            if name not in self._seen:
                raise GraphError(f"output {name!r} is not a node")
            need(not self._seen[name].type.weights, f"output {name!r} must not be weight digits")
        ends = zip(graph.outputs, graph.output_axes, strict=True)
        outputs = dict(zip(graph.output_names, ends, strict=True))
        try:
            on_host = {given.output for given in graph.host.inputs}
            check_states(graph.states, self._seen, outputs, on_host, graph.act_format)
        except ValueError as error:
            need(False, str(error))
        for text in graph.classes:
            need(_is_text(text), "the name of a class is empty, too long or not one line")
        if graph.preprocessing is not None:
            try:
                graph.preprocessing.require([n.axes.shape(n.type.shape) for n in inputs])
            except ValueError as error:
                need(False, str(error))
        try:
            graph.host.check(
                {n: axes.shape(self._seen[t].type.shape) for n, (t, axes) in outputs.items()}
            )
        except ValueError as error:
            raise GraphError(f"host: {error}") from None
        for step in graph.host.steps:
            need(not step.source or _is_text(step.source), "a source has control characters")


_LONGEST = 1000


def _is_text(text: str) -> bool:
    """Return whether ``text`` can appear in a message: not empty, of limited length, one line."""
    return 0 < len(text) <= _LONGEST and not _CONTROL.search(text)


def _need_name(name: str, what: str, need: Need) -> None:
    """Check a name: a Program keeps the names, and its readers may make paths of them."""
    try:
        check_name(name, what)
    except ValueError as error:
        need(False, str(error))


def _needs(where: str) -> Need:
    def need(condition: bool, message: str) -> None:
        if not condition:
            raise GraphError(f"{where}: {message}")

    return need


def _need_ints(array: Any, name: str, shape: Sequence[int], need: Need) -> None:
    need(
        array.dtype == np.int64 and array.shape == tuple(shape),
        f"{name} must be int64 {_plain(shape)}, not {array.dtype} {_plain(array.shape)}",
    )


def _within(numbers: Ints, values: Ints) -> bool:
    """Return whether all ``numbers`` occur in the ascending ``values``."""
    index = np.searchsorted(values, numbers).clip(0, len(values) - 1)
    return bool((values[index] == numbers).all())


def _plain(shape: Iterable[int]) -> list[int]:
    return [int(n) for n in shape]


def _grid_steps(native: Format, radix_bits: int, digits: int) -> int:
    """Maximum number of sums needed to list the values of ``digits`` digits."""
    steps, count, reach = 0, 1, 0
    for digit in range(digits):
        steps += count * len(native.values)
        reach += native.max << (radix_bits * digit)
        count = min(count * len(native.values), 2 * reach + 1)
    return steps
