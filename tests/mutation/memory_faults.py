"""Planted faults of DMA, fetch, LOAD and STORE.

For each: module, name, text, what replaces it, the test that must notice."""

from mutation.judges import (
    BURSTS,
    BUS128,
    FETCH_ERROR,
    NANO,
    PARTIAL,
    PAUSE,
    STORE_LOAD,
    WINDOW,
    WRITE_ERROR,
)

MEMORY_FAULTS: list[tuple[str, str, str, str, str]] = [
    # memory.dma
    (
        "memory.dma",
        "crosses_4_kib",
        "to_boundary.eq(limit - first[:low_bits])",
        "to_boundary.eq(limit)",
        BURSTS,
    ),
    (
        "memory.dma",
        "burst_length",
        "self.o.p.length.eq(count - 1)",
        "self.o.p.length.eq(count)",
        BURSTS,
    ),
    (
        "memory.dma",
        "window_end",
        "breaks = [end > self.window.size]",
        "breaks = [end >= self.window.size]",
        WINDOW,
    ),
    (
        "memory.dma",
        "window_wraps",
        "end = Signal(len(self.offset) + 1",
        "end = Signal(len(self.offset)",
        WINDOW,
    ),
    (
        "memory.dma",
        "write_window",
        "self.offset < self.window.write_lo",
        "self.offset <= self.window.write_lo",
        WINDOW,
    ),
    (
        "memory.dma",
        "responses_ignored",
        "splitter.i.ready & (pending == 0)",
        "splitter.i.ready",
        WRITE_ERROR,
    ),
    (
        "memory.dma",
        "store_retires_early",
        "splitter.i.ready & (pending == 0)",
        "splitter.i.ready",
        STORE_LOAD,
    ),
    # memory.load
    (
        "memory.load_back",
        "wide_units",
        "rest.eq(word >> _ITEM_BITS)",
        "rest.eq(word >> config.slot_bits)",
        BUS128,
    ),
    (
        "memory.load_back",
        "leftover_counted",
        "unit_ends & (units_left == count)",
        "unit_ends & (units_left == count + 1)",
        NANO,
    ),
    (
        "memory.load_back",
        "past_the_beat",
        "min(i % (1 << len(units_after)), width) if",
        "width if",
        NANO,
    ),
    (
        "memory.load_back",
        "retires_before_the_write",
        "settling & ~(of_slots & self.act_write.busy)",
        "settling",
        "load_store::test_slots_are_written_before_the_retirement",
    ),
    (
        "memory.load_back",
        "item_steps",
        "Mux(sub_last, sub_limit, sub_left - 1)",
        "sub_left - 1",
        NANO,
    ),
    (
        "memory.load_back",
        "short_unnoticed",
        "failed | short | long",
        "failed | long",
        "errors::test_illegal_uses[program2-1]",
    ),
    (
        "memory.load_back",
        "entry_of_the_next_unit",
        "== entries - 2)",
        "== entries - 1)",
        "load_store::test_tables[nano]",
    ),
    # memory.store
    (
        "memory.store",
        "last_strobes",
        "Cat(bit.replicate(self.config.slot_bytes) for bit in have)",
        "~0",
        PARTIAL,
    ),
    (
        "memory.store",
        "past_the_beat",
        "lambda r: min(r, width)",
        "lambda r: width",
        NANO,
    ),
    ("memory.store", "leftover_room", "walker.step & (rest == 0)", "walker.step & 0", NANO),
    ("memory.store", "place_before", "(piece.first <= place) & ", "", NANO),
    (
        "memory.store",
        "no_credit",
        "request.valid.eq(active & (credit != 0))",
        "request.valid.eq(active)",
        PAUSE,
    ),
    # memory.fetch
    (
        "memory.fetch",
        "blames_the_one_before",
        "self.error.index.eq(self.index)",
        "self.error.index.eq(self.index - 1)",
        FETCH_ERROR,
    ),
]
