"""``prepare``: a float model as a trainable model that computes with the accelerator's integers."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TypeVar

import torch
from torch import Tensor, nn

from sigbit.errors import QuantizationError
from sigbit.frontend import Batches, import_model
from sigbit.frontend.states import States
from sigbit.frontend.states import with_states as declared
from sigbit.ir.floating import BatchNorm, BelowMax, Constant, FloatGraph, Relu, Unary
from sigbit.quant.calibration.samples import Calibration
from sigbit.quant.calibration.statistics import Statistics, observe
from sigbit.quant.calibration.streams import with_states
from sigbit.quant.layers.function import Preactivation
from sigbit.quant.layers.given import Exactness, GivenCodes
from sigbit.quant.layers.integers import GivenSource
from sigbit.quant.layers.layer import QuantLayer
from sigbit.quant.layers.moves import QuantMask, QuantMove, QuantSquare
from sigbit.quant.layers.pairs import QuantPair
from sigbit.quant.layers.plain import QuantGather, QuantInput, QuantMaxPool, QuantState
from sigbit.quant.layers.products import QuantConstant, QuantProduct, QuantTranspose
from sigbit.quant.layers.values import Levels
from sigbit.quant.numbers.scales import OUTPUT_RULE, scale_rule
from sigbit.quant.plan.annotated import annotated_scale
from sigbit.quant.plan.fusion import fuse
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
    inherited,
    tensors_of,
)
from sigbit.quant.plan.precision import Precision
from sigbit.quant.quantized import Quantized, Tensors
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


Module = TypeVar("Module", bound=nn.Module)


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


def prepare(
    model: nn.Module | FloatGraph,
    spec: QuantSpec,
    example_inputs: Batches,
    calibration: Calibration | None = None,
    states: States = MappingProxyType({}),
) -> PreparedModel:
    """Return a trainable quantized copy of ``model``, with scales chosen on ``calibration``
    (``example_inputs`` if absent), which is read once, in chunks.

    ``states`` are inputs that a device keeps from one run to the next, each with the output that
    becomes it; so are buffers that the model overwrites. The samples of ``calibration`` are then
    steps in time, of the other inputs alone, or of all inputs with states of the user's own.

    The model itself is not changed. Parameters keep their dtype (float32 or float64). Raises
    :class:`~sigbit.frontend.UnsupportedModel` for operations that the accelerator lacks, before any
    other work, and :class:`QuantizationError` for parameters or a calibration that cannot be
    quantized.
    """
    graph = model if isinstance(model, FloatGraph) else import_model(model, example_inputs)
    graph = declared(graph, states)
    fuse(graph)
    check_parameters(graph)
    samples = with_states(graph, example_inputs if calibration is None else calibration)
    found = observe(graph, samples)
    return prepare_calibrated(graph, spec, found)


@torch.no_grad()
def prepare_calibrated(graph: FloatGraph, spec: QuantSpec, found: Statistics) -> PreparedModel:
    """:func:`prepare` with the float graph's statistics on the calibration samples."""
    prepared = PreparedModel(graph, fuse(graph), spec, dict(found.inputs))
    _calibrate(prepared, found)
    _give_codes(prepared)
    return prepared


def check_parameters(graph: FloatGraph) -> None:
    """Raise :class:`QuantizationError` unless all parameters are finite floating-point numbers."""
    for name, value in graph.parameters.items():
        if not value.is_floating_point():
            raise QuantizationError(f"parameter {name!r} must be floating point, not {value.dtype}")
        if wrong := int((~torch.isfinite(value)).sum()):
            raise QuantizationError(
                f"parameter {name!r} holds NaN or infinity ({wrong} of {value.numel()} values)"
            )


def _calibrate(prepared: PreparedModel, found: Statistics) -> None:
    """Set the scales from the float model's tensors, shared scales from all tensors that share
    them; tensors with the levels of the quantized model take its scales."""
    layers: list[QuantLayer] = []
    scaled: list[QuantLayer | QuantProduct | QuantPair] = []
    scales = {
        name: annotated_scale(quantizer, prepared.quant_module(name).grid.levels)
        for name, quantizer in prepared.quantized.quantizers.items()
    }
    for p in prepared.plan.layers:
        module = prepared.quant_module(p.name)
        if isinstance(module, QuantInput) and (given := scales.get(p.name)) is not None:
            module.scale.copy_(given)
        if isinstance(module, QuantLayer):
            layers.append(module)
        if isinstance(module, QuantLayer | QuantProduct | QuantPair):
            scaled.append(module)
    for group in _groups(layers, lambda m: m.weight_quantizer):
        first, quantizer = group[0], group[0].weight_quantizer
        assert quantizer is not None
        weight = first.kernel_of_method()
        quantizer.initialize(
            weight, weight[0].numel() if prepared.spec.per_channel else weight.numel()
        )
    for writers in _groups(scaled, lambda m: m.out_quantizer):
        wanted = [scales.get(m.plan.name) for m in writers]
        if wanted[0] is not None and all(s is not None and s == wanted[0] for s in wanted):
            writers[0].out_quantizer.give(wanted[0])
            continue
        if (ends := _logarithm(writers[0].plan.activation)) is not None:
            top = math.log(ends[1] / ends[0]) / writers[0].grid.high
            writers[0].out_quantizer.give(torch.tensor(top, dtype=torch.float64))
            continue
        if (scale := _input_scale(prepared, writers)) is not None:
            writers[0].out_quantizer.give(scale)
            continue
        spreads = [found.results[m.plan.name] for m in writers]
        low, high = min(s.low for s in spreads), max(s.high for s in spreads)
        if not (high > 0 or (low < 0 and writers[0].grid.low < 0)):
            plan = writers[0].plan
            raise QuantizationError(
                f"{plan.name} ({plan.location}) is 0 on the whole calibration batch of "
                f"{found.samples} samples: give a larger one, or remove the layer"
            )
        x = torch.cat([s.values for s in spreads])
        writers[0].out_quantizer.initialize(x, spreads[0].size)
    for group in _groups(layers, lambda m: m.preactivation):
        first, pre = group[0], group[0].preactivation
        function = first.plan.activation
        assert pre is not None
        assert isinstance(function, Unary)
        ranges = [found.before[m.plan.name] for m in group]
        low, high = min(r[0] for r in ranges), max(r[1] for r in ranges)
        if (known := _logarithm(function)) is not None:
            low, high = 0.0, known[1]  # whatever the calibration reaches
        pre.initialize(low, high, function, first.out_quantizer.scale(), first.grid)


def _input_scale(
    prepared: PreparedModel, writers: Sequence[QuantLayer | QuantProduct | QuantPair]
) -> Tensor | None:
    """Return the scale of an input that a state keeps, and nothing else on its grid, so that it
    keeps the codes; None for other tensors."""
    plan = writers[0].plan
    if len(writers) > 1 or not isinstance(plan, LayerPlan) or not plan.unit or plan.activation:
        return None
    (source,) = plan.sources if len(plan.sources) == 1 else (None,)
    if source is None or not source.pointwise or source.scale != 1 or not prepared.keeps(plan.name):
        return None
    module = prepared.quant_module(source.tensor)
    same = isinstance(module, QuantInput) and module.grid.levels == writers[0].grid.levels
    return module.scale if isinstance(module, QuantInput) and same else None


def _logarithm(function: Relu | Unary | None) -> tuple[float, float] | None:
    """Return the ends of a logarithm that is looked up between them."""
    if isinstance(function, Unary) and function.function == "log_between":
        low, high = function.parameters
        return low, high
    return None


def _give_codes(prepared: PreparedModel) -> None:
    """Assign codes and scales of a quantized model: its codes to layers whose inputs and result
    have its scales; to its outputs, which it does not quantize, a scale that distinguishes their
    sums; to the other layers the scales of their weights."""
    quantized, tensors = prepared.quantized, dict[str, Tensors]()
    for p in prepared.plan.layers:
        module, name = prepared.quant_module(p.name), p.name
        above = [tensors.get(t) for t in inherited(p)]
        if isinstance(module, QuantInput | QuantState):
            tensors[name] = (float(module.scale), module.grid)
        elif above and above[0] is not None and all(t and t[0] == above[0][0] for t in above):
            tensors[name] = (above[0][0], module.grid)
        if not isinstance(module, QuantLayer) or not isinstance(p, LayerPlan):
            continue
        _give_weights(module, quantized.sources.get(name, ""))
        if name in quantized.quantizers:
            quantizer = quantized.quantizers[name]
            found = quantized.codes(p, module, tensors)
            if isinstance(found, GivenCodes):
                module.given = found
            elif getattr(quantizer, "thresholds", None) is not None:
                raise QuantizationError(
                    f"{name} ({p.location}): its thresholds have no other form, but {found}"
                )
            else:
                prepared.inexact[name] = found
            if (scale := annotated_scale(quantizer, module.grid.levels)) is not None:
                tensors[name] = (float(scale), module.grid)
        elif prepared.plan.is_output(name) and quantized.quantizers:
            scale = quantized.output_scale(p, module, tensors)
            if scale is not None and not prepared.plan.readers(name):
                module.out_quantizer.give(scale)


def _give_weights(module: QuantLayer, sources: tuple[GivenSource, ...] | str) -> None:
    """Set the scale with which weights were quantized in their quantizer, if its grid includes
    them."""
    quantizer = module.weight_quantizer
    if quantizer is None or isinstance(sources, str):
        return
    weights, rows = sources[0].weights, torch.tensor([float(s) for s in sources[0].scales]).double()
    magnitudes = torch.tensor(quantizer.grid.magnitudes, dtype=torch.float64)
    if not bool(torch.isin(weights.abs(), magnitudes).all()):
        return
    if quantizer.channels or bool((rows == rows[0]).all()):
        quantizer.give(rows if quantizer.channels else rows[0])


def _groups(
    layers: list[Module], shared: Callable[[Module], nn.Module | None]
) -> list[list[Module]]:
    """Group the layers by the module that ``shared`` returns for them; leave out those without
    one."""
    groups: dict[int, list[Module]] = {}
    for layer in layers:
        if (module := shared(layer)) is not None:
            groups.setdefault(id(module), []).append(layer)
    return list(groups.values())
