"""How good a quantized network is: layer by layer, and against the float network."""

from typing import TYPE_CHECKING, Any, Protocol

from sigbit.inputs.networks import FloatNetwork
from sigbit.inputs.samples import Samples

if TYPE_CHECKING:
    from sigbit.ir.floating import FloatGraph
    from sigbit.quant import IntegerModel, PreparedModel

_BATCH = 8
"""Samples that are evaluated at a time."""
_MEASURED = 8
"""Calibration samples that the signal-to-noise ratios are measured on."""


class Tell(Protocol):
    """Shows what is being done, and how much of how much is."""

    def __call__(self, what: str, done: int = 0, total: int = 0) -> None: ...


def layer_rows(
    prepared: "PreparedModel", graph: "FloatGraph", calibration: Samples, tell: Tell
) -> list[dict[str, Any]]:
    """Bits, scale and signal-to-noise ratio of every tensor, by its name."""
    import torch

    from sigbit.quant.layers.layer import QuantLayer
    from sigbit.quant.plan.plans import InputPlan, LayerPlan
    from sigbit.quant.prepare import evaluate, reference

    tell("measuring the layers")
    batches = tuple(torch.from_numpy(b[:_MEASURED]) for b in calibration.inputs)
    rows: list[dict[str, Any]] = []
    with torch.no_grad():
        values, levels = evaluate(graph, batches), prepared.levels(*batches)
    for p in prepared.plan.layers:
        module = prepared.quant_module(p.name)
        wanted = reference(p, values) if isinstance(p, LayerPlan) else values.get(p.name)
        terms = None
        if isinstance(module, QuantLayer) and module.sources[0].trained:
            terms = module.terms[0]
        rows.append(
            {
                "layer": p.name,
                "kind": "input" if isinstance(p, InputPlan) else getattr(p, "kind", ""),
                "shape": list(p.shape),
                "weight_terms": terms,
                "act_planes": module.grid.planes,
                "scale": float(levels[p.name].scale),
                "snr_db": _ratio(wanted, levels[p.name].levels * levels[p.name].scale),
                "location": getattr(p, "location", ""),
            }
        )
    return rows


def _ratio(wanted: Any, got: Any) -> float | None:
    """Signal-to-noise ratio in decibels; None where there is no float tensor, or no noise."""
    from math import log10

    if wanted is None:
        return None
    wanted = wanted.double()
    wanted = wanted.transpose(1, 2) if wanted.dim() == 3 else wanted
    signal = float(wanted.square().sum())
    noise = float((wanted.reshape(got.shape) - got.double()).square().sum())
    return 10 * log10(signal / noise) if signal > 0 and noise > 0 else None


def agreement(
    network: FloatNetwork, integer: "IntegerModel", samples: Samples, tell: Tell
) -> dict[str, Any]:
    """How often the first output's decisions of float and integer model agree, and how often they
    are right."""
    import torch

    graph, count = network.graph, len(samples)
    agree, decisions = 0, 0
    right = {"float": 0, "quantized": 0}
    labelled = 0
    for first in range(0, count, _BATCH):
        tell("testing", first, count)
        batches = tuple(torch.from_numpy(b[first : first + _BATCH]) for b in samples.inputs)
        with torch.no_grad():
            values = graph.evaluate(dict(zip((n.name for n in graph.inputs), batches, strict=True)))
            got = integer(*batches)
        got = got[0] if isinstance(got, tuple) else got
        said = {"float": _decisions(values[graph.outputs[0]]), "quantized": _decisions(got)}
        agree += int((said["float"] == said["quantized"]).sum())
        decisions += said["float"].numel()
        if samples.labels is not None:
            labels = torch.from_numpy(samples.labels[first : first + _BATCH])
            if labels.shape == said["float"].shape:
                labelled += labels.numel()
                for name, classes in said.items():
                    right[name] += int((classes == labels).sum())
    accuracy = {f"accuracy_{k}": v / labelled if labelled else None for k, v in right.items()}
    return {"images": count, "agreement": agree / decisions, **accuracy}


def _decisions(x: Any) -> Any:
    """Classes ``[batch, ...]``; of a single channel its sign, 0 or 1."""
    x = x.flatten(1) if x[0].numel() == x.shape[1] else x
    return x.argmax(1) if x.shape[1] > 1 else (x[:, 0] > 0).long()
