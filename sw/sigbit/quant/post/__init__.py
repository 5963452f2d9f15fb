"""Post-training quantization: a float model as a prepared one of few bits, without training."""

from sigbit.quant.post.pipeline import post_training

__all__ = ["post_training"]
