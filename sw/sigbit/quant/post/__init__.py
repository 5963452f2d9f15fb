"""Post-training quantization: a float model as a prepared one of few bits, without training."""

from sigbit.quant.post.equalization import equalize as equalized
from sigbit.quant.post.folding import fold_batch_norms
from sigbit.quant.post.pipeline import post_training

__all__ = ["equalized", "fold_batch_norms", "post_training"]
