"""An integer model in files for others to execute and to check."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sigbit.errors import UserError
from sigbit.export import export_bundle, export_qonnx
from sigbit.flows.progress import Tell, silent
from sigbit.flows.result import Result, Stopwatch
from sigbit.inputs.integer_models import Model, load_model
from sigbit.quant import IntegerModel


@dataclass(frozen=True, kw_only=True)
class ExportedModel(Result):
    """An integer model that was written for others.

    Parameters
    ----------
    name : str
    files : mapping
        Bytes of every file or folder that was written.
    layers : int
    outputs : tuple of str
        Names of the outputs.
    """

    name: str
    files: Mapping[str, int]
    layers: int
    outputs: tuple[str, ...]


def export_model(
    model: Model,
    *,
    qonnx: Path | None = None,
    pt2: Path | None = None,
    bundle: Path | None = None,
    layers: bool = False,
    vectors: int = 2,
    tell: Tell = silent,
) -> ExportedModel:
    """Write an integer model as ONNX, for ``torch.export``, or as a bundle of plain arrays.

    Raises :class:`~sigbit.errors.UserError` for what does not exist or is not an integer model,
    :class:`~sigbit.export.ExportError` for what cannot be written.

    Parameters
    ----------
    model : str, Path, IntegerModel, PreparedModel or IntegerGraph
        The integer model, as an object or by name.
    qonnx : Path, optional
        An ONNX file of standard operators, from stored integers to stored integers.
    pt2 : Path, optional
        A program of ``torch.export``, from real inputs to real outputs.
    bundle : Path, optional
        A folder or ``.zip`` file of weights, tables and golden values as ``.npy``, with a JSON file
        that explains them.
    layers : bool
        Make every layer an output of the ONNX model.
    vectors : int
        Random test images in the bundle.
    """
    watch = Stopwatch()
    if qonnx is None and pt2 is None and bundle is None:
        raise UserError("nothing to write: give --qonnx FILE.onnx, --pt2 FILE.pt2 or --bundle DIR")
    if layers and qonnx is None:
        raise UserError("--layers says what the ONNX model gives: add --qonnx FILE.onnx")
    if bundle is not None and not bundle.parent.is_dir():
        raise UserError(f"cannot write {bundle}: there is no folder {bundle.parent}; make it first")
    tell("loading the model")
    graph = load_model(model)
    written: dict[str, int] = {}
    if qonnx is not None:
        tell(f"writing {qonnx}")
        export_qonnx(graph, qonnx, layers=layers)
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
        outputs=tuple(graph.outputs),
        **watch.read(),
    )


def _bytes(path: Path) -> int:
    """The size of a file; 0 for what is none."""
    return path.stat().st_size if path.is_file() else 0
