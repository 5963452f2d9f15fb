"""The numbers of AXI4, as its specification has them."""

import pytest

from sigbit_hw.arch import bus


def test_axi_numbers() -> None:
    """Responses, the longest INCR burst, and the page that no burst leaves."""
    assert {r.name: r.value for r in bus.Response} == {"OKAY": 0, "SLVERR": 2, "DECERR": 3}
    assert (bus.BURST_MAX, bus.PAGE_BYTES, bus.PAGE_BITS) == (256, 4096, 12)
    assert bus.ADDRESS_BITS == 40
    assert min(bus.WIDTHS) == bus.PORT_BITS_MIN


def test_attributes() -> None:
    """AxCACHE has 4 bits, AxPROT 3, AxQOS 4, each in a nibble of its own; the default is normal,
    bufferable and not cacheable."""
    assert bus.Attributes(15, 7, 15).word == 0xF7F
    assert bus.NOT_COHERENT.word == bus.Attributes(3, 0, 0).word == 0x003
    assert bus.Attributes(1, 2, 4).word == 0x421
    for name, most in (("cache", 15), ("prot", 7), ("qos", 15)):
        for value in (-1, most + 1):
            message = rf"{name} must be in \[0, {most}\], not {value}"
            with pytest.raises(ValueError, match=message):
                bus.Attributes(**{name: value})
