"""Tests of ``tests/hw`` that judge planted faults: ``module::test``."""

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
