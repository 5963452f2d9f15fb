"""The document of a Program file: its keys, their types and limits.

Limits of single values are defined here, their consistency in :mod:`~sigbit_hw.arch.program_check`.
"""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from sigbit_hw.arch.axes import Axes
from sigbit_hw.arch.documents import Schema, validated
from sigbit_hw.arch.formats import MAX_DIGITS
from sigbit_hw.arch.host_schema import SOURCE_MAX, HostDocument, Name, Source, printable
from sigbit_hw.arch.isa import ADDRESS_BITS, TAG_BITS

FORMAT_VERSION = 7
"""Version of the document."""

CLASSES_MAX = 1 << 16
"""Names of classes at most."""
CHANNELS_MAX = 64
"""Channels of images that are preprocessed at most."""
STATES_MAX = 1 << 12
"""Maximum number of states."""
IMAGES_MAX = 1 << 16
"""Maximum number of images per run."""
SIDE_MAX = 1 << 20
"""Maximum number of channels, lines or columns of a tensor; no memory has more slots."""


def _normal(scale: float) -> float:
    """Check that a scale is a normal float32 number, so that it divides and multiplies without
    overflow."""
    if not 2.0**-126 <= scale <= 2.0**127:
        raise ValueError(f"a scale must be in [2**-126, 2**127], not {scale!r}")
    return scale


Offset = Annotated[int, Field(strict=True, ge=0, lt=1 << ADDRESS_BITS)]
Size = Annotated[int, Field(strict=True, ge=1, lt=1 << ADDRESS_BITS)]
Side = Annotated[int, Field(strict=True, ge=1, le=SIDE_MAX)]
Place = Annotated[int, Field(strict=True, ge=0, lt=SIDE_MAX)]
Planes = Annotated[int, Field(strict=True, ge=1, le=MAX_DIGITS)]
Images = Annotated[int, Field(strict=True, ge=1, le=IMAGES_MAX)]
Stored = Annotated[int, Field(strict=True, ge=-(1 << 31), lt=1 << 31)]
Count = Annotated[int, Field(strict=True, ge=0, lt=1 << 63)]
Scale = Annotated[float, Field(strict=True), AfterValidator(_normal)]
Shape = tuple[Side, Side, Side]
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Positive = Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)]
Class = Annotated[
    str, Field(strict=True, min_length=1, max_length=SOURCE_MAX), AfterValidator(printable)
]


class FoldDocument(Schema):
    """See :class:`~sigbit_hw.arch.program.Fold`."""

    kernel: tuple[Side, Side]
    stride: tuple[Side, Side]
    padding: tuple[Place, Place, Place, Place]
    dilation: tuple[Side, Side]


class PortDocument(Schema):
    """See :class:`~sigbit_hw.arch.program.Port`."""

    name: Name
    shape: Shape
    offset: Offset
    planes: Planes
    phases: Side
    scale: Scale
    zero: Stored
    low: Stored
    high: Stored
    fold: FoldDocument | None
    axes: Axes


class LayerDocument(Schema):
    """See :class:`~sigbit_hw.arch.program.LayerInfo`."""

    name: Name
    kind: Name
    shape: Shape
    planes: Planes
    scale: Scale
    zero: Stored
    macs: Count
    source: Source
    weights: Annotated[bool, Field(strict=True)]


class ExecDocument(Schema):
    """See :class:`~sigbit_hw.arch.program.ExecInfo`."""

    index: Offset
    layer: Name
    channel: Place
    y: Place
    x: Place
    rows: Side
    columns: Side
    step: tuple[Side, Side]
    image: Place
    channels: Side | None
    images: Images


class ResultDocument(Schema):
    """See :class:`~sigbit_hw.arch.program.ModelOutput`."""

    name: Name
    port: Name
    axes: Axes


class PreprocessingDocument(Schema):
    """See :class:`~sigbit_hw.arch.preprocessing.ImagePreprocessing`."""

    size: tuple[Side, Side]
    mean: Annotated[tuple[Number, ...], Field(min_length=1, max_length=CHANNELS_MAX)]
    std: Annotated[tuple[Positive, ...], Field(min_length=1, max_length=CHANNELS_MAX)]
    scale: Positive
    resize: Side | None
    colours: Literal["RGB", "BGR"]


class ProgramDocument(Schema):
    """See :class:`~sigbit_hw.arch.program.Program`; ``config`` is checked separately by
    :class:`~sigbit_hw.arch.config.ArchConfig`."""

    format_version: Annotated[int, Field(strict=True)]
    name: Name
    config: dict[str, Any]
    config_digest: Annotated[str, Field(strict=True, pattern=r"^[0-9a-f]{64}$")]
    image_offset: Offset
    program_offset: Offset
    memory_bytes: Size
    write_window: tuple[Offset, Offset]
    inputs: Annotated[tuple[PortDocument, ...], Field(min_length=1)]
    outputs: Annotated[tuple[PortDocument, ...], Field(min_length=1)]
    layers: Annotated[tuple[LayerDocument, ...], Field(max_length=1 << TAG_BITS)]
    execs: tuple[ExecDocument, ...]
    images: Images
    host: HostDocument
    results: Annotated[tuple[ResultDocument, ...], Field(min_length=1)]
    preprocessing: PreprocessingDocument | None
    classes: Annotated[tuple[Class, ...], Field(max_length=CLASSES_MAX)]
    states: Annotated[tuple[PortDocument, ...], Field(max_length=STATES_MAX)]


def program_document(document: object) -> ProgramDocument:
    """Return ``document`` as the document of a Program; raises ``ValueError`` with a one-line
    message otherwise."""
    version = document.get("format_version") if isinstance(document, dict) else None
    if type(version) is int and version != FORMAT_VERSION:
        raise ValueError(
            f"format version {version}, this sigbit reads {FORMAT_VERSION}; compile it again"
        )
    return validated(ProgramDocument, document)
