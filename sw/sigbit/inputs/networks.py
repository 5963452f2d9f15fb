"""Float networks that users name: from the zoo, a file, or a Python object."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sigbit.errors import UserError
from sigbit.inputs.integer_models import ZOO, load_exported
from sigbit.inputs.python_objects import first_line, python_object

if TYPE_CHECKING:
    from torch import nn
    from torch.export import ExportedProgram

    from sigbit.ir.floating import FloatGraph
    from sigbit.zoo import Entry

_EXAMPLES = 2
"""Samples in example inputs: with two, the importer notices whatever mixes samples."""


@dataclass(frozen=True)
class FloatNetwork:
    """An imported network; ``entry`` is that of the zoo, if it comes from there; ``weights`` says
    where they come from."""

    graph: "FloatGraph"
    entry: "Entry | None"
    weights: str


def load_network(
    name: str, shapes: Sequence[str] = (), checkpoint: Path | None = None
) -> FloatNetwork:
    """The float network ``name``, imported.

    ``shapes`` are the inputs' of a Python object. Raises :class:`UserError` for wrong names, shapes
    and weights, ``UnsupportedModel`` with every node that cannot be compiled.
    """
    if name.startswith(ZOO):
        return _of_zoo(name.removeprefix(ZOO), shapes, checkpoint)
    if name.endswith((".pt2", ".onnx")):
        if checkpoint is not None:
            raise UserError(f"{name} holds its weights itself: leave out --checkpoint")
        return FloatNetwork(_of_file(Path(name), shapes), None, f"those in {name}")
    value = python_object(name)
    if value is None:
        raise UserError(_hint(name))
    return _of_object(value, name, shapes, checkpoint)


def _hint(name: str) -> str:
    from sigbit import zoo

    if name in zoo.names():
        return f"no model {name!r}: for the network of the zoo write {ZOO}{name}"
    return (
        f"no model {name!r}: give zoo:NAME, MODEL.pt2, MODEL.onnx, or path/to/file.py:attribute or "
        f"module:attribute; the zoo has {', '.join(zoo.names())}"
    )


def _of_zoo(name: str, shapes: Sequence[str], checkpoint: Path | None) -> FloatNetwork:
    import torch

    from sigbit import zoo

    if shapes:
        raise UserError(f"the input of {ZOO}{name} is known: leave out --input")
    entry = zoo.entry(name)
    torch.manual_seed(0)
    model = zoo.build(name)
    graph = _imported(model, [entry.input_shape], name, checkpoint)
    return FloatNetwork(graph, entry, _origin(checkpoint, "random, seed 0"))


def _of_file(path: Path, shapes: Sequence[str]) -> "FloatGraph":
    if path.suffix == ".pt2":
        if shapes:
            raise UserError(f"{path} holds its inputs itself: leave out --input")
        return _of_exported(load_exported(path), path.stem, str(path))
    from sigbit.frontend import import_onnx

    if not path.is_file():
        raise UserError(f"{path}: no such file")
    given = {}
    for text in shapes:
        name, equals, shape = text.rpartition("=")
        if not equals:
            raise UserError(
                f"{path} names its inputs: write --input NAME={text}, and only where its "
                "dimensions are open"
            )
        given[name] = _shape(shape)
    return import_onnx(path, given)


def _of_exported(exported: "ExportedProgram", name: str, where: str) -> "FloatGraph":
    import torch

    from sigbit.frontend import graph_from_exported

    if any(n.target is torch.ops.sigbit.quantize.default for n in exported.graph.nodes):
        raise UserError(_already_integer(where))
    return graph_from_exported(exported, name)


def _already_integer(name: str) -> str:
    return f"{name} is an integer model already: `sigbit compile {name} -o NET.sigbit` takes it"


def _of_object(
    value: Any, name: str, shapes: Sequence[str], checkpoint: Path | None
) -> FloatNetwork:
    from torch import nn
    from torch.export import ExportedProgram

    from sigbit.ir.floating import FloatGraph
    from sigbit.ir.integer import IntegerGraph
    from sigbit.quant import IntegerModel, PreparedModel

    title = name.rpartition(":")[2]
    if isinstance(value, IntegerModel | PreparedModel | IntegerGraph):
        raise UserError(_already_integer(name))
    if isinstance(value, nn.Module):
        if not shapes:
            raise UserError(
                f"{name}: the shape of its input is not known: give --input SHAPE, such as "
                "--input 3x224x224 (without the batch; once for each input)"
            )
        graph = _imported(value, [_shape(s) for s in shapes], title, checkpoint)
        return FloatNetwork(graph, None, _origin(checkpoint, f"as {name} has them"))
    if shapes or checkpoint is not None:
        raise UserError(f"{name} is no nn.Module: leave out --input and --checkpoint")
    if isinstance(value, ExportedProgram):
        return FloatNetwork(_of_exported(value, title, name), None, f"as {name} has them")
    if isinstance(value, FloatGraph):
        return FloatNetwork(value, None, f"as {name} has them")
    raise UserError(
        f"{name} must be an nn.Module or an exported program, or a function without arguments that "
        f"returns one, not {type(value).__name__}"
    )


def _imported(
    model: "nn.Module", shapes: Sequence[tuple[int, ...]], name: str, checkpoint: Path | None
) -> "FloatGraph":
    import torch

    from sigbit import zoo
    from sigbit.frontend import import_model

    if checkpoint is not None:
        zoo.load_checkpoint(model, checkpoint)
    examples = tuple(torch.zeros(_EXAMPLES, *shape) for shape in shapes)
    model.eval()
    try:
        with torch.no_grad():
            model(*examples)
    except Exception as error:
        given = ", ".join("x".join(map(str, s)) for s in shapes)
        raise UserError(
            f"{name} does not take inputs of {given} (without the batch of {_EXAMPLES}): "
            f"{first_line(error)}"
        ) from error
    return import_model(model, examples, name)


def _shape(text: str) -> tuple[int, ...]:
    """``3x224x224`` (or with commas) as numbers."""
    parts = text.lower().replace(",", "x").split("x")
    if not all(p.isdecimal() and int(p) > 0 for p in parts) or len(parts) > 3:
        raise UserError(
            f"--input must be one to three positive numbers without the batch, such as 3x224x224, "
            f"not {text!r}"
        )
    return tuple(map(int, parts))


def _origin(checkpoint: Path | None, otherwise: str) -> str:
    return otherwise if checkpoint is None else f"those in {checkpoint}"
