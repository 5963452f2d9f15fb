"""Units of the choice: the bits of the weights, and of the tensor, of every layer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from sigbit.quant.layers.layer import QuantLayer
from sigbit.quant.plan.plans import LayerPlan
from sigbit.quant.plan.precision import Precision
from sigbit.quant.prepared import PreparedModel
from sigbit.quant.spec import QuantSpec
from sigbit.quant.strategies.base import users, weighted_layers

Bits = tuple[int, int]
"""Weights and activations of a layer: terms and planes if the spec's weights are on the
accelerator's own grid, else bits of its methods."""
WEIGHTS, ACTIVATIONS = "weights", "activations"


@dataclass(frozen=True)
class Unit:
    """Weights or tensors that have one number of bits.

    Parameters
    ----------
    kind : str
        :data:`WEIGHTS` or :data:`ACTIVATIONS`.
    layers : tuple of str
        The layers that share the weights, or whose tensors share a grid.
    choices : tuple of int
        Possible bits as in :data:`Bits`, ascending, at least two.
    """

    kind: str
    layers: tuple[str, ...]
    choices: tuple[int, ...]


State = Mapping[Unit, int]
"""A choice for every unit."""


class Units:
    """The units of a network.

    The bits of ``spec`` are the least that are chosen; outputs, tensors that already have the most,
    and layers with the codes of a quantized model keep theirs. Choices of methods replace the
    spec's bits of all layers with weights.

    Parameters
    ----------
    base : PreparedModel
        The network quantized by ``spec``.
    spec : QuantSpec
    weights, activations : sequence of int
        Allowed bits.
    """

    def __init__(
        self,
        base: PreparedModel,
        spec: QuantSpec,
        weights: Sequence[int],
        activations: Sequence[int],
    ) -> None:
        self._spec, self._native = spec, spec.weight_bits is None
        given = base.quantized.given
        self._own = Precision(base.plan, spec, given)
        self._layers = {
            p.name: (p, module)
            for p in base.plan.layers
            if isinstance(module := base.quant_module(p.name), QuantLayer)
            and isinstance(p, LayerPlan)
        }
        weighted = weighted_layers(base)
        taken = given.terms.keys() | given.levels.keys()
        self._given = {n for n, (_, m) in self._layers.items() if n in taken or m.given is not None}
        found = []
        for layer in weighted.values():
            names = tuple(m.plan.name for m in users(base, layer))
            found.append(self._unit(WEIGHTS, names, layer.terms[0], weights))
        with_weights = {m.plan.name for w in weighted.values() for m in users(base, w)}
        grids: dict[int, list[str]] = {}
        for name, (_, module) in self._layers.items():
            grids.setdefault(id(module.out_quantizer), []).append(name)
        for group in grids.values():
            names = tuple(n for n in group if self._native or n in with_weights)
            outputs = any(self._layers[n][1].is_output for n in group)
            if names and not outputs:
                planes = self._layers[names[0]][1].grid.planes
                found.append(self._unit(ACTIVATIONS, names, planes, activations))
        self.all = tuple(u for u in found if u is not None)

    def _unit(
        self, kind: str, layers: tuple[str, ...], least: int, choices: Sequence[int]
    ) -> Unit | None:
        if self._given.intersection(layers):
            return None
        allowed = set(choices)
        if self._native:
            allowed = {least, *(c for c in choices if c > least)}
        if not self._native or len(allowed) > 1:
            return Unit(kind, layers, tuple(sorted(allowed)))
        return None

    @property
    def coarsest(self) -> State:
        """The first choice of every unit."""
        return {unit: unit.choices[0] for unit in self.all}

    @property
    def finest(self) -> State:
        """The last choice of every unit."""
        return {unit: unit.choices[-1] for unit in self.all}

    def bits(self, state: State) -> dict[str, Bits]:
        """Bits of every layer that may be chosen."""
        terms: dict[str, int] = {}
        planes: dict[str, int] = {}
        for unit, choice in state.items():
            (terms if unit.kind == WEIGHTS else planes).update(dict.fromkeys(unit.layers, choice))
        return {
            name: (
                terms.get(name, self._own.weights(p).terms),
                planes.get(name, module.grid.planes),
            )
            for name, (p, module) in self._layers.items()
            if name in terms or name in planes
        }

    def spec(self, state: State) -> QuantSpec:
        """The spec with the bits of ``state``; outputs keep their grids."""
        spec, chosen = self._spec, self.bits(state)
        if self._native:
            return replace(spec, bits=MappingProxyType({**spec.bits, **chosen}))
        given = spec.layer_bits
        acts = {n for u in state if u.kind == ACTIVATIONS for n in u.layers}
        levels = {
            name: (pair[0], pair[1] if name in acts else given.get(name, (0, None))[1])
            for name, pair in chosen.items()
        }
        own = {k: v for k, v in spec.bits.items() if k not in levels}
        return replace(
            spec, bits=MappingProxyType(own), layer_bits=MappingProxyType({**given, **levels})
        )

    @staticmethod
    def coarse(state: State) -> frozenset[str]:
        """The layers whose weights have the least bits."""
        return frozenset(
            n
            for unit, choice in state.items()
            if unit.kind == WEIGHTS and choice == unit.choices[0]
            for n in unit.layers
        )
