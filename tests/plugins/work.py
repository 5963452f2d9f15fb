"""Jobs for campaigns with plugins."""

from typing import Any

from sigbit.quant.quantizers import METHODS


def methods(tell: Any) -> list[dict[str, Any]]:
    """The quantizers that this process knows."""
    return [{"methods": sorted(METHODS)}]
