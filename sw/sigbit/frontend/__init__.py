"""Importers: a user's PyTorch model as a float graph, or a report of what is not supported."""

from sigbit.frontend.report import UnsupportedModel, UnsupportedNode
from sigbit.frontend.torch_export import graph_from_exported, import_model

__all__ = ["UnsupportedModel", "UnsupportedNode", "graph_from_exported", "import_model"]
