"""The benchmark of quantization methods."""
