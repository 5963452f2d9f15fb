"""Shapes that users give for inputs whose dimensions a model leaves open."""

from collections.abc import Mapping

from onnx import ModelProto, ValueInfoProto

from sigbit.errors import UserError

Shape = tuple[int, ...]


def check_shapes(model: ModelProto, shapes: Mapping[str, Shape]) -> None:
    """Raise ``UserError`` for a shape of no input, or one that contradicts the model."""
    constants = {t.name for t in model.graph.initializer}
    inputs = {v.name: v for v in model.graph.input if v.name not in constants}
    for name, shape in shapes.items():
        if name not in inputs:
            raise UserError(
                f"--input {name}: the model has no input of this name, only {', '.join(inputs)}"
            )
        dims = [d.dim_value for d in inputs[name].type.tensor_type.shape.dim][1:]
        fits = len(dims) in (0, len(shape)) and all(
            d <= 0 or d == n for d, n in zip(dims, shape, strict=False)
        )
        if not fits:
            raise UserError(
                f"--input {name}={'x'.join(map(str, shape))} does not fit the model's input "
                f"[{', '.join(_shown(inputs[name]))}]: give its open dimensions, and the others as "
                "they are"
            )


def _shown(value: ValueInfoProto) -> list[str]:
    """Return the dimensions of an input."""
    dims = value.type.tensor_type.shape.dim
    return [str(d.dim_value) if d.dim_value > 0 else d.dim_param or "?" for d in dims]
