"""``sigbit synth``: what an accelerator costs on a fabric, by open synthesis."""

from dataclasses import asdict
from enum import StrEnum
from typing import Annotated

import typer

from sigbit.cli.arch import load_arch
from sigbit.cli.files import write_json
from sigbit.cli.options import Arch, Json
from sigbit.cli.output import progress, say, show_table

SHOWN = 20
"""Modules in the table; the JSON file holds all."""


class TargetName(StrEnum):
    """Fabrics by the names that the command line gives them."""

    XCUP = "xcup"
    ECP5 = "ecp5"
    ICE40 = "ice40"


def synth(
    arch: Arch = "nano",
    target: Annotated[TargetName, typer.Option(help="Fabric to map to.")] = TargetName.XCUP,
    json: Json = None,
) -> None:
    """Map an accelerator to a fabric with Yosys and count its cells; no DSP blocks are used."""
    config = load_arch(arch)
    from sigbit_boards.synthesis import Target, synthesize

    with progress() as bar:
        bar.add_task(f"synthesizing {config.name} for {target}", total=None)
        report = synthesize(config, Target[target.name])
    total = report.total
    show_table(
        f"{config.name} on {target}: cells by module, the costliest first",
        ["module", "instances", "LUT each", "LUT", "FF", "carry", "DSP", "memory bits"],
        [
            (m.name, m.instances, m.own.lut, *_all(m.instances, asdict(m.own)))
            for m in report.modules[:SHOWN]
        ],
        " >>>>>>>",
    )
    say(
        f"whole accelerator: {total.lut:,} LUT, {total.ff:,} FF, {total.dsp} DSP, "
        f"{total.block_bits:,} bits of block memory; {config.macs:,} multiply-accumulates a cycle, "
        f"{report.lut_per_mac:.1f} LUT each"
    )
    write_json(
        json,
        {
            "preset": config.name,
            "arch_digest": config.digest,
            "target": str(target),
            "macs": config.macs,
            "lut_per_mac": report.lut_per_mac,
            "total": asdict(total),
            "modules": [
                {"name": m.name, "instances": m.instances, **asdict(m.own)} for m in report.modules
            ],
        },
    )


def _all(instances: int, own: dict[str, int]) -> list[str]:
    return [f"{instances * own[name]:,}" for name in ("lut", "ff", "carry", "dsp", "block_bits")]
