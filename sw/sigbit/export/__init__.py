"""Integer models for other tools: as ONNX for any runtime, and as a bundle of plain arrays."""

from sigbit.export.bundle import export_bundle
from sigbit.export.files import ExportError
from sigbit.export.qonnx import export_qonnx, onnx_model

__all__ = ["ExportError", "export_bundle", "export_qonnx", "onnx_model"]
