"""The report of ``sigbit quantize``: a quantized network beside the float one."""

from collections.abc import Iterator

from sigbit.flows.pages.check import exactness
from sigbit.flows.pages.execution import cards, execution
from sigbit.flows.pages.identity import FOOTER, provenance
from sigbit.flows.pages.memory import memory
from sigbit.flows.pages.numbers import numbers
from sigbit.flows.pages.recipe import recipe
from sigbit.flows.quantized import QuantizedNetwork
from sigbit.report import sections
from sigbit.report.components import Card, Column, badge, table
from sigbit.report.page import Section, render
from sigbit.report.tables import NONE, percent


def page(found: QuantizedNetwork, command: str) -> str:
    """Return a self-contained page of a network quantized with details; ``command`` is the command
    that reproduces it."""
    details = found.details
    assert details is not None
    parts = [sections.headline(_cards(found)), *_accuracy(found), *recipe(found.chosen_bits)]
    if details.program is not None:
        parts += execution(details.program)
    parts += numbers(details.tensors)
    if details.program is not None:
        parts.append(memory(details.program))
    parts += [*_reconstruction(found), _layers(found)]
    if found.codes:
        parts.append(exactness(found.codes))
    facts = {
        "weights": found.weights,
        "calibrated with": found.calibration,
        "tested with": found.test,
    }
    parts.append(provenance(command, facts, found.config, found.program))
    return render(
        f"{found.model}, quantized",
        f"For {found.config.name}: weights {found.config.weight_format}, activations "
        f"{found.config.act_format}. Calibrated with {found.calibration}.",
        None,
        parts,
        FOOTER,
    )


def _cards(found: QuantizedNetwork) -> list[Card]:
    quality = found.quality
    items = [
        Card(
            "Same decision as the float network",
            percent(quality.agreement),
            f"on {quality.images:,} test samples",
        )
    ]
    if quality.accuracy_quantized is not None and quality.accuracy_float is not None:
        items.append(
            Card(
                "Accuracy",
                percent(quality.accuracy_quantized),
                f"float {percent(quality.accuracy_float)}",
            )
        )
    program = found.details and found.details.program
    return [*items, *(cards(program) if program else [])]


def _accuracy(found: QuantizedNetwork) -> Iterator[Section]:
    quality = found.quality
    if quality.accuracy_quantized is not None and quality.accuracy_float is not None:
        shares = {"float": quality.accuracy_float, "quantized": quality.accuracy_quantized}
        yield sections.accuracy(shares, quality.images)


def _reconstruction(found: QuantizedNetwork) -> Iterator[Section]:
    if not found.reconstruction:
        return
    columns = [Column("step"), Column("agreement", number=True), Column("error", number=True)]
    rows = [
        (s.step, percent(s.agreement), f"{s.error:.4g}", badge("kept", "good") if s.kept else "no")
        for s in found.reconstruction
    ]
    yield Section(
        found.post.steps,
        table([*columns, Column("kept")], rows),
        "What each step brought, on calibration samples that were held out: it is kept if more "
        "decisions are the float network's.",
    )


def _layers(found: QuantizedNetwork) -> Section:
    columns = [Column("layer"), Column("kind"), Column("shape")]
    columns += [Column(n, number=True) for n in ("weight terms", "planes", "scale")]
    rows = [
        (
            layer.layer,
            layer.kind,
            " × ".join(map(str, layer.shape)),
            NONE if layer.weight_terms is None else layer.weight_terms,
            layer.act_planes,
            f"{layer.scale:.6g}",
            layer.location,
        )
        for layer in found.layers
    ]
    return Section("Layers", table([*columns, Column("source", code=True)], rows))
