"""What ``sigbit quantize`` says of its result."""

import math
from typing import TYPE_CHECKING, Any

from sigbit.cli.console.output import say, show_facts, show_table
from sigbit.cli.console.programs import say_program
from sigbit.cli.precision import act_bits, weight_bits

if TYPE_CHECKING:
    from sigbit_hw.arch.config import ArchConfig

SHOWN = 60
"""Layers in the table; the JSON file holds all."""


def show_quantized(document: dict[str, Any], config: "ArchConfig", arch: str) -> None:
    """Print ``document``: number systems, layers, quality, and what was written; ``arch`` is how
    other commands are given the accelerator."""
    _show_systems(document)
    rows = document["layers"]
    shown = rows
    if len(rows) > SHOWN:
        noisy = sorted(r["snr_db"] for r in rows if r["snr_db"] is not None)[:SHOWN]
        shown = [r for r in rows if r["snr_db"] is not None and r["snr_db"] <= noisy[-1]]
    names = ({v: k for k, v in table(config).items()} for table in (weight_bits, act_bits))
    of_weights, of_acts = names
    show_table(
        "Layers" if shown is rows else f"The {len(shown)} of {len(rows)} layers with most noise",
        ["layer", "kind", "shape", "weight bits", "act bits", "scale", "signal to noise"],
        [
            (
                r["layer"],
                r["kind"],
                "×".join(map(str, r["shape"])),
                of_weights.get(r["weight_terms"], ""),
                of_acts.get(r["act_planes"], r["act_planes"]),
                f"{r['scale']:.4g}",
                "" if r["snr_db"] is None else f"{r['snr_db']:.1f} dB",
            )
            for r in shown
        ],
        "   >>>>",
    )
    facts: list[tuple[str, object]] = [("weights", document["weights"])]
    if document["quantizers"]:
        facts.append(("quantizers in the model", document["quantizers"]))
    facts += [
        ("calibrated on", document["calibration"]),
        ("tested on", document["test"]),
        *_budget_facts(document["budget"]),
        ("float and quantized agree", f"{document['agreement']:.1%}"),
    ]
    if document["accuracy_float"] is not None:
        facts += [
            ("accuracy float", f"{document['accuracy_float']:.1%}"),
            ("accuracy quantized", f"{document['accuracy_quantized']:.1%}"),
        ]
    show_facts("Quality", facts)
    if "program" in document:
        say_program(document["file"], document["program"])
    else:
        say(
            f"wrote {document['file']}: `sigbit compile {document['file']} --arch {arch} "
            "-o NET.sigbit` makes the Program"
        )


def _show_systems(document: dict[str, Any]) -> None:
    """Those that the network can be quantized to, the finest first, up to the chosen one."""
    systems = document["number_systems"]
    if systems is None:
        return
    tried = [s for s in systems if s["luts"] is not None]
    show_table(
        f"Number systems within {document['lut_budget']['limit']:,.0f} LUTs of "
        f"{document['lut_budget']['target']}",
        ["accelerator", "weights", "activations", "error of the outputs", "LUTs", ""],
        [
            (
                s["accelerator"],
                s["weight_format"],
                s["act_format"],
                f"{10 * math.log10(max(s['error'], 1e-30)):.1f} dB",
                f"{s['luts']:,.0f}",
                "chosen" if s["chosen"] else "too large",
            )
            for s in tried
        ],
        "   >>",
    )


def _budget_facts(found: dict[str, Any] | None) -> list[tuple[str, object]]:
    if found is None:
        return []
    return [("budget", f"{found['cost']:,.0f} of {found['limit']:,.0f} {found['what']}")]
