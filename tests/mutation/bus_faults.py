"""Planted faults of AXI masters and what they count.

For each: module, name, text, what replaces it, the test that must notice."""

from mutation.judges import ANSWERS, APART, COUNTED, NANO, PLUG, READ_PORTS, STORE_LOAD_PORTS

BUS_FAULTS: list[tuple[str, str, str, str, str]] = [
    # bus.axi
    (
        "bus.axi",
        "wrap_unnoticed",
        "(self.base + last)[len(self.base)]",
        "(self.base + last)[len(self.base) - 1]",
        "registers::test_windows_end_where_the_bus_ends[nano]",
    ),
    ("bus.axi", "no_base", "self.base + offset[PAGE_BITS:]", "offset[PAGE_BITS:]", NANO),
    # bus.join
    ("bus.join", "done_by_the_first", "Cat(answers).all()", "Cat(answers).any()", STORE_LOAD_PORTS),
    (
        "bus.join",
        "error_of_one_port",
        "reduce(or_, (part.p.resp for part in parts))",
        "parts[0].p.resp",
        READ_PORTS,
    ),
    (
        "bus.join",
        "announced_before_the_data",
        "moved & last)",
        "moved & (left == current.length))",
        APART,
    ),
    (
        "bus.join",
        "too_little_room",
        "config.outstanding_reads * config.burst_beats",
        "config.burst_beats",
        APART,
    ),
    # bus.axi
    (
        "bus.axi",
        "strobes_after_the_end",
        "Mux(self._live, beat.p.strobe, 0)",
        "beat.p.strobe",
        PLUG,
    ),
    ("bus.axi", "last_beat", "self.wlast.eq(left == 0)", "self.wlast.eq(left == 1)", PLUG),
    (
        "bus.axi",
        "astray_unreported",
        "self.violated.eq(wrong & ~astray)",
        "self.violated.eq(wrong & astray)",
        COUNTED.format("late-True"),
    ),
    (
        "bus.axi",
        "wrong_beat_passes",
        "self._live.eq(self.enable & ~astray)",
        "self._live.eq(self.enable)",
        COUNTED.format("late-True"),
    ),
    (
        "bus.axi",
        "idle_while_astray",
        "self.idle.eq(~astray & (reads == 0)",
        "self.idle.eq((reads == 0)",
        COUNTED.format("nothing-False"),
    ),
    (
        "bus.axi",
        "forgets_its_promises",
        "quiet.eq(~(self.arvalid | self.awvalid",
        "quiet.eq(~(self.awvalid",
        COUNTED.format("before_the_address-True"),
    ),
    (
        "bus.axi",
        "any_identifier",
        "(due.moved & self.rid)",
        "(due.moved & 0)",
        COUNTED.format("identifier-True"),
    ),
    (
        "bus.axi",
        "any_response",
        "self.bvalid & ~self.bid",
        "self.bvalid",
        ANSWERS.format("identifier"),
    ),
    # bus.due
    (
        "bus.due",
        "last_unchecked",
        "self.moved & (~due | (self.last != final))",
        "self.moved & ~due",
        COUNTED.format("early-True"),
    ),
    (
        "bus.due",
        "late_unchecked",
        "(self.last != final)",
        "(self.last & ~final)",
        COUNTED.format("late-True"),
    ),
    (
        "bus.due",
        "beats_from_nothing",
        "self.moved & (~due | (self.last != final))",
        "self.moved & due & (self.last != final)",
        COUNTED.format("nothing-True"),
    ),
    (
        "bus.due",
        "length_of_the_newest",
        "lengths[(waiting - 1)[: len(waiting)]]",
        "lengths[0]",
        "bus_protocol::test_what_is_due_passes[nano]",
    ),
    (
        "bus.due",
        "burst_lost",
        "due.eq(some | self.opened)",
        "due.eq(some)",
        "bus_protocol::test_what_is_due_passes[short]",
    ),
    (
        "bus.due",
        "nothing_forgotten",
        "[due.eq(0), waiting.eq(0)]",
        "[waiting.eq(0)]",
        COUNTED.format("early-True"),
    ),
    (
        "bus.due",
        "response_before_the_data",
        "(whole != 0) & ~unaddressed",
        "(self.open != 0) & ~unaddressed",
        ANSWERS.format("before_the_data"),
    ),
    (
        "bus.due",
        "response_before_the_address",
        "(whole != 0) & ~unaddressed",
        "whole != 0",
        ANSWERS.format("before_the_address"),
    ),
    # bus.axi
    (
        "bus.axi",
        "attributes",
        "self.attributes[part]",
        "self.attributes[: len(self.attributes[part])]",
        "registers::test_attributes_are_on_every_transfer",
    ),
]
