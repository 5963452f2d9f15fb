"""Export of an integer model to files for other tools to execute and check."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from onnx import ModelProto

from sigbit.errors import CheckFailed, UserError
from sigbit.export import export_bundle, onnx_model
from sigbit.export.files import write_file
from sigbit.flows.bulk import has_runtime, session
from sigbit.flows.progress import Tell, silent
from sigbit.flows.result import Result, Stopwatch
from sigbit.inputs.integer_models import Model, load_model
from sigbit.ir.integer import Axes, IntegerGraph, TensorType
from sigbit.quant import IntegerModel


@dataclass(frozen=True)
class OnnxOptions:
    """Options of an exported ONNX model.

    Parameters
    ----------
    layers : bool
        Every layer is an output, too, as stored integers.
    stored : bool
        Inputs and outputs are stored integers ``[batch, C, H, W]``.
    batch : int, optional
        Samples of its inputs; any number if not given.
    """

    layers: bool = False
    stored: bool = False
    batch: int | None = None


DEFAULT = OnnxOptions()


@dataclass(frozen=True, kw_only=True)
class ExportedModel(Result):
    """An integer model that was written for other tools.

    Parameters
    ----------
    name : str
    files : mapping
        Bytes of every file or folder that was written.
    layers : int
    outputs : tuple of str
        Names of the outputs.
    checked : int, optional
        Number of output values that ONNX Runtime computed in a test, all equal to the integer
        model's; None without an ONNX model or ONNX Runtime.
    """

    name: str
    files: Mapping[str, int]
    layers: int
    outputs: tuple[str, ...]
    checked: int | None


def export_model(
    model: Model,
    *,
    qonnx: Path | None = None,
    onnx: OnnxOptions = DEFAULT,
    pt2: Path | None = None,
    bundle: Path | None = None,
    vectors: int = 2,
    tell: Tell = silent,
) -> ExportedModel:
    """Write an integer model as ONNX, for ``torch.export``, or as a bundle of plain arrays.

    Raises :class:`~sigbit.errors.UserError` for a model that does not exist or is not an integer
    model, :class:`~sigbit.export.ExportError` for a model that cannot be written.

    Parameters
    ----------
    model : str, Path, IntegerModel, PreparedModel or IntegerGraph
        The integer model, as an object or by name.
    qonnx : Path, optional
        An ONNX file of standard operators, from real inputs to real outputs under the names and in
        the shapes of the network's user. Where ONNX Runtime is installed (extra ``bulk``), it
        executes the model on random inputs first, and all outputs must equal the integer model's.
    pt2 : Path, optional
        A program of ``torch.export``, from real inputs to real outputs.
    bundle : Path, optional
        A folder or ``.zip`` file of weights, tables and golden values as ``.npy``, with a JSON file
        that explains them.
    onnx : OnnxOptions
        Options of the ONNX model.
    vectors : int
        Random test images in the bundle.
    """
    watch = Stopwatch()
    if qonnx is None and pt2 is None and bundle is None:
        raise UserError("nothing to write: give --qonnx FILE.onnx, --pt2 FILE.pt2 or --bundle DIR")
    for option, given in vars(onnx).items():
        if given and qonnx is None:
            raise UserError(f"--{option} says what the ONNX model is: add --qonnx FILE.onnx")
    if bundle is not None and not bundle.parent.is_dir():
        raise UserError(f"cannot write {bundle}: there is no folder {bundle.parent}; make it first")
    tell("loading the model")
    graph = load_model(model)
    written: dict[str, int] = {}
    checked = None
    if qonnx is not None:
        exported = onnx_model(graph, **vars(onnx))
        if has_runtime():
            tell("comparing ONNX Runtime with the integer model")
            checked = _checked(graph, exported, onnx)
        tell(f"writing {qonnx}")
        write_file(qonnx, exported.SerializeToString())
        written[str(qonnx)] = _bytes(qonnx)
    if pt2 is not None:
        tell(f"writing {pt2}")
        IntegerModel(graph).export_pt2(pt2)
        written[str(pt2)] = _bytes(pt2)
    if bundle is not None:
        tell(f"writing {bundle}")
        export_bundle(graph, bundle, vectors)
        files = bundle.rglob("*") if bundle.is_dir() else [bundle]
        written[str(bundle)] = sum(map(_bytes, files))
    return ExportedModel(
        name=graph.name,
        files=written,
        layers=len(graph.nodes),
        outputs=graph.output_names,
        checked=checked,
        **watch.read(),
    )


def _checked(graph: IntegerGraph, exported: ModelProto, options: OnnxOptions) -> int:
    """Return the number of output values that ONNX Runtime computes for random inputs; raise
    :class:`CheckFailed` if one differs from the integer model's."""
    rng, count = np.random.default_rng(0), options.batch or _TESTED
    codes = [rng.integers(n.low, n.high + 1, (count, *n.type.shape)) for n in graph.inputs]
    if options.stored:
        tensors = {n.name: torch.from_numpy(c) for n, c in zip(graph.inputs, codes, strict=True)}
        found = graph.evaluate(tensors)
        wanted = [found[name].numpy() for name in dict.fromkeys(graph.outputs)]
        feeds = [c.astype(np.float32) for c in codes]
    else:
        feeds = [_between(n.type, n.axes, c, rng) for n, c in zip(graph.inputs, codes, strict=True)]
        with torch.no_grad():
            real = IntegerModel(graph)(*map(torch.from_numpy, feeds))
        wanted = [y.numpy() for y in (real if isinstance(real, tuple) else (real,))]
    runtime = session(exported.SerializeToString())
    names = [end.name for end in runtime.get_inputs()]
    got = runtime.run(None, dict(zip(names, feeds, strict=True)))[: len(wanted)]
    wrong = sum(int((g != w).sum()) for g, w in zip(got, wanted, strict=True))
    total = sum(w.size for w in wanted)
    if wrong:
        raise CheckFailed(
            f"ONNX Runtime does not execute the export of {graph.name} exactly: {wrong:,} of "
            f"{total:,} values differ from the integer model's; nothing was written"
        )
    return total


def _between(
    kind: TensorType, axes: Axes, codes: NDArray[np.int64], rng: np.random.Generator
) -> NDArray[np.float32]:
    """Return real values of stored integers and half-way between them, in the user's shape."""
    halves = codes + rng.integers(-1, 2, codes.shape) / 2
    return axes.from_stored(kind.scale * (halves + kind.zero)).astype(np.float32)


_TESTED = 2
"""Samples of the test if their number is open."""


def _bytes(path: Path) -> int:
    """Return the size of a file; 0 for any other path."""
    return path.stat().st_size if path.is_file() else 0
