"""The document of a Program file: its keys, their types and limits.

What one value may be is said here, how they must fit together in
:mod:`~sigbit_hw.arch.program_check`.
"""

from typing import Annotated, Any

from pydantic import AfterValidator, Field

from sigbit_hw.arch.documents import Schema, validated
from sigbit_hw.arch.formats import MAX_DIGITS
from sigbit_hw.arch.host_schema import HostDocument, Name, Source
from sigbit_hw.arch.isa import ADDRESS_BITS, TAG_BITS

FORMAT_VERSION = 4
"""Version of the document."""

IMAGES_MAX = 1 << 16
"""Images of a run at most."""
SIDE_MAX = 1 << 20
"""Channels, lines or columns of a tensor at most: more slots no memory has."""


def _normal(scale: float) -> float:
    """A scale is a normal number of float32: it divides and multiplies without overflow."""
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


class ProgramDocument(Schema):
    """See :class:`~sigbit_hw.arch.program.Program`; ``config`` has checks of its own, of the
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


def program_document(document: object) -> ProgramDocument:
    """``document`` as a Program's; ``ValueError`` in one line for people otherwise."""
    version = document.get("format_version") if isinstance(document, dict) else None
    if type(version) is int and version != FORMAT_VERSION:
        raise ValueError(
            f"format version {version}, this sigbit reads {FORMAT_VERSION}; compile it again"
        )
    return validated(ProgramDocument, document)
