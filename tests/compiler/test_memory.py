"""Memory plans: values alive together never overlap; constants lie where they are used."""

from dataclasses import replace
from types import SimpleNamespace
from typing import cast

import numpy as np
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st

from examples import examples
from sigbit.compiler.fit.separate import separate
from sigbit.compiler.legalize.legalize import legalize
from sigbit.compiler.place.layout import Laid, lay_out
from sigbit.compiler.place.memory import place, plan
from sigbit.compiler.random_graph import random_graph
from sigbit.compiler.stage.ring import Ring
from sigbit.errors import CompileError
from sigbit_hw.arch.config import PRESETS, ArchConfig

CONFIG = replace(PRESETS["nano"], name="big-nano", act_slots=16384)


@settings(max_examples=examples(25), suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 1 << 16))
def test_live_values_never_overlap(seed: int) -> None:
    graph = random_graph(np.random.default_rng(seed), CONFIG, 6)
    try:
        placed = place(lay_out(separate(legalize(graph, CONFIG), CONFIG), CONFIG), CONFIG)
    except CompileError:
        reject()
    network = placed.network
    owner: dict[int, str] = {}
    for index in range(-1, len(network.ops)):
        owner = {s: n for s, n in owner.items() if network.life[n][1] >= index}
        for name in [n for n, life in network.life.items() if life[0] == index]:
            slots = range(placed.bases[name], placed.bases[name] + placed.layouts[name].size)
            assert slots.stop <= CONFIG.act_slots
            assert not owner.keys() & set(slots), name
            owner |= dict.fromkeys(slots, name)


def test_rests_get_shorter_together() -> None:
    """Where the longest rests leave a later value no room, a rest of one operation still does; no
    value loses what there is room for."""
    life = {"x0": (0, 0), "x1": (1, 3), "x2": (2, 3), "y": (3, 3)}
    sizes = {"x0": 30, "x1": 30, "x2": 30, "y": 35}
    values = {n: SimpleNamespace(load=n != "y" or None, halo=None) for n in life}
    network = SimpleNamespace(life=life, values=values, ops=[None] * 4)
    layouts = {n: SimpleNamespace(size=size) for n, size in sizes.items()}
    laid = cast("Laid", SimpleNamespace(network=network, layouts=layouts))
    config = cast("ArchConfig", SimpleNamespace(act_slots=100))
    assert plan(laid, config) == {"x0": 0, "x1": 30, "x2": 0, "y": 60}
    layouts["y"].size = 10
    assert plan(laid, config) == {"x0": 0, "x1": 30, "x2": 60, "y": 0}


@given(sizes=st.lists(st.tuples(st.integers(0, 6), st.integers(1, 8)), min_size=1, max_size=60))
def test_ring(sizes: list[tuple[int, int]]) -> None:
    """Every piece lies inside and holds its own data when used; what overwrites it waits for its
    last user, whatever was placed in between."""
    ring, held, users = Ring(16), [b""] * 16, [-1] * 16
    for user, (name, size) in enumerate(sizes):
        key = f"{name} {size}".encode()
        start, fresh, after = ring.place(key, size, user)
        part = range(start, start + size)
        assert part.stop <= 16
        if fresh:
            assert after == max(users[i] for i in part)
            for i in part:
                held[i] = key
        for i in part:
            assert held[i] == key
            users[i] = user
