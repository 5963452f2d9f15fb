"""Display of a quantized network."""

import math
from typing import TYPE_CHECKING

from sigbit.cli.console.output import say, show_facts, show_table
from sigbit.cli.console.programs import say_program

if TYPE_CHECKING:
    from sigbit.flows.quality import LayerCodes, LayerQuality
    from sigbit.flows.quantized import QuantizedNetwork
    from sigbit.flows.recipe import ChosenBits

SHOWN = 60
"""Maximum number of layers in the table; the JSON file holds all."""


def show_quantized(result: "QuantizedNetwork", arch: str) -> None:
    """Print number systems, layers, quality, and the written files; ``arch`` is the accelerator as
    an argument of other commands."""
    from sigbit.flows.program_facts import ProgramFacts

    _show_systems(result)
    _show_curve(result)
    _show_reconstruction(result)
    _show_layers(result)
    if result.codes:
        show_codes(result.codes)
    _show_quality(result)
    if result.program is not None:
        say_program(str(result.file), ProgramFacts.of(result.program))
    else:
        say(
            f"wrote {result.file}: `sigbit compile {result.file} --arch {arch} -o NET.sigbit` "
            "makes the Program"
        )


def show_codes(layers: "tuple[LayerCodes, ...]") -> None:
    """Print the layers that reproduce the codes of their quantized model."""
    rows = [(layer.name, str(layer)) for layer in layers]
    show_table("Codes of the quantized model", ["layer", "codes"], rows)


def _show_systems(result: "QuantizedNetwork") -> None:
    """Print the number systems that the network can be quantized to, from the finest to the chosen
    one."""
    if result.number_systems is None:
        return
    show_table(
        f"Number systems within {result.budget.luts:,} LUTs of {result.budget.target.value}",
        ["accelerator", "weights", "activations", "error of the outputs", "LUTs", ""],
        [
            (
                s.accelerator,
                s.weight_format,
                s.act_format,
                "" if s.error is None else f"{10 * math.log10(max(s.error, 1e-30)):.1f} dB",
                f"{s.luts:,.0f}",
                "chosen" if s.chosen else "too large",
            )
            for s in result.number_systems
            if s.luts is not None
        ],
        "   >>",
    )


def _show_reconstruction(result: "QuantizedNetwork") -> None:
    """Print the effect of each step."""
    if result.reconstruction is None:
        return
    show_table(
        f"{result.post.steps}, on held-out calibration samples",
        ["step", "same decision as float", "error of the outputs", ""],
        [
            (
                s.step,
                f"{s.agreement:.1%}",
                f"{10 * math.log10(max(s.error, 1e-30)):.1f} dB",
                "kept" if s.kept else "not kept",
            )
            for s in result.reconstruction
        ],
        " >>",
    )


def _show_curve(result: "QuantizedNetwork") -> None:
    """Print the networks among which the budget chose."""
    if (chosen := result.chosen_bits) is None:
        return
    show_table(
        f"{chosen.unit.capitalize()} and accuracy, on {chosen.samples} held-out samples",
        [chosen.unit, "points lost, estimated", "same decision as float", ""],
        [
            (
                f"{p.cost:,.0f}",
                f"{p.points:.2f} ± {p.deviation:.2f}",
                f"{p.agreement:.1%}",
                "chosen" if p.chosen else "",
            )
            for p in chosen.curve
        ],
        ">>>",
    )


def _budget_facts(chosen: "ChosenBits") -> "list[tuple[str, object]]":
    cost = f"{chosen.cost:,.0f}"
    if chosen.what == chosen.unit:
        return [("budget", f"{cost} of {chosen.limit:,} {chosen.unit}")]
    return [
        ("budget", f"{chosen.points:.2f} of {chosen.limit:g} points of accuracy, estimated"),
        (chosen.unit, cost),
    ]


def _show_layers(result: "QuantizedNetwork") -> None:
    from sigbit.flows.formats import act_bits, weight_bits

    shown = _noisiest(result.layers)
    whole = len(shown) == len(result.layers)
    of_weights, of_acts = (
        {digits: bits for bits, digits in table(result.config).items()}
        for table in (weight_bits, act_bits)
    )
    show_table(
        "Layers" if whole else f"The {len(shown)} noisiest of {len(result.layers)} layers",
        ["layer", "kind", "shape", "weight bits", "act bits", "scale", "signal to noise"],
        [
            (
                row.layer,
                row.kind,
                "×".join(map(str, row.shape)),
                "" if row.weight_terms is None else of_weights.get(row.weight_terms, ""),
                of_acts.get(row.act_planes, row.act_planes),
                f"{row.scale:.4g}",
                "" if row.snr_db is None else f"{row.snr_db:.1f} dB",
            )
            for row in shown
        ],
        "   >>>>",
    )


def _noisiest(layers: "tuple[LayerQuality, ...]") -> "list[LayerQuality]":
    """Return the layers with the most noise, in the order of the network, if there are too many to
    show."""
    ratios = sorted(row.snr_db for row in layers if row.snr_db is not None)
    if len(layers) <= SHOWN or not ratios:
        return list(layers)
    least = ratios[:SHOWN][-1]
    return [row for row in layers if row.snr_db is not None and row.snr_db <= least]


def _show_quality(result: "QuantizedNetwork") -> None:
    quality, chosen = result.quality, result.chosen_bits
    facts: list[tuple[str, object]] = [("weights", result.weights)]
    if result.quantizers:
        facts.append(("quantizers in the model", result.quantizers))
    facts += [("calibrated on", result.calibration), ("tested on", result.test)]
    if chosen is not None:
        facts += _budget_facts(chosen)
    facts.append(("float and quantized agree", f"{quality.agreement:.1%}"))
    if quality.accuracy_float is not None and quality.accuracy_quantized is not None:
        facts += [
            ("accuracy float", f"{quality.accuracy_float:.1%}"),
            ("accuracy quantized", f"{quality.accuracy_quantized:.1%}"),
        ]
    show_facts("Quality", facts)
