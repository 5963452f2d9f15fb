"""``Port.pack`` and ``Port.unpack`` by the compiled functions, if there is a C compiler."""

import ctypes
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.arch.program_parts import Fold, Port
from sigbit_hw.driver.library import NO_CODE, NO_VALUE, Element, Layout, Status, library

_WHOLE = Fold((1, 1), (1, 1), (0, 0, 0, 0))
_ELEMENTS = {np.dtype(element.name.lower()): element for element in Element}


def pack(
    port: Port, stored: NDArray[np.integer], config: ArchConfig, to: NDArray[np.uint8]
) -> None:
    """Write the bytes of stored integers ``[C, H, W]``, of any integer type, to ``to``, which must
    be contiguous and have ``port.bytes(config)`` bytes.

    Raises ``ValueError`` for an integer that has no code.
    """
    compiled = library()
    size = port.bytes(config)
    if to.shape != (size,) or stored.shape != tuple(port.shape):
        raise ValueError(
            f"{port.name} takes {list(port.shape)} in {size} bytes, not {list(stored.shape)} in "
            f"{list(to.shape)}"
        )
    if compiled is None or size > np.iinfo(np.int32).max:
        to[:] = port.pack(stored, config)
        return
    array = np.ascontiguousarray(stored)
    if array.dtype not in _ELEMENTS:
        array = array.astype(np.int64)
    table, low, high = codes(port, config)
    layout = layout_of(port, config, _ELEMENTS[array.dtype], low, high)
    done = compiled.sigbit_pack(
        ctypes.byref(layout), table.ctypes.data, array.ctypes.data, to.ctypes.data
    )
    if done != Status.DONE:
        to[:] = port.pack(stored, config)  # reports the error


def unpack(port: Port, data: NDArray[np.uint8], config: ArchConfig) -> NDArray[np.int64]:
    """Stored integers ``[C, H, W]`` (folded: ``port.packed_shape``) of :func:`pack`'s bytes."""
    compiled = library()
    if compiled is None or port.bytes(config) > np.iinfo(np.int32).max:
        return port.unpack(data, config)
    stored = np.empty(port.packed_shape, np.int64)
    array = np.ascontiguousarray(data)
    layout = layout_of(port, config, Element.INT64, 0, 0)
    table = values(port.planes, config)
    done = compiled.sigbit_unpack(
        ctypes.byref(layout), table.ctypes.data, array.ctypes.data, stored.ctypes.data
    )
    return stored if done == Status.DONE else port.unpack(data, config)  # reports the error


def layout_of(port: Port, config: ArchConfig, element: Element, low: int, high: int) -> Layout:
    """Layout for the C functions: the element type of an array, the smallest and largest stored
    integer of the table of codes, and the port's extents."""
    fold = port.fold or _WHOLE
    channels, height, width = port.shape
    out_channels, out_height, out_width = port.packed_shape
    _, planes, blocks, phases, columns = port.slots(config)
    return Layout(
        element=element,
        channels=channels,
        height=height,
        width=width,
        kernel_y=fold.kernel[0],
        kernel_x=fold.kernel[1],
        stride_y=fold.stride[0],
        stride_x=fold.stride[1],
        dilation_y=fold.dilation[0],
        dilation_x=fold.dilation[1],
        top=fold.padding[0],
        left=fold.padding[1],
        border=-port.zero,
        low=low,
        high=high,
        out_channels=out_channels,
        out_height=out_height,
        out_width=out_width,
        planes=planes,
        blocks=blocks,
        phases=phases,
        columns=columns,
        lanes=config.ic_lanes,
        lane_bits=config.act_format.lane_bits,
        bytes=port.bytes(config),
    )


def codes(port: Port, config: ArchConfig) -> tuple[NDArray[np.uint32], int, int]:
    """Table of the codes of all stored integers that the port can hold, and the smallest and
    largest of these integers."""
    low, high = min(port.low, -port.zero), max(port.high, -port.zero)
    return _table(port.planes, low, high, config), low, high


@lru_cache(maxsize=64)
def _table(planes: int, low: int, high: int, config: ArchConfig) -> NDArray[np.uint32]:
    grid = config.act_grid(planes)
    stored = np.arange(low, high + 1)
    known = np.isin(stored, grid.values)
    digits = grid.encode(np.where(known, stored, 0)).astype(np.uint32)
    table = np.bitwise_or.reduce([code << np.uint32(8 * i) for i, code in enumerate(digits)])
    return np.where(known, table, np.uint32(NO_CODE))


@lru_cache(maxsize=64)
def values(planes: int, config: ArchConfig) -> NDArray[np.int64]:
    """Table ``[planes, codes of a lane]`` of the contribution of every code of every digit."""
    native, grid = config.act_format, config.act_grid(planes)
    table = np.full((planes, 1 << native.lane_bits), NO_VALUE, np.int64)
    for plane in range(planes):
        digits = np.zeros((planes, 1 << native.bits), np.uint8)
        digits[plane] = np.arange(1 << native.bits)
        table[plane, : 1 << native.bits] = grid.decode(digits)
    return table
