"""``prepare``: a float model as a trainable model that computes with the accelerator's integers."""

from collections.abc import Iterable, Iterator, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sigbit.frontend import Batches, as_tuple, import_model
from sigbit.ir.floating import BatchNorm, FloatGraph, pad
from sigbit.quant.errors import QuantizationError
from sigbit.quant.fusion import InputPlan, LayerPlan, MaxPoolPlan, NetworkPlan, fuse, tensors_of
from sigbit.quant.grid import LevelGrid, round_half_away
from sigbit.quant.layer import Levels, QuantLayer
from sigbit.quant.spec import BYTE, ActGrid, QuantSpec, act_grid
from sigbit_hw.arch.numerics import Y_MAX, Y_MIN


class QuantInput(nn.Module):
    """A network input on an 8-bit grid: ``stored = clip(round(x / scale), low, high)``, computed in
    float64.
    """

    scale: Tensor

    def __init__(self, plan: InputPlan, spec: QuantSpec, low: float, high: float) -> None:
        super().__init__()
        self.plan = plan
        self.low, self.high = (0, BYTE) if low >= 0 else (Y_MIN, Y_MAX)
        self.grid = ActGrid(
            LevelGrid.uniform(self.low, self.high), spec.byte_planes, 0, 0, self.low, self.high
        )
        reach = max(abs(low), abs(high))
        if not reach > 0:
            raise QuantizationError(
                f"input {plan.name!r} is 0 on the whole calibration batch; give an input_range"
            )
        self.register_buffer("scale", torch.tensor(reach / self.high, dtype=torch.float64))

    def forward(self, x: Tensor) -> Levels:
        """Levels of real inputs; no gradient flows to the input."""
        with torch.no_grad():
            v = x.double() / self.scale.double()
            stored = round_half_away(v).clamp_(self.low, self.high).add_(0.0)
            stored = stored.view(x.shape[0], *self.plan.shape)
        return Levels(stored.to(x.dtype), self.scale.double())


class QuantMaxPool(nn.Module):
    """Maximum over windows of levels."""

    def __init__(self, plan: MaxPoolPlan, grid: ActGrid) -> None:
        super().__init__()
        self.plan, self.grid = plan, grid

    def forward(self, x: Levels) -> Levels:
        """The window maxima, on the same grid."""
        levels = pad(x.levels, self.plan.padding, -torch.inf)
        return Levels(F.max_pool2d(levels, self.plan.kernel, self.plan.stride), x.scale)


QuantModule = QuantInput | QuantLayer | QuantMaxPool


class PreparedModel(nn.Module):
    """A quantized network in training. Its forward pass gives the deployed network's output,
    exactly in float64, and in float32 as long as accumulators stay below 2**24; gradients are
    straight-through.

    Outputs are real tensors of the float model's shapes: one tensor, or a tuple where the float
    model has several.
    """

    def __init__(
        self,
        graph: FloatGraph,
        plan: NetworkPlan,
        spec: QuantSpec,
        ranges: dict[str, tuple[float, float]],
    ) -> None:
        super().__init__()
        self.graph_name, self.plan, self.spec = graph.name, plan, spec
        statistics = {
            n for node in graph.nodes if isinstance(node, BatchNorm) for n in (node.mean, node.var)
        }
        for name, value in graph.parameters.items():
            if name in statistics:
                self.register_buffer(attribute_name(name), value.clone())
            else:
                self.register_parameter(attribute_name(name), nn.Parameter(value.clone()))
        values = _Values(self, graph.parameters)
        modules: list[QuantModule] = []
        self._index: dict[str, int] = {}
        for p in plan.layers:
            self._index[p.name] = len(modules)
            modules.append(self._module(p, modules, values, ranges))
        self.layers = nn.ModuleList(modules)

    def _module(
        self,
        p: InputPlan | LayerPlan | MaxPoolPlan,
        modules: list[QuantModule],
        values: "_Values",
        ranges: dict[str, tuple[float, float]],
    ) -> QuantModule:
        if isinstance(p, InputPlan):
            return QuantInput(p, self.spec, *(self.spec.input_range or ranges[p.name]))
        if isinstance(p, MaxPoolPlan):
            return QuantMaxPool(p, modules[self._index[p.tensor]].grid)
        channels = tuple(self.shape_of(s.tensor)[0] for s in p.sources)
        in_grids = tuple(modules[self._index[s.tensor]].grid for s in p.sources)
        is_output = not self.plan.readers(p.name)
        wide = is_output or (self.spec.wide_head and self._feeds_head_only(p.name))
        grid = act_grid(self.spec, p.nonnegative, wide)
        return QuantLayer(p, self.spec, values, channels, in_grids, self._terms(p), grid, is_output)

    def shape_of(self, tensor: str) -> tuple[int, int, int]:
        """(channels, height, width) of a tensor."""
        return next(p.shape for p in self.plan.layers if p.name == tensor)

    def _is_head(self, p: object) -> bool:
        return isinstance(p, LayerPlan) and p.sources[0].dense and not self.plan.readers(p.name)

    def _feeds_head_only(self, tensor: str) -> bool:
        return all(
            self._is_head(r) and isinstance(r, LayerPlan) and r.sources[0].tensor == tensor
            for r in self.plan.readers(tensor)
        )

    def _terms(self, p: LayerPlan) -> tuple[int, ...]:
        """Weight terms of each source."""
        if p.averages:
            return (1,)
        inputs = {i.name for i in self.plan.layers if isinstance(i, InputPlan)}
        edge = self._is_head(p) or bool(inputs & set(tensors_of(p)))
        terms = []
        for i, source in enumerate(p.sources):
            if i > 0 or not source.dense:
                terms.append(self.spec.residual_terms)
            else:
                terms.append(self.spec.first_last_terms if edge else 1)
        return tuple(terms)

    def quant_module(self, tensor: str) -> QuantModule:
        """The module that produces ``tensor``."""
        module = self.layers[self._index[tensor]]
        assert isinstance(module, (QuantInput, QuantLayer, QuantMaxPool))
        return module

    def levels(self, *inputs: Tensor) -> dict[str, Levels]:
        """Every tensor by name, from real inputs."""
        names = [p.name for p in self.plan.layers if isinstance(p, InputPlan)]
        if len(inputs) != len(names):
            raise TypeError(f"{self.graph_name} has {len(names)} inputs, not {len(inputs)}")
        given = dict(zip(names, inputs, strict=True))
        values: dict[str, Levels] = {}
        for p in self.plan.layers:
            module = self.quant_module(p.name)
            if isinstance(module, QuantInput):
                values[p.name] = module(given[p.name])
            elif isinstance(module, QuantMaxPool):
                values[p.name] = module(values[module.plan.tensor])
            else:
                values[p.name] = module([values[t] for t in tensors_of(p)])
        return values

    def stored(self, *inputs: Tensor) -> dict[str, Tensor]:
        """Stored integers (int64) of every tensor by name: what the accelerator holds."""
        with torch.no_grad():
            return {
                name: (v.levels - self.quant_module(name).grid.zero).long()
                for name, v in self.levels(*inputs).items()
            }

    def forward(self, *inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
        """The outputs' real values."""
        values = self.levels(*inputs)
        outputs = tuple(
            (values[t].levels * values[t].scale.detach().to(values[t].levels.dtype)).reshape(
                -1, *shape
            )
            for t, shape in self.plan.outputs
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
    """The attribute of a :class:`PreparedModel` that holds a parameter of the float model."""
    return "value_" + parameter.replace("_", "__").replace(".", "_")


def prepare(
    model: nn.Module,
    spec: QuantSpec,
    example_inputs: Batches,
    calibration: Batches | None = None,
) -> PreparedModel:
    """A trainable quantized copy of ``model``, with scales chosen on ``calibration``
    (``example_inputs`` if absent).

    The model itself is not changed. Parameters keep their dtype (float32 or float64). Raises
    :class:`~sigbit.frontend.UnsupportedModel` for operations that the accelerator lacks, before any
    other work, and :class:`QuantizationError` for parameters or a calibration that cannot be
    quantized.
    """
    graph = import_model(model, example_inputs)
    plan = fuse(graph)
    _check_parameters(graph)
    batches = as_tuple(example_inputs if calibration is None else calibration)
    if len(batches) != len(graph.inputs):
        raise QuantizationError(
            f"calibration must be a tuple of {len(graph.inputs)} batches, one an input, "
            f"not {len(batches)}"
        )
    with torch.no_grad():
        values = graph.evaluate(dict(zip((i.name for i in graph.inputs), batches, strict=True)))
        ranges = {}
        for node in graph.inputs:
            x = values[node.name]
            if not bool(torch.isfinite(x).all()):
                raise QuantizationError(
                    f"the calibration batch of {node.name!r} holds NaN or infinity"
                )
            ranges[node.name] = (float(x.min()), float(x.max()))
        prepared = PreparedModel(graph, plan, spec, ranges)
        _calibrate(prepared, values)
    return prepared


def _check_parameters(graph: FloatGraph) -> None:
    for name, value in graph.parameters.items():
        if not value.is_floating_point():
            raise QuantizationError(f"parameter {name!r} must be floating point, not {value.dtype}")
        if wrong := int((~torch.isfinite(value)).sum()):
            raise QuantizationError(
                f"parameter {name!r} holds NaN or infinity ({wrong} of {value.numel()} values)"
            )


def _calibrate(prepared: PreparedModel, values: dict[str, Tensor]) -> None:
    """Set the scales from the float model's tensors."""
    for p in prepared.plan.layers:
        module = prepared.quant_module(p.name)
        if not isinstance(module, QuantLayer) or not isinstance(p, LayerPlan):
            continue
        if module.weight_quantizer is not None:
            weight = module.real_weights()[0]
            module.weight_quantizer.initialize(
                weight, weight[0].numel() if prepared.spec.per_channel else weight.numel()
            )
        x = _reference(p, values)
        if not bool((x > 0).any() if module.grid.low == 0 else (x != 0).any()):
            raise QuantizationError(
                f"{p.name} ({p.location}) is 0 on the whole calibration batch of {len(x)} samples: "
                "give a larger one, or remove the layer"
            )
        module.out_quantizer.initialize(x, x[0].numel())


def _reference(p: LayerPlan, values: dict[str, Tensor]) -> Tensor:
    """The float value of a layer's tensor."""
    value = values[p.name] if p.name in values else values[p.sources[0].tensor]
    if p.activation is not None and p.activation.name != p.name:
        value = value.clamp(0, p.activation.limit)
    return value
