"""Quantization of the trained networks without training: rounding, each ingredient of
reconstruction on its own, and all of them; and the automatic choice of bits within
:data:`POINTS` of accuracy.

Networks whose data have no training split are calibrated on one half of the samples and tested on
the other, and vice versa; the others are calibrated on training samples and tested on all test
samples. Labels are used only to count correct answers.
"""

import math
import resource
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sigbit import zoo
from sigbit.bench.nets.cases import CASES, Case
from sigbit.bench.nets.row import PRECISION
from sigbit.data import Dataset, load
from sigbit.inputs.samples import Samples
from sigbit.ir.convolution import row_major_convolutions
from sigbit.ir.integer import Conv, IntegerGraph
from sigbit.quant import IntegerModel, PreparedModel, QuantSpec, convert
from sigbit.quant.post import Reconstruction, mixed_precision, post_training, reconstruct
from sigbit.quant.post.mixed import Goal
from sigbit_hw.arch.config import PRESETS
from sigbit_tools.stopwatch import Stopwatch

GROUP = "post-training"
SAMPLES: Mapping[str, int] = MappingProxyType({"imagenet": 128, "cifar10-jpeg": 256})
"""Number of calibration samples by data set; for other data sets that of CIFAR-10."""
ROUNDED, AWARE, ALL = "rounded", "activation-aware", "reconstructed"
POINTS = 2.0
"""Percentage points of accuracy, estimated without labels, within which bits are chosen."""
MIXED = f"mixed, {POINTS:g} points"
MIXED_SAMPLES = 256
"""Number of calibration samples for it; half of them compare networks."""
ALONE: Mapping[str, Reconstruction] = MappingProxyType(
    {
        "equalized": Reconstruction(compensate=False, learn=False, judge=False),
        "compensated": Reconstruction(equalize=False, learn=False, judge=False),
        "learned": Reconstruction(equalize=False, compensate=False, judge=False),
    }
)
"""Ingredients of reconstruction on their own; biases are corrected in all of them."""
CONTROLS = ("mobilenet_v1_050_160", "resnet20")
"""Networks for which every ingredient is measured."""
_BATCH = 16


@dataclass(frozen=True)
class PostCase:
    """A network, its bits, and its quantization."""

    case: Case
    strategy: str

    @property
    def name(self) -> str:
        """Display name, which ``--only`` searches."""
        return f"{GROUP}: {self.strategy} on {self.case.net}, {self.case.bits} bits"

    def digest(self, images: int | None) -> str:
        """Key that distinguishes rows."""
        words = f"{self.strategy} {self.case.net} {self.case.bits}"
        return words if images is None else f"{words} {images}"

    @property
    def samples(self) -> int:
        """Number of calibration samples."""
        if self.strategy == MIXED:
            return MIXED_SAMPLES
        return SAMPLES.get(self.case.dataset, SAMPLES["cifar10-jpeg"])

    @property
    def recipe(self) -> Reconstruction | None:
        """The reconstruction to attempt; None for plain rounding."""
        everything = Reconstruction() if self.strategy in (ALL, MIXED) else None
        return ALONE.get(self.strategy, everything)


def post_cases() -> list[PostCase]:
    """All trained networks at 4 bits, rounded and reconstructed, and with bits of their own; the
    ingredients for two. Small networks come first."""
    trained = [c for c in CASES if c.checkpoint and c.bits == 4]
    sizes = {c.net: zoo.entry(c.net).input_shape[-1] for c in trained}
    trained.sort(key=lambda c: sizes[c.net])
    plain = [PostCase(c, s) for c in trained for s in (ROUNDED, ALL, MIXED)]
    others = (AWARE, *ALONE)
    return plain + [PostCase(c, s) for c in trained if c.net in CONTROLS for s in others]


@dataclass(frozen=True)
class _Half:
    """Samples for calibration, and others for testing."""

    seen: Samples
    tested: Samples


def _halves(post: PostCase, data: Path, images: int | None) -> list[_Half]:
    case = post.case
    entry = zoo.entry(case.net)

    def samples(found: Dataset, order: "np.ndarray[Any, np.dtype[np.int64]]") -> Samples:
        def batch(first: int, last: int) -> tuple[Any]:
            rows = order[first:last]
            return (entry.preprocessing([found.inputs[int(i)] for i in rows]),)

        return Samples(len(order), batch, found.labels[order].astype(np.int64), found.name)

    random = np.random.default_rng(0)
    if case.dataset == "cifar10-jpeg":
        train, test = (load(case.dataset, split, data) for split in ("train", "test"))
        chosen = random.permutation(len(train))[: post.samples]
        tested = random.permutation(len(test))[:images]
        return [_Half(samples(train, chosen), samples(test, tested))]
    found = load(case.dataset, case.split, data)
    order = random.permutation(len(found))
    halves = order[: len(order) // 2], order[len(order) // 2 :]
    return [
        _Half(samples(found, a[: post.samples]), samples(found, b[:images]))
        for a, b in (halves, halves[::-1])
    ]


def post_row(
    post: PostCase,
    data: Path,
    images: int | None,
    work: Path | None,
    measure: Callable[[IntegerModel, Tensor], Mapping[str, Any]],
    cost: Callable[[PreparedModel], float],
    tell: Callable[[str, int, int], None],
) -> dict[str, Any]:
    """Top-1 accuracy of the float and the integer network, and how often they agree, together with
    the results of ``measure`` for the first half's integer network. ``cost`` is what a choice of
    bits minimizes. Raises ``RuntimeError`` if prepared and integer model differ."""
    case, spent = post.case, Stopwatch()
    model = zoo.build(case.net).eval()
    zoo.load_checkpoint(model, data / "checkpoints" / case.checkpoint)
    spec = QuantSpec.from_arch(
        PRESETS[case.preset], weight_scale="mse", act_scale="mse", **PRECISION[case.bits]
    )
    counts = {"images": 0, "float": 0, "quantized": 0, "agree": 0}
    seconds, attempts, curves = [], [], []
    found: dict[str, Any] = {}
    halves = _halves(post, data, images)
    for half in halves:
        quantizing = Stopwatch()
        chosen, curve = _bits(post, model, half.seen, spec, cost, tell)
        prepared, steps = _quantized(post, model, half.seen, chosen, work, tell)
        seconds.append(quantizing.read()["cpu_seconds"])
        attempts.append(steps)
        curves.append(curve)
        integer = convert(prepared)
        if not found:
            found = {
                **measure(integer, half.tested.tensors(0, 1)[0]),
                "passes": _passes(integer.graph),
            }
        _count(counts, model, prepared, integer, half.tested, tell)
    share = {name: counts[name] / counts["images"] for name in counts}
    return {
        "group": GROUP,
        "method": "esb",
        "strategy": post.strategy,
        "dataset": halves[0].tested.origin,
        "model": case.net,
        "preset": case.preset,
        "weight_bits": case.bits,
        "act_bits": case.bits,
        "accuracy": share["quantized"],
        "accuracy_float": share["float"],
        "agreement": share["agree"],
        "standard_error": math.sqrt(
            share["quantized"] * (1 - share["quantized"]) / counts["images"]
        ),
        "mismatches": 0,
        "seed": 0,
        "epochs": 0,
        "images_calibration": len(halves[0].seen),
        "images_test": counts["images"],
        "halves": len(halves),
        "recipe": attempts,
        "curves": curves if post.strategy == MIXED else None,
        "quantizing_cpu_seconds": seconds,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        **found,
        "config": {
            "checkpoint": case.checkpoint,
            "preset": case.preset,
            "calibration": len(halves[0].seen),
            "reconstruction": None if post.recipe is None else vars(post.recipe),
        },
        "digest": post.digest(images),
        **spent.read(),
    }


def _bits(
    post: PostCase,
    model: nn.Module,
    seen: Samples,
    spec: QuantSpec,
    cost: Callable[[PreparedModel], float],
    tell: Callable[[str, int, int], None],
) -> tuple[QuantSpec, list[dict[str, Any]]]:
    """The bits of every layer, and the networks among which they were chosen; for other strategies
    ``spec`` itself."""
    if post.strategy != MIXED:
        return spec, []
    found = mixed_precision(
        model,
        spec,
        seen,
        (spec.weight_terms, spec.byte_terms),
        range(spec.act_planes, spec.byte_planes + 1),
        Goal(points=POINTS),
        cost,
        correct=lambda c, least: replace(c, compensate=True).equalized(least),
        tell=tell,
    )
    return found.spec, [
        {
            "cost": p.cost,
            "points": p.score.points,
            "deviation": p.score.points_deviation,
            "agreement": p.score.agreement,
            "chosen": p is found.chosen,
            "bits": dict(p.bits),
        }
        for p in found.curve
    ]


def _quantized(
    post: PostCase,
    model: nn.Module,
    seen: Samples,
    spec: QuantSpec,
    work: Path | None,
    tell: Callable[[str, int, int], None],
) -> tuple[PreparedModel, list[dict[str, Any]]]:
    """The network, and the gain of each step of reconstruction on held-out samples."""
    if post.recipe is None:
        tell("quantizing", 0, 1)
        aware = post.strategy == AWARE
        return post_training(model, seen, spec, activation_aware=aware), []
    found = reconstruct(model, seen, spec, post.recipe, tell=tell, work=work)
    steps = [
        {"step": a.name, "agreement": a.score.agreement, "error": a.score.error, "kept": a.kept}
        for a in found.attempts
    ]
    return found.prepared, steps


@torch.no_grad()
def _count(
    counts: dict[str, int],
    model: nn.Module,
    prepared: PreparedModel,
    integer: IntegerModel,
    tested: Samples,
    tell: Callable[[str, int, int], None],
) -> None:
    """Count the answers of the float and the integer network for all samples."""
    assert tested.labels is not None
    for first in range(0, len(tested), _BATCH):
        tell("accuracy", first, len(tested))
        batch = tested.tensors(first, first + _BATCH)
        labels = torch.from_numpy(tested.labels[first : first + _BATCH])
        found = prepared(*batch)
        deployed = integer(*batch)
        if not torch.equal(found, deployed):
            raise RuntimeError(f"{integer.graph.name}: prepared and integer model differ")
        with row_major_convolutions():
            in_float = model(*batch).flatten(1).argmax(1)
        quantized = deployed.flatten(1).argmax(1)
        counts["images"] += len(labels)
        counts["float"] += int((in_float == labels).sum())
        counts["quantized"] += int((quantized == labels).sum())
        counts["agree"] += int((in_float == quantized).sum())


def _passes(graph: IntegerGraph) -> float:
    """Average number of passes over the array per product."""
    planes = {node.name: node.type.planes for node in graph.nodes}
    products = passes = 0
    for node in graph.nodes:
        if isinstance(node, Conv):
            for s in node.sources:
                count = s.weights.size * math.prod(node.type.shape[1:])
                products += count
                passes += count * s.terms * planes[s.tensor]
    return passes / products
