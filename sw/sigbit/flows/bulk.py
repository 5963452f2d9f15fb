"""Evaluation of integer models by ONNX Runtime: decisions on many samples."""

from importlib.util import find_spec
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from sigbit.errors import UserError
from sigbit.export import onnx_model
from sigbit.quant import IntegerModel
from sigbit.quant.layers import operators

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

BATCH = 64
"""Samples evaluated at a time; one of them is compared."""


class BulkModel:
    """Results of an :class:`IntegerModel`, by its ONNX export in ONNX Runtime (extra ``bulk``).

    The export is exact by construction; the runtime's exactness is checked: in every call the first
    sample is also evaluated by the integer model, and all codes of its outputs must be equal.
    Raises :class:`~sigbit.errors.UserError` if one differs.
    """

    def __init__(self, integer: IntegerModel) -> None:
        self.integer = integer
        self.compared = 0
        self._session = session(onnx_model(integer.graph, stored=True).SerializeToString())

    def __call__(self, *inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Return real outputs, as :meth:`IntegerModel.forward` does."""
        graph = self.integer.graph
        feeds = {
            end.name: operators.quantize(
                n.axes.to_stored(x, n.type.shape), n.type.scale, n.type.zero, n.low, n.high, n.name
            )
            for end, n, x in zip(self._session.get_inputs(), graph.inputs, inputs, strict=True)
        }
        given = self._session.run(None, {k: v.numpy().astype(np.float32) for k, v in feeds.items()})
        stored = dict(zip(dict.fromkeys(graph.outputs), map(torch.from_numpy, given), strict=True))
        self._compare(inputs, stored)
        outputs = []
        for name, axes in zip(graph.outputs, graph.output_axes, strict=True):
            t = graph[name].type
            real = operators.dequantize(stored[name].long(), t.scale, t.zero, inputs[0])
            outputs.append(axes.from_stored(real))
        return outputs[0] if len(outputs) == 1 else tuple(outputs)

    def _compare(self, inputs: tuple[Tensor, ...], stored: dict[str, Tensor]) -> None:
        """Check that the first sample's codes equal the integer model's."""
        wanted = self.integer.stored(*(x[:1] for x in inputs))
        for name, found in stored.items():
            different = int((found[:1] != wanted[name]).sum())
            if different:
                raise UserError(
                    f"ONNX Runtime does not execute {self.integer.graph.name} exactly: "
                    f"{different:,} of {found[:1].numel():,} codes of {name} differ from the "
                    "integer model's. Evaluate without ONNX Runtime"
                )
            self.compared += found[:1].numel()


def has_runtime() -> bool:
    """Return whether ONNX Runtime is installed."""
    return find_spec("onnxruntime") is not None


def runtime() -> ModuleType:
    """Return ONNX Runtime; raise :class:`~sigbit.errors.UserError` if it is not installed."""
    try:
        import onnxruntime
    except ImportError:
        raise UserError(
            "evaluating in bulk needs ONNX Runtime, which is not installed: "
            "pip install 'sigbit[bulk]', or evaluate without it"
        ) from None
    module: ModuleType = onnxruntime
    return module


def session(model: bytes) -> "InferenceSession":
    """Return an ONNX Runtime session for an ONNX model, on the CPU."""
    options = runtime().SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    return runtime().InferenceSession(model, options, providers=["CPUExecutionProvider"])
