"""Memory images: the layout of codes and parameters in bytes, identical in DRAM, on the bus and in
the buffers.

Lane i of a word occupies bits ``[i * width, (i + 1) * width)``, little-endian.
"""

from functools import reduce

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.arch.isa import LoadKind
from sigbit_hw.arch.numerics import TABLE_ENTRIES, Ints
from sigbit_hw.arch.params import ITEM_BYTES

Bytes = NDArray[np.uint8]


def pack_lanes(codes: ArrayLike, bits: int) -> Bytes:
    """Codes ``[words, lanes]`` of ``bits`` bits as bytes ``[words, lanes * bits / 8]``."""
    codes = np.asarray(codes, np.uint8)
    if 8 % bits == 0:  # whole lanes in a byte: without a detour over single bits
        codes = codes & np.uint8((1 << bits) - 1)
        lanes = (codes[..., i :: 8 // bits] << np.uint8(i * bits) for i in range(8 // bits))
        return reduce(np.bitwise_or, lanes)
    planes = (codes[..., None] >> np.arange(bits, dtype=np.uint8)) & 1
    return np.packbits(planes.reshape(*codes.shape[:-1], -1), axis=-1, bitorder="little")


def unpack_lanes(data: ArrayLike, bits: int) -> Bytes:
    """Inverse of :func:`pack_lanes`."""
    data = np.asarray(data, np.uint8)
    if 8 % bits == 0:
        codes = np.empty((*data.shape[:-1], data.shape[-1] * 8 // bits), np.uint8)
        for i in range(8 // bits):
            codes[..., i :: 8 // bits] = data >> np.uint8(i * bits) & np.uint8((1 << bits) - 1)
        return codes
    planes = np.unpackbits(data, axis=-1, bitorder="little")
    planes = planes.reshape(*planes.shape[:-1], -1, bits)
    return (planes << np.arange(bits, dtype=np.uint8)).sum(-1, dtype=np.uint8)


def pack_weights(codes: ArrayLike, config: ArchConfig) -> Bytes:
    """Weight codes ``[words, oc_lanes, ic_lanes]`` as bytes; lane ``oc * ic_lanes + ic``."""
    codes = np.asarray(codes, np.uint8)
    return pack_lanes(codes.reshape(len(codes), -1), config.weight_format.bits).ravel()


def unpack_weights(data: Bytes, config: ArchConfig) -> Bytes:
    """Inverse of :func:`pack_weights`."""
    codes = unpack_lanes(data.reshape(-1, config.weight_word_bytes), config.weight_format.bits)
    return codes.reshape(-1, config.oc_lanes, config.ic_lanes)


def pack_slots(codes: ArrayLike, config: ArchConfig) -> Bytes:
    """Activation codes ``[slots, ic_lanes]`` as bytes."""
    return pack_lanes(codes, config.act_format.lane_bits).ravel()


def unpack_slots(data: Bytes, config: ArchConfig) -> Bytes:
    """Inverse of :func:`pack_slots`."""
    return unpack_lanes(data.reshape(-1, config.slot_bytes), config.act_format.lane_bits)


def pack_params(base: ArrayLike, step: ArrayLike, tie: ArrayLike, *, config: ArchConfig) -> Bytes:
    """Parameters of channels as 8-byte items (:class:`~sigbit_hw.arch.params.ParamFormat`)."""
    return config.params.pack(base, step, tie).astype("<u8").ravel().view(np.uint8)


def unpack_params(data: Bytes, config: ArchConfig) -> tuple[Ints, Ints, Ints]:
    """(base, step, tie) of :func:`pack_params`'s bytes."""
    return config.params.unpack(np.ascontiguousarray(data).view("<u8").astype(np.uint64))


def pack_table(codes: ArrayLike, config: ArchConfig) -> Bytes:
    """Activation tables, codes ``[tables, 256]`` (index ``y & 255``), as bytes."""
    return pack_lanes(codes, config.act_format.lane_bits).ravel()


def unpack_table(data: Bytes, config: ArchConfig) -> Bytes:
    """Inverse of :func:`pack_table`: ``[tables, 256]``."""
    table = item_bytes(LoadKind.TABLE, config)
    return unpack_lanes(data.reshape(-1, table), config.act_format.lane_bits)


def depth(kind: LoadKind, config: ArchConfig) -> int:
    """Number of items that an on-chip memory holds."""
    return {
        LoadKind.WEIGHTS: config.weight_words,
        LoadKind.ACTS: config.act_slots,
        LoadKind.PARAMS: config.param_groups,
        LoadKind.TABLE: config.tables,
    }[kind]


def item_bytes(kind: LoadKind, config: ArchConfig) -> int:
    """Bytes of one ``LOAD`` item: a weight word, slot, parameter group or table."""
    return {
        LoadKind.WEIGHTS: config.weight_word_bytes,
        LoadKind.ACTS: config.slot_bytes,
        LoadKind.PARAMS: config.param_lanes * ITEM_BYTES,
        LoadKind.TABLE: TABLE_ENTRIES * config.act_format.lane_bits // 8,
    }[kind]


def steps_of_item(kind: LoadKind, config: ArchConfig) -> int:
    """Steps in which one item is written, one per cycle: bus-wide parts of a weight word, one slot,
    the parameters of one channel, the entries of a table."""
    return {
        LoadKind.WEIGHTS: config.weight_word_bits // config.bus_bits,
        LoadKind.ACTS: 1,
        LoadKind.PARAMS: config.param_lanes,
        LoadKind.TABLE: TABLE_ENTRIES,
    }[kind]


def steps_of_unit(kind: LoadKind, config: ArchConfig) -> int:
    """Steps that consume one unit of a beat: one, except for tables, whose units hold several
    entries."""
    return 8 * ITEM_BYTES // config.act_format.lane_bits if kind == LoadKind.TABLE else 1


def units_of_beat(kind: LoadKind, config: ArchConfig) -> int:
    """Units in one bus beat; a unit is the part of a beat that is taken at a time."""
    return {
        LoadKind.WEIGHTS: 1,
        LoadKind.ACTS: config.bus_bytes // config.slot_bytes,
        LoadKind.PARAMS: config.bus_bytes // ITEM_BYTES,
        LoadKind.TABLE: config.bus_bytes // ITEM_BYTES,
    }[kind]


def beats(size: int, config: ArchConfig) -> int:
    """Bus beats that ``size`` bytes fill."""
    return -(-size // config.bus_bytes)


def split_ports(data: Bytes, config: ArchConfig) -> list[Bytes]:
    """Split the bytes of the DMA window, whole beats, into the contents of each port's memory."""
    parts = data.reshape(-1, config.ports, config.port_bytes)
    return [np.ascontiguousarray(parts[:, i]).ravel() for i in range(config.ports)]


def join_ports(parts: list[Bytes], config: ArchConfig) -> Bytes:
    """Inverse of :func:`split_ports`."""
    return np.stack([p.reshape(-1, config.port_bytes) for p in parts], axis=1).ravel()
