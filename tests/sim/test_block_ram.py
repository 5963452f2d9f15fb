"""Models of block RAM cells against a plain reference: a list of bits, and the rules of the data
sheets (UG573, FPGA-TN-02204) for what a port reads while it or the other one writes."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from sigbit_sim.rtl.netlist import cell_models
from sigbit_sim.verification.cell_models import VerilogModel
from sigbit_synthesis.target import Target

pytestmark = pytest.mark.sim

UNKNOWN = 2
"""A bit of which the data sheet promises nothing."""
PINS = {"addr": 15, "di": 72, "we": 8, "en": 1, "rst": 1}
CYCLES, PLACES = 600, 3
OLD, NEW, HELD = "READ_FIRST", "WRITE_FIRST", "NO_CHANGE"
LATTICE = {OLD: "READBEFOREWRITE", NEW: "WRITETHROUGH", HELD: "NORMAL"}


@dataclass(frozen=True)
class Case:
    """A cell in use: widths of reads and writes (0: none) and write modes of ports a and b."""

    cell: str
    read: tuple[int, int]
    write: tuple[int, int]
    mode: tuple[str, str]

    @property
    def bits(self) -> int:
        """Data bits, parity left out."""
        return 1 << (15 if self.cell == "RAMB36E2" else 14)

    @property
    def lattice(self) -> bool:
        return self.cell == "DP16KD"

    def __str__(self) -> str:
        modes = "-".join(self.mode).lower()
        return f"{self.cell}-{self.read[0]}.{self.read[1]}-{self.write[0]}.{self.write[1]}-{modes}"


CASES = [
    Case("RAMB36E2", (36, 36), (36, 36), (OLD, OLD)),
    Case("RAMB36E2", (18, 9), (18, 9), (NEW, HELD)),
    Case("RAMB36E2", (4, 1), (4, 1), (HELD, OLD)),
    Case("RAMB36E2", (72, 0), (0, 72), (OLD, OLD)),
    Case("RAMB36E2", (72, 0), (0, 72), (NEW, NEW)),
    Case("RAMB18E2", (18, 2), (18, 2), (OLD, NEW)),
    Case("RAMB18E2", (9, 18), (9, 18), (HELD, HELD)),
    Case("RAMB18E2", (36, 0), (0, 36), (OLD, OLD)),
    Case("DP16KD", (18, 18), (18, 18), (HELD, OLD)),
    Case("DP16KD", (9, 4), (9, 4), (NEW, HELD)),
    Case("DP16KD", (2, 1), (2, 1), (OLD, NEW)),
    Case("DP16KD", (0, 36), (36, 0), (HELD, HELD)),
]


@dataclass
class Ram:
    """The reference: bits of data and parity, one array each, and what the outputs hold, data bits
    before parity bits."""

    case: Case
    data: np.ndarray
    parity: np.ndarray
    outputs: list[np.ndarray] = field(default_factory=lambda: [np.zeros(72, np.uint8)] * 2)

    def place(self, width: int, addr: int) -> np.ndarray:
        """Positions of a word's bits, in data followed by parity."""
        n = width * 8 // 9 if width % 9 == 0 else width
        first = addr % self.case.bits // n * n
        found = np.arange(first, first + n)
        if width % 9:
            return found
        return np.append(found, self.case.bits + np.arange(first // 8, (first + n) // 8))

    def step(self, ops: list[dict[str, int]]) -> None:
        """One clock edge with the inputs of both ports."""
        case, old = self.case, np.append(self.data, self.parity)
        written = [dict[int, int](), dict[int, int]()]
        for port, op in enumerate(ops):
            width = case.write[port]
            if not (op["en"] and width):
                continue
            place, n = self.place(width, op["addr"]), width * 8 // 9 if width % 9 == 0 else width
            for k, at in enumerate(place):
                byte = k // 8 if k < n else k - n
                if op["we"] >> byte & 1:
                    bit = op["di"] >> (k if k < n else 64 + k - n) & 1
                    written[port][int(at)] = bit
        new = old.copy()
        for port in (0, 1):
            for at, bit in written[port].items():
                new[at] = UNKNOWN if at in written[1 - port] else bit
        for port, op in enumerate(ops):
            if case.read[port]:
                self.read(port, op, old, new, written)
        self.data, self.parity = new[: case.bits], new[case.bits :]

    def read(
        self,
        port: int,
        op: dict[str, int],
        old: np.ndarray,
        new: np.ndarray,
        written: list[dict[int, int]],
    ) -> None:
        """What ``port`` shows after the edge."""
        case, width = self.case, self.case.read[port]
        place = self.place(width, op["addr"])
        if op["rst"] and (op["en"] or case.lattice):
            self.outputs[port] = np.zeros(len(place), np.uint8)
        elif op["en"] and not (written[port] and case.mode[port] == HELD):
            value = (new if case.mode[port] == NEW else old)[place]
            for k, at in enumerate(place):
                if at not in written[port]:
                    value[k] = old[at]
                promised = case.mode[1 - port] == OLD and not case.lattice
                if at in written[1 - port] and not promised:
                    value[k] = UNKNOWN
            self.outputs[port] = value


def bus(name: str, bits: int) -> str:
    return f"input [{bits - 1}:0] {name}"


def instance(case: Case, number: int, init: dict[str, int]) -> str:
    """A cell, its outputs as ``out_{number}_a`` and ``_b``: data in the low 64 bits, parity
    above."""
    outs = [f"out_{number}_{p}" for p in "ab"]
    parameters, pins = dict[str, object](), dict[str, str]()
    widths = [max(case.read[k], case.write[k]) for k in (0, 1)]
    if case.lattice:
        parameters |= {f"DATA_WIDTH_{p}": widths[k] or 36 for k, p in enumerate("AB")}
        parameters |= {f"WRITEMODE_{p}": f'"{LATTICE[case.mode[k]]}"' for k, p in enumerate("AB")}
        whole = 36 in widths
        for k, (p, low) in enumerate(zip("AB", "ab", strict=True)):
            side = 0 if whole else k
            for i in range(18):
                at = 18 * (whole and k) + i
                bit = 64 + at // 9 if at % 9 == 8 else at // 9 * 8 + at % 9
                pins[f"DI{p}{i}"] = f"di_{'ab'[side]}[{bit}]"
                pins[f"DO{p}{i}"] = f"{outs[1 if whole else k]}[{bit}]"
            enables = {18: 2, 36: 4}.get(widths[k], 0) if case.write[k] else 0
            for i in range(14):
                pins[f"AD{p}{i}"] = f"we_{low}[{i}]" if i < enables else f"addr_{low}[{i}]"
            some = f"|we_{low}[{enables - 1}:0]" if enables else f"we_{low}[0]"
            pins |= {
                f"CLK{p}": "clk",
                f"CE{p}": f"en_{low}",
                f"RST{p}": f"rst_{low}",
                f"WE{p}": some if case.write[k] else "1'b0",
            }
    else:
        half = 32 if case.cell == "RAMB36E2" else 16
        parameters |= {
            f"{way}_WIDTH_{p}": getattr(case, way.lower())[k]
            for way in ("READ", "WRITE")
            for k, p in enumerate("AB")
        }
        parameters |= {f"WRITE_MODE_{p}": f'"{case.mode[k]}"' for k, p in enumerate("AB")}
        parameters |= {"DOA_REG": 0, "DOB_REG": 0}
        wide = max(widths) > half * 9 // 8
        for k, (p, low) in enumerate(zip(("A", "B"), "ab", strict=True)):
            high = half if wide and k else 0
            source, out = "b" if wide else low, outs[0 if wide else k]
            pins |= {
                f"DIN{p}DIN": f"di_{source}[{high} +: {half}]",
                f"DINP{p}DINP": f"di_{source}[{64 + high // 8} +: {half // 8}]",
                f"DOUT{p}DOUT": f"{out}[{high} +: {half}]",
                f"DOUTP{p}DOUTP": f"{out}[{64 + high // 8} +: {half // 8}]",
            }
        pins |= {
            "ADDRARDADDR": "addr_a",
            "ADDRBWRADDR": "addr_b",
            "WEA": "we_a",
            "WEBWE": "we_b",
            "CLKARDCLK": "clk",
            "CLKBWRCLK": "clk",
            "ENARDEN": "en_a",
            "ENBWREN": "en_b",
            "RSTRAMARSTRAM": "rst_a",
            "RSTRAMB": "rst_b",
        }
    parameters |= {
        name: f"{320 if case.lattice else 256}'h{value:x}" for name, value in init.items()
    }
    listed = ", ".join(f".{name}({value})" for name, value in parameters.items())
    wired = ", ".join(f".{name}({value})" for name, value in pins.items())
    return f"  {case.cell} #({listed}) ram_{number} ({wired});"


def contents(case: Case, rng: np.random.Generator) -> tuple[dict[str, int], Ram]:
    """Random first words as parameters, and the reference that holds them."""
    data, parity = rng.integers(0, 2, 256, np.uint8), rng.integers(0, 2, 32, np.uint8)
    ram = Ram(case, np.zeros(case.bits, np.uint8), np.zeros(case.bits // 8, np.uint8))
    ram.data[:256], ram.parity[:32] = data, parity
    if not case.lattice:
        return {"INIT_00": number(data), "INITP_00": number(parity)}, ram
    rows = [
        number(
            np.concatenate(
                [
                    data[16 * k :][:8],
                    parity[2 * k :][:1],
                    data[16 * k + 8 :][:8],
                    parity[2 * k + 1 :][:1],
                ]
            )
        )
        for k in range(16)
    ]
    return {"INITVAL_00": sum(row << 20 * k for k, row in enumerate(rows))}, ram


def number(bits: np.ndarray) -> int:
    return sum(int(bit) << k for k, bit in enumerate(bits))


def test_models(rng: np.random.Generator, tmp_path: Path) -> None:
    """Both ports read and write the same few words at random."""
    found = [contents(case, rng) for case in CASES]
    outputs = {f"out_{k}_{p}": 72 for k in range(len(CASES)) for p in "ab"}
    inputs = {f"{pin}_{p}": bits for p in "ab" for pin, bits in PINS.items()}
    ports = [bus(name, bits) for name, bits in inputs.items()]
    ports += [f"output [71:0] {name}" for name in outputs]
    cells = [
        instance(case, k, init)
        for k, (case, (init, _)) in enumerate(zip(CASES, found, strict=True))
    ]
    models = [
        *cell_models({"RAMB36E2", "RAMB18E2"}, Target.XCUP),
        *cell_models({"DP16KD"}, Target.ECP5),
    ]
    text = "\n".join(
        [
            "module top(input clk, rst,",
            ",\n".join(ports),
            ");",
            *cells,
            "endmodule",
            *dict.fromkeys(models),
        ]
    )
    model = VerilogModel(text, inputs, outputs, tmp_path)

    bases = rng.integers(0, 4, PLACES) * 64
    stimuli = {
        name: [int.from_bytes(rng.bytes(9), "little") % (1 << bits) for _ in range(CYCLES + 1)]
        for name, bits in inputs.items()
    }
    for p in "ab":
        stimuli[f"addr_{p}"] = [
            int(base + low)
            for base, low in zip(
                rng.choice(bases, CYCLES + 1), rng.integers(0, 64, CYCLES + 1), strict=True
            )
        ]
        stimuli[f"en_{p}"] = [int(x) for x in rng.random(CYCLES + 1) < 0.8]
        stimuli[f"rst_{p}"] = [int(x) for x in rng.random(CYCLES + 1) < 0.1]
        stimuli[f"we_{p}"] = [
            we if some else 0
            for we, some in zip(stimuli[f"we_{p}"], rng.random(CYCLES + 1) < 0.6, strict=True)
        ]
    got = model.run(stimuli)

    for k, (case, (_, ram)) in enumerate(zip(CASES, found, strict=True)):
        known = 0
        for cycle in range(CYCLES):
            ram.step([{pin: stimuli[f"{pin}_{p}"][cycle] for pin in PINS} for p in "ab"])
            for port, p in enumerate("ab"):
                width, wanted = case.read[port], ram.outputs[port]
                if not width:
                    continue
                n = width * 8 // 9 if width % 9 == 0 else width
                value = got[f"out_{k}_{p}"][cycle + 1]
                for at, bit in enumerate(wanted[:width]):
                    if bit != UNKNOWN:
                        seen = value >> (at if at < n else 64 + at - n) & 1
                        assert seen == bit, f"{case}: cycle {cycle}, port {p}, bit {at}"
                        known += 1
        assert known > CYCLES, f"{case}: hardly anything was promised"
