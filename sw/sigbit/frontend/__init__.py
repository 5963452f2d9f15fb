"""Importers: a user's PyTorch, ONNX or QONNX model as a float graph, or one report of everything
that is not supported.

``torch_export`` and ``onnx_import`` both give a graph of ATen operations; ``importer`` translates
it node by node with the translators that ``torch_ops`` and ``onnx_ops`` list; ``moves`` understands
operations that only move elements.
"""

from sigbit.frontend.onnx.importer import import_onnx
from sigbit.frontend.report import UnreadableModel, UnsupportedModel, UnsupportedNode
from sigbit.frontend.torch_export import Batches, as_tuple, graph_from_exported, import_model

__all__ = [
    "Batches",
    "UnreadableModel",
    "UnsupportedModel",
    "UnsupportedNode",
    "as_tuple",
    "graph_from_exported",
    "import_model",
    "import_onnx",
]
