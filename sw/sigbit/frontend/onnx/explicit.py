"""Placement of quantizers where an accelerator can apply them.

Tensors that are copies of others (flattened, padded, repeated, chosen channels, maxima, parts of a
concatenation) are stored on the grid of the copied tensor. Where a quantized model quantizes such a
tensor again, a copy that only does this is put behind it; where it quantizes the copy only, the
copied tensor is quantized instead, if nothing else reads it. The accelerator's input quantizes to
integers of 8 bits, to the nearest; any further operation on the inputs is a layer of its own.
"""

from dataclasses import dataclass, replace

from torch import Tensor

from sigbit.ir.annotation import QuantAnnotation
from sigbit.ir.floating import (
    Channels,
    Concat,
    DepthToSpace,
    Flatten,
    FloatGraph,
    FromImage,
    MaxPool2d,
    Mosaic,
    Node,
    Pad,
    Placeholder,
    SpaceToDepth,
    ToImage,
    Unary,
    Upsample,
)
from sigbit_hw.arch.names import numbered

_COPIES = (
    Channels,
    DepthToSpace,
    Flatten,
    FromImage,
    MaxPool2d,
    Pad,
    SpaceToDepth,
    ToImage,
    Upsample,
)
_BITS = 8


def same_quantizer(a: object, b: object) -> bool:
    """Return whether two quantizers, or None, are equal."""
    if type(a) is not type(b):
        return False
    if a is None:
        return True
    pairs = [(getattr(a, k), getattr(b, k)) for k in vars(a)]
    return all(
        x.shape == y.shape and bool((x == y).all())
        if isinstance(x, Tensor) and isinstance(y, Tensor)
        else x is y or (not isinstance(x, Tensor) and x == y)
        for x, y in pairs
    )


def explicit(graph: FloatGraph) -> FloatGraph:
    """Return ``graph`` with every quantizer on a tensor that is computed, not copied."""
    return _Explicit(graph).run() if graph.quantizers else graph


@dataclass
class _Explicit:
    graph: FloatGraph

    def run(self) -> FloatGraph:
        self.nodes: dict[str, Node] = {}
        self.quantizers = self._moved()
        self.held: dict[str, QuantAnnotation | None] = {}
        self.renamed: dict[str, str] = {}
        for node in self.graph.nodes:
            self._node(node)
        outputs = tuple(self.renamed.get(o, o) for o in self.graph.outputs)
        used = set(outputs) | {i for n in self.nodes.values() for i in n.inputs}
        kept = {k: q for k, q in self.quantizers.items() if k in used}
        return replace(
            self.graph, nodes=tuple(self.nodes.values()), outputs=outputs, quantizers=kept
        )

    def _moved(self) -> dict[str, QuantAnnotation]:
        """Return the quantizers, with those of flattened images and maxima moved to operands that
        nothing else reads."""
        found = dict(self.graph.quantizers)
        for node in reversed(self.graph.nodes):
            if isinstance(node, (Flatten, MaxPool2d, ToImage)) and node.name in found:
                below = self.graph[node.inputs[0]]
                alone = len(self.graph.consumers(below.name)) == 1
                free = below.name not in found and below.name not in self.graph.outputs
                if alone and free and _is_scalar(found[node.name]):
                    found[below.name] = found.pop(node.name)
        return found

    def _node(self, node: Node) -> None:
        node = replace(node, inputs=tuple(self.renamed.get(i, i) for i in node.inputs))
        own = self.quantizers.get(node.name)
        if isinstance(node, Concat | Mosaic):
            node = self._joined(node, own)
            own = None
            held = [self.held[i] for i in node.inputs]
            above = held[0] if all(same_quantizer(h, held[0]) for h in held) else None
        else:
            above = self.held[node.inputs[0]] if isinstance(node, _COPIES) else None
        self.nodes[node.name] = node
        self.held[node.name] = own or above
        copied = isinstance(node, _COPIES) and not same_quantizer(own, above)
        if own is not None and (copied or (isinstance(node, Placeholder) and not _at_input(own))):
            del self.quantizers[node.name]
            self.held[node.name] = above
            self.renamed[node.name] = self._copy(node.name, own)

    def _joined(self, node: Concat | Mosaic, own: QuantAnnotation | None) -> Concat | Mosaic:
        """Return the concatenation, with parts that have its own quantizer."""
        if own is None or not _is_scalar(own):
            return node
        self.quantizers.pop(node.name, None)
        parts = tuple(
            i if same_quantizer(self.held[i], own) else self._copy(i, own) for i in node.inputs
        )
        return replace(node, inputs=parts)

    def _copy(self, tensor: str, quantizer: QuantAnnotation) -> str:
        """Return a copy of ``tensor`` with ``quantizer``."""
        name = numbered(f"{tensor}.quantized", self.nodes)
        below = self.nodes[tensor]
        self.nodes[name] = Unary(
            name=name,
            inputs=(tensor,),
            shape=below.shape,
            location=below.location,
            function="identity",
            parameters=(),
        )
        self.quantizers[name] = self.held[name] = quantizer
        return name


def _is_scalar(quantizer: QuantAnnotation) -> bool:
    """Return whether all channels share one scale and zero point."""
    rows = quantizer.thresholds
    return quantizer.scale.numel() == 1 and (rows is None or len(rows) == 1)


def _at_input(quantizer: QuantAnnotation) -> bool:
    """Return whether the accelerator's input supports this quantizer."""
    if any(v is not None for v in (quantizer.source, quantizer.thresholds, quantizer.mantissa)):
        return False
    one = quantizer.scale.numel() == quantizer.zero_point.numel() == 1
    if not one or not float(quantizer.zero_point).is_integer() or quantizer.bits > _BITS:
        return False
    return (
        quantizer.rounding == "ROUND"
        and not quantizer.bipolar
        and float(quantizer.bits).is_integer()
    )
