"""The interpreter: the executable definition of the instruction set.

Instructions run one after another in program order; runs of ``Program.images`` images run one after
another, each starting with blank memories. Arithmetic and addresses come from ``sigbit_hw.arch``.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from sigbit.runtime import (
    Check,
    DeviceError,
    KeptStates,
    LayerCollector,
    RunResult,
    check_stored,
    unlimited,
    unpack_outputs,
    window_of,
)
from sigbit.runtime.device import Inputs
from sigbit_hw.arch import addressing, images, isa
from sigbit_hw.arch.assembler import listing
from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.arch.isa import Exec, Fill, Halt, Instr, Load, LoadKind, Mode, Out, Seg, Store
from sigbit_hw.arch.numerics import TABLE_ENTRIES
from sigbit_hw.arch.program import Program, ProgramError
from sigbit_hw.arch.regs import Cause
from sigbit_sim.interp.exec_nest import (
    Activations,
    Misuse,
    Nest,
    accumulate,
    maximum,
    need,
    need_banks,
    table_index,
)

Ints = NDArray[np.int64]
Codes = NDArray[np.uint8]

ExecHook = Callable[[int, Ints, Codes], None]
"""Called after a draining EXEC with its index, the slots ``[planes, channel slots, pixels]`` it
wrote and their codes ``[planes, channel slots, pixels, ic_lanes]``."""


class Interp:
    """A device in NumPy.

    Parameters
    ----------
    config : ArchConfig
        The accelerator.
    strict : bool
        Also refuse (``ProgramError``) reads of weights, slots, parameters and tables that were
        never written; on other devices their values depend on earlier runs.
    on_exec : ExecHook, optional
        Called for every write-back.
    """

    name = "interp"
    sees_layers = True

    def __init__(
        self, config: ArchConfig, *, strict: bool = False, on_exec: ExecHook | None = None
    ) -> None:
        self.config = config
        self._strict = strict
        self._on_exec = on_exec
        self._states = KeptStates()

    def run(
        self,
        program: Program,
        inputs: Inputs,
        *,
        layers: bool = False,
        on_image: Callable[[int], None] | None = None,
        check: Check = unlimited,
    ) -> RunResult:
        """Run every image; ``check`` is called before every instruction.

        Raises :class:`DeviceError` where the accelerator would stop with an error, and
        :class:`ProgramError` where it would compute an undefined result.
        """
        program.require(self.config)
        stored = check_stored(program, inputs)
        collector = LayerCollector(program) if layers else None
        outputs: dict[str, list[Ints]] = {port.name: [] for port in program.outputs}
        collected: dict[str, list[Ints]] = {}
        for run in range(len(next(iter(stored.values()))) // program.images):
            memory = window_of(program, stored, run)
            self._states.put(program, memory)
            if collector:
                collector.clear()
            self._states.reset(program)  # until this run is completed
            _Machine(program, memory, self._strict, self._hooks(collector)).run(check)
            for name, value in unpack_outputs(program, memory).items():
                outputs[name].append(value)
            for name, value in collector.layers().items() if collector else ():
                collected.setdefault(name, []).append(value)
            for image in range(run * program.images, (run + 1) * program.images):
                if on_image:
                    on_image(image)
            self._states.keep(program, memory)
        return RunResult(
            outputs={name: np.concatenate(v) for name, v in outputs.items()},
            layers={name: np.concatenate(v) for name, v in collected.items()},
        )

    def reset_state(self, program: Program, names: Collection[str] = ()) -> None:
        """Return to initial states; see :class:`sigbit.runtime.Device`."""
        self._states.reset(program, names)

    def scrub(self) -> None:
        """Forget all states: everything else is blank when a run starts."""
        self._states.clear()

    def reset(self) -> None:
        """Forget all states: nothing runs between two calls."""
        self._states.clear()

    def _hooks(self, collector: LayerCollector | None) -> ExecHook:
        def hook(index: int, slots: Ints, codes: Codes) -> None:
            if collector:
                collector.add(index, codes)
            if self._on_exec:
                self._on_exec(index, slots, codes)

        return hook


@dataclass
class _Kept:
    """Accumulators left by an EXEC, ``[1, pixels, channels]``, and the number of lanes of its
    run."""

    mode: Mode
    acc: Ints
    lanes: int


class _Machine:
    """The state of the accelerator during one run."""

    def __init__(self, program: Program, memory: Codes, strict: bool, on_exec: ExecHook) -> None:
        c = self.config = program.config
        self.program = program
        self.memory = memory
        self.strict = strict
        self.on_exec = on_exec
        self.weights = np.zeros((c.weight_words, c.oc_lanes, c.ic_lanes), np.uint8)
        self.acts = Activations(c, strict=strict)
        self.params = np.zeros((3, c.param_groups, c.param_lanes), np.int64)
        self.tables = np.zeros((c.tables, TABLE_ENTRIES), np.uint8)
        self.written = {kind: np.zeros(images.depth(kind, c), bool) for kind in LoadKind}
        self.written[LoadKind.ACTS] = self.acts.written
        self.segments: dict[int, Seg] = {}
        self.out: Out | None = None
        self.kept: _Kept | None = None
        self.tokens = np.zeros((len(isa.Engine), len(isa.Engine)), np.int64)
        self.index = 0

    def run(self, check: Check) -> None:
        """Execute up to ``HALT``."""
        code = self._decoded()
        for self.index, item in enumerate(code):
            check()
            if isinstance(item, str):
                self._stop(Cause.ILLEGAL)
            if isinstance(item, Halt):
                return
            self._take(item)
            try:
                self._execute(item)
            except Misuse as error:
                raise ProgramError(
                    f"{self.program.name}: instruction {self.index} ({listing([item])[8:]}) {error}"
                ) from None
            self._give(item)
        raise ProgramError(f"{self.program.name}: the last instruction must be HALT")

    def _execute(self, instr: Instr) -> None:
        match instr:
            case Load():
                self._load(instr)
            case Fill():
                self._fill(instr)
            case Seg():
                self._segment(instr)
            case Out():
                self.out = instr
            case Exec():
                self._exec(instr)
            case Store():
                self._store(instr)

    def _decoded(self) -> list[Instr | str]:
        """Decoded instructions, or the error of an illegal one."""
        code: list[Instr | str] = []
        for row in self.program.instructions.reshape(-1, isa.WORD_BYTES):
            try:
                code.append(isa.decode(int.from_bytes(row.tobytes(), "little")))
            except ValueError as error:
                code.append(str(error))
        return code

    def _stop(self, cause: Cause) -> NoReturn:
        raise DeviceError(cause, self.index, self.program)

    # Tokens

    def _take(self, instr: Instr) -> None:
        engine = isa.ENGINE_OF[instr.opcode]
        for giver in isa.engines_of(instr.wait):
            if not self.tokens[giver, engine]:
                self._stop(Cause.TOKEN_UNDERFLOW)
            self.tokens[giver, engine] -= 1

    def _give(self, instr: Instr) -> None:
        engine = isa.ENGINE_OF[instr.opcode]
        for taker in isa.engines_of(instr.signal):
            if self.tokens[engine, taker] == isa.TOKEN_MAX:
                self._stop(Cause.TOKEN_OVERFLOW)
            self.tokens[engine, taker] += 1

    # Memory

    def _window(self, instr: Load | Store, size: int, low: int, high: int) -> slice:
        """Bytes of the window from the instruction's address on, ``size`` of them; its beats must
        lie in [low, high)."""
        c = self.config
        if instr.address % c.bus_bytes:
            self._stop(Cause.ILLEGAL)
        if instr.address < low or instr.address + instr.beats * c.bus_bytes > high:
            self._stop(Cause.WINDOW)
        if instr.beats != images.beats(size, c):
            self._stop(Cause.ILLEGAL)
        return slice(instr.address, instr.address + size)

    def _items(self, kind: LoadKind, items: Ints) -> Ints:
        """``items`` of an on-chip memory, checked against its depth."""
        depth = len(self.written[kind])
        wrong = items[(items < 0) | (items >= depth)]
        need(not wrong.size, f"uses entry {wrong[:1]} of {kind.name}, which has {depth}")
        return items

    def _block(self, kind: LoadKind, instr: Load | Fill | Store) -> Ints:
        """Items that a LOAD, FILL or STORE moves; at most as many as the memory has."""
        count, depth = instr.n0 * instr.n1 * instr.n2, len(self.written[kind])
        need(count <= depth, f"moves {count} entries of {kind.name}, which has {depth}")
        return addressing.block_slots(instr)

    def _known(self, kind: LoadKind, items: Ints) -> Ints:
        """Check that the ``items`` to be read have been written (``strict``)."""
        items = self._items(kind, items)
        if self.strict:
            unknown = items[~self.written[kind][items]]
            need(
                not unknown.size,
                f"reads entry {unknown[:1]} of {kind.name}, which was never written",
            )
        return items

    def _load(self, instr: Load) -> None:
        c, kind = self.config, instr.kind
        if kind != LoadKind.ACTS:
            need(instr.n1 == instr.n2 == 1, "n1 and n2 must be 1 unless slots are loaded")
        item_bytes = images.item_bytes(kind, c)
        items = self._items(kind, self._block(kind, instr))
        data = self.memory[self._window(instr, items.size * item_bytes, 0, len(self.memory))]
        if kind == LoadKind.WEIGHTS:
            self.weights[items] = images.unpack_weights(data, c)
        elif kind == LoadKind.ACTS:
            codes = images.unpack_slots(data, c)
            need(
                codes.max(initial=0) < 1 << c.act_format.bits,
                f"loads codes that exceed {c.act_format.bits} bits",
            )
            self.acts.write(items, codes)
        elif kind == LoadKind.PARAMS:
            params = images.unpack_params(data, c)
            for target, values in zip(self.params, params, strict=True):
                target[items] = values.reshape(-1, c.param_lanes)
        else:
            self.tables[items] = images.unpack_table(data, c) & ((1 << c.act_format.bits) - 1)
        self.written[kind][items] = True

    def _fill(self, instr: Fill) -> None:
        bits = self.config.act_format.bits
        need(instr.code < 1 << bits, f"fills with code {instr.code}, which exceeds {bits} bits")
        slots = self._items(LoadKind.ACTS, self._block(LoadKind.ACTS, instr))
        self.acts.write(slots, np.uint8(instr.code))

    def _store(self, instr: Store) -> None:
        c = self.config
        slots = self._known(LoadKind.ACTS, self._block(LoadKind.ACTS, instr))
        low, high = self.program.write_window
        part = self._window(instr, slots.size * c.slot_bytes, low, min(high, len(self.memory)))
        start = self.program.program_offset
        apart = part.stop <= start or start + self.program.instructions.size <= part.start
        need(apart, "writes the program, parts of which may have been fetched")
        self.memory[part] = images.pack_slots(self.acts.codes[slots], c)

    # Compute

    def _segment(self, instr: Seg) -> None:
        need(
            instr.index < self.config.segments,
            f"writes segment {instr.index} of {self.config.segments}",
        )
        self.segments[instr.index] = instr

    def _exec(self, instr: Exec) -> None:
        c = self.config
        missing = set(range(instr.n_seg)) - set(self.segments)
        need(not missing, f"takes segments {sorted(missing)}, which no SEG has written")
        nest = Nest(instr, tuple(self.segments[i] for i in range(instr.n_seg)), c)
        start = self._start(nest)
        if instr.mode == Mode.MAC:
            words = addressing.weight_words(instr, nest.segments)
            words = self._known(LoadKind.WEIGHTS, words.ravel()).reshape(words.shape)
            acc = accumulate(nest, self.acts, self.weights[words], start)
        else:
            acc = maximum(nest, self.acts, start)
        one_block = instr.n_ocb * nest.blocks == 1
        self.kept = _Kept(instr.mode, acc, instr.run) if one_block else None
        if instr.drain:
            self._drain(nest, acc[nest.valid])

    def _start(self, nest: Nest) -> Ints:
        """Accumulators before the first step."""
        if not nest.execute.keep:
            return np.zeros((nest.blocks, self.config.pixels, nest.channels), np.int64)
        kept = self.kept
        if kept is None or kept.mode != nest.execute.mode or kept.lanes < nest.execute.run:
            raise Misuse(
                "keeps accumulators, but the EXEC before was not of one block, this mode "
                "and at least as many pixels"
            )
        return kept.acc

    def _drain(self, nest: Nest, acc: Ints) -> None:
        """Post-process and write the accumulators ``[n_rows * run, channels]``."""
        c, out = self.config, self.out
        if out is None:
            raise Misuse("drains, but no OUT came before it")
        count = addressing.channel_slots(out, nest.execute, c)
        need_banks(out, nest.execute, c)
        channels = count * c.ic_lanes
        params: Ints = np.zeros((3, channels), np.int64)
        if nest.execute.mode == Mode.MAC:
            groups = out.param + np.arange(-(-channels // c.param_lanes))
            params = self.params[:, self._known(LoadKind.PARAMS, groups)].reshape(3, -1)
        index = table_index(nest, acc[:, :channels], params[:, :channels])
        tables = self._known(LoadKind.TABLE, out.table + np.arange(out.n_planes))
        codes = self.tables[tables][:, index].reshape(out.n_planes, -1, count, c.ic_lanes)
        codes = codes.transpose(0, 2, 1, 3)
        slots = self._items(LoadKind.ACTS, addressing.write_slots(out, nest.execute, c))
        once = np.zeros(c.act_slots, bool)
        once[slots] = True
        distinct = np.count_nonzero(once)
        need(
            distinct == slots.size,
            f"writes {slots.size} times to {distinct} slots: which of two codes remains in a slot "
            "is not defined",
        )
        self.acts.write(slots, codes)
        self.on_exec(self.index, slots, codes)
