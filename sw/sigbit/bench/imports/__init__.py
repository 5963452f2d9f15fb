"""Judges of the importers that nobody here wrote: the tests that come with ONNX and PyTorch."""
