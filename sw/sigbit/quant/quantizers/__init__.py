"""Quantizers: one module per method, and the table of all methods by name."""

from sigbit.quant.quantizers.base import Quantizer
from sigbit.quant.quantizers.registry import METHODS, Method, Side, embed, side
from sigbit.quant.quantizers.widening import widen

__all__ = ["METHODS", "Method", "Quantizer", "Side", "embed", "side", "widen"]
