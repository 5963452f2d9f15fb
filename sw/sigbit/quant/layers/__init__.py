"""Quantized layers: the accelerator's arithmetic as PyTorch modules."""
