"""Float networks by name: from the zoo, a file, or a Python object."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeAlias, cast

from sigbit.errors import UserError
from sigbit.inputs.integer_models import ZOO, load_exported
from sigbit.ir import MODEL_SUFFIX
from sigbit.python_objects import first_line, python_object
from sigbit_tools.errors import out_of_memory

if TYPE_CHECKING:
    from torch import nn
    from torch.export import ExportedProgram

    from sigbit.ir.floating import FloatGraph
    from sigbit.zoo import Entry

_EXAMPLES = 2
"""Number of samples in example inputs: with two, the importer notices operations that mix
samples."""
_ELEMENTS_MAX = 1 << 26
"""Maximum number of elements of an input."""


Model: TypeAlias = "str | nn.Module | ExportedProgram | FloatGraph"
"""A float network: by name, or as an object."""
Shape = str | tuple[int, ...]
"""Shape of an input without the batch: ``(3, 224, 224)``, or ``3x224x224`` as text."""


@dataclass(frozen=True)
class Network:
    """A requested float network, and options for loading it.

    Parameters
    ----------
    model : str, nn.Module, ExportedProgram or FloatGraph
        ``zoo:NAME``, a ``.pt2`` or ``.onnx`` file, ``module:attribute`` or
        ``path/to/file.py:attribute``, or the network itself.
    shapes : tuple of shapes
        Shapes of its inputs without the batch, if it does not define them; for open dimensions of
        ONNX
        inputs as text, ``NAME=3x224x224``.
    checkpoint : Path, optional
        Trained weights for networks of the zoo and modules.
    cuts : tuple of str
        Tensors behind which the host continues: of an ONNX model, or nodes of a torch.export
        program.
    states : tuple of str
        Inputs that a device keeps from one run to the next, ``NAME=OUTPUT``, each with the output
        that becomes it, by name or by number from 0. Buffers that a module overwrites are states
        without being listed.
    """

    model: Model
    shapes: tuple[Shape, ...] = ()
    checkpoint: Path | None = None
    cuts: tuple[str, ...] = ()
    states: tuple[str, ...] = ()

    @classmethod
    def of(cls, network: "Network | Model") -> Self:
        """Return ``network``, or a network without further options."""
        return network if isinstance(network, cls) else cls(cast("Model", network))

    @property
    def name(self) -> str:
        """Name of the network, for display."""
        return self.model if isinstance(self.model, str) else type(self.model).__name__


@dataclass(frozen=True)
class FloatNetwork:
    """An imported network; ``entry`` is its entry in the zoo, if it comes from there; ``weights``
    is the origin of its weights."""

    graph: "FloatGraph"
    entry: "Entry | None"
    weights: str

    @property
    def classes(self) -> dict[str, int | None]:
        """Number of classes by result, in order; None where the host makes something else."""
        graph = self.graph
        shapes = {
            name: graph[tensor].shape
            for name, tensor in zip(graph.output_names, graph.outputs, strict=True)
        }
        if not graph.host:
            return {name: shape[0] for name, shape in shapes.items()}
        return graph.host.classes(shapes)


def load_network(network: Network) -> FloatNetwork:
    """Import ``network``.

    Raises :class:`UserError` for wrong names, shapes, weights and states, ``UnsupportedModel`` with
    every node that cannot be compiled.
    """
    loaded = _loaded(network)
    if not network.states:
        return loaded
    from sigbit.frontend.states import with_states

    pairs = [text.partition("=")[::2] for text in network.states]
    if wrong := [text for text in network.states if "=" not in text]:
        raise UserError(f"--state must be NAME=OUTPUT, an input and an output, not {wrong[0]!r}")
    if len({name for name, _ in pairs}) < len(pairs):
        raise UserError("--state names an input twice")
    return replace(loaded, graph=with_states(loaded.graph, dict(pairs)))


def _loaded(network: Network) -> FloatNetwork:
    model, shapes, checkpoint = network.model, network.shapes, network.checkpoint
    if not isinstance(model, str):
        return _of_object(model, network.name, shapes, checkpoint, network.cuts)
    if model.startswith(ZOO):
        return _of_zoo(model.removeprefix(ZOO), shapes, checkpoint, network.cuts)
    if model.endswith(MODEL_SUFFIX):
        raise UserError(_already_integer(model))
    if model.endswith((".pt2", ".onnx")):
        if checkpoint is not None:
            raise UserError(f"{model} holds its weights itself: leave out --checkpoint")
        graph = _of_file(Path(model), shapes, network.cuts)
        return FloatNetwork(graph, None, f"those in {model}")
    value = python_object(model)
    if value is None:
        raise UserError(_hint(model))
    return _of_object(value, model, shapes, checkpoint, network.cuts)


def _hint(name: str) -> str:
    from sigbit import zoo

    if name in zoo.names():
        return f"no model {name!r}: for the network of the zoo write {ZOO}{name}"
    return (
        f"no model {name!r}: give zoo:NAME, MODEL.pt2, MODEL.onnx, or path/to/file.py:attribute or "
        f"module:attribute; the zoo has {', '.join(zoo.names())}"
    )


def _of_zoo(
    name: str, shapes: Sequence[Shape], checkpoint: Path | None, cuts: Sequence[str]
) -> FloatNetwork:
    import torch

    from sigbit import zoo

    if shapes:
        raise UserError(f"the input of {ZOO}{name} is known: leave out --input")
    entry = zoo.entry(name)
    torch.manual_seed(0)
    model = zoo.build(name)
    graph = _imported(model, [entry.input_shape], name, checkpoint, cuts)
    return FloatNetwork(graph, entry, _origin(checkpoint, "random, seed 0"))


def _of_file(path: Path, shapes: Sequence[Shape], cuts: Sequence[str]) -> "FloatGraph":
    if path.suffix == ".pt2":
        if shapes:
            raise UserError(f"{path} holds its inputs itself: leave out --input")
        return _of_exported(load_exported(path), path.stem, str(path), cuts)
    from sigbit.frontend import import_onnx

    if not path.is_file():
        raise UserError(f"{path}: no such file")
    named = [_named(shape, path) for shape in shapes]
    if len(dict(named)) < len(named):
        raise UserError(f"{path}: an input has several shapes: give --input NAME=SHAPE once")
    return import_onnx(path, dict(named), cuts)


def _named(shape: Shape, path: Path) -> tuple[str, tuple[int, ...]]:
    """Return the name and the shape of an ONNX input."""
    text = shape if isinstance(shape, str) else "x".join(map(str, shape))
    name, equals, numbers = text.rpartition("=")
    if not equals:
        raise UserError(
            f"{path} names its inputs: write --input NAME={text}, and only where its dimensions "
            "are open"
        )
    return name, _shape(numbers)


def _of_exported(
    exported: "ExportedProgram", name: str, where: str, cuts: Sequence[str]
) -> "FloatGraph":
    import torch

    from sigbit.frontend import graph_from_exported

    if any(n.target is torch.ops.sigbit.quantize.default for n in exported.graph.nodes):
        raise UserError(
            f"{where} is an export of an integer model: `sigbit compile` takes the "
            f"NET{MODEL_SUFFIX} that it was made of"
        )
    return graph_from_exported(exported, name, cuts)


def _already_integer(name: str) -> str:
    return f"{name} is an integer model already: `sigbit compile {name} -o NET.sigbit` takes it"


def _of_object(
    value: Any,
    name: str,
    shapes: Sequence[Shape],
    checkpoint: Path | None,
    cuts: Sequence[str],
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
        graph = _imported(value, [_shape(s) for s in shapes], title, checkpoint, cuts)
        return FloatNetwork(graph, None, _origin(checkpoint, f"as {name} has them"))
    if shapes or checkpoint is not None:
        raise UserError(f"{name} is not an nn.Module: leave out --input and --checkpoint")
    if isinstance(value, ExportedProgram):
        return FloatNetwork(_of_exported(value, title, name, cuts), None, f"as {name} has them")
    if isinstance(value, FloatGraph):
        if cuts:
            raise UserError(f"{name} is imported already: leave out --cut")
        return FloatNetwork(value, None, f"as {name} has them")
    raise UserError(
        f"{name} must be an nn.Module or an exported program, or a function without arguments that "
        f"returns one, not {type(value).__name__}"
    )


def _imported(
    model: "nn.Module",
    shapes: Sequence[tuple[int, ...]],
    name: str,
    checkpoint: Path | None,
    cuts: Sequence[str],
) -> "FloatGraph":
    import torch

    from sigbit import zoo
    from sigbit.frontend import import_model
    from sigbit.ir.convolution import row_major_convolutions

    if checkpoint is not None:
        zoo.load_checkpoint(model, checkpoint)
    model.eval()
    buffers = _Buffers(model)
    examples = tuple(torch.zeros(_EXAMPLES, *shape) for shape in shapes)
    one = tuple(x[:1] for x in examples)
    try:
        with torch.no_grad(), row_major_convolutions():
            try:
                model(*examples)
            except Exception:  # a module with states keeps those of one sample
                model(*(x + 1 for x in one))
                if not buffers.changed:
                    raise
        examples = one if buffers.changed else examples
    except Exception as error:
        if out_of_memory(error):
            raise
        given = ", ".join("x".join(map(str, s)) for s in shapes)
        raise UserError(
            f"{name} does not take inputs of {given} (without the batch of {_EXAMPLES}): "
            f"{first_line(error)}"
        ) from error
    finally:
        buffers.restore()
    return import_model(model, examples, name, cuts)


class _Buffers:
    """The buffers of a module, some of which it may overwrite or replace."""

    def __init__(self, model: "nn.Module") -> None:
        self._model, self._tensors = model, dict(model.named_buffers())
        self._contents = {name: value.clone() for name, value in self._tensors.items()}

    @property
    def changed(self) -> bool:
        """True if there are other tensors, or other contents."""
        return any(
            value is not self._tensors.get(name) or not value.equal(self._contents[name])
            for name, value in self._model.named_buffers()
        )

    def restore(self) -> None:
        """Return to the former tensors and contents."""
        for name, value in self._tensors.items():
            owner, _, own = name.rpartition(".")
            setattr(self._model.get_submodule(owner), own, value.copy_(self._contents[name]))


def _shape(shape: Shape) -> tuple[int, ...]:
    """Parse ``3x224x224`` (or with commas) as numbers."""
    if isinstance(shape, str):
        parts = shape.lower().replace(",", "x").split("x")
        numbers = tuple(int(p) if p.isdecimal() else 0 for p in parts)
    else:
        numbers = tuple(shape)
    if not all(isinstance(n, int) and n > 0 for n in numbers) or not 1 <= len(numbers) <= 3:
        raise UserError(
            "--input must be one to three positive numbers without the batch, such as 3x224x224, "
            f"not {shape!r}"
        )
    if (size := math.prod(numbers)) > _ELEMENTS_MAX:
        raise UserError(
            f"--input {'x'.join(map(str, numbers))} has {size:,} elements; at most "
            f"{_ELEMENTS_MAX:,} are possible: take smaller inputs"
        )
    return numbers


def _origin(checkpoint: Path | None, otherwise: str) -> str:
    return otherwise if checkpoint is None else f"those in {checkpoint}"
