"""Quantization: exact low-bit arithmetic in PyTorch, training through it, and conversion to the
integer graph.

``prepare`` turns a plain model into a trainable one whose forward pass is the accelerator's
arithmetic; ``convert`` turns that into an :class:`~sigbit.quant.integer_model.IntegerModel`, with
the same result on every layer. ``post`` works without training.

``fusion`` makes plans of the float graph (``plans``), ``precision`` and ``sharing`` assign digits
and common grids to them; ``layer``, ``moves`` and ``modules`` compute them. ``calibration`` reads
samples in chunks, and keeps statistics of the float network's tensors.
"""

from sigbit.errors import QuantizationError
from sigbit.quant.convert import convert
from sigbit.quant.integer_model import IntegerModel
from sigbit.quant.prepare import prepare
from sigbit.quant.prepared import PreparedModel
from sigbit.quant.spec import QuantSpec

__all__ = [
    "IntegerModel",
    "PreparedModel",
    "QuantSpec",
    "QuantizationError",
    "convert",
    "prepare",
]
