"""Quality of a quantized network: layer by layer, and against the float network."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from sigbit.errors import QuantizationError
from sigbit.flows.bulk import BATCH, BulkModel
from sigbit.flows.details.tensors import decibels, wanted_tensors
from sigbit.flows.progress import Tell
from sigbit.inputs.networks import FloatNetwork
from sigbit.inputs.samples import Samples
from sigbit.ir.floating import FloatGraph
from sigbit.quant import IntegerModel, PreparedModel
from sigbit.quant.layers.layer import QuantLayer
from sigbit.quant.plan.plans import InputPlan
from sigbit.quant.post.reconstruction.judge import decisions

_BATCH = 8
"""Samples evaluated at a time."""
MEASURED = 8
"""Calibration samples on which the layers are measured."""


@dataclass(frozen=True)
class LayerQuality:
    """A tensor of the quantized network.

    Parameters
    ----------
    layer, kind : str
    shape : tuple of int
        Without the batch.
    weight_terms : int, optional
        Terms of the weights; None if there are none.
    act_planes : int
        Planes of the tensor.
    scale : float
    snr_db : float, optional
        Signal-to-noise ratio in decibels; None if there is no float tensor to compare with, or no
        noise.
    location : str
        The source line that defines it.
    """

    layer: str
    kind: str
    shape: tuple[int, ...]
    weight_terms: int | None
    act_planes: int
    scale: float
    snr_db: float | None
    location: str


@dataclass(frozen=True)
class LayerCodes:
    """True if a layer gives the codes of the quantized model that it comes from, over all values
    that its weights and the grids of its inputs can reach.

    Parameters
    ----------
    name : str
    exact : bool
    codes_off : int, optional
        Accumulators, over all channels, at which it gives another code; None if codes cannot be
        compared.
    accumulators : int, optional
        Number of accumulators.
    most_off : int, optional
        Largest deviation in codes.
    reason : str
        Reason why codes cannot be compared.
    location : str
        The source line, or the node, that defines it.
    """

    name: str
    exact: bool
    codes_off: int | None
    accumulators: int | None
    most_off: int | None
    reason: str
    location: str

    def __str__(self) -> str:
        if self.exact:
            return "exact"
        if self.codes_off is None:
            return f"not the model's: {self.reason}"
        return (
            f"off by at most {self.most_off} at {self.codes_off:,} of {self.accumulators:,} "
            "accumulators"
        )


def layer_codes(prepared: PreparedModel) -> tuple[LayerCodes, ...]:
    """Return the exactness of the layers whose codes a quantized model defines; after
    ``convert``."""
    exactness, found = prepared.exactness, []
    for p in prepared.plan.layers:
        location = getattr(p, "location", "")
        if (e := exactness.get(p.name)) is not None:
            found.append(
                LayerCodes(p.name, e.off == 0, e.off, e.accumulators, e.most, "", location)
            )
        elif (reason := prepared.inexact.get(p.name)) is not None:
            found.append(LayerCodes(p.name, False, None, None, None, reason, location))
    return tuple(found)


def refuse_inexact(name: str, quantized: bool, codes: tuple[LayerCodes, ...]) -> None:
    """Raise :class:`QuantizationError` unless network ``name`` is ``quantized`` and all its layers
    are exact in ``codes``."""
    if not quantized:
        raise QuantizationError(
            f"--exact: {name} has no quantizers, so that there are no codes to be equal to: give a "
            "quantized model (QONNX, QDQ), or leave --exact out"
        )
    wrong = [c for c in codes if not c.exact]
    if wrong:
        more = f", and {len(wrong) - 1} more" if len(wrong) > 1 else ""
        raise QuantizationError(
            f"--exact: {wrong[0].name} {_said(wrong[0])}{more}; `sigbit check {name} --arch …` "
            "lists all"
        )


def _said(codes: LayerCodes) -> str:
    return f"has not the codes of the model ({codes.reason or codes})"


@dataclass(frozen=True)
class Agreement:
    """Decisions of the first output, on samples not used for calibration.

    Parameters
    ----------
    images : int
        Samples.
    agreement : float
        Share of the decisions in which float network and integer model agree.
    accuracy_float, accuracy_quantized : float, optional
        Shares of right decisions; None without labels.
    """

    images: int
    agreement: float
    accuracy_float: float | None
    accuracy_quantized: float | None


def layer_qualities(
    prepared: PreparedModel, graph: FloatGraph, calibration: Samples, tell: Tell
) -> tuple[LayerQuality, ...]:
    """Return bits, scale and signal-to-noise ratio of every tensor."""
    tell("measuring the layers")
    batches = calibration.tensors(0, MEASURED)
    with torch.no_grad():
        wanted, levels = wanted_tensors(prepared, graph, batches), prepared.levels(*batches)
    rows = []
    for p in prepared.plan.layers:
        module, found = prepared.quant_module(p.name), levels[p.name]
        terms = None
        if isinstance(module, QuantLayer) and module.sources[0].trained:
            terms = module.terms[0]
        rows.append(
            LayerQuality(
                layer=p.name,
                kind="input" if isinstance(p, InputPlan) else getattr(p, "kind", ""),
                shape=tuple(p.shape),
                weight_terms=terms,
                act_planes=module.grid.planes,
                scale=float(found.scale),
                snr_db=decibels(wanted[p.name], found.levels * found.scale)
                if p.name in wanted
                else None,
                location=getattr(p, "location", ""),
            )
        )
    return tuple(rows)


def agreement(
    network: FloatNetwork, integer: IntegerModel | BulkModel, samples: Samples, tell: Tell
) -> Agreement:
    """Return the share of decisions in which float network and integer model agree, and the shares
    of right decisions."""
    counts: Counter[str] = Counter()
    for first, in_float, quantized in _decided(network.graph, integer, samples, tell):
        counts["all"] += in_float.numel()
        counts["agree"] += int((in_float == quantized).sum())
        if samples.labels is None:
            continue
        labels = torch.from_numpy(samples.labels[first : first + len(in_float)])
        if labels.shape == in_float.shape:
            counts["labelled"] += labels.numel()
            counts["float"] += int((in_float == labels).sum())
            counts["quantized"] += int((quantized == labels).sum())
    accuracies = (
        counts[name] / counts["labelled"] if counts["labelled"] else None
        for name in ("float", "quantized")
    )
    return Agreement(len(samples), counts["agree"] / counts["all"], *accuracies)


def _decided(
    graph: FloatGraph, integer: IntegerModel | BulkModel, samples: Samples, tell: Tell
) -> Iterator[tuple[int, Tensor, Tensor]]:
    """Yield batches: the first sample's number, and the decisions of both networks."""
    count = BATCH if isinstance(integer, BulkModel) else _BATCH
    for first in range(0, len(samples), count):
        tell("testing", first, len(samples))
        batches = samples.tensors(first, first + count)
        with torch.no_grad():
            values = graph.evaluate(dict(zip((n.name for n in graph.inputs), batches, strict=True)))
            got = integer(*batches)
        got = got[0] if isinstance(got, tuple) else got
        yield first, decisions(values[graph.outputs[0]]), decisions(got)
