"""The float network's tensors, computed on demand."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from torch import Tensor

from sigbit.errors import QuantizationError
from sigbit.ir.evaluation import apply
from sigbit.ir.floating import FloatGraph, Placeholder, Relu
from sigbit.quant.plan.plans import LayerPlan, ScaledPlan


@dataclass(frozen=True)
class Reference:
    """A float network, in which the channels of some tensors are divided.

    Parameters
    ----------
    graph : FloatGraph
    divisors : mapping of str to Tensor
        Divisors of the channels ``[C]``, by tensor, as in an equalized network.
    """

    graph: FloatGraph
    divisors: Mapping[str, Tensor] = field(default_factory=dict)

    def of(self, inputs: tuple[Tensor, ...]) -> "FloatValues":
        """The tensors for a batch of each input."""
        nodes = self.graph.inputs
        if len(inputs) != len(nodes):
            raise QuantizationError(
                f"calibration must be a tuple of {len(nodes)} batches, one an input, "
                f"not {len(inputs)}"
            )
        return self.known({n.name: x for n, x in zip(nodes, inputs, strict=True)})

    def known(self, values: Mapping[str, Tensor]) -> "FloatValues":
        """The tensors, given the undivided ``values`` of some of them."""
        return FloatValues(self, values)


class FloatValues(Mapping[str, Tensor]):
    """Tensors ``[batch, *shape]`` by node name; each is computed once, from known ones."""

    def __init__(self, reference: Reference, known: Mapping[str, Tensor]) -> None:
        self._reference = reference
        self._values = dict(known)
        self._names = {node.name for node in reference.graph.nodes}

    def plain(self, name: str) -> Tensor:
        """A tensor before the division."""
        graph = self._reference.graph
        waiting = [name]
        while waiting:
            if waiting[-1] in self._values:
                waiting.pop()
                continue
            node = graph[waiting[-1]]
            if isinstance(node, Placeholder):
                raise KeyError(node.name)
            missing = [i for i in node.inputs if i not in self._values]
            if missing:
                waiting += missing
                continue
            value = apply(node, [self._values[i] for i in node.inputs], graph.parameters)
            quantizer = graph.quantizers.get(node.name)
            self._values[node.name] = value if quantizer is None else quantizer(value)
        return self._values[name]

    def __getitem__(self, name: str) -> Tensor:
        value = self.plain(name)
        divisor = self._reference.divisors.get(name)
        if divisor is None:
            return value
        return value / divisor.to(value.dtype).view(1, -1, *[1] * (value.dim() - 2))

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return (node.name for node in self._reference.graph.nodes)

    def __len__(self) -> int:
        return len(self._reference.graph.nodes)


def result(p: ScaledPlan, values: Mapping[str, Tensor]) -> Tensor:
    """The float value of a layer's tensor."""
    if not isinstance(p, LayerPlan):
        return values[p.name]
    value = values[p.name] if p.name in values else values[p.sources[0].tensor]
    if isinstance(p.activation, Relu) and p.activation.name != p.name:
        value = value.clamp(0, p.activation.limit)
    return value


def preactivation(p: ScaledPlan, values: Mapping[str, Tensor]) -> Tensor:
    """The float value of a layer before its activation function."""
    if not isinstance(p, LayerPlan):
        return values[p.name]
    if p.activation is None or p.activation.name != p.name:
        return values[p.name] if p.name in values else values[p.sources[0].tensor]
    return values[p.activation.inputs[0]]
