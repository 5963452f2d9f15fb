"""IntegerModel: an integer graph as an ``nn.Module``."""

import warnings
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from sigbit.ir.integer import (
    Constant,
    Conv,
    Gather,
    Input,
    IntegerGraph,
    Matmul,
    MaxPool,
    Node,
)
from sigbit.ir.model_file import load_model, save_model
from sigbit.quant.layers import operators
from sigbit_tools.files import replacing


class IntegerModel(nn.Module):
    """The deployed network in PyTorch: from real inputs to real outputs, through stored integers
    only."""

    def __init__(self, graph: IntegerGraph) -> None:
        super().__init__()
        self.graph = graph
        self._buffers_of: dict[str, list[str]] = {}
        for index, node in enumerate(graph.nodes):
            arrays = _arrays(node)
            self._buffers_of[node.name] = [f"node{index}_{i}" for i in range(len(arrays))]
            for key, array in zip(self._buffers_of[node.name], arrays, strict=True):
                self.register_buffer(key, torch.from_numpy(np.ascontiguousarray(array)))

    def levels(self, *inputs: Tensor) -> dict[str, Tensor]:
        """Return the stored integers (int64) ``[batch, C, H, W]`` of every tensor by name, from
        real inputs."""
        if len(inputs) != len(self.graph.inputs):
            raise TypeError(
                f"{self.graph.name} has {len(self.graph.inputs)} inputs, not {len(inputs)}"
            )
        given: dict[str, Tensor] = {}
        for place, x in zip(self.graph.inputs, inputs, strict=True):
            shape = place.axes.shape(place.type.shape)
            if tuple(x.shape[1:]) != shape:
                raise ValueError(
                    f"input {place.name!r} must have shape [batch, {', '.join(map(str, shape))}] "
                    f"({place.axes}), not {list(x.shape)}"
                )
            given[place.name] = x
        values: dict[str, Tensor] = {}
        for node in self.graph.nodes:
            values[node.name] = self._node(node, values, given)
        return values

    def _node(self, node: Node, values: dict[str, Tensor], given: dict[str, Tensor]) -> Tensor:
        t = node.type
        if isinstance(node, Input):
            image = node.axes.to_stored(given[node.name], t.shape)
            return operators.quantize(image, t.scale, t.zero, node.low, node.high, node.name)
        if isinstance(node, MaxPool):
            return operators.max_pool(
                values[node.tensor],
                list(node.kernel),
                list(node.stride),
                list(node.padding),
                list(t.shape),
                self.graph.act_format.min,
            )
        buffers = [getattr(self, key) for key in self._buffers_of[node.name]]
        if isinstance(node, Constant):
            return buffers[0].expand(next(iter(given.values())).shape[0], -1, -1, -1)
        if isinstance(node, Matmul):
            factors = values[node.left], values[node.right]
            return operators.matmul(*factors, *buffers, list(t.shape))
        if isinstance(node, Gather):
            return operators.gather(
                [values[name] for name in node.tensors], buffers[0], list(t.shape)
            )
        base, step, tie, table, *weights = buffers
        return operators.conv(
            [values[s.tensor] for s in node.sources],
            weights,
            base,
            step,
            tie,
            table,
            [v for s in node.sources for v in operators.describe(s)],
            [self.graph[s.tensor].type.zero for s in node.sources],
            list(t.shape),
        )

    def stored(self, *inputs: Tensor) -> dict[str, Tensor]:
        """Return :meth:`levels` without gradients: the contents of every tensor on the
        accelerator."""
        with torch.no_grad():
            return self.levels(*inputs)

    def forward(self, *inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Return real outputs in the dtype of the first input, before the host's part."""
        values = self.levels(*inputs)
        outputs = []
        for name, axes in zip(self.graph.outputs, self.graph.output_axes, strict=True):
            t = self.graph[name].type
            real = operators.dequantize(values[name], t.scale, t.zero, inputs[0])
            outputs.append(axes.from_stored(real))
        return outputs[0] if len(outputs) == 1 else tuple(outputs)

    def save(self, path: str | Path) -> str:
        """Write the model to ``path`` (see :mod:`sigbit.ir.model_file`); return its digest."""
        return save_model(self.graph, path)

    @classmethod
    def load(cls, path: str | Path) -> "IntegerModel":
        """Return the model in a file that :meth:`save` wrote; raise ``FileError`` with the defect
        of any other file."""
        return cls(load_model(path))

    def exported(self) -> ExportedProgram:
        """Return the model as a program of ``torch.export``, for batches of any size.

        Loading it requires :mod:`sigbit.quant.layers.operators`.
        """
        batch = torch.export.Dim("batch", min=1)
        examples = tuple(
            torch.zeros(2, *node.axes.shape(node.type.shape)) for node in self.graph.inputs
        )
        shapes = (tuple({0: batch} for _ in examples),)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch.export warns about its own internals
            return torch.export.export(self, examples, dynamic_shapes=shapes)

    def export_pt2(self, path: str | Path) -> None:
        """Write :meth:`exported` to ``path`` atomically."""
        content = BytesIO()  # torch hides what a full disk says
        torch.export.save(self.exported(), content)
        with replacing(Path(path)) as file:
            file.write(content.getbuffer())


def _arrays(node: Node) -> list[np.ndarray]:
    """Return the arrays of a node, in the order of its operator's arguments."""
    if isinstance(node, Conv):
        weights = (s.weights for s in node.sources)
        return [node.base, node.step, node.tie, node.table, *weights]
    if isinstance(node, Matmul):
        return [node.base, node.step, node.tie, node.table]
    if isinstance(node, Constant):
        return [node.values]
    return [node.channels] if isinstance(node, Gather) else []
