"""Bits as users name them, and what they are on an accelerator."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sigbit.errors import UserError

if TYPE_CHECKING:
    from sigbit.quant import QuantSpec
    from sigbit_hw.arch.config import ArchConfig


def weight_bits(config: "ArchConfig") -> dict[int, int]:
    """Terms of weights by their bits."""
    from sigbit.quant import QuantSpec

    return {config.weight_format.bits: 1, 8: QuantSpec.from_arch(config).byte_terms}


def act_bits(config: "ArchConfig") -> dict[int, int]:
    """Planes of activations by their bits: two planes of the 4-bit format hold 7."""
    from sigbit.quant import QuantSpec

    spec = QuantSpec.from_arch(config)
    sides = 2 if config.act_format.signed else 1
    between = {
        (sides * spec.act_contiguous(planes)).bit_length(): planes
        for planes in range(2, spec.byte_planes)
    }
    return {config.act_format.bits: 1} | between | {8: spec.byte_planes}


def bits_spec(
    config: "ArchConfig",
    weights: str | None,
    acts: str | None,
    first_last: int,
    layers: Sequence[str],
) -> "QuantSpec":
    """The spec of ``--weights`` and ``--acts`` (None: the accelerator's own), ``--first-last`` and
    ``--bits``, scales searched for the least squared error; :class:`UserError` for what the
    accelerator does not have."""
    from sigbit.quant import QuantSpec

    of_weights, of_acts = weight_bits(config), act_bits(config)
    terms = _format("--weights", weights, of_weights, config)
    planes = _format("--acts", acts, of_acts, config)
    if first_last not in of_weights:
        raise UserError(
            f"--first-last must be one of {_list(of_weights)} on {config.name}, not {first_last}"
        )
    return QuantSpec.from_arch(
        config,
        weight_terms=terms,
        act_planes=planes,
        first_last_terms=of_weights[first_last],
        wide_head=first_last == 8,
        bits=dict(_layer(text, of_weights, of_acts, config) for text in layers),
        weight_scale="mse",
        act_scale="mse",
    )


def _format(option: str, text: str | None, allowed: dict[int, int], config: "ArchConfig") -> int:
    if text is None:
        return 1
    found = re.fullmatch(r"esb(\d+)", text.lower())
    if found is None or int(found[1]) not in allowed:
        raise UserError(
            f"{option}: {config.name} has {_list(allowed, 'esb')}, not {text!r}; other native "
            "formats need another accelerator (sigbit arch list)"
        )
    return allowed[int(found[1])]


def _layer(
    text: str, of_weights: dict[int, int], of_acts: dict[int, int], config: "ArchConfig"
) -> tuple[str, tuple[int, int]]:
    name, equals, pair = text.rpartition("=")
    parts = pair.split("/")
    if not name or not equals or len(parts) != 2 or not all(p.isdecimal() for p in parts):
        raise UserError(f"--bits must be LAYER=WEIGHTS/ACTS, such as conv1=8/8, not {text!r}")
    weights, acts = map(int, parts)
    if weights not in of_weights or acts not in of_acts:
        raise UserError(
            f"--bits {text}: {config.name} has weights of {_list(of_weights)} and activations of "
            f"{_list(of_acts)} bits"
        )
    return name, (of_weights[weights], of_acts[acts])


def _list(allowed: dict[int, int], prefix: str = "") -> str:
    return " or ".join(f"{prefix}{bits}" for bits in sorted(allowed))
