"""Automatic mixed precision: the sensitivity of each layer to its bits, and the cheapest bits
within a budget of the hardware's own cost.

The sensitivity of a layer to a choice of bits is the error of the network's outputs if only this
layer has them and all others have the finest choice. For the choice of bits by equal slope, errors
and savings of layers are assumed to be additive; then the whole network is measured, and the budget
is tightened until its true cost is within it.

The cost is any function of a prepared network: cycles or bytes of its compiled form, or
:func:`weight_bits`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import torch
from torch import Tensor, nn

from sigbit.errors import QuantizationError
from sigbit.frontend import import_model
from sigbit.ir.floating import FloatGraph
from sigbit.quant.calibration.reference import Reference
from sigbit.quant.calibration.samples import (
    Calibration,
    SampleChunks,
    as_chunks,
    micro_batches,
)
from sigbit.quant.calibration.statistics import observe
from sigbit.quant.prepare import PreparedModel, check_parameters, prepare_calibrated
from sigbit.quant.spec import QuantSpec
from sigbit.quant.strategies.base import users, weighted_layers

Bits = tuple[int, int]
"""Weights and activations of a layer: terms and planes if the spec's weights are on the
accelerator's own grid, else bits of its methods."""
Cost = Callable[[PreparedModel], float]
_ROUNDS = 12


def weight_bits(model: PreparedModel) -> float:
    """Number of bits in which the weights are stored."""
    native, total = model.spec.weight_format.bits, 0
    for layer in weighted_layers(model).values():
        total += layer.kernel_of_method().numel() * layer.terms[0] * native
    return float(total)


@torch.no_grad()
def float_outputs(graph: FloatGraph, samples: SampleChunks) -> list[tuple[Tensor, ...]]:
    """Outputs of the float network, one tuple for every micro-batch."""
    reference = Reference(graph)
    found = []
    for batch in micro_batches(samples):
        values = reference.of(batch)
        found.append(tuple(values[name] for name in graph.outputs))
    return found


@torch.no_grad()
def output_error(
    model: PreparedModel, samples: SampleChunks, reference: Sequence[tuple[Tensor, ...]]
) -> float:
    """Mean squared error of the outputs on ``samples``, relative to the mean square of
    ``reference``, the float network's :func:`float_outputs`."""
    error = size = 0.0
    for batch, wanted in zip(micro_batches(samples), reference, strict=True):
        outputs = model(*batch)
        outputs = (outputs,) if isinstance(outputs, Tensor) else outputs
        for a, b in zip(outputs, wanted, strict=True):
            error += float((a.reshape(b.shape) - b).double().square().sum())
            size += float(b.double().square().sum())
    return error / max(size, 1e-30)


@dataclass(frozen=True)
class Choice:
    """A layer's ``bits``, and the ``error`` of the outputs and the ``cost`` of the network if only
    this layer has them."""

    bits: Bits
    error: float
    cost: float


@dataclass(frozen=True)
class Mixed:
    """The result: a ``spec`` with bits per layer, the ``bits`` by layer, ``cost`` and ``error`` of
    the whole network, and the ``sensitivity`` of every layer, starting with the finest choice."""

    spec: QuantSpec
    bits: Mapping[str, Bits]
    cost: float
    error: float
    sensitivity: Mapping[str, tuple[Choice, ...]]


class _Search:
    """Prepared networks with given bits, and their errors."""

    def __init__(self, graph: FloatGraph, spec: QuantSpec, samples: SampleChunks) -> None:
        self._graph, self._spec, self._samples = graph, spec, samples
        self._found = observe(graph, samples)
        self._reference = float_outputs(graph, samples)
        self.base = self.prepare({})
        self.layers = weighted_layers(self.base)

    def spec(self, bits: Mapping[str, Bits]) -> QuantSpec:
        """The spec with ``bits`` by layer; outputs of the network keep their grids."""
        spec = self._spec
        chosen = {
            user.plan.name: (user, pair)
            for name, pair in bits.items()
            for user in users(self.base, self.layers[name])
        }
        if spec.weight_bits is None:
            digits = {
                name: (terms, layer.grid.planes if layer.is_output else planes)
                for name, (layer, (terms, planes)) in chosen.items()
            }
            return replace(spec, bits=MappingProxyType({**spec.bits, **digits}))
        given = spec.layer_bits
        levels = {
            name: (weights, given.get(name, (0, None))[1] if layer.is_output else acts)
            for name, (layer, (weights, acts)) in chosen.items()
        }
        own = {k: v for k, v in spec.bits.items() if k not in levels}
        return replace(
            spec, bits=MappingProxyType(own), layer_bits=MappingProxyType({**given, **levels})
        )

    def prepare(self, bits: Mapping[str, Bits]) -> PreparedModel:
        """The network with ``bits`` by layer."""
        spec = self.spec(bits) if bits else self._spec
        return prepare_calibrated(self._graph, spec, self._found).eval()

    def error(self, model: PreparedModel) -> float:
        """:func:`output_error` on the calibration inputs."""
        return output_error(model, self._samples, self._reference)


@torch.no_grad()
def mixed_precision(
    model: nn.Module | FloatGraph,
    spec: QuantSpec,
    calibration: Calibration,
    choices: Sequence[Bits],
    budget: float,
    cost: Cost = weight_bits,
) -> Mixed:
    """Choose bits for every layer with weights such that the network's ``cost`` is at most
    ``budget``, with the smallest error.

    Parameters
    ----------
    model : nn.Module or FloatGraph
        The trained network; it is not changed.
    spec : QuantSpec
        Formats and methods; its bits of layers are replaced.
    calibration : Tensor, tuple of Tensor or SampleChunks
        Inputs as the network will see them.
    choices : sequence of (int, int)
        Allowed bits of a layer, see :data:`Bits`; the most expensive one is the finest.
    budget, cost : float, callable
        See the module. The cost function is called about once for every layer and choice.
    """
    samples = as_chunks(calibration)
    if isinstance(model, FloatGraph):
        graph = model
    else:
        graph = import_model(model, tuple(x[:2] for x in next(micro_batches(samples))))
    check_parameters(graph)
    options = list(dict.fromkeys(choices))
    if not options:
        raise QuantizationError("choices must name at least one pair of bits")
    search = _Search(graph, spec, samples)
    uniform = {pair: dict.fromkeys(search.layers, pair) for pair in options}
    totals = {pair: cost(search.prepare(bits)) for pair, bits in uniform.items()}
    least = min(totals.values())
    if budget < least:
        raise QuantizationError(
            f"the budget of {budget:.12g} is below {least:.12g}, the cost of the cheapest choice "
            f"{min(totals, key=lambda p: totals[p])} everywhere"
        )
    finest = max(options, key=lambda pair: (totals[pair], pair))
    table = _sensitivity(search, options, finest, totals[finest], cost)
    found = _choose(search, table, finest, totals[finest], budget, cost)
    if found is None:
        cheapest = uniform[min(totals, key=lambda p: totals[p])]
        found = cheapest, search.prepare(cheapest), least
    bits, prepared, price = found
    return Mixed(prepared.spec, bits, price, search.error(prepared), table)


def _sensitivity(
    search: _Search, options: list[Bits], finest: Bits, total: float, cost: Cost
) -> dict[str, tuple[Choice, ...]]:
    reference = dict.fromkeys(search.layers, finest)
    start = Choice(finest, search.error(search.prepare(reference)), total)
    table = {}
    for name in search.layers:
        found = [start]
        for pair in options:
            if pair != finest:
                prepared = search.prepare({**reference, name: pair})
                found.append(Choice(pair, search.error(prepared), cost(prepared)))
        table[name] = tuple(sorted(found, key=lambda c: -c.cost))
    return table


def _choose(
    search: _Search,
    table: Mapping[str, tuple[Choice, ...]],
    finest: Bits,
    total: float,
    budget: float,
    cost: Cost,
) -> tuple[dict[str, Bits], PreparedModel, float] | None:
    """The choice with the smallest error whose true cost is within the budget."""
    target = budget
    for _ in range(_ROUNDS):
        picked = _within(table, total, target)
        if picked is None:
            return None
        bits = {name: choice.bits for name, choice in picked.items()}
        prepared = search.prepare(bits)
        price = cost(prepared)
        if price <= budget:
            return bits, prepared, price
        target -= max(price - budget, 1e-3 * abs(budget))
    return None


def _within(
    table: Mapping[str, tuple[Choice, ...]], total: float, target: float
) -> dict[str, Choice] | None:
    """Choice by equal slope: the smallest sum of errors with an additive cost of at most
    ``target``, on the lower hull."""

    def at(slope: float) -> dict[str, Choice]:
        return {
            n: min(choices, key=lambda c: c.error + slope * (c.cost - total))
            for n, choices in table.items()
        }

    def price(picked: Mapping[str, Choice]) -> float:
        return total + sum(c.cost - total for c in picked.values())

    low, high = -100.0, 100.0
    if price(at(2.0**high)) > target:
        return None
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if price(at(2.0**middle)) > target else (low, middle)
    picked = at(2.0**high)
    _refine(picked, table, target - price(picked))
    return picked


def _refine(
    picked: dict[str, Choice], table: Mapping[str, tuple[Choice, ...]], room: float
) -> None:
    """Spend the budget that the hull leaves: apply the choice that lowers the error most for its
    cost, as long as there is room."""
    while True:
        steps = [
            (picked[n].error - c.error, c.cost - picked[n].cost, n, c)
            for n, choices in table.items()
            for c in choices
            if c.error < picked[n].error and c.cost - picked[n].cost <= room
        ]
        if not steps:
            return
        _, extra, name, choice = max(steps, key=lambda s: s[0] / max(s[1], 1e-12))
        picked[name] = choice
        room -= extra
