"""The compiled layout against its definition in the contract, over random ports."""

import shutil
import subprocess
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sigbit.accelerators import load_accelerator
from sigbit_hw import driver
from sigbit_hw.arch.formats import EsbFormat, LevelFormat
from sigbit_hw.arch.program_parts import Fold, Port
from sigbit_hw.driver import layout, library

SMALL = load_accelerator("nano")
CONFIGS = [
    SMALL,  # slots of 2 bytes
    replace(SMALL, name="levels", act_format=LevelFormat((0, 1, 3, 9))),
    replace(SMALL, name="wide", act_format=EsbFormat(8, 4)),  # a lane is a byte
    replace(load_accelerator("micro"), name="ternary", act_format=EsbFormat(2, 0)),  # a quarter
    load_accelerator("mid"),  # 8 bytes
    load_accelerator("dense"),  # 16
]
TYPES = (np.int8, np.uint8, np.int16, np.uint16, np.int32, np.int64)


@pytest.fixture(autouse=True)
def compiled():
    """The compiled functions must be there, and may not leave the work to the definition."""
    if shutil.which("cc") is None:
        pytest.skip("no C compiler")
    assert library.library() is not None


@st.composite
def folds(draw, height, width):
    small, border = st.integers(1, 3), st.integers(0, 2)
    kernel, dilation = draw(st.tuples(small, small)), draw(st.tuples(small, small))
    padding = draw(st.tuples(border, border, border, border))
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    if height + padding[0] + padding[2] < reach[0] or width + padding[1] + padding[3] < reach[1]:
        return None
    return Fold(kernel, draw(st.tuples(small, small)), padding, dilation)


@st.composite
def ports(draw):
    """A port, its accelerator, stored integers within its limits."""
    config = draw(st.sampled_from(CONFIGS))
    shape = draw(st.tuples(st.integers(1, 40), st.integers(1, 12), st.integers(1, 12)))
    planes = draw(st.integers(1, 3 if config.act_format.bits < 8 else 1))
    values = config.act_grid(planes).values
    low, high = sorted(draw(st.tuples(*[st.integers(0, len(values) - 1)] * 2)))
    fold = draw(folds(*shape[1:])) if draw(st.booleans()) else None
    zero = -int(draw(st.sampled_from(list(map(int, values[low : high + 1])))))
    phases = draw(st.integers(1, 4))
    port = Port("x", shape, 0, planes, phases, 0.5, zero, int(values[low]), int(values[high]), fold)
    rng = np.random.default_rng(draw(st.integers(0, 1 << 32)))
    return port, config, rng.choice(values[low : high + 1], shape)


@given(ports(), st.sampled_from(TYPES), st.booleans())
def test_bytes_and_integers_are_the_definitions(case, dtype, turned):
    port, config, stored = case
    want = port.pack(stored, config)
    if np.array_equal(stored.astype(dtype), stored):
        stored = stored.astype(dtype)
    if turned:
        stored = np.ascontiguousarray(stored.transpose(1, 2, 0)).transpose(2, 0, 1)
    got = np.full(port.bytes(config), 0xA5, np.uint8)
    driver.pack(port, stored, config, got)
    assert np.array_equal(got, want)
    back = driver.unpack(port, got, config)
    assert back.dtype == np.int64
    assert np.array_equal(back, port.unpack(want, config))


@pytest.mark.parametrize("value", [-8, 8, 1 << 40, -(1 << 40)])
def test_an_integer_without_a_code_is_refused(value):
    port = Port("x", (4, 2, 2), 0, 1, 1, 1.0, 0, -7, 7)
    stored = np.zeros(port.shape, np.int64)
    stored[3, 1, 1] = value
    into = np.zeros(port.bytes(SMALL), np.uint8)
    with pytest.raises(ValueError, match=f"{value} is not a sum of 1 terms"):
        driver.pack(port, stored, SMALL, into)
    assert not into.any()


def test_a_code_without_a_value_is_refused():
    config = replace(SMALL, act_format=EsbFormat(3, 1))  # three bits in a lane of four
    port = Port("x", (4, 1, 1), 0, 1, 1, 1.0, 0, -3, 3)
    data = np.zeros(port.bytes(config), np.uint8)
    data[1] = 0x80
    with pytest.raises(ValueError, match=r"codes must be in \[0, 7\]"):
        driver.unpack(port, data, config)


@pytest.mark.parametrize(("shape", "size"), [((4, 2, 3), 8), ((4, 2, 2), 16)])
def test_arrays_of_other_sizes_are_refused(shape, size):
    port = Port("x", (4, 2, 2), 0, 1, 1, 1.0, 0, -7, 7)
    with pytest.raises(ValueError, match=r"x takes \[4, 2, 2\] in 8 bytes"):
        driver.pack(port, np.zeros(shape, np.int64), SMALL, np.zeros(size, np.uint8))


def test_without_a_compiler_the_definition_serves(monkeypatch):
    monkeypatch.setattr(layout, "library", lambda: None)
    port = Port("x", (3, 5, 5), 0, 1, 2, 1.0, 0, -7, 7, Fold((3, 3), (2, 2), (1, 1, 1, 1)))
    stored = np.random.default_rng(0).integers(-7, 8, port.shape)
    got = np.empty(port.bytes(SMALL), np.uint8)
    driver.pack(port, stored, SMALL, got)
    assert np.array_equal(got, port.pack(stored, SMALL))
    assert np.array_equal(driver.unpack(port, got, SMALL), port.unpack(got, SMALL))


@pytest.mark.parametrize("sanitizer", ["address", "undefined"])
def test_no_byte_outside_is_touched(tmp_path, sanitizer):
    """The C functions alone, under a sanitizer, on arrays of exactly their sizes."""
    (tmp_path / "layout.h").write_text(library.header())
    source = (library.SOURCES / "layout.c").read_text()
    (tmp_path / "layout.c").write_text(source)
    cases = []
    rng = np.random.default_rng(1)
    for config in CONFIGS:
        for fold in (
            None,
            Fold((3, 2), (2, 1), (1, 0, 1, 2), (1, 2)),
            Fold((2, 3), (1, 2), (1,) * 4),
        ):
            channels, height, width = (int(n) for n in rng.integers((1, 3, 5), (40, 8, 12)))
            port = Port(
                "x", (channels, height, width), 0, 1, int(rng.integers(1, 4)), 1.0, 0, -1, 1, fold
            )
            fields = layout.layout_of(port, config, library.Element.INT8, -1, 1)
            numbers = ", ".join(str(getattr(fields, name)) for name in library.FIELDS)
            cases.append(f"{{{numbers}}}")
    (tmp_path / "main.c").write_text(
        f"""
#include "layout.h"
#include <stdio.h>
#include <stdlib.h>
int main(void)
{{
    const sigbit_layout layouts[] = {{{", ".join(cases)}}};
    for (size_t i = 0; i < sizeof layouts / sizeof *layouts; ++i) {{
        const sigbit_layout *p = &layouts[i];
        size_t in = (size_t)(p->channels * p->height * p->width);
        size_t out = (size_t)(p->out_channels * p->out_height * p->out_width);
        uint32_t codes[3] = {{1, 0, 1}};
        int64_t *values = calloc(1u << p->lane_bits, sizeof *values);
        int8_t *stored = calloc(in, 1);
        uint8_t *bytes = malloc((size_t)p->bytes);
        int64_t *back = malloc(out * sizeof *back);
        if (sigbit_pack(p, codes, stored, bytes) || sigbit_unpack(p, values, bytes, back)) return 1;
        free(back), free(bytes), free(stored), free(values);
    }}
    return puts("done") < 0;
}}
"""
    )
    options = ["-std=c11", "-g", f"-fsanitize={sanitizer}", "-fno-sanitize-recover=all"]
    build = ["cc", *options, "main.c", "layout.c", "-o", "main"]
    subprocess.run(build, cwd=tmp_path, check=True)
    done = subprocess.run(["./main"], cwd=tmp_path, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr
