"""Planted faults: each is one edit of the link's gateware, and the test named with it must fail."""

from collections.abc import Callable

import pytest

from boards import test_endpoint as tests
from sigbit_sim.verification.mutation import planted

pytestmark = pytest.mark.slow


def bulk() -> None:
    tests.test_bulk_writes_and_reads(0.0, 0)


def flipped() -> None:
    tests.test_damage_is_told_and_nothing_of_it_done("flipped", 6)


FAULTS: list[tuple[str, str, str, Callable[[], None]]] = [
    ("receive", "& check.match_detected", "", flipped),
    ("receive", "emitted.eq(begun)", "emitted.eq(0)", bulk),
    ("receive", "& ~overlong", "", tests.test_frames_that_no_host_sends_are_damaged),
    ("receive", "begun.eq(0), count.eq(0)", "begun.eq(0)", bulk),
    ("send", "run.eq(at)", "run.eq(at + 1)", bulk),
    ("send", "sent.eq(0), out.eq(~out)", "sent.eq(0), out.eq(out)", bulk),
    (
        "endpoint",
        "receiver.words == Mux(writes, asked.count, 0)",
        "receiver.words == receiver.words",
        tests.test_frames_that_no_host_sends_are_damaged,
    ),
    (
        "endpoint",
        "with m.If(~known):",
        "with m.If(known | ~known):",
        tests.test_a_repeated_write_is_done_once_and_a_repeated_read_again,
    ),
    (
        "endpoint",
        "(asked.ordered & ~first)",
        "(asked.ordered & 0)",
        tests.test_an_ordered_request_waits_for_all_before_it,
    ),
    (
        "endpoint",
        "done.eq(done >> 1), turn.eq(turn + 1)",
        "done.eq(done >> 1)",
        tests.test_numbers_wrap_and_the_window_has_an_end,
    ),
    (
        "endpoint",
        "near.eq(ahead < link.REQUESTS_MAX)",
        "near.eq(1)",
        tests.test_numbers_wrap_and_the_window_has_an_end,
    ),
    (
        "endpoint",
        "(asked.session != session)",
        "(session != session)",
        tests.test_only_the_open_session_is_served,
    ),
    (
        "endpoint",
        "word.eq(self.irq)",
        "word.eq(0)",
        lambda: tests.test_waiting_for_the_interrupt(300, 2000, 1),
    ),
]


@pytest.mark.parametrize(
    ("module", "old", "new", "test"),
    [pytest.param(*fault, id=f"{fault[0]}-{k}") for k, fault in enumerate(FAULTS)],
)
def test_a_fault_is_found(module: str, old: str, new: str, test: Callable[[], None]) -> None:
    with planted(f"sigbit_boards.link.{module}", old, new):
        with pytest.raises((AssertionError, AttributeError, IndexError)):
            test()
