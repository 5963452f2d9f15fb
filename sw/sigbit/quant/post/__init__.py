"""Post-training quantization: conversion of a float model to a prepared one of few bits, without
training.

``pipeline`` folds, equalizes, searches scales and corrects biases; ``reconstruction`` learns
rounding from unlabelled samples; ``transform`` turns layers into pairs that need fewer bits
(``linear_transforms``, ``rate_distortion``); ``mixed`` chooses the bits of every layer within a
budget, ``number_systems`` the array's formats. ``corrections`` are what all of them apply after
rounding.
"""

from sigbit.quant.post.equalization import equalize as equalized
from sigbit.quant.post.folding import fold_batch_norms
from sigbit.quant.post.mixed import mixed_precision, weight_bits
from sigbit.quant.post.number_systems import choose_number_system
from sigbit.quant.post.pipeline import post_training
from sigbit.quant.post.reconstruction.reconstruct import (
    Reconstructed,
    Reconstruction,
    reconstruct,
)
from sigbit.quant.post.transform import collapse, plain_rounding, transform_quantize

__all__ = [
    "Reconstructed",
    "Reconstruction",
    "choose_number_system",
    "collapse",
    "equalized",
    "fold_batch_norms",
    "mixed_precision",
    "plain_rounding",
    "post_training",
    "reconstruct",
    "transform_quantize",
    "weight_bits",
]
