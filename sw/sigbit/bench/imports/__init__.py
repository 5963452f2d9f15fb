"""Independent tests of the importers: the test suites of ONNX and PyTorch."""
