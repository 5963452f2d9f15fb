"""Builds the native harness of one accelerator, and caches the result.

The result is one shared library in the cache. Its folder is named after everything that could
change it: the ArchConfig, the Verilog, the harness's sources, the tools, the options and the
machine's processor (for which the code is compiled).
"""

import re
import shutil
import tempfile
from collections.abc import Callable
from enum import Enum
from functools import partial
from pathlib import Path

from sigbit_hw.arch import cpp
from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.gateware.ports import axi_prefixes
from sigbit_sim.rtl.native import verilated
from sigbit_synthesis.emitted import cached_verilog
from sigbit_tools.cache import cached_folder, key_of
from sigbit_tools.toolchain import verilator_version


class Purpose(Enum):
    """Purpose of a model, besides its speed: nothing else; starting with random values; counting
    what it executes."""

    RUN = "run"
    UNKNOWN = "unknown"
    COVERAGE = "coverage"


_SOURCES = Path(__file__).parent
_CPP = ("harness.cpp", "archive.h", "axi_memory.h", "memory_timing.h", "trace.h")
_LIBRARY = "libsigbit.so"
_TOP = "sigbit_accelerator"
_APART = ("-fno-inline", "--output-split", "20000", "--output-groups", "4")
_INLINED = ("--output-split", "60000")
_FLAGS = {
    Purpose.RUN: ("--x-assign", "fast", "--x-initial", "fast"),
    Purpose.UNKNOWN: ("--x-assign", "unique", "--x-initial", "unique"),
    Purpose.COVERAGE: (
        *("--x-assign", "fast", "--x-initial", "fast"),
        *("--coverage-line", "--coverage-toggle", "--coverage-max-width", "4096"),
    ),
}
"""Verilator's options for each purpose."""

_INITIAL_VALUE = re.compile(
    r"^(  reg (?:signed )?(?:\[\d+:\d+\] )?(?!\\\$auto\$)\S+ ?) = [^;]+;$", re.M
)
_INITIAL_ZEROS = re.compile(
    r"^  initial begin : initial_\w+\n    integer i;\n    for .*\n"
    r"      \S+ ?\[i\] = \d+'[dh]0+;\n  end\n",
    re.M,
)

Building = Callable[[str, int, int], None]
"""Called with the work that begins, the steps done and their total; 0 of 0 if unknown."""

OPTIMIZE = "-O1"
"""Optimization level of the C++ compiler: builds in a third of the time of -O2, for models that run
about 10 % slower (four ports, 8 x 16 x 4 lanes: 28 against 95 CPU seconds, 273 to 287 against 308
to 317 kHz)."""


def library(
    config: ArchConfig,
    verilog: str | None = None,
    *,
    asserts: bool = False,
    optimize: str = OPTIMIZE,
    inline: bool = True,
    purpose: Purpose = Purpose.RUN,
    progress: Building = lambda *_: None,
) -> Path:
    """Return the path of the harness's library for `config`, built unless it is cached.

    `verilog` replaces the Verilog of the gateware (netlists, tests of planted faults); `asserts`
    keeps the gateware's assertions, which then end a run; `optimize` is the C++ compiler's option;
    without `inline` the instances of a module share its code. For :attr:`Purpose.UNKNOWN`,
    registers and memories lose their initial values. `progress` is called if it is built.
    Any number of processes may ask at once.
    """
    text = cached_verilog(config, traced=True) if verilog is None else verilog
    if purpose is Purpose.UNKNOWN:
        text = without_initial_values(text)
    sources = [(_SOURCES / name).read_text() for name in (*_CPP, "build.py", "verilated.py")]
    key = key_of(
        config.digest,
        text,
        *sources,
        cpp.header(),
        repr(verilator_version()),
        str(asserts),
        optimize,
        str(inline),
        purpose.value,
        verilated.processor(),
    )
    folder = cached_folder(
        f"rtl-{key}",
        lambda into: _build(config, text, asserts, optimize, inline, purpose, progress, into),
    )
    return folder / _LIBRARY


def without_initial_values(verilog: str) -> str:
    """Verilog whose registers and memories have no initial values, except memories with contents.

    Registers that Yosys adds to trigger processes are no state, and keep theirs.
    """
    return _INITIAL_ZEROS.sub("", _INITIAL_VALUE.sub(r"\1;", verilog))


def _build(
    config: ArchConfig,
    verilog: str,
    asserts: bool,
    optimize: str,
    inline: bool,
    purpose: Purpose,
    progress: Building,
    into: Path,
) -> None:
    """Compile the library into `into`."""
    with tempfile.TemporaryDirectory(dir=into) as name:
        work = Path(name)
        (work / "top.v").write_text(verilog)
        (work / "ports.h").write_text(ports_header(config))
        (work / cpp.HEADER_NAME).write_text(cpp.header())
        for source in _CPP:
            shutil.copy(_SOURCES / source, work)
        progress("translating the gateware to C++", 0, 0)
        options = ["-O3", *_FLAGS[purpose], "--assert" if asserts else "--no-assert"]
        options += [*(_INLINED if inline else _APART), "--output-split-cfuncs", "2000"]
        counts = purpose is Purpose.COVERAGE
        verilated.translate(work / "top.v", _TOP, options, counts=counts)
        verilated.build(
            work,
            ["harness.cpp"],
            into / _LIBRARY,
            optimize=optimize,
            flags=("-O2", "-shared"),
            counts=counts,
            progress=partial(progress, "compiling the simulator"),
        )


def ports_header(config: ArchConfig) -> str:
    """Return ``ports.h``: sizes of `config`, and accessors of the ports that depend on it."""
    banks = "\n".join(
        f"    if (t.trace_act_{bank}_valid)\n"
        f"        f({bank}, t.trace_act_{bank}_word, bytes(t.trace_act_{bank}_data));"
        for bank in range(config.pixels)
    )
    drives = "\n".join(
        f"    case {port}: SIGBIT_DRIVE({prefix}); break;"
        for port, prefix in enumerate(axi_prefixes(config))
    )
    samples = drives.replace("DRIVE", "SAMPLE")
    return f"""// Generated from the ArchConfig {config.name!r}, {config.digest}.
#pragma once

namespace sigbit {{

constexpr int PORTS = {config.ports}, PORT_BYTES = {config.port_bytes};
constexpr int SLOT_BYTES = {config.slot_bytes}, PIXELS = {config.pixels};
constexpr int BURST_BEATS = {config.burst_beats}, OUTSTANDING_READS = {config.outstanding_reads};
constexpr size_t ACT_SLOTS = {config.act_slots};

// The bytes of a port, little-endian, whatever type its width gives it.
template <typename T> T* bytes(T& port) {{ return &port; }}
template <std::size_t N> EData* bytes(VlWide<N>& port) {{ return port.data(); }}
template <std::size_t N> const EData* bytes(const VlWide<N>& port) {{ return port.data(); }}

// Call f(bank, word, data) for every bank of the activation memory that is written.
template <typename F> void written_banks(const Vsigbit& t, F f) {{
{banks}
}}

#define SIGBIT_DRIVE(P)                                                              \\
    t.P##arready = p.arready, t.P##awready = p.awready, t.P##wready = p.wready,      \\
    t.P##rvalid = p.rvalid, t.P##rlast = p.rlast, t.P##rresp = p.rresp,              \\
    t.P##rid = p.rid, t.P##bvalid = p.bvalid, t.P##bresp = p.bresp, t.P##bid = p.bid; \\
    if (p.rvalid) std::memcpy(bytes(t.P##rdata), p.rdata, PORT_BYTES)

#define SIGBIT_SAMPLE(P)                                                             \\
    m.ar = {{bool(t.P##arvalid), t.P##araddr, t.P##arlen, t.P##arsize, t.P##arburst, t.P##arid}}; \\
    m.aw = {{bool(t.P##awvalid), t.P##awaddr, t.P##awlen, t.P##awsize, t.P##awburst, t.P##awid}}; \\
    m.rready = t.P##rready, m.bready = t.P##bready, m.wvalid = t.P##wvalid;          \\
    if (t.P##wvalid) {{                                                              \\
        std::memcpy(m.w.data, bytes(t.P##wdata), PORT_BYTES);                        \\
        m.w.strobe = t.P##wstrb, m.w.last = t.P##wlast;                              \\
    }}

// Put what a memory drives on the port.
inline void drive_port(Vsigbit& t, int port, const MemoryPins<PORT_BYTES>& p) {{
    switch (port) {{
{drives}
    }}
}}

// Read what the accelerator drives on the port.
inline void sample_port(const Vsigbit& t, int port, MasterPins<PORT_BYTES>& m) {{
    switch (port) {{
{samples}
    }}
}}

}} // namespace sigbit
"""
