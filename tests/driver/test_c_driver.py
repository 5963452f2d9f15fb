"""The C driver against the interpreter and the accelerator's Verilog, over a socket."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from boards.conformance import BROKEN, JOBS, NANO, PROGRAMS, STATEFUL, STREAMS, Job, Stream
from boards.fake_registers import InterpAccelerator, RtlAccelerator
from driver.c_board import SANITIZED, SocketBoard, Tools, build, need
from sigbit.compiler import compile_graph
from sigbit.compiler.random_graph import Builder
from sigbit.runtime import Session
from sigbit.runtime.device import port_parts
from sigbit_hw.arch.axes import Axes
from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.arch.program import ModelOutput, Program
from sigbit_hw.arch.regs import CAUSE_DOC, Cause
from sigbit_hw.driver.flat import flat_program
from sigbit_sim.interp.device import Interp
from sigbit_sim.random_programs.program import random_inputs, random_program

MEMORY_BYTES = 64 << 10


@pytest.fixture(scope="module")
def native(tmp_path_factory) -> Tools:
    return build(tmp_path_factory.mktemp("native"), "cc", SANITIZED)


@pytest.fixture(scope="module")
def arm(tmp_path_factory) -> Tools:
    need("aarch64-linux-gnu-gcc-12", "qemu-aarch64")
    options = ("-O2", "-static")
    return build(
        tmp_path_factory.mktemp("arm"), "aarch64-linux-gnu-gcc-12", options, ("qemu-aarch64",)
    )


def memory(size: int = MEMORY_BYTES) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, size, np.uint8)


@pytest.fixture
def board(tmp_path) -> Iterator[SocketBoard]:
    accelerator = InterpAccelerator(NANO, [*PROGRAMS, *STATEFUL], memory())
    with SocketBoard(tmp_path / "board", accelerator).listening() as listening:
        yield listening


class Turns:
    """Runs, one image each, on one device."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.arguments: list[Path] = []
        self._wanted: list[np.ndarray | None] = []

    def add(self, program: Program, inputs: dict, outputs: dict | None) -> None:
        stem = self.folder / f"turn{len(self._wanted)}"
        files = [stem.with_suffix(end) for end in (".flat", ".in", ".out")]
        files[0].write_bytes(flat_program(program))
        files[1].write_bytes(
            b"".join(inputs[port.name].astype("<i8").tobytes() for port in program.inputs)
        )
        self.arguments += files
        self._wanted.append(
            None
            if outputs is None
            else np.concatenate([outputs[port.name].ravel() for port in program.outputs])
        )

    def reset(self, program: Program) -> None:
        """Reset the states of a Program."""
        path = self.folder / f"turn{len(self._wanted)}.flat"
        path.write_bytes(flat_program(program))
        self.arguments += [path, Path("reset"), path]
        self._wanted.append(None)

    def step(self, of: Stream, number: int, wanted: dict | None = None) -> None:
        """One step of a stream."""
        values = of.golden(0, number + 1) if wanted is None else wanted
        outputs = {port.name: values[port.name][-1:] for port in of.program.outputs}
        given = {name: x[number : number + 1] for name, x in of.inputs.items()}
        self.add(of.program, given, outputs)

    def right(self, tools: Tools, board: SocketBoard, timeout: int = 600_000) -> list[str]:
        """Run them, compare all codes; return what was printed of each."""
        code, text, errors = tools.run("turns", board.path, timeout, *self.arguments)
        assert code == 0, (text, errors)
        said = text.splitlines()
        for line, wanted, path in zip(said, self._wanted, self.arguments[2::3], strict=True):
            if wanted is not None:
                assert line == "0 ", line
                np.testing.assert_array_equal(np.fromfile(path, "<i8"), wanted)
        return said


def images(job: Job) -> Iterator[tuple[Program, dict, dict]]:
    """The runs of a job."""
    n = job.program.images
    for i in range(0, len(next(iter(job.inputs.values()))), n):
        yield (
            job.program,
            {name: x[i : i + n] for name, x in job.inputs.items()},
            {name: x[i : i + n] for name, x in job.outputs.items()},
        )


def all_turns(folder: Path) -> Turns:
    """Two Programs in turn, one that fails between, and all again."""
    turns = Turns(folder)
    for job in JOBS * 2:
        for run in images(job):
            turns.add(*run)
        turns.add(BROKEN, next(images(JOBS[0]))[1], None)
    return turns


def check_turns(said: list[str]) -> None:
    errors = [line for line in said if line != "0 "]
    assert len(errors) == 4
    assert set(errors) == {f"20 {BROKEN.name}: instruction 1: ILLEGAL: {CAUSE_DOC[Cause.ILLEGAL]}"}


@pytest.mark.sim
def test_programs_in_turn(native: Tools, board: SocketBoard, tmp_path: Path) -> None:
    check_turns(all_turns(tmp_path).right(native, board))


@pytest.mark.sim
def test_states(native: Tools, board: SocketBoard, tmp_path: Path) -> None:
    """Stay from run to run, whatever runs in between; are initial when asked, and after an
    error."""
    (a, b), turns = STREAMS, Turns(tmp_path)
    for number in range(3):
        for each in STREAMS:
            turns.step(each, number)
        turns.add(*next(images(JOBS[0])))
    turns.reset(a.program)
    initial = [port.name for port in a.program.states]
    turns.step(a, 3, a.golden(3, 4, *initial))
    turns.step(b, 3)
    assert turns.right(native, board).count("reset") == 1


@pytest.mark.sim
def test_states_are_initial_after_an_error(native: Tools, tmp_path: Path) -> None:
    a, turns = STREAMS[0], Turns(tmp_path)
    accelerator = InterpAccelerator(NANO, STATEFUL, memory())
    turns.step(a, 0)
    turns.step(a, 1)
    wrong = {name: x[2:3] * 0 + 10_000 for name, x in a.inputs.items()}
    turns.add(a.program, wrong, None)
    turns.step(a, 3, a.golden(3, 4, *(port.name for port in a.program.states)))
    with SocketBoard(tmp_path / "b", accelerator).listening() as board:
        assert "stored integers must be in" in turns.right(native, board)[2]


@pytest.mark.sim
def test_states_in_the_way(native: Tools, tmp_path: Path) -> None:
    """Are not evicted: they would be lost."""
    (a, b), turns = STREAMS, Turns(tmp_path)
    size = -(-max(p.memory_bytes for p in STATEFUL) // 4096) * 4096
    accelerator = InterpAccelerator(NANO, STATEFUL, memory(size))
    turns.step(a, 0)
    turns.add(b.program, {name: x[:1] for name, x in b.inputs.items()}, None)
    turns.step(a, 1)
    turns.reset(a.program)
    turns.step(b, 0)
    with SocketBoard(tmp_path / "b", accelerator).listening() as board:
        said = turns.right(native, board)
    assert said[1] == (
        f"19 {b.program.name}: memory is full of Programs whose states would be lost: reset those "
        "that are done (sigbit_reset_state)"
    )


@pytest.mark.sim
@pytest.mark.parametrize("forgotten", ["d", "p"])
def test_what_is_not_synchronised_is_stale(
    native: Tools, board: SocketBoard, tmp_path: Path, forgotten: str
) -> None:
    turns = Turns(tmp_path)
    turns.add(*next(images(JOBS[0])))
    code, text, _ = native.run("turns", board.path, 2000, *turns.arguments, FORGETS=forgotten)
    assert code == 0
    wanted = np.concatenate([x.ravel() for x in next(images(JOBS[0]))[2].values()])
    found = np.fromfile(turns.arguments[2], "<i8")
    assert text != "0 \n" or not np.array_equal(found, wanted)


@pytest.mark.sim
def test_exactly_what_was_touched_is_synchronised(
    native: Tools, board: SocketBoard, tmp_path: Path
) -> None:
    turns = Turns(tmp_path)
    for run in images(JOBS[0]):
        turns.add(*run)
    turns.right(native, board)
    program = JOBS[0].program
    frames = [
        (what, part.start, part.stop - part.start)
        for what, ports in (("d", program.inputs), ("p", program.outputs))
        for port in ports
        for part in port_parts(program, port)
    ]
    first, *found = board.synchronised
    assert first == ("d", 0, program.memory_bytes)
    begin = found.index(frames[0])
    assert found[begin:] == frames * 2  # the Program stays
    constants = np.zeros(program.memory_bytes, bool)
    for offset, data in (
        (program.program_offset, program.instructions),
        (program.image_offset, program.image),
    ):
        constants[offset : offset + -(-data.size // NANO.bus_bytes) * NANO.bus_bytes] = True
    touched = np.zeros(program.memory_bytes, bool)
    for what, offset, size in found[:begin]:
        assert what == "d"
        touched[offset : offset + size] = True
    np.testing.assert_array_equal(touched, constants)


@pytest.mark.sim
def test_a_program_makes_room(native: Tools, tmp_path: Path) -> None:
    size = -(-max(p.memory_bytes for p in PROGRAMS) // 4096) * 4096
    accelerator = InterpAccelerator(NANO, PROGRAMS, memory(size))
    with SocketBoard(tmp_path / "b", accelerator).listening() as board:
        check_turns(all_turns(tmp_path).right(native, board))
        starts = [each for each in board.synchronised if each[1] == 0 and each[2] > size // 2]
    assert len(starts) == 8  # the second and the broken one push out the first, each time


@pytest.mark.sim
def test_several_images_a_run_and_windows(native: Tools, tmp_path: Path) -> None:
    """A compiled network whose input is unfolded into windows."""
    b = Builder(np.random.default_rng(8), NANO)
    graph = b.graph(b.conv([b.source(b.input((3, 6, 6), 1), 5, (3, 3))]))
    program = compile_graph(graph, NANO, images=2)
    assert any(port.fold for port in program.inputs)
    inputs = random_inputs(program, np.random.default_rng(9), 4)
    wanted = Interp(NANO).run(program, inputs).outputs
    turns = Turns(tmp_path)
    for run in images(Job(program, inputs, wanted)):
        turns.add(*run)
    accelerator = InterpAccelerator(NANO, [program], memory())
    with SocketBoard(tmp_path / "b", accelerator).listening() as board:
        turns.right(native, board)


def several_ports(tools: Tools, folder: Path, timeout: int = 600_000) -> None:
    """Programs in turn, each port with a part of memory."""
    config = replace(NANO, name="nano2", oc_lanes=8, bus_bits=128, ports=2)
    rng = np.random.default_rng(5)
    programs = [random_program(config, rng, execs=2) for _ in range(3)]
    turns = Turns(folder)
    for program in programs * 2:
        inputs = random_inputs(program, rng, program.images)
        turns.add(program, inputs, Interp(config).run(program, inputs).outputs)
    accelerator = InterpAccelerator(config, programs, memory(128 << 10))
    with SocketBoard(folder / "ports", accelerator).listening() as board:
        turns.right(tools, board, timeout)


@pytest.mark.sim
def test_several_ports(native: Tools, tmp_path: Path) -> None:
    several_ports(native, tmp_path)


def rtl(config: ArchConfig, path: Path) -> SocketBoard:
    return SocketBoard(path, RtlAccelerator(config, memory()))


@pytest.mark.sim
@pytest.mark.slow
@pytest.mark.parametrize("tools", ["native", "arm"])
def test_rtl(tools: str, tmp_path: Path, request) -> None:
    """The accelerator's Verilog, memory above 4 GiB, a stale cache: natively and on aarch64."""
    built = request.getfixturevalue(tools)
    with rtl(NANO, tmp_path / "b").listening() as board:
        check_turns(all_turns(tmp_path).right(built, board))


@pytest.mark.sim
def test_aarch64(arm: Tools, board: SocketBoard, tmp_path: Path) -> None:
    check_turns(all_turns(tmp_path).right(arm, board))


@pytest.fixture
def run(native: Tools, board: SocketBoard, tmp_path: Path) -> Callable:
    """``sigbit-run`` on a Program of one input and arrays."""

    def call(program: Program, *arrays: np.ndarray, options: tuple = ()) -> tuple[int, str, str]:
        flat = tmp_path / "net.flat"
        flat.write_bytes(flat_program(program))
        files = []
        for i, array in enumerate(arrays):
            np.save(tmp_path / f"in{i}.npy", array)
            files.append(tmp_path / f"in{i}.npy")
        outputs = [f"-o{tmp_path}/out{i}.npy" for i in range(len(program.outputs))]
        return native.run("sigbit-run", "-d", board.path, *options, *outputs, flat, *files)

    return call


@pytest.mark.sim
@pytest.mark.parametrize(
    "dtype", ["i1", "u1", "<i2", "<u2", "<i4", "<u4", "<i8", "<u8", "<f4", "<f8"]
)
def test_arrays_are_taken_as_sigbit_run_takes_them(run, board, tmp_path, dtype) -> None:
    program = JOBS[0].program
    rng = np.random.default_rng(4)
    arrays = []
    for port in program.inputs:
        x = (rng.integers(-40, 40, (3, *port.shape)) / 2 + port.zero) * port.scale  # ties, beyond
        arrays.append((x if "f" in dtype else np.abs(x * 4)).astype(dtype))
    given = {port.name: x for port, x in zip(program.inputs, arrays, strict=True)}
    wanted = Session(program, Interp(NANO)).run(given)
    code, text, errors = run(program, *arrays, options=("-c",))
    assert (code, errors) == (0, "")
    assert "CYCLES 1000\n" in text
    for i, port in enumerate(program.outputs):
        found = np.load(tmp_path / f"out{i}.npy")
        assert found.dtype == np.float64
        np.testing.assert_array_equal(found, wanted.results[port.name])


@pytest.mark.sim
def test_stored_integers_are_taken_as_they_are(run, board, tmp_path) -> None:
    program = JOBS[0].program
    stored = random_inputs(program, np.random.default_rng(5), 3)
    code, _, errors = run(program, *stored.values(), options=("-s",))
    assert (code, errors) == (0, "")
    wanted = Session(program, Interp(NANO)).run(stored, stored=True)
    for i, port in enumerate(program.outputs):
        found = np.load(tmp_path / f"out{i}.npy")
        assert found.dtype == np.int64
        np.testing.assert_array_equal(found, wanted.results[port.name])
    code, _, errors = run(program, *(x + 1000 for x in stored.values()), options=("-s",))
    assert (code, "stored integers must be in [" in errors) == (2, True)
    code, _, errors = run(program, *(x * 1.0 for x in stored.values()), options=("-s",))
    assert (code, "stored integers must be integers" in errors) == (2, True)


@pytest.mark.sim
@pytest.mark.parametrize(
    ("axes", "stored", "own"),
    [(Axes.SEQUENCE, (4, 4, 1), (4, 4)), (Axes.LINES, (2, 4, 3), (4, 3, 2))],
)
def test_arrays_have_the_networks_own_shapes(
    axes: Axes, stored: tuple[int, int, int], own: tuple[int, ...], native: Tools, tmp_path: Path
) -> None:
    """A sequence with as many steps as features, an image whose channels come last; an output
    flattened."""
    rng = np.random.default_rng(8)
    b = Builder(rng, NANO)
    compiled = compile_graph(b.graph(b.conv([b.source(b.input(stored, 1), 5, (1, 1))])), NANO)
    (port,), (output,) = compiled.inputs, compiled.outputs
    program = replace(
        compiled,
        inputs=(replace(port, axes=axes),),
        results=(ModelOutput("y", output.name, Axes.FEATURES),),
    )
    x = rng.normal(0, 4 * port.scale, (3, *own))
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "wrong.npy", x[:, 1:])
    (tmp_path / "net.flat").write_bytes(flat_program(program))
    wanted = Session(program, Interp(NANO)).run(x)
    assert wanted.results["y"].shape == (3, 5 * stored[1] * stored[2])
    accelerator = InterpAccelerator(NANO, [program], memory())
    with SocketBoard(tmp_path / "board", accelerator).listening() as board:
        call = ("sigbit-run", "-d", board.path, f"-o{tmp_path}/y.npy", tmp_path / "net.flat")
        code, _, errors = native.run(*call, tmp_path / "x.npy")
        assert (code, errors) == (0, "")
        np.testing.assert_array_equal(np.load(tmp_path / "y.npy"), wanted.results["y"])
        code, _, errors = native.run(*call, tmp_path / "wrong.npy")
        shape = ", ".join(map(str, own))
        assert (code, f"must have shape [N, {shape}]" in errors) == (2, True)


def good(program: Program) -> list[np.ndarray]:
    return [np.zeros((1, *port.shape), np.float32) for port in program.inputs]


@pytest.mark.sim
def test_what_does_not_fit_is_refused(run, board) -> None:
    program = JOBS[0].program
    arrays = good(program)

    def refused(*changed: np.ndarray) -> str:
        code, text, errors = run(program, *changed)
        assert (code, text, errors.count("\n")) == (2, "", 1), errors
        return errors

    rest = arrays[1:]
    assert "must have shape [N, " in refused(arrays[0][:, :, :-1], *rest)
    assert "holds NaN or infinity" in refused(arrays[0] + np.float32("nan"), *rest)
    assert "must have shape [N, " in refused(arrays[0][0], *rest)
    assert "little-endian" in refused(arrays[0].astype(">f4"), *rest)
    assert "little-endian" in refused(arrays[0].astype("f2"), *rest)
    assert "in C order" in refused(np.asfortranarray(arrays[0].repeat(2, 0)), *rest)
    assert "inputs and" in refused(*arrays, *arrays)
    assert not board.accelerator.starts


@pytest.mark.sim
def test_devices_that_do_not_fit(run, board) -> None:
    program = JOBS[0].program
    values = board.accelerator.values
    for name, value, message in (
        ("DIGEST_LO", 1, "was compiled for the accelerator"),
        ("VERSION", 2, "register map has version 2"),
        ("MAGIC", 0, "no accelerator answers"),
        ("STATUS", 0, "does not become idle"),
    ):
        kept, values[name] = values[name], value
        code, _, errors = run(program, *good(program))
        values[name] = kept
        assert code == 1
        assert message in errors
    large = replace(program, memory_bytes=MEMORY_BYTES + 64)
    code, _, errors = run(large, *good(large))
    assert (code, "needs 65600 bytes of memory, there are 65536" in errors) == (1, True)
    assert not board.accelerator.starts


@pytest.mark.sim
def test_timeout(run, board) -> None:
    board.accelerator.waits = 10**9
    program = JOBS[0].program
    code, _, errors = run(program, *good(program), options=("-t", "0.3"))
    assert (code, "not done within 300 ms" in errors) == (1, True)
    board.accelerator.waits = 1
    assert run(program, *good(program))[0] == 0


@pytest.mark.sim
def test_damaged_files(native: Tools, board: SocketBoard, tmp_path: Path) -> None:
    """Every byte counts; nothing starts."""
    program = JOBS[0].program
    text = flat_program(program)
    arrays = [tmp_path / f"{i}.npy" for i in range(len(program.inputs))]
    for path, array in zip(arrays, good(program), strict=True):
        np.save(path, array)
    rng = np.random.default_rng(6)
    flat = tmp_path / "net.flat"
    damaged = [text[:at] for at in (0, 3, 200, len(text) - 1)] + [text + b"\0"]
    for at in [0, 4, 8, 12, 50, *rng.integers(60, len(text), 12).tolist()]:
        spoilt = bytearray(text)
        spoilt[at] ^= 1 << int(rng.integers(8))
        damaged.append(bytes(spoilt))
    for data in damaged:
        flat.write_bytes(data)
        code, _, errors = native.run("sigbit-run", "-d", board.path, flat, *arrays)
        assert (code, errors.count("\n")) == (2, 1), errors
        assert "make it again" in errors or "no flat Program" in errors
    assert not board.accelerator.starts
