"""Longest logic: netlists with known paths, and random hierarchies against their flat form."""

import random
from dataclasses import replace
from itertools import product
from pathlib import Path as File

import pytest
from amaranth.back import rtlil

from sigbit_hw.arch.formats import EsbFormat
from sigbit_hw.gateware.compute.mac import DotProduct
from sigbit_synthesis.arcs import Arc, arcs
from sigbit_synthesis.modules import split
from sigbit_synthesis.netlist import Cell, Netlist, map_modules
from sigbit_synthesis.paths import Part, Path, Timing, analyze, pareto
from sigbit_synthesis.target import Target
from sigbit_tools.toolchain import ToolchainError


def netlist(
    cells: list[Cell], inputs: dict[str, list[int]], outputs: dict[str, list[int]]
) -> Netlist:
    nets = {
        net: f"n{net}"
        for c in cells
        for bits in c.outputs.values()
        for net in bits
        if isinstance(net, int)
    }
    return Netlist(dict(inputs), dict(outputs), cells, nets, File(), ())


def lut(name: str, sources: list[int], sink: int, kind: str = "LUT6") -> Cell:
    return Cell(name, kind, {f"I{k}": [s] for k, s in enumerate(sources)}, {"O": [sink]})


def register(name: str, source: int, sink: int) -> Cell:
    return Cell(name, "FDRE", {"C": [0], "D": [source]}, {"Q": [sink]})


def costs(paths: list[Path]) -> set[tuple[int, int]]:
    return {(p.levels, p.carries) for p in paths}


def test_luts_between_registers_are_levels() -> None:
    timing = analyze(
        netlist(
            [
                register("a", 9, 1),
                lut("x", [1, 8], 2),
                lut("y", [2], 3, "INV"),
                register("b", 3, 4),
            ],
            {"clk": [0], "in": [8]},
            {"out": [4]},
        ),
        {},
    )
    assert timing.paths == [Path(2, 0, "n1", "n4")]
    assert timing.departures == {("in", 0): [Part(2, 0, "n4")]}
    assert timing.arrivals == {("out", 0): [Part(0, 0, "n4")]}
    assert timing.through == {}


@pytest.mark.parametrize(
    ("kind", "pins", "parameter", "out"),
    [
        *((f"LUT{n}", [f"I{k}" for k in range(n)], "INIT", "O") for n in range(1, 7)),
        ("LUT4", list("ABCD"), "INIT", "Z"),
        ("SB_LUT4", [f"I{k}" for k in range(4)], "LUT_INIT", "O"),
    ],
)
def test_a_lut_is_passed_only_by_what_its_table_depends_on(
    kind: str, pins: list[str], parameter: str, out: str
) -> None:
    rng = random.Random(kind)
    for _ in range(40):
        table = [rng.getrandbits(1) for _ in range(1 << len(pins))]
        for k in range(len(pins)):  # a table that some inputs are without effect on
            if rng.random() < 0.4:
                table = [table[i & ~(1 << k)] for i in range(len(table))]
        # Constants, and inputs of which some are one net.
        bits: list[int | str] = [rng.choice(["0", "1", *range(1, 6)]) for _ in pins]
        if rng.random() < 0.3:
            bits[rng.randrange(len(bits))] = "x"
        free = sorted({bit for bit in bits if bit not in ("0", "1")}, key=str)

        def value(
            nets: dict[int | str, int], table: list[int] = table, bits: list[int | str] = bits
        ) -> int:
            nets = {"0": 0, "1": 1, **nets}
            return table[sum(nets[bit] << k for k, bit in enumerate(bits))]

        rows = [dict(zip(free, row, strict=True)) for row in product((0, 1), repeat=len(free))]
        expected = {
            net
            for net in free
            if isinstance(net, int)
            and any(value(row) != value({**row, net: 1 - row[net]}) for row in rows)
        }
        cell = Cell(
            "x",
            kind,
            {pin: [bit] for pin, bit in zip(pins, bits, strict=True)},
            {out: [9]},
            {parameter: "".join(map(str, reversed(table)))},
        )
        found = list(arcs(cell, {}))
        assert sorted(found, key=lambda arc: arc.source) == [
            Arc(net, 9, 1, 0) for net in sorted(expected)
        ]


def test_the_outputs_of_a_lut_depend_on_different_inputs() -> None:
    # O5: I0 & I1. O6: the same if I5 is 0, else I0 ^ I4.
    low = [i & 1 & i >> 1 for i in range(32)]
    high = [i & 1 ^ i >> 4 & 1 for i in range(32)]
    table = "".join(map(str, reversed(low + high)))
    inputs: dict[str, list[int | str]] = {f"I{k}": [k] for k in range(6)}

    def reached(inputs: dict[str, list[int | str]]) -> set[tuple[int, int]]:
        cell = Cell("x", "LUT6_2", inputs, {"O5": [8], "O6": [9]}, {"INIT": table})
        return {(arc.source, arc.sink) for arc in arcs(cell, {})}

    assert reached(inputs) == {(0, 8), (1, 8), (0, 9), (1, 9), (4, 9), (5, 9)}
    assert reached({**inputs, "I5": ["1"]}) == {(0, 8), (1, 8), (0, 9), (4, 9)}
    assert reached({**inputs, "I5": ["0"]}) == {(0, 8), (1, 8), (0, 9), (1, 9)}
    assert reached({**inputs, "I0": ["0"], "I5": ["1"]}) == {(4, 9)}


@pytest.mark.synth
def test_an_adder_of_three_numbers_is_two_luts_before_a_carry_chain() -> None:
    """Whose carry of a bit goes to the LUT of the next one, but not through it to the one after."""
    dot = DotProduct(EsbFormat(4, 1, True), EsbFormat(4, 2, True), 8)
    text = rtlil.convert(dot, name="dot", platform=Target.XCUP.fabric, emit_src=False)
    mapped = map_modules(split(text).values(), Target.XCUP, lambda *_: None)["dot"]
    assert costs(analyze(mapped, {}).paths) == {(2, 1)}
    blind = replace(mapped, cells=[replace(cell, parameters={}) for cell in mapped.cells])
    assert costs(analyze(blind, {}).paths) == {(10, 1)}


def test_a_cascade_of_carries_is_one_chain() -> None:
    def carry(name: str, s: int, ci: int | str, co: int, o: int) -> Cell:
        return Cell(
            name,
            "CARRY8",
            {"CI": [ci], "CI_TOP": ["0"], "S": [s] * 8, "DI": [s] * 8},
            {"CO": [-1] * 7 + [co], "O": [-2] * 7 + [o]},
        )

    cells = [
        register("a", 9, 1),
        lut("x", [1], 2),
        carry("c0", 2, "0", 3, 20),
        carry("c1", 2, 3, 4, 21),
        register("b", 21, 5),
    ]
    assert costs(analyze(netlist(cells, {}, {}), {}).paths) == {(1, 1)}
    cells += [lut("y", [4], 6), carry("c2", 6, "0", 7, 22), register("d", 22, 8)]
    assert costs(analyze(netlist(cells, {}, {}), {}).paths) == {(2, 2)}


def test_a_multiplexer_belongs_to_the_level_of_the_luts_before_it() -> None:
    mux = Cell("m", "MUXF7", {"I0": [2], "I1": [3], "S": [4]}, {"O": [5]})
    data = [register("a", 9, 1), lut("x", [1], 2), lut("y", [1], 3), register("b", 5, 6)]
    assert costs(analyze(netlist([*data, mux], {"s": [4]}, {}), {}).paths) == {(1, 0)}
    select = lut("s", [1], 4)
    assert costs(analyze(netlist([*data, mux, select], {}, {}), {}).paths) == {(2, 0)}


def test_distributed_memory_is_read_through_a_level() -> None:
    memory = Cell(
        "r",
        "RAM32M",
        {"ADDRA": [1], "ADDRD": [2], "DIA": [3], "WE": [4], "WCLK": [0]},
        {"DOA": [5]},
    )
    cells = [
        register("a", 9, 1),
        register("w", 9, 2),
        memory,
        lut("x", [5], 6),
        register("b", 6, 7),
    ]
    assert costs(analyze(netlist(cells, {}, {}), {}).paths) == {(2, 0)}
    block = Cell("r", "RAMB36E2", {"ADDRARDADDR": [1]}, {"DOUTADOUT": [5]})
    assert costs(analyze(netlist([*cells[:2], block, *cells[3:]], {}, {}), {}).paths) == {(1, 0)}


def test_a_loop_of_logic_is_an_error() -> None:
    with pytest.raises(ToolchainError, match="loops without a register: n"):
        analyze(netlist([lut("x", [2], 1), lut("y", [1], 2)], {}, {}), {})


def test_paths_that_another_exceeds_are_dropped() -> None:
    parts = [Part(3, 0), Part(2, 1), Part(2, 0), Part(1, 1), Part(0, 2)]
    assert pareto(parts) == [Part(3, 0), Part(2, 1), Part(0, 2)]


@pytest.mark.parametrize("seed", range(40))
def test_a_hierarchy_has_the_paths_of_its_flat_form(seed: int) -> None:
    rng = random.Random(seed)

    def logic(first: int, sources: list[int], count: int, prefix: str) -> list[Cell]:
        """Random LUTs and registers; nets from ``first`` on, LUTs read only earlier nets."""
        cells, known = [], list(sources)
        for k in range(count):
            net, name = first + k, f"{prefix}{k}"
            if rng.random() < 0.3:
                cells.append(register(name, rng.choice(known), net))
            else:
                cells.append(lut(name, rng.choices(known, k=2), net))
            known.append(net)
        return cells

    child_cells = logic(10, [1, 2, 3], 14, "k")
    child = netlist(child_cells, {"clk": [0], "i": [1, 2, 3]}, {"o": [20, 22, 23]})
    # The parent: logic, an instance, logic on its outputs, a second instance behind, registers.
    ports = [
        {1: 100, 2: 104, 3: 109, 20: 200, 22: 202, 23: 203},
        {1: 300, 2: 306, 3: 203, 20: 400, 22: 402, 23: 403},
    ]
    outer = [
        *logic(100, [90], 12, "p"),
        *logic(300, [200, 202, 203, 111], 8, "q"),
        *(register(f"r{net}", net, 500 + net) for net in (400, 402, 403)),
    ]
    instances = [
        Cell(f"u{k}", "child", {"clk": [0], "i": [m[1], m[2], m[3]]}, {"o": [m[20], m[22], m[23]]})
        for k, m in enumerate(ports)
    ]
    flat = list(outer)
    for k, m in enumerate(ports):

        def moved(bits: list[int | str], k: int = k, m: dict[int, int] = m) -> list[int | str]:
            return [
                b if not isinstance(b, int) or b == 0 else m.get(b, 1000 * (k + 1) + b)
                for b in bits
            ]

        flat += [
            Cell(
                f"u{k}.{c.name}",
                c.kind,
                {p: moved(b) for p, b in c.inputs.items()},
                {p: moved(b) for p, b in c.outputs.items()},
            )
            for c in child_cells
        ]
    timings: dict[str, Timing] = {"child": analyze(child, {})}
    parent = analyze(netlist([*outer, *instances], {"i": [90]}, {"o": [500 + 403, 403]}), timings)
    whole = analyze(netlist(flat, {"i": [90]}, {"o": [500 + 403, 403]}), {})
    found = costs(pareto([*parent.paths, *timings["child"].paths]))
    assert found == costs(whole.paths)
    for ours, theirs in ((parent.arrivals, whole.arrivals), (parent.departures, whole.departures)):
        assert {b: [(p.levels, p.carries) for p in parts] for b, parts in ours.items()} == {
            b: [(p.levels, p.carries) for p in parts] for b, parts in theirs.items()
        }
