"""Importers: a user's PyTorch model as a float graph, or a report of what is not supported."""

from sigbit.frontend.onnx_import import import_onnx
from sigbit.frontend.report import UnsupportedModel, UnsupportedNode
from sigbit.frontend.torch_export import Batches, as_tuple, graph_from_exported, import_model

__all__ = [
    "Batches",
    "UnsupportedModel",
    "UnsupportedNode",
    "as_tuple",
    "graph_from_exported",
    "import_model",
    "import_onnx",
]
