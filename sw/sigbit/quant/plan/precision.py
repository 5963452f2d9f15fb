"""Planes of every tensor and weight terms of every layer, from the spec."""

from collections.abc import Sequence

from sigbit.errors import QuantizationError
from sigbit.ir.floating import Unary
from sigbit.quant.plan.annotated import Given, joined
from sigbit.quant.plan.plans import (
    GatherPlan,
    InputPlan,
    LayerPlan,
    MaskPlan,
    MaxPoolPlan,
    MovePlan,
    NetworkPlan,
    PairPlan,
    Plan,
    ProductPlan,
    ScaledPlan,
    Separable,
    SourcePlan,
    tensors_of,
)
from sigbit.quant.plan.sharing import share
from sigbit.quant.quantizers.registry import side
from sigbit.quant.spec import (
    DIGITS,
    ActGrid,
    QuantSpec,
    WeightChoice,
    act_grid,
    digit_grid,
    given_grid,
    method_grid,
    unshifted,
)


class Precision:
    """Precision of the tensors and layers of a plan, from ``spec`` and from ``given``.

    Tensors of one group (:mod:`~sigbit.quant.plan.sharing`) get the most planes and the widest
    range among them.
    """

    def __init__(self, plan: NetworkPlan, spec: QuantSpec, given: Given) -> None:
        self._spec, self._plan, self._given = spec, plan, given
        self._by_name = {p.name: p for p in plan.layers}
        self._readers: dict[str, list[Plan]] = {name: [] for name in self._by_name}
        for p in plan.layers:
            for tensor in dict.fromkeys(tensors_of(p)):
                self._readers[tensor].append(p)
        if unknown := sorted((set(spec.bits) | set(spec.layer_bits)) - set(self._by_name)):
            raise QuantizationError(
                f"bits or layer_bits names {', '.join(map(repr, unknown))}, which are no tensors "
                f"of the network; there are {', '.join(map(repr, self._by_name))}"
            )
        self.groups = share(plan)
        self._grids: dict[str, ActGrid] = {}
        self._methods: dict[str, int | None] = {}
        self._negative: dict[str, float] = {}
        left = {p.left for p in plan.layers if isinstance(p, ProductPlan)}
        for root, names in self.groups.members().items():
            layers = [p for n in names if isinstance(p := self._by_name[n], ScaledPlan)]
            negative = self._negative[root] = max((p.negative for p in layers), default=0.0)
            bits = [self._method_bits(p) for p in layers]
            known = [b for b in bits if b is not None]
            self._methods[root] = max(known) if known and None not in bits else None
            if any(p.weights for p in layers):
                wide = max(map(self._wanted, layers)) >= spec.byte_planes
                terms = max(spec.weight_terms, spec.byte_terms if wide else 1)
                self._methods[root], self._grids[root] = None, digit_grid(spec, terms)
            elif (own := self._own_grid(layers)) is not None:
                self._methods[root], self._grids[root] = None, own
            elif (most := self._methods[root]) is not None:
                self._check_method(layers, most)
                self._grids[root] = method_grid(spec, most, negative)
            else:
                planes = max((self._wanted(p) for p in layers), default=spec.act_planes)
                self._grids[root] = act_grid(spec, negative, planes)
            if not left.isdisjoint(names):
                self._grids[root] = unshifted(spec, self._grids[root])

    def _own_grid(self, layers: Sequence[ScaledPlan]) -> ActGrid | None:
        """Return the grid of a quantized model for the tensors of ``layers``; None if it has none,
        or the spec has bits for them."""
        names, spec, given = [p.name for p in layers], self._spec, self._given
        free = spec.given_acts and spec.act_bits is None
        if not names or not free or not given.levels.keys() >= set(names):
            return None
        if (spec.bits.keys() | spec.layer_bits.keys()) & set(names):
            return None
        levels = joined([given.levels[n] for n in names], [given.scales[n] for n in names])
        return None if levels is None else given_grid(spec, levels)

    def _given_terms(self, p: LayerPlan) -> tuple[int, ...] | None:
        """Return the terms of a quantized model for the sources of a layer; None if it has none."""
        spec = self._spec
        free = spec.given_weights and spec.weight_bits is None
        if not free or p.name in spec.bits or p.name in spec.layer_bits:
            return None
        return self._given.terms.get(p.name)

    def planes(self, tensor: str) -> int:
        """Return the planes of a layer's tensor, or of one that inherits a layer's grid."""
        return self.grid(tensor).planes

    def grid(self, tensor: str) -> ActGrid:
        """Return the grid of a layer's tensor, or of one that inherits it."""
        return self._grids[self.groups.of(tensor)]

    def method_bits(self, tensor: str) -> int | None:
        """Return the bits of the spec's ``act_method`` for a tensor; None on the accelerator's own
        grid."""
        return self._methods[self.groups.of(tensor)]

    def negative(self, tensor: str) -> float:
        """Return the relative range of a tensor's negative values, as an argument of
        :func:`~sigbit.quant.spec.act_grid`."""
        return self._negative[self.groups.of(tensor)]

    def reaches_below_zero(self, tensor: str) -> bool:
        """Return whether a tensor itself, not only its grid, can hold negative values."""
        match p := self._by_name[tensor]:
            case LayerPlan() | ProductPlan() | PairPlan():
                return p.negative > 0
            case MovePlan(rectified=False) | MaxPoolPlan() | MaskPlan() | GatherPlan():
                return any(map(self.reaches_below_zero, tensors_of(p)))
            case InputPlan(state=True):
                return self.negative(tensor) > 0
        return isinstance(p, InputPlan)

    def prescribes(self, tensor: str) -> bool:
        """Return whether a quantized model or the spec's method prescribes a tensor's levels."""
        free = tensor in self._by_name and self.method_bits(tensor) is not None
        return free or tensor in self._given.levels

    def is_alone(self, tensor: str) -> bool:
        """Return whether no other layer writes on the tensor's grid, so that its scale is free."""
        root = self.groups.of(tensor)
        return not any(
            isinstance(p, ScaledPlan) and p.name != tensor and self.groups.of(p.name) == root
            for p in self._plan.layers
        )

    def writer(self, tensor: str) -> ScaledPlan | None:
        """Return the first layer that writes on the tensor's grid."""
        root = self.groups.of(tensor)
        layers = (p for p in self._plan.layers if isinstance(p, ScaledPlan))
        return next((p for p in layers if self.groups.of(p.name) == root), None)

    def is_kept(self, tensor: str) -> bool:
        """Return whether a state has the tensor's grid, whose scale is known before its writers
        run."""
        root = self.groups.of(tensor)
        return any(self.groups.of(name) == root for name, _ in self._plan.states)

    def _is_input(self, tensor: str) -> bool:
        """Return whether the network's user gives a tensor."""
        p = self._by_name[tensor]
        return isinstance(p, InputPlan) and not p.state

    def is_output(self, tensor: str) -> bool:
        """Return whether nothing reads a tensor."""
        return not self._readers[tensor]

    def ends(self, tensor: str) -> bool:
        """Return whether a tensor is an output, or reaches the outputs through poolings and copies
        only."""
        return all(_pools(p) and self.ends(p.name) for p in self._readers[tensor])

    def weights(self, p: LayerPlan) -> WeightChoice:
        """Return the quantization of the first source's weights."""
        spec = self._spec
        if (given := self._given_terms(p)) is not None:
            return spec.weight_choice(None, given[0])
        if p.name in spec.layer_bits:
            return spec.weight_choice(spec.layer_bits[p.name][0])
        if p.name in spec.bits:
            return spec.weight_choice(None, spec.bits[p.name][0])
        if self._is_head(p) or any(map(self._is_input, tensors_of(p))):
            least = spec.first_last_terms or spec.byte_terms
            return spec.weight_choice(None, max(spec.weight_terms, least))
        return spec.weight_choice(spec.weight_bits)

    def terms(self, p: LayerPlan) -> tuple[int, ...]:
        """Return the weight terms of each source."""
        if (given := self._given_terms(p)) is not None:
            return given
        if self._is_even(p):
            return (1,) * len(p.sources)
        own = self.weights(p).terms
        first = own if p.sources[0].trained else self._spec.extra_terms(own)
        first = max(first, self._fewest(p.sources[0]))
        return (first, *(self._spec.extra_terms(own) for _ in p.sources[1:]))

    def _is_even(self, p: LayerPlan) -> bool:
        """Return whether the weights of every channel are equal, but for their signs and zeros, so
        that each can be the step of the accumulator: those of one tensor without a parameter, and
        of both halves of a product."""
        alone = len(p.sources) == 1 and not isinstance(p.sources[0].taps, Separable)
        return p.kind == "multiply" or (alone and not p.sources[0].trained)

    def _fewest(self, source: SourcePlan) -> int:
        """Return the fewest terms that hold the integers of a source without a parameter."""
        return next((t for t in DIGITS if self._holds(source, t)), max(DIGITS))

    def _holds(self, source: SourcePlan, terms: int) -> bool:
        """Return whether ``terms`` terms hold the integers of a source without a parameter."""
        if not isinstance(source.taps, Separable):
            return True
        products = {a * b for a in source.taps.lines for b in source.taps.columns}
        return products <= set(self._spec.weight_grid(terms).values)

    def keeps_integers(self, p: LayerPlan) -> bool:
        """Return whether the first source's integers, without a parameter, are used unchanged as
        weights."""
        return self._holds(p.sources[0], self.terms(p)[0])

    def _method_bits(self, p: ScaledPlan) -> int | None:
        """Return the bits of a layer's tensor by the spec's method; None on the accelerator's
        grid."""
        spec = self._spec
        if (own := spec.layer_bits.get(p.name, (0, None))[1]) is not None:
            return own
        wide = self.ends(p.name) or (spec.wide_head and self._feeds_head_only(p.name))
        return None if wide or p.name in spec.bits else spec.act_bits

    def _check_method(self, layers: Sequence[ScaledPlan], bits: int) -> None:
        """Raise if the spec's method needs a ReLU and there is another function."""
        found = side(self._spec.act_method, "activations", bits)
        for p in layers:
            if found.positive_only and (p.negative or isinstance(p.activation, Unary)):
                raise QuantizationError(
                    f"{p.name} ({p.location}): {self._spec.act_method!r} is defined for values "
                    "from 0 on, behind a ReLU: choose another act_method, or bits for this layer"
                )

    def _wanted(self, p: ScaledPlan) -> int:
        if p.name in self._spec.bits:
            return self._spec.bits[p.name][1]
        copies = isinstance(p, LayerPlan) and p.unit and self._is_input(p.sources[0].tensor)
        wide = self._spec.wide_head and self._feeds_head_only(p.name)
        if (copies and p.activation is None) or self.ends(p.name) or wide:
            return max(self._spec.act_planes, self._spec.byte_planes)
        inner = isinstance(p, PairPlan) and p.inner
        return self._spec.act_planes + inner

    def _is_head(self, p: Plan) -> bool:
        return isinstance(p, LayerPlan) and p.sources[0].trained and self.ends(p.name)

    def _feeds_head_only(self, tensor: str) -> bool:
        """Return whether only layers that produce outputs themselves read a tensor: a classifier's
        input before a pooling is an image, for which eight bits are expensive."""
        return all(
            self._is_head(r)
            and self.is_output(r.name)
            and isinstance(r, LayerPlan)
            and r.sources[0].tensor == tensor
            for r in self._readers[tensor]
        )


def _pools(p: Plan) -> bool:
    """Return whether a plan pools or copies, without any weights."""
    match p:
        case LayerPlan():
            return p.unit and p.activation is None and len(p.sources) == 1
        case MovePlan():
            return p.kind == "maxpool" or len(p.sources) == 1
    return isinstance(p, MaxPoolPlan | GatherPlan)
