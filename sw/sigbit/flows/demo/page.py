"""The demonstration's HTML report, from its :class:`~sigbit.flows.demo.outcome.Outcome`."""

from collections.abc import Sequence
from importlib.metadata import version

import numpy as np

from sigbit.flows.demo.outcome import Outcome
from sigbit.flows.details.codes import activation_codes
from sigbit.flows.details.timeline import measured
from sigbit.report import sections
from sigbit.report.components import Card
from sigbit.report.page import Section, Verdict, render
from sigbit.report.sections import LayerRow, Sample
from sigbit_hw.arch.isa import Engine

RIGHT_SAMPLES, WRONG_SAMPLES = 18, 9


def page(outcome: Outcome, command: str) -> str:
    """Return a self-contained page; ``command`` is the command that reproduces it."""
    parts = [
        sections.headline(_cards(outcome)),
        sections.accuracy(outcome.accuracies, outcome.images),
        *_cycles(outcome),
        _weights(outcome),
        _activations(outcome),
        _samples(outcome),
        sections.layers(_layer_rows(outcome)),
        sections.provenance(_facts(outcome), command),
    ]
    config = outcome.program.config
    return render(
        "Handwritten digits, bit for bit",
        f"A residual CNN with {config.weight_format.bits}-bit ESB weights and activations on "
        f"{config.name}: {config.macs:,} shift-add multiply-accumulates per cycle.",
        _verdict(outcome),
        parts,
        f"sigbit {version('sigbit')}",
    )


def _verdict(outcome: Outcome) -> Verdict:
    ran = f"that {' and '.join(outcome.checks)} computed for {outcome.images} images"
    if outcome.passed:
        return Verdict(
            True,
            f"all {outcome.codes:,} codes {ran} equal the integer model's, and every prediction is "
            "the quantized model's.",
        )
    same = "equal" if outcome.predictions_equal else "not all equal"
    return Verdict(
        False,
        f"{outcome.mismatches:,} of {outcome.codes:,} codes {ran} differ from the integer model's; "
        f"predictions are {same}.",
    )


def _cards(outcome: Outcome) -> list[Card]:
    shares = outcome.accuracies
    tone = "bad" if outcome.mismatches else "good"
    device = "rtl" if "rtl" in outcome.checks else "interp"
    cards = [
        Card(f"Test images in {device}", f"{outcome.images:,}"),
        Card("Mismatching codes", f"{outcome.mismatches:,}", "all layers, all images", tone),
        Card(
            "Accuracy, deployed",
            f"{100 * shares['deployed']:.2f} %",
            f"quantized {100 * shares['quantized']:.2f} %, float {100 * shares['float']:.2f} %",
        ),
    ]
    use = outcome.utilization
    if use is not None and outcome.cycles_per_image is not None:
        cards += [
            Card("Cycles per image", f"{outcome.cycles_per_image:,.0f}"),
            Card("Array busy", "–", "no layer's channels fill it")
            if use.busy_full is None
            else Card(
                "Array busy",
                f"{100 * use.busy_full:.1f} %",
                "of the cycles of layers whose channels fill it",
            ),
        ]
    return [*cards, Card("Seconds", f"{outcome.seconds:.0f}", "training included")]


def _cycles(outcome: Outcome) -> list[Section]:
    """Return the sections on utilization and timeline, if a device counts cycles."""
    use, found = outcome.utilization, measured(outcome.program, outcome.deployed.result)
    if use is None or found is None:
        return []
    names = [layer.name for layer in outcome.program.layers]
    third = found.cycles // 3
    windows = [
        ("One image, from start to done.", 0, found.cycles),
        ("The middle third: the next layers' weights load while one computes.", third, 2 * third),
    ]
    lead = (
        "What the three engines do while one image passes: every bar is a layer's instructions, "
        "from the cycle they took their tokens to the cycle they finished."
    )
    return [
        sections.utilization([*use.layers, use.total], outcome.program.config.macs),
        sections.timeline(found, [e.name for e in Engine], names, windows, lead),
    ]


def _weights(outcome: Outcome) -> Section:
    return sections.weights(
        outcome.trained.weights,
        "The trained weights of each layer before rounding, in units of their channel's scale, and "
        "the values that they are rounded to (red). The ESB grid is dense where weights are many "
        "and exponentially sparse in the tails. Weights of the first and the last layer are sums "
        "of two ESB terms.",
    )


def _activations(outcome: Outcome) -> Section:
    return sections.codes(
        "Activations",
        activation_codes(outcome.program, outcome.deployed.result.layers),
        "steps of the scale",
        "How often each value occurs in a layer's output, in units of its scale, over all "
        f"{outcome.images} images, as the device wrote them.",
    )


def _samples(outcome: Outcome) -> Section:
    labels = outcome.trained.labels[: outcome.images]
    says = outcome.deployed.predictions
    wrong = np.flatnonzero(labels != says)[:WRONG_SAMPLES]
    right = np.flatnonzero(labels == says)[:RIGHT_SAMPLES]

    def take(indices: Sequence[int]) -> list[Sample]:
        return [Sample(outcome.trained.pictures[i], int(labels[i]), int(says[i])) for i in indices]

    return sections.samples(take(wrong.tolist()), take(right.tolist()), outcome.images)


def _layer_rows(outcome: Outcome) -> list[LayerRow]:
    rows = []
    for info in outcome.program.layers:
        found = [c for check in outcome.checks.values() for c in check.layers]
        mine = [c for c in found if c.layer == info.name]
        rows.append(
            LayerRow(
                info.name,
                info.kind,
                info.shape,
                info.macs,
                sum(c.codes for c in mine),
                sum(c.mismatches for c in mine),
                info.source,
            )
        )
    return rows


def _facts(outcome: Outcome) -> dict[str, str]:
    program = outcome.program
    return {
        "sigbit": version("sigbit"),
        "accelerator": f"{program.config.name}, digest {program.config.digest}",
        "program": f"{program.name}, digest {program.digest}",
        **{name: str(value) for name, value in outcome.options.items()},
        **{f"seconds, {k}": f"{v:.1f}" for k, v in outcome.steps.items()},
        "seconds, total": f"{outcome.seconds:.1f}",
    }
