"""Planted faults: each is one edit of the gateware, and the tests named with it must fail.

The tests run in a session of pytest inside this one, with the seeds that they always have. Without
a fault they pass, as ``tests/hw`` shows; here one of every module does, to show that the session
inside this one does no harm.
"""

import gc
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from sigbit_sim.verification.mutation import planted

ROOT = Path(__file__).resolve().parents[2]
ARRAY, DOT = "datapath::test_array", "dot_product::test_every_pair_of_codes[s(4,1)-s(4,2)]"
TABLES = "dot_product::test_lanes[s(4,1)-s(4,2)-8]"
SIGNIFICANDS = "dot_product::test_lanes[s(6,2)-s(5,1)-4]"
REQUANT = "datapath::test_requantizer[24-28-8]"
MAX = "datapath::test_running_max[fmt0]"
COMPUTE = "compute::test_random_programs[plain-0]"
TRAFFIC = "compute::test_random_programs[plain-1]"
PARTS, GROUPS = "buffers::test_parts_of_weights", "compute::test_random_programs[groups-0]"
ACTS, WIDE_ACTS = (f"buffers::test_activations[{name}]" for name in ("4x8-64", "8x2-64"))
SLOTS, GROUP_SLOTS, WIDE_SLOTS = (
    f"drain::test_slots[{name}]" for name in ("2x4x4-4", "8x4x4-16", "32x4x4-64")
)
CODES, GROUP_CODES, PIXEL_CODES = (
    f"drain::test_codes[{name}]" for name in ("2x4x4-4", "4x8x2-4", "8x4x4-16")
)
SINGLE = "compute::test_single_step_segments_in_single_step_blocks"
LANES = "operands::test_lanes[16]"
SYNC = "compute::test_sync_reads_what_was_written"
FLIGHT = "compute::test_no_more_in_flight_than_there_is_room_for"
BURSTS, WALK = "dma::test_bursts[64-16-1]", "dma::test_walk[2]"
WINDOW = "dma::test_window_check[True]"
PLUG = "axi::test_pulled_plug"
APART = "ports::test_no_port_waits_for_another[four]"
READ_PORTS = "ports::test_error_on_one_port[two-read]"
STORE_LOAD = "load_store::test_load_after_store[nano]"
STORE_LOAD_PORTS = "load_store::test_load_after_store[ports2]"
BUS128 = "load_store::test_random_programs[bus128-latency6-0.3]"
NANO = "load_store::test_random_programs[nano-latency1-0.3]"
PARTIAL = "load_store::test_store_keeps_the_bytes_after_an_unaligned_tail"
PAUSE = "load_store::test_store_waits_for_a_bus_that_pauses"
DECODE, TOKENS = "sequencer::test_decode_agrees_with_isa", "sequencer::test_tokens_order_engines[1]"
BRIM = "sequencer::test_tokens_fill_to_the_brim"
REGISTERS, INTERRUPT = "sequencer::test_registers", "sequencer::test_interrupt"
WRITE_ERROR = "errors::test_bus_errors[store-2-3-5]"
FETCH_ERROR = "errors::test_bus_errors[fetch_first-2-3-5]"
UNDERFLOW = "errors::test_token_underflow"
WRAPPED = "registers::test_counters_say_that_they_have_wrapped"
COUNTED = "bus_protocol::test_read_beats_are_counted[{}]"
ANSWERS = "bus_protocol::test_responses_are_counted[{}]"
ERRORS, SET_WINS = "control::test_first_error_counts", "control::test_setting_wins_over_clearing"
WATCHDOG, NO_WATCHDOG = "control::test_watchdog[20]", "control::test_watchdog[0]"

FAULTS: list[tuple[str, str, str, str, str]] = [
    # mac
    (
        "compute.mac",
        "signs_or",
        "lane.signs[0] ^ lane.signs[1] if",
        "lane.signs[0] | lane.signs[1] if",
        DOT,
    ),
    (
        "compute.mac",
        "carry_twice",
        "add_with_carry(a, b, pending_a)",
        "add_with_carry(a, b, pending_b)",
        TABLES,
    ),
    # product
    ("parts.product", "table_entry", "[function(i) for i", "[function(i) + (i == 37) for i", DOT),
    (
        "parts.product",
        "exponent_off_by_one",
        "exponent.any(), exponent - 1, 0)",
        "exponent.any(), exponent, 0)",
        SIGNIFICANDS,
    ),
    (
        "parts.product",
        "shift_of_one_factor",
        "total.eq(shifts[0] + shifts[1])",
        "total.eq(shifts[0] | shifts[1])",
        SIGNIFICANDS,
    ),
    # array
    ("compute.array", "shift_before_clear", "Mux(clear, 0,", "Mux(clear & ~shift, 0,", ARRAY),
    (
        "compute.array",
        "shift_too_short",
        "acc << self.radix_bits, acc",
        "acc << (self.radix_bits - 1), acc",
        ARRAY,
    ),
    (
        "compute.array",
        "pool_clobbers",
        "enable.eq(soon_valid & ~soon.pool)",
        "enable.eq(soon_valid)",
        ARRAY,
    ),
    # requant
    (
        "compute.requant",
        "wraps",
        "over | differs(left[width - 1 : -1], left[-1])",
        "over & differs(left[width - 1 : -1], left[-1])",
        REQUANT,
    ),
    (
        "compute.requant",
        "over_forgotten",
        "over | differs(left[width - 1 : -1], left[-1])",
        "differs(left[width - 1 : -1], left[-1])",
        REQUANT,
    ),
    (
        "compute.requant",
        "step_of_another",
        "word_select(stage, width)",
        "word_select(max(stage - 1, 0), width)",
        REQUANT,
    ),
    (
        "compute.requant",
        "always_added",
        "step ^ positive.replicate(width + 1)",
        "step & ~positive.replicate(width + 1)",
        REQUANT,
    ),
    (
        "compute.requant",
        "ties_up",
        "~left[-1] & ~(self.tie & ~left.any())",
        "~left[-1]",
        REQUANT,
    ),
    (
        "compute.requant",
        "ties_always",
        "~(self.tie & ~left.any())",
        "~(~left.any())",
        REQUANT,
    ),
    (
        "compute.requant",
        "tie_of_the_next",
        "delay(m, self.param.tie, self.bits, ",
        "delay(m, self.param.tie, self.bits - 1, ",
        REQUANT,
    ),
    (
        "compute.requant",
        "last_bit_beyond_the_range",
        "[Mux(over, first, bit) for bit in (lowest, *reversed(bits[1:]))]",
        "[lowest, *(Mux(over, first, bit) for bit in reversed(bits[1:]))]",
        REQUANT,
    ),
    (
        "compute.requant",
        "base_without_fraction",
        "delay(m, self.base[:fraction], 1,",
        "delay(m, self.base[:fraction] & 0, 1,",
        REQUANT,
    ),
    # buffers
    (
        "compute.buffers",
        "banks_of_the_next_read",
        "delay(m, group, READ_LATENCY - 1,",
        "delay(m, group, READ_LATENCY - 2,",
        ACTS,
    ),
    (
        "compute.buffers",
        "turn_of_the_next_read",
        "delay(m, turn, READ_LATENCY - 1,",
        "delay(m, turn, READ_LATENCY - 2,",
        WIDE_ACTS,
    ),
    (
        "compute.buffers",
        "read_beside_write",
        "request.ready.eq(~blocked & ~write.valid)",
        "request.ready.eq(~blocked)",
        ACTS,
    ),
    (
        "compute.buffers",
        "read_beside_drain",
        "first_bank, turn, reading & ~blocked)",
        "first_bank, turn, reading)",
        ACTS,
    ),
    ("compute.buffers", "read_in_one_group", "group.eq(high + (k < low))", "group.eq(high)", ACTS),
    (
        "compute.buffers",
        "read_without_lanes",
        "turn.eq(request.p.slot - request.p.lane)",
        "turn.eq(request.p.slot)",
        WIDE_ACTS,
    ),
    (
        "compute.buffers",
        "write_beside_drain",
        "blocked.eq((banks & drained).any())",
        "blocked.eq(0)",
        ACTS,
    ),
    (
        "compute.buffers",
        "write_data_before_drain",
        "Mux(drain.valid, drain.data, Mux(",
        "Mux(~banks[b], drain.data, Mux(",
        ACTS,
    ),
    ("compute.buffers", "written_in_parts", "& writing & ~blocked", "& writing", ACTS),
    (
        "compute.buffers",
        "rotated_backwards",
        "write.p.data[(k - r) % width]",
        "write.p.data[(k + r) % width]",
        WIDE_ACTS,
    ),
    ("compute.buffers", "word_before", "Cat(b < first for b", "Cat(b <= first for b", WIDE_ACTS),
    (
        "compute.buffers",
        "one_slot_more",
        "[:bank_bits] < count)",
        "[:bank_bits] <= count)",
        WIDE_ACTS,
    ),
    (
        "compute.buffers",
        "busy_while_blocked",
        "self.write.busy.eq(writing)",
        "self.write.busy.eq(writing & blocked)",
        ACTS,
    ),
    ("compute.buffers", "weight_mask", "& (self.write.part == k)", "", PARTS),
    ("compute.buffers", "param_mask", "& (self.write.lane == k)", "", CODES),
    (
        "compute.buffers",
        "table_bank",
        "reader.addr.eq(Cat(self.index[k], self.table))",
        "reader.addr.eq(self.index[k])",
        CODES,
    ),
    # agu and operands
    (
        "compute.agu",
        "line_end_late",
        "if_not.eq(if_not_crossed)",
        "if_not.eq(if_not_crossed + 1)",
        LANES,
    ),
    ("compute.agu", "refill", "Mux(crosses, refill, back)", "Mux(crosses, nest.wrap, back)", LANES),
    (
        "compute.agu",
        "no_gap",
        "skip.eq(found.d_block + found.gap)",
        "skip.eq(found.d_block)",
        LANES,
    ),
    ("compute.agu", "room_of_a_block", "Mux(room[lane_bits:].any(), pixels, room)", "room", SINGLE),
    ("compute.agu", "no_d_ocb", "Mux(row_last, now.d_ocb, now.d_row)", "now.d_row", SINGLE),
    (
        "compute.agu",
        "words_of_the_next_block",
        "Mux(now_last & run_last & row_last, next_ocb_word,",
        "Mux(now_last & run_last, next_ocb_word,",
        SINGLE,
    ),
    (
        "compute.agu",
        "words_of_the_first_segment",
        "self.i.p.weights + found.words",
        "self.i.p.weights",
        SINGLE,
    ),
    ("compute.agu", "words_of_a_segment", "from_word + found.words", "from_word", SINGLE),
    ("compute.agu", "block_words", "next_ocb_word + nest.block_words", "next_ocb_word", SINGLE),
    (
        "compute.agu",
        "first_block_words",
        "self.i.p.weights + self.i.p.block_words",
        "self.i.p.weights",
        SINGLE,
    ),
    (
        "compute.agu",
        "block_ends_too_close",
        "open_ | (closed_for == 1)",
        "open_ | (closed_for <= 2)",
        SINGLE,
    ),
    ("compute.agu", "keep_forgotten", "block_first & ~(nest.keep & fresh)", "block_first", FLIGHT),
    ("compute.operands", "next_word", "below = first_bank > b", "below = first_bank >= b", COMPUTE),
    ("compute.operands", "lane_late", "(end[:lane_bits] <= b)", "(end[:lane_bits] < b)", LANES),
    ("compute.operands", "ends_by_lane", "rotation + end", "end", LANES),
    ("compute.operands", "one_end", "most = most_line_ends(pixels)", "most = 1", LANES),
    (
        "compute.operands",
        "second_line",
        "step.room + j * step.line",
        "step.room + 2 * j * step.line",
        LANES,
    ),
    (
        "compute.operands",
        "segment_stands_still",
        "writer.data.eq(start + step.advance)",
        "writer.data.eq(start)",
        COMPUTE,
    ),
    # compute and drain
    ("compute.engine", "no_sync", "Mux(execute.sync, none, room)", "room", SYNC),
    ("compute.engine", "no_room", "Mux(execute.sync, none, room)", "~execute.sync | none", FLIGHT),
    (
        "compute.drain",
        "group_order",
        "self.acc[p][g * config.param_lanes + j]",
        "self.acc[p][j * config.groups_per_block + g]",
        GROUP_CODES,
    ),
    (
        "compute.drain",
        "table_early",
        'delay(m, walker.table, self._index_time, "table")',
        'delay(m, walker.table, self._index_time - 1, "table")',
        CODES,
    ),
    (
        "compute.drain",
        "pixel_order",
        "self.maxima[d :: config.drain_pixels]",
        "self.maxima[: config.pixels // config.drain_pixels]",
        PIXEL_CODES,
    ),
    ("compute.drain", "source", "if k >> i & 1)", "if k >> i & 2)", PIXEL_CODES),
    (
        "compute.drain",
        "word_early",
        'delay(m, slot[bank_bits:], 2, f"word_{k}")',
        'delay(m, slot[bank_bits:], 1, f"word_{k}")',
        CODES,
    ),
    (
        "compute.drain_slots",
        "phase_of_a_new_line",
        "phase.eq(Mux(fresh, begun, held))",
        "phase.eq(held)",
        GROUP_SLOTS,
    ),
    (
        "compute.drain_slots",
        "phase_of_the_next_plane",
        "Mux(again, block, after)",
        "after",
        GROUP_SLOTS,
    ),
    ("compute.drain_slots", "pixel_of_a_new_line", "Mux(group.fresh, 0, held)", "held", SLOTS),
    (
        "compute.drain_slots",
        "pixel_of_the_next_plane",
        "Mux(group.again, block, after)",
        "after",
        SLOTS,
    ),
    (
        "compute.drain_slots",
        "phases_across_line_ends",
        "(late & late_turns) | (~late & early_turns)",
        "early_turns",
        GROUP_SLOTS,
    ),
    (
        "compute.drain_slots",
        "phases_of_the_second_line",
        "(column(c, i % (1 << period_bits)) + 1)",
        "(c + 1)",
        WIDE_SLOTS,
    ),
    (
        "compute.drain_slots",
        "one_line_end",
        "int(column(c + 1, period) == 0)",
        "int(c + 1 == period)",
        WIDE_SLOTS,
    ),
    ("compute.drain_slots", "sums", "sums[(d >> level << level) - 1]", "sums[d - 1]", GROUP_SLOTS),
    ("compute.drain_slots", "row_step", "inside[d + 1],\n", "inside[d],\n", SLOTS),
    (
        "compute.drain_slots",
        "plane_before_the_last_step",
        "Mux(move.restart, move.base, after)",
        "after",
        SLOTS,
    ),
    (
        "compute.drain_walker",
        "fresh",
        "after.fresh.eq(here.ends)",
        "after.fresh.eq(new_line)",
        WIDE_SLOTS,
    ),
    (
        "compute.drain_walker",
        "line_end",
        "Mux(new_line, job.refill, job.back)",
        "Mux(here.ends, job.refill, job.back)",
        WIDE_SLOTS,
    ),
    ("compute.drain_walker", "period", "Mux(wrap[count:].any(), 0, wrap)", "wrap", GROUP_SLOTS),
    (
        "compute.drain_walker",
        "row_end",
        "row_end.eq(block_end & here.final)",
        "row_end.eq(block_end & (here.left == 0))",
        SLOTS,
    ),
    (
        "compute.drain_walker",
        "final",
        "after.final.eq(at_most(here.left, count + 1))",
        "after.final.eq(here.left < 2 * pixels)",
        SLOTS,
    ),
    (
        "compute.drain_walker",
        "pool_slots",
        "Mux(job.mode, 1, drain_slots)",
        "drain_slots",
        "drain::test_slots[4x8x2-4]",
    ),
    # pool
    ("compute.pool", "signs", "control == 3 or b & sign", "control == 3 or a & sign", MAX),
    ("compute.pool", "minimum", "(a > b) ==", "(a < b) ==", MAX),
    ("compute.pool", "no_clear", "if control == 3 or (a ^ b)", "if (a ^ b)", MAX),
    # dma and axi
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
    (
        "bus.axi",
        "wrap_unnoticed",
        "(self.base + last)[len(self.base)]",
        "(self.base + last)[len(self.base) - 1]",
        "registers::test_windows_end_where_the_bus_ends[nano]",
    ),
    ("bus.axi", "no_base", "self.base + offset[PAGE_BITS:]", "offset[PAGE_BITS:]", NANO),
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
    ("bus.join", "done_by_the_first", "Cat(answers).all()", "Cat(answers).any()", STORE_LOAD_PORTS),
    (
        "bus.join",
        "error_of_one_port",
        "reduce(or_, (part.p.resp for part in parts))",
        "parts[0].p.resp",
        READ_PORTS,
    ),
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
    (
        "control.state",
        "protocol_while_it_runs_only",
        "violated.eq(self.bus_violated)",
        "violated.eq(self.bus_violated & self.running)",
        "bus_protocol::test_a_response_out_of_nothing_stops_the_machine[nano]",
    ),
    # load, store and walker
    (
        "memory.load",
        "wide_units",
        "rest.eq(word >> _ITEM_BITS)",
        "rest.eq(word >> config.slot_bits)",
        BUS128,
    ),
    (
        "memory.load",
        "leftover_counted",
        "unit_ends & (units_left == count)",
        "unit_ends & (units_left == count + 1)",
        NANO,
    ),
    (
        "memory.load",
        "past_the_beat",
        "min(i % (1 << len(units_after)), width) if",
        "width if",
        NANO,
    ),
    (
        "memory.load",
        "retires_before_the_write",
        "settling & ~(of_slots & self.act_write.busy)",
        "settling",
        "load_store::test_slots_are_written_before_the_retirement",
    ),
    ("memory.load", "item_steps", "Mux(sub_last, sub_limit, sub_left - 1)", "sub_left - 1", NANO),
    (
        "memory.load",
        "short_unnoticed",
        "failed | short | long",
        "failed | long",
        "errors::test_illegal_uses[program2-1]",
    ),
    (
        "memory.load",
        "entry_of_the_next_unit",
        "== entries - 2)",
        "== entries - 1)",
        "load_store::test_tables[nano]",
    ),
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
    ("parts.walker", "plane_lost", "Mux(c1.last, plane, run)", "run", WALK),
    (
        "parts.walker",
        "widths_without_end",
        "self._borrows & self.one",
        "self._borrows & ~self._borrows",
        WALK,
    ),
    # fetch, decode and sequencer
    (
        "memory.fetch",
        "blames_the_one_before",
        "self.error.index.eq(self.index)",
        "self.error.index.eq(self.index - 1)",
        FETCH_ERROR,
    ),
    (
        "control.decode",
        "no_halt_at_the_end",
        "~flags[code].any() & ends",
        "~flags[code].any()",
        DECODE,
    ),
    (
        "control.decode",
        "least_value",
        "view[field.name] < field.least",
        "view[field.name] > ~field.least",
        DECODE,
    ),
    ("control.decode", "waits_for_itself", '(view["wait"] & own)', '(view["wait"] & 0)', DECODE),
    ("control.sequencer", "tokens_kept", "int(i // most == 2)", "0", BRIM),
    (
        "control.sequencer",
        "one_token_is_enough",
        "granted.eq((header.wait & ~self.tokens) == 0)",
        "granted.eq((header.wait & self.tokens).any() | ~header.wait.any())",
        TOKENS,
    ),
    (
        "control.sequencer",
        "counter_too_small",
        "(count == isa.TOKEN_MAX)",
        "(count == isa.TOKEN_MAX - 1)",
        BRIM,
    ),
    (
        "control.sequencer",
        "halts_early",
        "standstill & ~self.waiting.any() & halted",
        "halted",
        TOKENS,
    ),
    (
        "control.sequencer",
        "blames_the_fetched",
        "self.error.index.eq(self.oldest)",
        "self.error.index.eq(self.fetch_index)",
        UNDERFLOW,
    ),
    # control and register file
    (
        "control.counters",
        "carry_lost",
        "self.cycles_hi.eq(self.cycles_hi + carries[0])",
        "self.cycles_hi.eq(self.cycles_hi)",
        WRAPPED,
    ),
    ("control.counters", "wraps_unseen", "Cat(0, carries[1:])", "0", WRAPPED),
    (
        "control.counters",
        "limit_of_the_run_before",
        "[low.eq(0), above.eq(0), self.reached.eq(0)]",
        "[above.eq(0)]",
        "registers::test_limits_of_two_words",
    ),
    (
        "control.counters",
        "low_words_only",
        "above | (same & low)",
        "above | low",
        "registers::test_limits_of_two_words",
    ),
    (
        "control.counters",
        "limit_of_zero",
        "self.reached.eq(some &",
        "self.reached.eq(~some | some &",
        "registers::test_limits_of_two_words",
    ),
    (
        "bus.axi",
        "attributes",
        "self.attributes[part]",
        "self.attributes[: len(self.attributes[part])]",
        "registers::test_attributes_are_on_every_transfer",
    ),
    ("control.state", "start_in_error", "& ~error & ~violated),", "& ~violated),", ERRORS),
    (
        "control.state",
        "start_on_a_busy_bus",
        "wanted & ~self.locked & ~error",
        "wanted & ~self.running & ~error",
        "registers::test_a_start_is_refused_with_a_sign",
    ),
    (
        "control.state",
        "refused_without_a_sign",
        "refused = (wanted & ~start) | self.write_refused",
        "refused = self.write_refused",
        "registers::test_a_start_is_refused_with_a_sign",
    ),
    (
        "control.state",
        "old_interrupt",
        "Mux(start, regs.IRQ_DONE | regs.IRQ_ERROR, 0)",
        "0",
        "registers::test_a_start_ends_the_interrupts_before_it",
    ),
    (
        "control.state",
        "locked_while_running_only",
        "self.locked.eq(self.runs | ~self.bus_idle)",
        "self.locked.eq(self.runs)",
        "registers::test_registers_of_a_run_are_locked",
    ),
    (
        "control.state",
        "cause_stays",
        "self.cause.eq(Cause.NONE),\n                self.cause_index.eq(0),",
        "\n",
        ERRORS,
    ),
    (
        "control.state",
        "first_cause",
        "for source in reversed(sources.values())",
        "for source in sources.values()",
        ERRORS,
    ),
    (
        "control.state",
        "watchdog_sleeps",
        "hung.eq((idle >= self.watchdog)",
        "hung.eq((idle >= self.watchdog << 8)",
        WATCHDOG,
    ),
    (
        "control.state",
        "watchdog_missed",
        "hung.eq((idle >= self.watchdog)",
        "hung.eq((idle == self.watchdog)",
        "control::test_watchdog_that_is_lowered_below_what_has_passed",
    ),
    ("control.state", "watchdog_zero", " & (self.watchdog != 0)", "", NO_WATCHDOG),
    (
        "control.csr",
        "clears_all",
        "held & ~ones & ~self.clear) | port",
        "Mux(mine[0], 0, held) & ~self.clear) | port",
        INTERRUPT,
    ),
    (
        "control.csr",
        "set_loses",
        "(held & ~ones & ~self.clear) | port",
        "(held | port) & ~ones & ~self.clear",
        SET_WINS,
    ),
    (
        "control.csr",
        "bits_that_do_not_exist",
        "word_select(k, 8) & byte",
        "word_select(k, 8)",
        REGISTERS,
    ),
    (
        "control.csr",
        "written_while_busy",
        "mine = Mux(self.locked, 0, mine)",
        "mine = Mux(self.locked, mine, mine)",
        "registers::test_registers_of_a_run_are_locked",
    ),
    (
        "control.csr",
        "second_write",
        "self.awready | steps.any() | self.bvalid",
        "self.awready | steps.any()",
        "registers::test_a_second_write_waits_for_the_first_ones_answer",
    ),
    (
        "control.csr",
        "answered_before_the_line",
        "with m.If(steps[1]):",
        "with m.If(steps[0]):",
        "registers::test_a_write_that_is_answered_has_its_effect",
    ),
    ("control.csr", "strobes", "strobes.eq(self.wstrb)", "strobes.eq(~0)", REGISTERS),
    (
        "control.csr",
        "masked_interrupt",
        '(status["IRQ_STATUS"] & self.irq_enable).any()',
        'status["IRQ_STATUS"].any()',
        INTERRUPT,
    ),
]


@dataclass
class Outcome:
    """Plugin that keeps what the tests of a session ended with."""

    passed: int = 0
    failures: list[BaseException] = field(default_factory=list)

    def pytest_runtest_makereport(self, call: pytest.CallInfo) -> None:
        if call.when == "call":
            if call.excinfo is None:
                self.passed += 1
            else:
                self.failures.append(call.excinfo.value)


def outcome_of(test: str) -> Outcome:
    """Runs ``{module}::{test}`` of ``tests/hw``."""
    module, name = test.split("::")
    path = ROOT / "tests" / "hw" / f"test_{module}.py"
    outcome = Outcome()
    status = pytest.main(
        [
            f"{path}::{name}",
            f"--rootdir={ROOT}",
            f"--config-file={ROOT / 'pyproject.toml'}",
            "-q",
            "--tb=no",
            "--capture=no",
            "-p",
            "no:cacheprovider",
            "-p",
            "no:faulthandler",
            "-p",
            "no:unraisableexception",
            "-p",
            "no:xdist",
        ],
        plugins=[outcome],
    )
    gc.collect()  # what a failing test abandoned, simulated processes above all, ends here
    assert status in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED), f"no test {test}"
    return outcome


ONE_OF_A_MODULE = {test.split("::")[0]: test for *_, test in FAULTS}


@pytest.mark.parametrize("test", ONE_OF_A_MODULE.values())
def test_without_a_fault(test: str) -> None:
    outcome = outcome_of(test)
    assert outcome.failures == []
    assert outcome.passed == 1


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(
    ("module", "old", "new", "test"),
    [
        pytest.param(module, old, new, test, id=f"{module}-{name}")
        for module, name, old, new, test in FAULTS
    ],
)
def test_a_fault_is_found(module: str, old: str, new: str, test: str) -> None:
    with planted(f"sigbit_hw.gateware.{module}", old, new):
        outcome = outcome_of(test)
    assert outcome.passed == 0, f"{test} does not notice"
    assert [type(failure) for failure in outcome.failures] == [AssertionError]
