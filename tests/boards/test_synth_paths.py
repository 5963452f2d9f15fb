"""Longest logic: netlists with known paths, and random hierarchies against their flat form."""

import random
from pathlib import Path as File

import pytest

from sigbit_boards.synthesis.netlist import Cell, Netlist
from sigbit_boards.synthesis.paths import Part, Path, Timing, analyze, pareto
from sigbit_sim.toolchain import ToolchainError


def netlist(
    cells: list[Cell], inputs: dict[str, list[int]], outputs: dict[str, list[int]]
) -> Netlist:
    nets = {net: f"n{net}" for c in cells for bits in c.outputs.values() for net in bits
            if isinstance(net, int)}
    return Netlist(dict(inputs), dict(outputs), cells, nets, File(), ())


def lut(name: str, sources: list[int], sink: int, kind: str = "LUT6") -> Cell:
    return Cell(name, kind, {f"I{k}": [s] for k, s in enumerate(sources)}, {"O": [sink]})


def register(name: str, source: int, sink: int) -> Cell:
    return Cell(name, "FDRE", {"C": [0], "D": [source]}, {"Q": [sink]})


def costs(paths: list[Path]) -> set[tuple[int, int]]:
    return {(p.levels, p.carries) for p in paths}


def test_luts_between_registers_are_levels() -> None:
    timing = analyze(netlist(
        [register("a", 9, 1), lut("x", [1, 8], 2), lut("y", [2], 3, "INV"), register("b", 3, 4)],
        {"clk": [0], "in": [8]}, {"out": [4]}), {})
    assert timing.paths == [Path(2, 0, "n1", "n4")]
    assert timing.departures == {("in", 0): [Part(2, 0, "n4")]}
    assert timing.arrivals == {("out", 0): [Part(0, 0, "n4")]}
    assert timing.through == {}


def test_a_cascade_of_carries_is_one_chain() -> None:
    def carry(name: str, s: int, ci: int | str, co: int, o: int) -> Cell:
        return Cell(name, "CARRY8", {"CI": [ci], "CI_TOP": ["0"], "S": [s] * 8, "DI": [s] * 8},
                    {"CO": [-1] * 7 + [co], "O": [-2] * 7 + [o]})

    cells = [register("a", 9, 1), lut("x", [1], 2), carry("c0", 2, "0", 3, 20),
             carry("c1", 2, 3, 4, 21), register("b", 21, 5)]
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
    memory = Cell("r", "RAM32M", {"ADDRA": [1], "ADDRD": [2], "DIA": [3], "WE": [4], "WCLK": [0]},
                  {"DOA": [5]})
    cells = [register("a", 9, 1), register("w", 9, 2), memory, lut("x", [5], 6),
             register("b", 6, 7)]
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
    ports = [{1: 100, 2: 104, 3: 109, 20: 200, 22: 202, 23: 203},
             {1: 300, 2: 306, 3: 203, 20: 400, 22: 402, 23: 403}]
    outer = [
        *logic(100, [90], 12, "p"),
        *logic(300, [200, 202, 203, 111], 8, "q"),
        *(register(f"r{net}", net, 500 + net) for net in (400, 402, 403)),
    ]
    instances = [
        Cell(f"u{k}", "child", {"clk": [0], "i": [m[1], m[2], m[3]]},
             {"o": [m[20], m[22], m[23]]})
        for k, m in enumerate(ports)
    ]
    flat = list(outer)
    for k, m in enumerate(ports):
        def moved(bits: list[int | str], k: int = k, m: dict[int, int] = m) -> list[int | str]:
            return [b if not isinstance(b, int) or b == 0 else m.get(b, 1000 * (k + 1) + b)
                    for b in bits]

        flat += [Cell(f"u{k}.{c.name}", c.kind, {p: moved(b) for p, b in c.inputs.items()},
                      {p: moved(b) for p, b in c.outputs.items()}) for c in child_cells]
    timings: dict[str, Timing] = {"child": analyze(child, {})}
    parent = analyze(netlist([*outer, *instances], {"i": [90]}, {"o": [500 + 403, 403]}), timings)
    whole = analyze(netlist(flat, {"i": [90]}, {"o": [500 + 403, 403]}), {})
    found = costs(pareto([*parent.paths, *timings["child"].paths]))
    assert found == costs(whole.paths)
    for ours, theirs in ((parent.arrivals, whole.arrivals), (parent.departures, whole.departures)):
        assert {b: [(p.levels, p.carries) for p in parts] for b, parts in ours.items()} == {
            b: [(p.levels, p.carries) for p in parts] for b, parts in theirs.items()}
