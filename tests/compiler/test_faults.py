"""Planted faults: every pass is made to do something wrong, and a verifier or the comparison with
the integer model must notice.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from sigbit.compiler import VerifyError, compile_graph, pipeline
from sigbit.compiler.network import Network
from sigbit.compiler.order.emit import Program
from sigbit.compiler.order.hazards import verify_hazards
from sigbit.compiler.order.schedule import Scheduled
from sigbit.compiler.place.layout import Laid
from sigbit.compiler.place.memory import Placed
from sigbit.compiler.random_graph import Builder
from sigbit.compiler.stage.stage import Staged
from sigbit.compiler.tile.tiles import Tiled
from sigbit.ir.integer import IntegerGraph
from sigbit_hw.arch import isa
from sigbit_hw.arch.config import PRESETS
from sigbit_hw.arch.isa import ENGINE_OF, Engine, Instr, LoadKind, Opcode
from sigbit_sim.interp.device import Interp

CONFIG = replace(PRESETS["nano"], name="small-nano", weight_words=128, param_groups=8, tables=4)
TIGHT = replace(CONFIG, name="tight-nano", act_slots=512)
"""Too small for the network, which then goes to memory and back in bands."""


@pytest.fixture(scope="module")
def graph() -> IntegerGraph:
    """Strides, phases, padding, residual and depthwise operands, several digits, a maximum."""
    b = Builder(np.random.default_rng(11), CONFIG)
    same = (1, 1, 1, 1)
    x = b.conv([b.source(b.input((1, 8, 8), 2), 8, (3, 3), padding=same, terms=2)])
    y = b.conv([b.source(x, 8, (3, 3), padding=same)])
    x = b.conv([b.source(y, 8, (3, 3), padding=same), b.source(x, 8, (1, 1), depthwise=True)])
    x = b.pool(x, (3, 3), (1, 1), same)
    x = b.conv([b.source(x, 12, (3, 3), padding=same, stride=(2, 2))], 2)
    return b.graph(b.conv([b.source(x, 10, (4, 4), terms=2)], 3), x)


@pytest.fixture(scope="module")
def program(graph: IntegerGraph) -> Program:
    return compile_graph(graph, CONFIG, images=2)


def right(program: Program, graph: IntegerGraph) -> bool:
    """Whether every layer's codes are those of the integer model."""
    rng = np.random.default_rng(5)
    stored = {
        n.name: rng.integers(n.low, n.high + 1, (program.images, *n.type.shape))
        for n in graph.inputs
    }
    result = Interp(program.config).run(program, stored, layers=True)
    golden = graph.evaluate({k: torch.from_numpy(v) for k, v in stored.items()})
    got = [*result.layers.items(), *result.outputs.items()]
    return all((value == golden[name].numpy()).all() for name, value in got)


def test_without_a_fault(program: Program, graph: IntegerGraph) -> None:
    assert right(program, graph)
    banded = compile_graph(graph, TIGHT, images=2)
    assert right(banded, graph)
    stores = [p.opcode for p in banded.listing].count(Opcode.STORE)
    assert stores > [p.opcode for p in program.listing].count(Opcode.STORE)


def _ops(n: Network, index: int, **changes: Any) -> Network:
    ops = list(n.ops)
    ops[index] = replace(ops[index], **changes)
    return replace(n, ops=tuple(ops))


def _operand(n: Network, index: int, **changes: Any) -> Network:
    first, *rest = n.ops[index].operands
    return _ops(n, index, operands=(replace(first, **changes), *rest))


def _values(n: Network, **changes: Any) -> Network:
    return replace(n, values={k: replace(v, **changes) for k, v in n.values.items()})


def _layouts(laid: Laid, **changes: Any) -> Laid:
    return replace(laid, layouts={k: replace(v, **changes) for k, v in laid.layouts.items()})


def _tile(t: Tiled | Staged, index: int, change: Callable[[Any], dict[str, Any]]) -> Any:
    tiles = list(t.tiles)
    tiles[index] = replace(tiles[index], **change(tiles[index]))
    return replace(t, tiles=tuple(tiles))


def _seg(t: Tiled, index: int, **changes: int) -> Tiled:
    def change(tile: Any) -> dict[str, Any]:
        first, *rest = tile.segments
        plus = {k: getattr(first, k) + v for k, v in changes.items()}
        return {"segments": (replace(first, **plus), *rest)}

    return _tile(t, index, change)


def _spilled(n: Network, move: str, field: str = "", plus: int = 0) -> Network:
    """The first load from, or store to, a spilled tensor with ``field`` added to, or without it."""
    name, rows = next(
        (name, rows)
        for name, value in n.values.items()
        for rows in [getattr(value, move)]
        if rows and n.memory[rows.memory].kind == "spill"
    )
    changed = replace(rows, **{field: getattr(rows, field) + plus}) if field else None
    return replace(n, values=n.values | {name: replace(n.values[name], **{move: changed})})


def _residual(n: Network) -> int:
    """An operation of two operands."""
    return next(i for i, op in enumerate(n.ops) if len(op.operands) == 2)


def _strided(n: Network) -> int:
    """An operation with a stride."""
    return next(i for i, op in enumerate(n.ops) if op.operands[0].stride != (1, 1))


def _loads(n: Network, tensor: str) -> Network:
    """Every load of an input takes another image's."""
    names = [t.name for t in n.memory.values() if t.tensor == tensor]
    other = dict(zip(names, names[::-1], strict=True))
    values = {
        k: replace(v, load=replace(v.load, memory=other[v.load.memory]))
        if v.load and v.load.memory in other
        else v
        for k, v in n.values.items()
    }
    return replace(n, values=values)


def _stores(n: Network) -> Network:
    """Every store of an output goes to another image's."""
    names = {
        t.name: next(
            u.name for u in n.memory.values() if u.tensor == t.tensor and u.image == 1 - t.image
        )
        for t in n.memory.values()
        if t.kind == "output"
    }
    values = {
        k: replace(v, store=replace(v.store, memory=names[v.store.memory]))
        if v.store and v.store.memory in names
        else v
        for k, v in n.values.items()
    }
    return replace(n, values=values)


def _store(s: Staged, **changes: int) -> Staged:
    """The last store with fields added to."""
    *stores, last = s.stores
    plus = {k: getattr(last.instr, k) + v for k, v in changes.items()}
    return replace(s, stores=(*stores, replace(last, instr=replace(last.instr, **plus))))


def _across(t: Tiled) -> int:
    """A tile whose blocks run across lines."""
    return next(
        i for i, tile in enumerate(t.tiles) if tile.execute.wrap < tile.execute.run and tile.parts
    )


def _wide(t: Tiled) -> int:
    """A tile of several output-channel blocks."""
    return next(i for i, tile in enumerate(t.tiles) if tile.execute.n_ocb > 1)


def _out(t: Tiled, index: int, **changes: int) -> Tiled:
    return _tile(
        t,
        index,
        lambda tile: {
            "out": replace(tile.out, **{k: getattr(tile.out, k) + v for k, v in changes.items()})
        },
    )


def _fetches(s: Staged, kind: LoadKind | None, **changes: int) -> Staged:
    """The last fetch of a kind (None: FILL) with fields added to."""
    fetches = list(s.fetches)
    index = max(
        i
        for i, f in enumerate(fetches)
        if (
            f.instr.opcode == Opcode.FILL
            if kind is None
            else f.instr.opcode == Opcode.LOAD and f.instr.kind == kind
        )
    )
    instr = fetches[index].instr
    plus = {k: getattr(instr, k) + v for k, v in changes.items()}
    fetches[index] = replace(fetches[index], instr=replace(instr, **plus))
    return replace(s, fetches=tuple(fetches))


def _steps(s: Scheduled, order: Callable[[list[Any]], list[Any]]) -> Scheduled:
    return replace(s, steps=tuple(order(list(s.steps))))


def _first(steps: list[Any], *opcodes: Opcode) -> int:
    return next(i for i, s in enumerate(steps) if s.instr.opcode in opcodes)


def _move_exec_first(steps: list[Any]) -> list[Any]:
    steps.insert(0, steps.pop(_first(steps, Opcode.EXEC)))
    return steps


def _move_store_first(steps: list[Any]) -> list[Any]:
    steps.insert(0, steps.pop(_first(steps, Opcode.STORE)))
    return steps


def _loads_first(steps: list[Any]) -> list[Any]:
    """Every fetch at the start: constants overwrite each other before they are used."""
    return sorted(steps, key=lambda s: s.fetch < 0)


def _without(opcode: Opcode) -> Callable[[list[Any]], list[Any]]:
    def order(steps: list[Any]) -> list[Any]:
        del steps[_first(steps, opcode)]
        return steps

    return order


def _clear(field: str) -> Callable[[Scheduled], Scheduled]:
    """No instruction has ``field``."""

    def change(s: Scheduled) -> Scheduled:
        steps = [
            replace(t, instr=replace(t.instr, **{field: 0})) if hasattr(t.instr, field) else t
            for t in s.steps
        ]
        return replace(s, steps=tuple(steps))

    return change


def _no_tokens(s: Scheduled) -> Scheduled:
    return _clear("wait")(_clear("signal")(s))


def _instruction(p: Program, opcode: Opcode, **changes: int) -> Program:
    """The last instruction of an opcode with fields added to."""
    code = p.listing
    index = max(i for i, instr in enumerate(code) if instr.opcode == opcode)
    plus = {k: getattr(code[index], k) + v for k, v in changes.items()}
    code = [*code[:index], replace(code[index], **plus), *code[index + 1 :]]
    return replace(p, instructions=isa.pack(code))


def _listed(p: Program, field: str) -> Program:
    """The last exec of each layer with one more of ``field``."""
    last = {info.layer: number for number, info in enumerate(p.execs)}
    return replace(
        p,
        execs=tuple(
            replace(info, **{field: getattr(info, field) + 1}) if n == last[info.layer] else info
            for n, info in enumerate(p.execs)
        ),
    )


FAULTS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "wrong weights": (
        "legalize",
        lambda n: _operand(n, 1, weights=n.ops[1].operands[0].weights[:, :, ::-1]),
    ),
    "operand lost": (
        "legalize",
        lambda n: _ops(n, _residual(n), operands=n.ops[_residual(n)].operands[:1]),
    ),
    "wrong padding value": (
        "legalize",
        lambda n: _operand(n, 1, halo=7 if n.ops[1].operands[0].halo != 7 else 6),
    ),
    "operations swapped": ("legalize", lambda n: replace(n, ops=(*n.ops[1:], n.ops[0]))),
    "window shifted": ("legalize", lambda n: _operand(n, 1, padding=(0, 1))),
    "stride lost": ("legalize", lambda n: _operand(n, _strided(n), stride=(1, 1))),
    "channels of others": (
        "legalize",
        lambda n: _operand(n, 1, weights=n.ops[1].operands[0].weights[::-1]),
    ),
    "images swapped": (
        "legalize",
        lambda n: replace(n, ops=tuple(replace(op, image=1 - op.image) for op in n.ops)),
    ),
    "input of the other image": ("legalize", lambda n: _loads(n, "in0")),
    "output of the other image": ("legalize", lambda n: _stores(n)),
    "no column phases": ("separate", lambda n: _values(n, phases=1)),
    "no padding": ("separate", lambda n: _values(n, halo=None)),
    "band lost": ("fit", lambda n: replace(n, ops=n.ops[1:])),
    "band loaded from elsewhere": ("fit", lambda n: _spilled(n, "load", "first", 1)),
    "band stored elsewhere": ("fit", lambda n: _spilled(n, "store", "first", 1)),
    "band never stored": ("fit", lambda n: _spilled(n, "store")),
    "band never loaded": ("fit", lambda n: _spilled(n, "load")),
    "border rows missing": ("fit", lambda n: _operand(n, -3, padding=(-1, 1))),
    "band of other rows listed": (
        "fit",
        lambda n: _ops(n, 0, node_region=n.ops[1].node_region),
    ),
    "lines overlap": ("layout", lambda n: _layouts(n, pitch=3)),
    "no halo lines": ("layout", lambda n: _layouts(n, top=0)),
    "no halo columns": ("layout", lambda n: _layouts(n, left=0)),
    "steps too short": ("layout", lambda n: _layouts(n, slot_step=1)),
    "uneven loads": (
        "layout",
        lambda n: replace(
            n,
            layouts={
                k: replace(v, slot_step=v.slot_step + 2 * CONFIG.pixels)
                for k, v in n.layouts.items()
            },
        ),
    ),
    "all at the same place": (
        "memory",
        lambda p: Placed(p.network, p.layouts, dict.fromkeys(p.bases, 0)),
    ),
    "outside the memory": (
        "memory",
        lambda p: Placed(
            p.network, p.layouts, {k: v + CONFIG.act_slots for k, v in p.bases.items()}
        ),
    ),
    "tile lost": ("tiles", lambda t: replace(t, tiles=t.tiles[:-1])),
    "read base": ("tiles", lambda t: _seg(t, 1, base=1)),
    "kernel row step": ("tiles", lambda t: _seg(t, 1, d_ky=1)),
    "line step": ("tiles", lambda t: _seg(t, _across(t), gap=CONFIG.pixels)),
    "pixel block step": ("tiles", lambda t: _seg(t, 1, d_block=CONFIG.pixels)),
    "block step": ("tiles", lambda t: _seg(t, _wide(t), d_ocb=1)),
    "digit shift": ("tiles", lambda t: _seg(t, 0, shift=1)),
    "write base": ("tiles", lambda t: _out(t, 1, base=1)),
    "write line step": ("tiles", lambda t: _out(t, 1, d_line=1)),
    "one plane more": ("tiles", lambda t: _out(t, 1, n_planes=1)),
    "weights garbled": ("tiles", lambda t: _tile(t, 1, lambda x: {"weights": x.weights ^ 1})),
    "weights lost": ("tiles", lambda t: _tile(t, 1, lambda x: {"weights": x.weights[:-8]})),
    "parameters of others": (
        "tiles",
        lambda t: _tile(t, 1, lambda x: {"params": t.tiles[2].params}),
    ),
    "weight address": ("stage", lambda s: _fetches(s, LoadKind.WEIGHTS, dst=1)),
    "weight source": ("stage", lambda s: _fetches(s, LoadKind.WEIGHTS, address=-8)),
    "parameter address": ("stage", lambda s: _fetches(s, LoadKind.PARAMS, dst=1)),
    "table address": ("stage", lambda s: _fetches(s, LoadKind.TABLE, dst=1)),
    "fill code": ("stage", lambda s: _fetches(s, None, code=1)),
    "fill place": ("stage", lambda s: _fetches(s, None, dst=-1)),
    "fetch lost": ("stage", lambda s: replace(s, fetches=s.fetches[1:])),
    "store lost early": ("stage", lambda s: replace(s, stores=s.stores[1:])),
    "store of other slots": ("stage", lambda s: _store(s, src=1)),
    "store to others": ("stage", lambda s: _store(s, address=CONFIG.bus_bytes)),
    "fetches wait for nothing": (
        "stage",
        lambda s: replace(s, fetches=tuple(replace(f, after=-1) for f in s.fetches)),
    ),
    "exec before its fetches": ("schedule", lambda s: _steps(s, _move_exec_first)),
    "load lost": ("schedule", lambda s: _steps(s, _without(Opcode.LOAD))),
    "store lost": ("schedule", lambda s: _steps(s, _without(Opcode.STORE))),
    "store early": ("schedule", lambda s: _steps(s, _move_store_first)),
    "segment lost": ("schedule", lambda s: _steps(s, _without(Opcode.SEG))),
    "loads all first": ("schedule", lambda s: _steps(s, _loads_first)),
    "exec lost": ("schedule", lambda s: _steps(s, _without(Opcode.EXEC))),
    "no tokens": ("dependences", _no_tokens),
    "no waits": ("dependences", _clear("wait")),
    "no sync": ("dependences", _clear("sync")),
    "instruction changed": ("dependences", _clear("weights")),
    "store address": ("emit", lambda p: _instruction(p, Opcode.STORE, address=64)),
    "load address": ("emit", lambda p: _instruction(p, Opcode.LOAD, address=-(1 << 11))),
    "open window": ("emit", lambda p: replace(p, write_window=(0, p.memory_bytes))),
    "outputs swapped": (
        "emit",
        lambda p: replace(
            p,
            outputs=(
                replace(p.outputs[0], offset=p.outputs[1].offset),
                replace(p.outputs[1], offset=p.outputs[0].offset),
            ),
        ),
    ),
    "layer listed elsewhere": (
        "emit",
        lambda p: replace(p, execs=(replace(p.execs[0], channel=1), *p.execs[1:])),
    ),
    "exec not listed": ("emit", lambda p: replace(p, execs=p.execs[1:])),
    "image not listed": (
        "emit",
        lambda p: replace(p, execs=tuple(replace(e, image=0) for e in p.execs)),
    ),
    "no halt": ("emit", lambda p: replace(p, instructions=p.instructions[: -isa.WORD_BYTES])),
}


def test_every_pass_has_faults() -> None:
    assert {name for name, _ in FAULTS.values()} == {p.name for p in pipeline.PASSES}


def plant(monkeypatch: pytest.MonkeyPatch, name: str, change: Callable[[Any], Any]) -> None:
    """Let ``change`` follow the pass ``name``."""
    passes = tuple(
        replace(p, run=lambda level, context, run=p.run: change(run(level, context)))
        if p.name == name
        else p
        for p in pipeline.PASSES
    )
    monkeypatch.setattr(pipeline, "PASSES", passes)


@pytest.mark.parametrize("fault", FAULTS)
def test_fault(fault: str, graph: IntegerGraph, monkeypatch: pytest.MonkeyPatch) -> None:
    name, change = FAULTS[fault]
    plant(monkeypatch, name, change)
    try:
        program = compile_graph(graph, TIGHT if name == "fit" else CONFIG, images=2)
    except VerifyError as error:
        found = str(error)
    else:
        found = "" if right(program, graph) else "codes differ"
    assert found


@pytest.mark.parametrize("size", [(3, 6), (9, 3)])
@pytest.mark.parametrize("field", ["channels", "rows", "columns"])
def test_what_is_listed_lies_inside_its_layer(
    field: str, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    b = Builder(np.random.default_rng(1), CONFIG)
    graph = b.graph(b.conv([b.source(b.input((4, *size), 1), 12, (1, 1))]))
    plant(monkeypatch, "emit", lambda p: _listed(p, field))
    with pytest.raises(VerifyError, match="writes outside layer"):
        compile_graph(graph, CONFIG)


def _without_token(code: list[Instr], giver: Engine, taker: Engine, number: int) -> list[Instr]:
    """``code`` without one signal and its wait."""
    code = list(code)
    for engine, field, other in ((giver, "signal", taker), (taker, "wait", giver)):
        users = [
            i
            for i, instr in enumerate(code)
            if ENGINE_OF.get(instr.opcode) == engine and getattr(instr, field) >> other & 1
        ]
        index = users[number]
        mask = getattr(code[index], field) ^ 1 << other
        code[index] = replace(code[index], **{field: mask})
    return code


def _tokens(program: Program) -> list[tuple[Engine, Engine, int]]:
    found = []
    for giver in Engine:
        for taker in Engine:
            count = sum(
                instr.wait >> giver & 1
                for instr in program.listing
                if ENGINE_OF.get(instr.opcode) == taker
            )
            found += [(giver, taker, i) for i in range(count)]
    return found


def test_every_token_is_needed(program: Program) -> None:
    """Without any one signal and its wait the program is unsafe, and the verifier says so."""
    verify_hazards(program)
    tokens = _tokens(program)
    missed = []
    for giver, taker, number in tokens:
        code = _without_token(program.listing, giver, taker, number)
        try:
            verify_hazards(replace(program, instructions=isa.pack(code)))
        except VerifyError:
            continue
        missed.append((giver, taker, number))
    assert len(tokens) > 10
    assert not missed


def test_every_sync_is_needed(program: Program) -> None:
    code = enumerate(program.listing)
    syncs = [i for i, instr in code if isinstance(instr, isa.Exec) and instr.sync]
    assert syncs
    for index in syncs:
        code = list(program.listing)
        code[index] = replace(code[index], sync=0)
        with pytest.raises(VerifyError, match="written at the same time"):
            verify_hazards(replace(program, instructions=isa.pack(code)))


def test_token_counters(program: Program) -> None:
    """Signals without waits overflow a counter, or are left over at the end."""
    code = [
        replace(i, signal=i.signal | 1 << Engine.STORE) if i.opcode == Opcode.EXEC else i
        for i in program.listing
    ]
    with pytest.raises(VerifyError, match="tokens from COMPUTE to STORE"):
        verify_hazards(replace(program, instructions=isa.pack(code)))
