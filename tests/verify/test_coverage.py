"""Coverage: what Verilator counts is read, merged and explained."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sigbit_sim.rtl.device import RtlDevice
from sigbit_sim.rtl.native.model import ModelError
from verify.configs import NANO
from verify.coverage import KINDS, WORK, Point, merged, packed, read, readable, summary, unpacked
from verify.waivers import TRIGGER, WAIVERS, reason

FILE = (
    b"# SystemC::Coverage-3\n"
    b"C '\x01f\x02top.v\x01l\x0210\x01n\x029\x01t\x02toggle\x01page\x02v_toggle/m\x01o\x02"
    b"__024a[0]:0->1\x01h\x02TOP.m' 3\n"
    b"C '\x01f\x02top.v\x01l\x0211\x01n\x020\x01t\x02line\x01page\x02v_line/m\x01o\x02elsif"
    b"\x01S\x024-5\x01h\x02TOP.m' 0\n"
)


def test_reading() -> None:
    points, counts = read(FILE)
    assert points == [Point("m", "toggle", "$a[0]:0->1", 10), Point("m", "line", "elsif", 11)]
    assert counts.tolist() == [3, 0]
    assert readable("__024x__05Fy") == "$x_y"


@given(bits=st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=99))
def test_merging(bits: list[tuple[bool, bool]]) -> None:
    one, other = np.array(bits).T
    assert (unpacked(packed(one)) == one).all()
    assert (unpacked(merged(packed(one), packed(other))) == one | other).all()
    assert merged("", packed(one)) == merged(packed(one), "") == packed(one)


def test_a_summary() -> None:
    points = [Point("m", kind, f"{kind}{k}", k) for kind in KINDS for k in range(3)]
    reached = np.array([k == 0 for _ in KINDS for k in range(3)])
    reasons = [TRIGGER if k == 1 else "" for _ in KINDS for k in range(3)]
    found = summary(packed(reached), points, reasons)
    line = {f"{kind}{what}": n for kind in KINDS for what, n in (("", 2), (" reached", 1))}
    assert found["details"] == [{"module": "m", **line}]
    assert found["holes"] == ["m, line 2: branch2", "m, line 2: line2"]
    assert {c["reason"]: c["points"] for c in found["classes"]} == {"not explained": 1}


def test_reasons() -> None:
    assert reason("branch", "m", "if", "if (\\$auto$verilog_backend.cc:1$2 ) begin end") == TRIGGER
    assert reason("line", "m", "if", "x") == reason("branch", "m", "if", "if (rst)") == ""
    assert all(len(waiver.reason.split()) > 4 for waiver in WAIVERS)


@pytest.mark.sim
def test_usual_models_do_not_count(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="does not count"):
        RtlDevice(NANO).model.coverage(tmp_path / "x")


@pytest.mark.sim
@pytest.mark.long
@pytest.mark.parametrize("what", WORK)
def test_work_reaches_most_lines(what: str, tmp_path: Path, rng: np.random.Generator) -> None:
    device, runs = WORK[what](rng)
    device.model.coverage(tmp_path / "x")
    points, counts = read((tmp_path / "x").read_bytes())
    lines = np.array([point.kind == "line" for point in points])
    assert runs > 0
    assert (counts[lines] > 0).mean() > 0.5
