"""ONNX and QONNX files as graphs of ATen operators."""
