"""The trainable model that computes with the accelerator's integers."""

from collections.abc import Iterable, Iterator, Mapping

import torch
from torch import Tensor, nn

from sigbit.errors import QuantizationError
from sigbit.ir.floating import BatchNorm, BelowMax, Constant, FloatGraph, Unary
from sigbit.quant.layers.function import Preactivation
from sigbit.quant.layers.given import Exactness
from sigbit.quant.layers.layer import QuantLayer
from sigbit.quant.layers.moves import QuantMask, QuantMove, QuantSquare
from sigbit.quant.layers.pairs import QuantPair
from sigbit.quant.layers.plain import QuantGather, QuantInput, QuantMaxPool, QuantState
from sigbit.quant.layers.products import QuantConstant, QuantProduct, QuantTranspose
from sigbit.quant.layers.values import Levels
from sigbit.quant.numbers.scales import OUTPUT_RULE, scale_rule
from sigbit.quant.plan.lowering import lower
from sigbit.quant.plan.plans import (
    ConstantPlan,
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
    TransposePlan,
    tensors_of,
)
from sigbit.quant.plan.precision import Precision
from sigbit.quant.quantized import Quantized
from sigbit.quant.quantizers import Quantizer, side
from sigbit.quant.spec import ActGrid, QuantSpec, given_grid

QuantModule = (
    QuantInput
    | QuantState
    | QuantConstant
    | QuantLayer
    | QuantProduct
    | QuantTranspose
    | QuantMask
    | QuantMove
    | QuantSquare
    | QuantPair
    | QuantMaxPool
    | QuantGather
)


class PreparedModel(nn.Module):
    """A quantized network in training. Its forward pass gives the deployed network's output,
    exactly in float64, and in float32 as long as accumulators stay below 2**24; gradients are
    straight-through.

    Outputs are real tensors of the float model's shapes, before the ``host``'s part: one tensor, or
    a tuple where the float model has several. ``inexact`` holds the reasons why tensors that a
    quantized model quantizes do not have its codes.
    """

    def __init__(
        self,
        graph: FloatGraph,
        plan: NetworkPlan,
        spec: QuantSpec,
        ranges: dict[str, tuple[float, float]],
    ) -> None:
        super().__init__()
        self.quantized = Quantized.of(graph, plan, spec)
        given = self.quantized.given
        self.graph_name, self.spec, self.plan = graph.name, spec, lower(plan, spec, given)
        self.host = graph.host
        self.output_names, self.states = graph.output_names, graph.states
        self.inexact: dict[str, str] = {}
        statistics = {
            n for node in graph.nodes if isinstance(node, BatchNorm) for n in (node.mean, node.var)
        }
        fixed = {n.keep for n in graph.nodes if isinstance(n, BelowMax)}
        fixed |= {n.value for n in graph.nodes if isinstance(n, Constant) and n.fixed}
        for name, value in graph.parameters.items():
            if name in statistics | fixed:
                self.register_buffer(attribute_name(name), value.clone())
            else:
                self.register_parameter(attribute_name(name), nn.Parameter(value.clone()))
        self._precision = Precision(self.plan, spec, given)
        self._values = _Values(self, graph.parameters)
        self._shapes = {p.name: p.shape for p in self.plan.layers}
        self._weight_quantizers: dict[object, Quantizer] = {}
        self._out_quantizers: dict[str, Quantizer] = {}
        self._preactivations: dict[object, Preactivation] = {}
        modules: dict[str, QuantModule] = {}
        for p in self.plan.layers:
            modules[p.name] = self._module(p, modules, ranges)
        self._index = {name: i for i, name in enumerate(modules)}
        self.layers = nn.ModuleList(modules.values())

    def _module(
        self,
        p: Plan,
        modules: dict[str, QuantModule],
        ranges: dict[str, tuple[float, float]],
    ) -> QuantModule:
        grids = tuple(modules[t].grid for t in tensors_of(p))
        match p:
            case InputPlan():
                levels = self.quantized.given.levels.get(p.name) if self.spec.given_acts else None
                own = None if levels is None else given_grid(self.spec, levels)
                if p.state:
                    return self._state(p)
                return QuantInput(p, self.spec, *(self.spec.input_range or ranges[p.name]), own)
            case MaxPoolPlan():
                return QuantMaxPool(p, grids[0])
            case GatherPlan():
                sizes = tuple(self._shapes[t][0] for t in p.tensors)
                return QuantGather(p, grids[0], sizes)
            case MovePlan():
                return QuantMove(p, self.spec, grids)
            case LayerPlan():
                return self._layer(p, grids)
            case ProductPlan():
                grid, is_output = self._precision.grid(p.name), self._precision.is_output(p.name)
                quantizer = self._shared_quantizer(p, grid, False, is_output)
                return QuantProduct(p, self.spec, grids, grid, quantizer, is_output=is_output)
            case PairPlan():
                grid = self._precision.grid(p.name)
                quantizer = self._shared_quantizer(
                    p, grid, False, self._precision.is_output(p.name)
                )
                return QuantPair(p, self.spec, grids, grid, quantizer)
            case TransposePlan():
                return QuantTranspose(p, self.spec, grids[0])
            case MaskPlan():
                return QuantMask(p, self.spec, grids[0], self._values[p.keep])
            case ConstantPlan():
                return QuantConstant(p, self.spec, self._values[p.parameter])
        return QuantSquare(p, self.spec, grids)

    def _state(self, p: InputPlan) -> QuantState:
        """Return the module of a state, with grid and quantizer of its next value."""
        writer, grid = self._precision.writer(p.name), self._precision.grid(p.name)
        if writer is None:
            raise QuantizationError(
                f"state {p.name!r} never holds anything computed: make it a constant, or an input"
            )
        is_output = self._precision.is_output(writer.name)
        return QuantState(p, grid, self._shared_quantizer(writer, grid, False, is_output))

    def _layer(self, p: LayerPlan, grids: tuple[ActGrid, ...]) -> QuantLayer:
        precision, spec = self._precision, self.spec
        terms = precision.terms(p)
        root = precision.groups.of(p.name)
        grid, choice = precision.grid(p.name), precision.weights(p)
        is_output = precision.is_output(p.name)
        alone = precision.is_alone(p.name)
        free = p.unit and alone and p.name not in self.quantized.quantizers
        free = free and not precision.is_kept(p.name)
        follows = free and precision.keeps_integers(p)
        weight_quantizer = preactivation = None
        source = p.sources[0]
        if source.trained:
            channels = p.shape[0] if spec.per_channel else None
            key = (source.weight, source.rows, source.norms, choice)
            if key not in self._weight_quantizers:
                self._weight_quantizers[key] = choice.side.make(
                    choice.levels, scale_rule(spec.weight_scale), channels, choice.bits
                )
            weight_quantizer = self._weight_quantizers[key]
        if isinstance(p.activation, Unary):
            function = (root, p.activation.function, p.activation.parameters, source.weight)
            preactivation = self._preactivations.setdefault(function, Preactivation())
        out_quantizer = self._shared_quantizer(p, grid, follows, is_output)
        return QuantLayer(
            p,
            spec,
            self._values,
            grids,
            terms,
            grid,
            weight_quantizer=weight_quantizer,
            out_quantizer=out_quantizer,
            preactivation=preactivation,
            follows=follows,
            is_output=is_output,
            weight_factor=choice.factor if weight_quantizer is not None else 1,
        )

    def _shared_quantizer(
        self, p: ScaledPlan, grid: ActGrid, follows: bool, is_output: bool
    ) -> Quantizer:
        """Return the quantizer of a tensor, the same for all tensors of its group."""
        root = self._precision.groups.of(p.name)
        if root not in self._out_quantizers:
            self._out_quantizers[root] = self._out_quantizer(p, grid, follows, is_output)
        return self._out_quantizers[root]

    def _out_quantizer(
        self, p: ScaledPlan, grid: ActGrid, follows: bool, is_output: bool
    ) -> Quantizer:
        """Return the quantizer of a layer's tensor: the spec's method, or a scale rule where the
        method does not apply: outputs, tensors of 8 bits, averages, whose scale follows from their
        input's."""
        spec, bits = self.spec, self._precision.method_bits(p.name)
        if follows and p.activation is None:
            return Quantizer(grid.levels, scale_rule("mse"))
        if bits is not None:
            found = side(spec.act_method, "activations", bits)
            return found.make(grid.levels, scale_rule(spec.act_scale), None, bits)
        rule = OUTPUT_RULE if is_output else scale_rule(spec.act_scale)
        return Quantizer(grid.levels, rule)

    def use_batch_statistics(self, on: bool) -> None:
        """Set whether batch norms in training use the statistics of the batch and update the
        running ones; otherwise they use the running ones unchanged, and training matches the
        deployed network exactly. Evaluation always uses the running ones."""
        for layer in self.layers:
            if isinstance(layer, QuantLayer):
                layer.batch_statistics = on

    def keeps(self, tensor: str) -> bool:
        """Return whether a state has the grid of ``tensor``."""
        return self._precision.is_kept(tensor)

    def quant_module(self, tensor: str) -> QuantModule:
        """Return the module that produces ``tensor``."""
        module = self.layers[self._index[tensor]]
        assert isinstance(module, QuantModule)
        return module

    def parameter_of(self, name: str) -> Tensor:
        """Return the model's own copy of the float model's parameter ``name``."""
        return self._values[name]

    def trained(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return ``state``, a state of the float model, with this model's current parameters and
        statistics."""
        return {k: self._values.get(k, v).detach().cpu() for k, v in state.items()}

    def step(self, p: Plan, values: Mapping[str, Levels], given: Mapping[str, Tensor]) -> Levels:
        """Return the tensor of one plan, from the tensors before it and the real inputs
        ``given``."""
        module = self.quant_module(p.name)
        if isinstance(module, QuantInput | QuantState):
            return module(given[p.name])
        if isinstance(module, QuantConstant):
            value = self.parameter_of(module.plan.parameter)
            samples = [*given.values(), *(v.levels for v in values.values())]
            return module(value, max(map(len, samples), default=1))
        result: Levels = module([values[t] for t in tensors_of(p)])
        return result

    def levels(self, *inputs: Tensor) -> dict[str, Levels]:
        """Return every tensor by name, from real inputs."""
        names = [p.name for p in self.plan.layers if isinstance(p, InputPlan)]
        if len(inputs) != len(names):
            raise TypeError(f"{self.graph_name} has {len(names)} inputs, not {len(inputs)}")
        given = dict(zip(names, inputs, strict=True))
        values: dict[str, Levels] = {}
        for p in self.plan.layers:
            values[p.name] = self.step(p, values, given)
        return values

    def stored(self, *inputs: Tensor) -> dict[str, Tensor]:
        """Return the stored integers (int64) of every tensor by name: the contents on the
        accelerator."""
        with torch.no_grad():
            return {
                name: (v.levels - self.quant_module(name).grid.zero).long()
                for name, v in self.levels(*inputs).items()
            }

    @property
    def exactness(self) -> dict[str, Exactness]:
        """Exactness of the layers' codes against their quantized model's, by tensor, after
        a forward pass or ``convert``. Layers without such a model, and layers whose codes are not a
        function of one accumulator, are left out."""
        modules = (self.quant_module(p.name) for p in self.plan.layers)
        found = {m.plan.name: m.exactness for m in modules if isinstance(m, QuantLayer)}
        return {name: e for name, e in found.items() if e is not None}

    def forward(self, *inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Return the real values of the outputs."""
        values = self.levels(*inputs)
        outputs = tuple(
            axes.from_stored(values[t].levels * values[t].scale.detach().to(values[t].levels.dtype))
            for t, axes in self.plan.outputs
        )
        return outputs[0] if len(outputs) == 1 else outputs


class _Values(Mapping[str, Tensor]):
    """The model's current parameters and statistics by their names in the float model."""

    def __init__(self, model: nn.Module, names: Iterable[str]) -> None:
        self._model, self._keys = model, {name: attribute_name(name) for name in names}

    def __getitem__(self, name: str) -> Tensor:
        value: Tensor = getattr(self._model, self._keys[name])
        return value

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)


def attribute_name(parameter: str) -> str:
    """Return the attribute of a :class:`PreparedModel` that holds a parameter of the float
    model."""
    return "value_" + parameter.replace("_", "__").replace(".", "_")
