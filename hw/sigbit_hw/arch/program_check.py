"""Consistency checks of the parts of a Program, made whenever one is saved or loaded.

Sizes are Python integers, and nothing is allocated according to the content of a file, so that a
Program that asks for terabytes is refused as cheaply as a damaged one.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise
from math import prod

import numpy as np

from sigbit_hw.arch.addressing import channel_slots
from sigbit_hw.arch.isa import ADDRESS_BITS, WORD_BYTES, Exec, Instr, Out
from sigbit_hw.arch.names import check_name
from sigbit_hw.arch.program_parts import ExecInfo, Fold, LayerInfo, Port, ProgramParts
from sigbit_hw.arch.regs import PROGRAM_ALIGN

VECTOR_KINDS = ("input", "layer")
"""Test vectors are called ``input.NAME`` or ``layer.NAME``."""


def check_program(program: ProgramParts) -> None:
    """Raise ``ValueError`` with a one-line message unless ``program`` is complete and consistent.

    The legality of its instructions is checked separately by `sigbit.compiler.order.hazards`.
    """
    check_name(program.name, "the name of a Program")
    _check_arrays(program)
    _check_memory(program)
    for kind, ports in (("input", program.inputs), ("output", program.outputs)):
        _need(bool(ports), f"a Program needs an {kind}")
        _distinct(f"{kind}s", (port.name for port in ports))
        for port in ports:
            _check_port(port, program, f"{kind} {port.name!r}", is_input=kind == "input")
    _distinct("inputs and states", (port.name for port in (*program.inputs, *program.states)))
    for port in program.states:
        _check_port(port, program, f"state {port.name!r}", is_input=False)
    _check_initial(program)
    _check_windows(program)
    _distinct("layers", (layer.name for layer in program.layers))
    _check_execs(program)
    _check_results(program)
    _check_vectors(program)


def _check_results(program: ProgramParts) -> None:
    """The network's outputs come from ports, in shapes that they have, and the host's part can
    read them."""
    ports = {port.name: port for port in program.outputs}
    _distinct("results", (result.name for result in program.results))
    for result in program.results:
        port = ports.get(result.port)
        if port is None:
            raise ValueError(
                f"result {result.name!r}: there is no output {result.port!r}, only {list(ports)}"
            )
    try:
        program.host.check({r.name: r.axes.shape(ports[r.port].shape) for r in program.results})
    except ValueError as error:
        raise ValueError(f"host: {error}") from None
    if program.preprocessing is not None:
        program.preprocessing.require([port.own_shape for port in program.inputs])


def _need(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)


def _distinct(what: str, names: Iterable[str]) -> None:
    twice = [name for name, count in Counter(names).items() if count > 1]
    _need(not twice, f"names of {what} must differ: {twice[:1]} occurs twice")


def _check_arrays(program: ProgramParts) -> None:
    for name in ("instructions", "image"):
        array = getattr(program, name)
        _need(
            array.dtype == np.uint8 and array.ndim == 1,
            f"{name} must be bytes of one dimension, not {array.dtype} {list(array.shape)}",
        )
    size = program.instructions.size
    _need(
        size > 0 and size % WORD_BYTES == 0,
        f"instructions must be one or more words of {WORD_BYTES} bytes, not {size} bytes",
    )


def _check_memory(program: ProgramParts) -> None:
    low, high = program.write_window
    for name, value, multiple in (
        ("memory_bytes", program.memory_bytes, program.config.bus_bytes),
        ("program_offset", program.program_offset, PROGRAM_ALIGN),
        ("image_offset", program.image_offset, program.config.bus_bytes),
        ("write_window[0]", low, program.config.bus_bytes),
        ("write_window[1]", high, program.config.bus_bytes),
    ):
        _need(value % multiple == 0, f"{name} must be a multiple of {multiple}, not {value}")
        _need(
            0 <= value < 1 << ADDRESS_BITS,
            f"{name} must be in [0, {(1 << ADDRESS_BITS) - 1}], not {value}",
        )
    _need(
        low <= high <= program.memory_bytes,
        f"write_window must lie in the DMA window of {program.memory_bytes} bytes, not "
        f"[{low}, {high})",
    )


def _check_port(port: Port, program: ProgramParts, what: str, *, is_input: bool) -> None:
    config = program.config
    _need(
        port.offset % config.bus_bytes == 0,
        f"{what}: offset must be a multiple of {config.bus_bytes}, not {port.offset}",
    )
    _need(port.low <= port.high, f"{what}: low {port.low} is above high {port.high}")
    if port.fold is not None:
        _need(is_input, f"{what}: only an input can have a fold")
        _check_fold(port.fold, port.shape, what)
    end = port.offset + port.bytes(config) * program.images
    _need(
        end <= program.memory_bytes,
        f"{what} ends at byte {end} of a DMA window of {program.memory_bytes} bytes",
    )
    values = config.act_grid(port.planes).values
    inside = int(((values >= port.low) & (values <= port.high)).sum())
    ends = bool(np.isin([port.low, port.high], values).all())
    _need(
        ends and (not is_input or inside == port.high - port.low + 1),
        f"{what}: [{port.low}, {port.high}] is not within the values of {port.planes} planes, "
        f"which go from {values[0]} to {values[-1]}",
    )
    if port.fold is not None:
        _need(bool((values == -port.zero).any()), f"{what}: zero {port.zero} cannot be stored")


def _check_initial(program: ProgramParts) -> None:
    """Check that every state has initial codes that a run could have left."""
    names, given = {port.name for port in program.states}, set(program.initial)
    _need(
        names == given, f"the states are {sorted(names)}, those with initial codes {sorted(given)}"
    )
    for port in program.states:
        array, what = program.initial[port.name], f"initial codes of state {port.name!r}"
        _need(
            array.dtype.kind in "iu" and array.shape == tuple(port.shape),
            f"{what} must be integers {list(port.shape)}, not {array.dtype} {list(array.shape)}",
        )
        values = program.config.act_grid(port.planes).values
        within = (array >= port.low) & (array <= port.high) & np.isin(array, values)
        _need(bool(within.all()), f"{what}: {port.planes} planes cannot store all of them")


def _check_fold(fold: Fold, shape: Sequence[int], what: str) -> None:
    top, left, bottom, right = fold.padding
    reach = [(k - 1) * d for k, d in zip(fold.kernel, fold.dilation, strict=True)]
    for padding, window in (
        (top, reach[0]),
        (bottom, reach[0]),
        (left, reach[1]),
        (right, reach[1]),
    ):
        _need(
            padding <= window,
            f"{what}: a fold's padding must lie within a window, hence be at most {window}, not "
            f"{padding}",
        )
    for size, before, after, window in zip(
        shape[1:], fold.padding[:2], fold.padding[2:], reach, strict=True
    ):
        _need(
            size + before + after > window,
            f"{what}: a fold's window of {window + 1} is larger than the padded image",
        )


def _check_windows(program: ProgramParts) -> None:
    """Check that no regions of the DMA window overlap, and that STORE may write all outputs and
    states but no region that must be preserved."""
    config = program.config
    spans = {
        "the instructions": (program.program_offset, program.instructions.size),
        "the constants": (program.image_offset, program.image.size),
    }
    fixed = {
        f"input {p.name!r}": (p.offset, p.bytes(config) * program.images) for p in program.inputs
    }
    outputs = {
        f"{kind} {p.name!r}": (p.offset, p.bytes(config) * program.images)
        for kind, ports in (("output", program.outputs), ("state", program.states))
        for p in ports
    }
    low, high = program.write_window
    for name, (start, size) in (spans | fixed).items():
        _need(
            not size or start + size <= low or high <= start,
            f"{name} at bytes [{start}, {start + size}) must not lie in the write window "
            f"[{low}, {high})",
        )
    for name, (start, size) in outputs.items():
        _need(
            low <= start and start + size <= high,
            f"{name} at bytes [{start}, {start + size}) must lie in the write window "
            f"[{low}, {high})",
        )
    rows = sorted(
        (start, start + size, name) for name, (start, size) in (spans | fixed | outputs).items()
    )
    for (_, end, before), (start, _, after) in pairwise(row for row in rows if row[0] != row[1]):
        _need(
            end <= start,
            f"two things share bytes: {before} up to {end}, {after} from {start}",
        )
    _need(
        rows[-1][1] <= program.memory_bytes,
        f"{rows[-1][2]} ends at byte {rows[-1][1]} of a DMA window of {program.memory_bytes} bytes",
    )


def _check_execs(program: ProgramParts) -> None:
    """Check, as far as counting allows, that every element of every layer is written exactly
    once."""
    layers = {layer.name: layer for layer in program.layers}
    outs = _draining(program.listing)
    written: Counter[str] = Counter()
    last = -1
    for info in program.execs:
        what = f"execs: instruction {info.index}"
        _need(info.index > last, f"{what} must come after {last}: in order, and once")
        last = info.index
        found = outs.get(info.index)
        if found is None:
            raise ValueError(f"{what} is not an EXEC that drains after an OUT")
        _need(info.layer in layers, f"{what}: there is no layer {info.layer!r}")
        _check_part(info, layers[info.layer], found, program, what)
        channels = _channels(info, layers[info.layer], found, program)
        written[info.layer] += info.rows * info.columns * info.images * channels
    for layer in program.layers:
        elements = prod(layer.shape) * program.images
        _need(
            written[layer.name] == elements,
            f"layer {layer.name!r} has {elements} elements, its EXECs write {written[layer.name]}",
        )


def _draining(listing: Sequence[Instr]) -> dict[int, tuple[Out, Exec]]:
    """OUT and EXEC of every instruction index at which an EXEC drains."""
    found: dict[int, tuple[Out, Exec]] = {}
    out: Out | None = None
    for index, instr in enumerate(listing):
        if isinstance(instr, Out):
            out = instr
        elif isinstance(instr, Exec) and instr.drain and out is not None:
            found[index] = out, instr
    return found


def _check_part(
    info: ExecInfo,
    layer: LayerInfo,
    found: tuple[Out, Exec],
    program: ProgramParts,
    what: str,
) -> None:
    _, execute = found
    pixels = execute.n_rows * execute.run
    _need(
        info.rows * info.columns * info.images == pixels,
        f"{what} writes {pixels} pixels, not {info.rows} x {info.columns} of {info.images} images",
    )
    channels, height, width = layer.shape
    ends = (
        ("lines", info.y + (info.rows - 1) * info.step[0] + 1, height),
        ("columns", info.x + (info.columns - 1) * info.step[1] + 1, width),
        ("channels", info.channel + (info.channels or 1), channels),
        ("images", info.image + info.images, program.images),
    )
    for unit, end, limit in ends:
        _need(end <= limit, f"{what} writes {unit} up to {end} of {limit} of layer {layer.name!r}")


def _channels(
    info: ExecInfo, layer: LayerInfo, found: tuple[Out, Exec], program: ProgramParts
) -> int:
    """Channels of the layer that an EXEC writes."""
    produced = channel_slots(*found, program.config) * program.config.ic_lanes
    wanted = layer.shape[0] - info.channel if info.channels is None else info.channels
    return min(produced, wanted)


def _check_vectors(program: ProgramParts) -> None:
    shapes = {f"input.{port.name}": port.shape for port in program.inputs}
    shapes |= {f"layer.{layer.name}": layer.shape for layer in program.layers}
    counts = set()
    for name, array in program.vectors.items():
        kind, _, tensor = name.partition(".")
        known = kind in VECTOR_KINDS and (kind == "layer" or name in shapes)
        _need(known, f"test vectors must be called input.INPUT or layer.LAYER, not {name!r}")
        check_name(tensor, "the name of a test vector")
        _need(
            array.dtype.kind in "iu" and array.ndim == 4 and len(array) > 0,
            f"test vector {name!r} must hold integers [N, C, H, W], not {array.dtype} "
            f"{list(array.shape)}",
        )
        shape = shapes.get(name, array.shape[1:])
        _need(
            array.shape[1:] == tuple(shape),
            f"test vector {name!r} must have shape [N, {', '.join(map(str, shape))}], not "
            f"{list(array.shape)}",
        )
        counts.add(len(array))
    _need(len(counts) < 2, f"test vectors must be of equally many images, not {sorted(counts)}")
