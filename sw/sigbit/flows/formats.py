"""Bits as users name them, and their formats on an accelerator."""

import re
from dataclasses import dataclass

from sigbit.errors import UserError
from sigbit.quant import QuantSpec
from sigbit_hw.arch.config import ArchConfig


@dataclass(frozen=True)
class Formats:
    """Bits of weights and activations.

    Parameters
    ----------
    weights : str, optional
        ``esb8`` for two terms; if not given, the accelerator's own format, and for weights of a
        quantized model a format that holds their integers.
    acts : str, optional
        ``esb7`` or ``esb8`` for two or three planes; if not given, as for weights.
    first_last : int
        Minimum bits of the first and last layers' weights.
    bits : tuple of str
        Bits of single layers: ``LAYER=WEIGHTS/ACTS``, such as ``conv1=8/8``.
    """

    weights: str | None = None
    acts: str | None = None
    first_last: int = 8
    bits: tuple[str, ...] = ()

    def spec(self, config: ArchConfig) -> QuantSpec:
        """Return these formats on ``config``, scales searched for the least squared error.

        Raises :class:`~sigbit.errors.UserError` for formats that the accelerator does not have.
        """
        of_weights, of_acts = weight_bits(config), act_bits(config)
        if self.first_last not in of_weights:
            raise UserError(
                f"--first-last must be one of {_list(of_weights)} on {config.name}, not "
                f"{self.first_last}"
            )
        return QuantSpec.from_arch(
            config,
            weight_terms=_format("--weights", self.weights, of_weights, config),
            act_planes=_format("--acts", self.acts, of_acts, config),
            first_last_terms=of_weights[self.first_last],
            wide_head=self.first_last == 8,
            bits=dict(_layer(text, of_weights, of_acts, config) for text in self.bits),
            weight_scale="mse",
            act_scale="mse",
            given_weights=self.weights is None,
            given_acts=self.acts is None,
        )


def weight_bits(config: ArchConfig) -> dict[int, int]:
    """Return the number of terms of weights by their bits."""
    return {config.weight_format.bits: 1, 8: QuantSpec.from_arch(config).byte_terms}


def act_bits(config: ArchConfig) -> dict[int, int]:
    """Return the number of planes of activations by their bits: two planes of the 4-bit format hold
    7."""
    spec = QuantSpec.from_arch(config)
    sides = 2 if config.act_format.signed else 1
    between = {
        (sides * spec.act_contiguous(planes)).bit_length(): planes
        for planes in range(2, spec.byte_planes)
    }
    return {config.act_format.bits: 1} | between | {8: spec.byte_planes}


def _format(option: str, text: str | None, allowed: dict[int, int], config: ArchConfig) -> int:
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
    text: str, of_weights: dict[int, int], of_acts: dict[int, int], config: ArchConfig
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
