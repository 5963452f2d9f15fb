"""Damage: what storage, transfers and people do to the bytes of a file; and documents whose fields
are not what they should be."""

import json
import random
from collections.abc import Callable
from copy import deepcopy
from typing import Any

Damage = Callable[[bytes, random.Random], bytes]

EXTREMES: tuple[Any, ...] = (
    0, 1, -1, 2, 3, 255, 256, (1 << 31) - 1, 1 << 31, -(1 << 31), 1 << 32, 1 << 40, 1 << 62,
    1 << 63, -(1 << 63), 1 << 64, 10**30, 0.5, -0.0, 1e-320, 1e308, -1e308, True, False, None, "",
    "x", "..", "../x", "a/b", "\0", "\x1b[31m", "x" * 2000, "0", "nan", [], [0], [[]], [1, 2, 3],
    ["a"], [None] * 5, {}, {"a": 1}, {"": {}},
)  # fmt: skip


def flip_bits(data: bytes, rng: random.Random) -> bytes:
    """A few bits."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4, 8))):
        out[rng.randrange(len(out))] ^= 1 << rng.randrange(8)
    return bytes(out)


def set_bytes(data: bytes, rng: random.Random) -> bytes:
    """A few bytes, often to something special."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8))):
        out[rng.randrange(len(out))] = rng.choice((0, 1, 127, 128, 254, 255, rng.randrange(256)))
    return bytes(out)


def set_number(data: bytes, rng: random.Random) -> bytes:
    """A number of 2, 4 or 8 bytes, as lengths and offsets have them."""
    width = rng.choice((2, 4, 8))
    value = rng.choice((0, 1, 0x7F, 0xFF, 1 << 15, 1 << 31, 1 << 32, 1 << 62, (1 << 64) - 1))
    value = rng.choice((value, value - 1, value + 1)) % (1 << (8 * width))
    at = rng.randrange(max(1, len(data) - width))
    content = value.to_bytes(width, rng.choice(("little", "big")))
    return data[:at] + content + data[at + width :]


def cut(data: bytes, rng: random.Random) -> bytes:
    """The end is missing."""
    return data[: rng.randrange(len(data))]


def cut_head(data: bytes, rng: random.Random) -> bytes:
    """The beginning is missing."""
    return data[rng.randrange(1, len(data) + 1) :]


def remove(data: bytes, rng: random.Random) -> bytes:
    """A part is missing."""
    start, stop = sorted(rng.randrange(len(data) + 1) for _ in range(2))
    return data[:start] + data[min(stop, start + rng.choice((1, 8, 64, 4096))) :]


def repeat(data: bytes, rng: random.Random) -> bytes:
    """A part comes twice."""
    start = rng.randrange(len(data))
    stop = start + rng.choice((1, 8, 64, 512))
    return data[:stop] + data[start:stop] + data[stop:]


def move(data: bytes, rng: random.Random) -> bytes:
    """Two parts have changed places."""
    size = rng.choice((1, 4, 16, 64))
    a, b = sorted(rng.randrange(max(1, len(data) - size)) for _ in range(2))
    if b < a + size:
        return data[size:] + data[:size]
    return (
        data[:a] + data[b : b + size] + data[a + size : b] + data[a : a + size] + data[b + size :]
    )


def blank(data: bytes, rng: random.Random) -> bytes:
    """A block of zeros, as a lost sector leaves it."""
    size = rng.choice((16, 64, 512))
    at = rng.randrange(len(data))
    return data[:at] + bytes(min(size, len(data) - at)) + data[at + size :]


def append(data: bytes, rng: random.Random) -> bytes:
    """Something more at the end."""
    return data + rng.choice((b"\0", b"\n", b"x" * 100, data, rng.randbytes(64)))


def noise(data: bytes, rng: random.Random) -> bytes:
    """Nothing is left but the beginning."""
    return data[: rng.choice((0, 2, 4, 8, 16))] + rng.randbytes(rng.choice((1, 64, 1024)))


def swap_digits(data: bytes, rng: random.Random) -> bytes:
    """A character that means something is another one."""
    places = [i for i, c in enumerate(data[:20_000]) if c in b'0123456789[]{}",:.-=()']
    if not places:
        return flip_bits(data, rng)
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 2))):
        out[rng.choice(places)] = rng.choice(b'0123456789[]{}",:.-=()')
    return bytes(out)


DAMAGES: tuple[Damage, ...] = (
    flip_bits, set_bytes, set_number, cut, cut_head, remove, repeat, move, blank, append, noise,
    swap_digits,
)  # fmt: skip


def damaged(data: bytes, rng: random.Random) -> bytes:
    """``data`` with one damage, sometimes two; never as it was."""
    for _ in range(10):
        out = data
        for _ in range(rng.choice((1, 1, 1, 2))):
            out = rng.choice(DAMAGES)(out, rng) if out else rng.randbytes(4)
        if out != data:
            return out
    return data + b"\0"


def mutated(document: Any, rng: random.Random) -> str:
    """The text of ``document`` with a few fields that are not what they should be."""
    document = json.loads(json.dumps(document))
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        _mutate(document, rng)
    text = json.dumps(document)
    return _odd(text, rng) if rng.random() < 0.1 else text


def _mutate(document: Any, rng: random.Random) -> None:
    places = _places(document)
    if not places:
        return
    inside, key = rng.choice(places)
    kind = rng.random()
    if kind < 0.6:
        inside[key] = deepcopy(rng.choice((rng.choice(EXTREMES), _near(inside[key], rng))))
    elif kind < 0.75:
        del inside[key]
    elif kind < 0.85:
        other, at = rng.choice(places)
        inside[key] = deepcopy(other[at])
    elif isinstance(inside, list):
        inside.insert(key, deepcopy(inside[key]))
    else:
        inside[rng.choice(("foo", f"{key} ", str(key).upper(), ""))] = deepcopy(inside[key])


def _near(value: Any, rng: random.Random) -> Any:
    """A value of the same kind, a little off."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + rng.choice((-1, 1, 2, 7, value, -2 * value))
    if isinstance(value, float):
        return rng.choice((-value, value * 2, int(value), value * 1e30, value * 1e-30))
    if isinstance(value, str):
        return rng.choice((value + "x", value[:-1], value.upper(), f"../{value}", value * 50))
    return rng.choice(EXTREMES)


def _places(document: Any) -> list[tuple[Any, Any]]:
    """Every place at which a value stands: what it stands in, and its key."""
    found: list[tuple[Any, Any]] = []
    level = [document]
    while level:
        inner = []
        for value in level:
            keys = value if isinstance(value, dict) else range(len(value))
            for key in list(keys):
                found.append((value, key))
                if isinstance(value[key], dict | list):
                    inner.append(value[key])
        level = inner
    return found


def _odd(text: str, rng: random.Random) -> str:
    """Text that a JSON library would not write."""
    at = rng.randrange(len(text) + 1)
    token = rng.choice(
        ("NaN", "Infinity", "-Infinity", "1e999", "9" * 5000, "\\ud800", "\0", "[" * 500, "}", '"')
    )
    return rng.choice((text[:at] + token + text[at:], text.replace("1", token, 1), text[:at]))
