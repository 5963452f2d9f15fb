"""Registers that a reset leaves alone: every one is listed with the reason why its first value does
not matter."""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from amaranth.hdl import Fragment, Signal

import sigbit_hw.gateware
from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.gateware.top import Accelerator

_ROOT = Path(sigbit_hw.gateware.__file__).parent

NO_RESET = {
    "bus/axi.py": (
        "left",
        "counts the beats of a burst that `owing`, which is reset, says is open",
    ),
    "bus/due.py": ("left lengths", "lengths of bursts that `due` and `waiting` count"),
    "bus/join.py": ("current left", "the burst that `filling` says is being filled"),
    "compute/array.py": ("sum", "a sum of products; accumulators take it with `enable` alone"),
    "compute/buffers.py": (
        "far first_bank near next_word odd param_# slot_# turn",
        "addresses and data of an access; what it writes or answers has an enable that is reset",
    ),
    "compute/drain.py": (
        "gate_#_#_# gate_maximum_#_# shadow_#_#_# shadow_maximum_#_# source_#",
        "copies of accumulators, read by a drain that begins when they are written",
    ),
    "compute/drain_slots.py": (
        (
            "begun late late_turns line_end line_ends lines phase_end phase_first pixel_# place_# "
            "step_# sum_#_# turns"
        ),
        "running slots of a drain, set when an OUT is taken, before its first step",
    ),
    "compute/mac.py": (
        "pending_#_# sum_#_#",
        "partial sums of a product; `enable` goes beside them",
    ),
    "compute/operands.py": ("slot", "the address of the operands; `feeding` goes beside it"),
    "compute/pool.py": ("best_#", "a running maximum, which the first step of a block replaces"),
    "compute/requant.py": ("high_# whole", "stages of a division; its valid bit goes beside them"),
    "control/decode.py": ("broken_#", "what is wrong with the word that `valid` says is there"),
    "control/sequencer.py": ("index_#", "the index of an instruction that `start` announces"),
    "memory/dma.py": (
        "beat count end found last left to_boundary",
        "the rest of a transfer that `busy` says is under way",
    ),
    "memory/fetch.py": (
        "$signal aligned beats chunk countable left offset word wrong_address",
        "the rest of a fetch, set in the states that follow its start",
    ),
    "memory/load_back.py": (
        (
            "$signal acts beats_left command first_limit limit no_beats sub_last sub_left "
            "sub_limit table unit_ends unit_limit units_left word"
        ),
        "the LOAD or FILL that the state machine, which is reset, says is under way",
    ),
    "memory/load_front.py": ("current", "the instruction that the state machine has taken"),
    "memory/store.py": (
        "beats_left current have last limit one_left room slots",
        "the STORE that the state machine, which is reset, says is under way",
    ),
    "parts/pipeline.py": ("*", "delays of data; bits with an effect of their own are reset"),
    "parts/product.py": ("table", "a looked up product; `enable` goes beside it"),
    "parts/queue.py": ("spare", "the second entry, which `valid` bits that are reset count"),
    "parts/walker.py": (
        (
            "ic_last ic_left kx_last kx_left ky_last ky_left n#_last n#_left n#_one n#_some "
            "ocbs_last ocbs_left plane rows_last rows_left run"
        ),
        "loop counters, which a restart sets before the first step",
    ),
}
"""By source of the gateware, names of registers (``#``: any number, or any engine or instruction)
and the reason."""


def names_without_reset(config: ArchConfig) -> Counter[tuple[str, str]]:
    """Registers of an accelerator that no reset sets, counted by source and name, and all others
    under ``("", "")``."""
    found: Counter[tuple[str, str]] = Counter()
    seen: set[int] = set()
    for signal in _registers(Fragment.get(Accelerator(config), None)):
        if id(signal) in seen:
            continue
        seen.add(id(signal))
        if not signal.reset_less:
            found["", ""] += 1
            continue
        source = Path(signal.src_loc[0])
        inside = source.relative_to(_ROOT).as_posix() if source.is_relative_to(_ROOT) else "else"
        found[inside, _class(signal.name)] += 1
    return found


def unexplained(found: Counter[tuple[str, str]]) -> list[str]:
    """Registers without reset that :data:`NO_RESET` does not list."""
    return sorted(
        f"{source}: {name}"
        for source, name in found
        if source and not _listed(name, NO_RESET.get(source, ("", ""))[0])
    )


def _class(name: str) -> str:
    return re.sub(r"(?<=^broken_)\w+|(?<=^index_)[a-z]+$|\d+", "#", name)


def _listed(name: str, names: str) -> bool:
    return names == "*" or name in names.split()


def _registers(fragment: Fragment) -> Iterator[Signal]:
    """Signals that clocked statements of a fragment, and of those in it, assign."""
    for domain, statements in fragment.statements.items():
        if domain != "comb":
            for statement in statements:
                yield from statement._lhs_signals()
    for inner, *_ in fragment.subfragments:
        yield from _registers(inner)
