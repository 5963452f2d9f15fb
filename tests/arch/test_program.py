"""The Program container: exact, checked, atomic."""

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from sigbit_hw.arch import container, isa
from sigbit_hw.arch.axes import Axes
from sigbit_hw.arch.config import PRESETS
from sigbit_hw.arch.host import HostInput, HostPart, HostStep
from sigbit_hw.arch.preprocessing import ImagePreprocessing
from sigbit_hw.arch.program import (
    ExecInfo,
    Fold,
    LayerInfo,
    ModelOutput,
    Port,
    Program,
    ProgramError,
)

NANO = PRESETS["nano"]


@pytest.fixture
def program(rng) -> Program:
    code = [
        isa.Fill(n0=4),
        isa.Out(n_slots=3),
        isa.Exec(drain=1, n_seg=1, n_ocb=3, run=2),
        isa.Halt(),
    ]
    return Program(
        name="small",
        config=NANO,
        instructions=isa.pack(code),
        image=rng.integers(0, 256, 200, dtype=np.uint8),
        image_offset=4096,
        program_offset=8192,
        memory_bytes=12288,
        write_window=(1024, 2048),
        inputs=(
            Port("x", (3, 5, 7), 0, 2, 2, 0.125, 3, -20, 40),
            Port("f", (3, 9, 9), 512, 1, 1, 0.5, 0, -7, 7, Fold((3, 2), (2, 2), (1, 0, 1, 1))),
        ),
        outputs=(Port("y", (9, 1, 1), 1024, 1, 1, 1.5, 0, -7, 7),),
        states=(
            Port("h", (5, 2, 3), 1280, 2, 1, 0.5, 3, -63, 63),
            Port("c", (1, 1, 1), 1536, 1, 1, 0.25, 0, -7, 7, axes=Axes.FEATURES),
        ),
        initial={
            "h": rng.integers(-63, 64, (5, 2, 3)),
            "c": np.full((1, 1, 1), -7, np.int8),
        },
        layers=(LayerInfo("conv", "conv", (9, 1, 1), 1, 1.5, 0, 945, "model.py:3"),),
        execs=(ExecInfo(2, "conv", 0, 0, 0, 1, 1, (2, 3), 0, 9, 2),),
        images=2,
        host=HostPart(
            (HostInput("logits", "scores", (9,)),),
            (
                HostStep("Mul", ("logits", "factor"), ("scaled",), source="model.py:8"),
                HostStep("Softmax", ("scaled",), ("odds",), {"axis": 1}, "model.py:9"),
                HostStep("Slice", ("odds", "one", "two", "one"), ("part",)),
            ),
            {
                "factor": np.array(0.3),
                "one": np.array([1], np.int64),
                "two": np.array([2], np.int64),
            },
            ("odds", "part"),
        ),
        results=(ModelOutput("scores", "y", Axes.FEATURES), ModelOutput("map", "y")),
        classes=("cat", "dög"),
        vectors={
            "input.x": rng.integers(-7, 8, (2, 3, 5, 7)),
            "layer.conv": np.zeros((2, 9, 1, 1), np.int8),
        },
    )


@pytest.fixture
def file(program, tmp_path) -> Path:
    program.save(tmp_path / "net.sigbit")
    return tmp_path / "net.sigbit"


def test_load_inverts_save(program, file):
    got = Program.load(file)
    for name in (
        "name",
        "results",
        "classes",
        "preprocessing",
        "config",
        "image_offset",
        "program_offset",
        "memory_bytes",
        "write_window",
        "inputs",
        "outputs",
        "states",
        "layers",
        "execs",
        "images",
        "host",
        "digest",
        "listing",
    ):
        assert getattr(got, name) == getattr(program, name), name
    assert (got.instructions == program.instructions).all()
    assert (got.image == program.image).all()
    assert set(got.initial) == {"h", "c"}
    for name, value in program.initial.items():
        assert got.initial[name].dtype == value.dtype
        assert (got.initial[name] == value).all()
    assert set(got.vectors) == set(program.vectors)
    for name, value in program.vectors.items():
        assert got.vectors[name].dtype == value.dtype
        assert (got.vectors[name] == value).all()


def test_files_are_byte_identical(program, file, tmp_path):
    program.save(tmp_path / "again")
    Program.load(file).save(tmp_path / "third")
    assert (tmp_path / "again").read_bytes() == file.read_bytes()
    assert (tmp_path / "third").read_bytes() == file.read_bytes()


def test_any_truncation_is_refused(file, rng):
    data = file.read_bytes()
    lengths = {0, 1, 8, 100, len(data) - 1, *rng.integers(0, len(data), 60).tolist()}
    for length in lengths:
        file.write_bytes(data[:length])
        with pytest.raises(ProgramError, match=r"net\.sigbit"):
            Program.load(file)
    file.write_bytes(data + b"\0")
    with pytest.raises(ProgramError):
        Program.load(file)


def test_any_flipped_bit_is_refused(file, rng):
    """Flips in lengths, header, names, JSON, hash and arrays; a flip must not go unnoticed."""
    data = file.read_bytes()
    header = 8 + int.from_bytes(data[:8], "little")
    positions = {
        *range(64),
        *rng.integers(0, 8 * header, 400).tolist(),
        *rng.integers(8 * header, 8 * len(data), 200).tolist(),
    }
    for position in positions:
        damaged = bytearray(data)
        damaged[position // 8] ^= 1 << position % 8
        file.write_bytes(damaged)
        with pytest.raises(ProgramError):
            Program.load(file)


def test_other_files_are_refused(tmp_path):
    with pytest.raises(ProgramError, match="no such file"):
        Program.load(tmp_path / "absent")
    with pytest.raises(ProgramError, match="is a folder, not a Program"):
        Program.load(tmp_path)
    path = tmp_path / "weights.safetensors"
    save_file({"w": np.zeros(3)}, path)
    with pytest.raises(ProgramError, match="but not a Program"):
        Program.load(path)


def test_another_format_version_is_refused(program, file, monkeypatch):
    monkeypatch.setattr("sigbit_hw.arch.program.FORMAT_VERSION", 99)
    program.save(file)
    monkeypatch.undo()
    message = "format version 99, this sigbit reads 7"
    with pytest.raises(ProgramError, match=message):
        Program.load(file)


def test_another_accelerator_is_refused(program):
    program.require(replace(NANO, name="renamed"))
    with pytest.raises(ProgramError, match=r"compiled for nano .* the device is micro"):
        program.require(PRESETS["micro"])


def test_a_file_with_the_digest_of_another_accelerator_is_refused(file):
    """The file's own hash is right: only the digest of its ArchConfig is not."""
    text, arrays = container.decode(file, "program")
    wrong = text.replace(NANO.digest, PRESETS["micro"].digest)
    assert wrong != text
    file.write_bytes(container.encode("program", wrong, arrays))
    with pytest.raises(ProgramError, match="ArchConfig does not match its digest"):
        Program.load(file)


def test_arrays_of_a_file_are_aligned(file):
    """Safetensors: the header fills whole words of 8 bytes, whatever its length."""
    for name in ("a", "ab", "abcd", "abcdefgh"):
        replace(Program.load(file), name=name).save(file)
        assert int.from_bytes(file.read_bytes()[:8], "little") % 8 == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y": 1}, "lines up to 2 of 1"),
        ({"x": 1}, "columns up to 2 of 1"),
        ({"channel": 1}, "channels up to 10 of 9"),
        ({"image": 1}, "images up to 3 of 2"),
        ({"columns": 2}, "writes 2 pixels, not 1 x 2 of 2 images"),
    ],
)
def test_what_an_exec_writes_lies_in_its_layer(program, change, message, tmp_path):
    (info,) = program.execs
    wrong = replace(program, execs=(replace(info, **change),))
    with pytest.raises(ProgramError, match=message):
        wrong.save(tmp_path / "net.sigbit")


@pytest.mark.parametrize(
    ("name", "shape"), [("input.x", (2, 3, 5, 6)), ("layer.conv", (2, 9, 1, 2))]
)
def test_test_vectors_have_the_shape_of_their_tensor(program, name, shape, tmp_path):
    wrong = replace(program, vectors={name: np.zeros(shape, np.int8)})
    with pytest.raises(ProgramError, match=rf"'{name}' must have shape \[N, .*, not \[2, "):
        wrong.save(tmp_path / "net.sigbit")


def test_failed_save_leaves_nothing(program, file, tmp_path):
    with pytest.raises(ProgramError, match="cannot write"):
        program.save(tmp_path / "absent" / "net.sigbit")
    folder = tmp_path / "taken"
    folder.mkdir()
    (folder / "net.sigbit").mkdir()
    with pytest.raises(ProgramError, match="cannot write"):
        program.save(folder / "net.sigbit")
    assert [p.name for p in folder.iterdir()] == ["net.sigbit"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["net.sigbit", "taken"]


def test_interrupted_save_keeps_the_old_file(program, file, monkeypatch):
    before = file.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(ProgramError, match="No space left on device"):
        replace(program, name="other").save(file)
    assert file.read_bytes() == before
    assert [p.name for p in file.parent.iterdir()] == [file.name]


def test_save_replaces(program, file):
    replace(program, name="other").save(file)
    assert Program.load(file).name == "other"
    assert shutil.os.stat(file).st_mode & 0o777 == 0o644


def test_memory(program):
    memory = program.memory()
    assert memory.size == program.memory_bytes
    end = program.program_offset + program.instructions.size
    assert (memory[program.program_offset : end] == program.instructions).all()
    assert (memory[4096:4296] == program.image).all()
    memory[4096:4296] = memory[program.program_offset : end] = 0
    for port in program.states:
        size = port.bytes(NANO)
        for image in range(program.images):
            part = slice(port.offset + image * size, port.offset + (image + 1) * size)
            found = port.unpack(memory[part], NANO)
            assert (found == program.initial[port.name]).all()
            memory[part] = 0
    assert not memory.any()


def state(**changes: object) -> Callable[[Program], dict[str, object]]:
    """The first state changed."""
    return lambda p: {"states": (replace(p.states[0], **changes), *p.states[1:])}


def initial(codes: np.ndarray) -> Callable[[Program], dict[str, object]]:
    """Other initial codes of the first state."""
    return lambda p: {"initial": {**p.initial, "h": codes}}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (state(name="x"), "names of inputs and states must differ: ['x'] occurs twice"),
        (state(name="g"), "the states are ['c', 'g'], those with initial codes ['c', 'h']"),
        (state(offset=1281), "state 'h': offset must be a multiple of 8, not 1281"),
        (state(offset=768), "state 'h' at bytes [768, "),
        (state(offset=2000), "must lie in the write window [1024, 2048)"),
        (state(offset=1024), "two things share bytes: "),
        (state(offset=1536), "two things share bytes: "),
        (state(low=-64), "state 'h': [-64, 63] is not within the values of 2 planes"),
        (state(low=64, high=63), "state 'h': low 64 is above high 63"),
        (state(fold=Fold((1, 1), (1, 1), (0, 0, 0, 0))), "only an input can have a fold"),
        (state(shape=(5, 2, 2)), "initial codes of state 'h' must be integers [5, 2, 2], not"),
        (initial(np.zeros((5, 2, 3))), "must be integers [5, 2, 3], not float64 [5, 2, 3]"),
        (initial(np.full((5, 2, 3), 64)), "initial codes of state 'h': 2 planes cannot store all"),
        (lambda p: {"initial": {}}, "the states are ['c', 'h'], those with initial codes []"),
        (lambda p: {"states": ()}, "the states are [], those with initial codes ['c', 'h']"),
    ],
)
def test_states_that_make_no_sense_are_refused(program, change, message, tmp_path):
    with pytest.raises(ProgramError, match=re.escape(message)):
        replace(program, **change(program)).save(tmp_path / "net.sigbit")
    assert not list(tmp_path.iterdir())


def test_file_is_plain_safetensors(file):
    arrays = load_file(file)
    others = {"host.factor", "host.one", "host.two", "state.h", "state.c"}
    assert {"instructions", "image", "vector.input.x", "vector.layer.conv", *others} == set(arrays)
    header = int.from_bytes(file.read_bytes()[:8], "little")
    metadata = json.loads(file.read_bytes()[8 : 8 + header])["__metadata__"]
    assert json.loads(metadata["sigbit"])["config_digest"] == NANO.digest


def literal_slot(port: Port, plane: int, c: int, y: int, x: int) -> tuple[int, int]:
    """(slot, lane) of an element, from the order in the docstring of Port."""
    _, planes, blocks, phases, columns = port.slots(NANO)
    slot = y * planes + plane
    slot = slot * blocks + c // NANO.ic_lanes
    slot = slot * phases + x % phases
    return slot * columns + x // phases, c % NANO.ic_lanes


@pytest.mark.parametrize("phases", [1, 2, 3])
@pytest.mark.parametrize("planes", [1, 2])
def test_port_layout(planes, phases, rng):
    grid = NANO.act_grid(planes)
    low, high = int(grid.values[0]), int(grid.values[-1])
    port = Port("x", (6, 3, 5), 0, planes, phases, 0.5, 2, low, high)
    stored = rng.choice(grid.values, port.shape)
    data = port.pack(stored, NANO)
    assert data.size == port.bytes(NANO)
    assert data.size % NANO.bus_bytes == 0
    assert (port.unpack(data, NANO) == stored).all()
    codes = grid.encode(stored)
    for plane, c, y, x in np.ndindex(codes.shape):
        slot, lane = literal_slot(port, plane, c, y, x)
        byte = data[slot * NANO.slot_bytes + lane // 2]
        assert byte >> 4 * (lane % 2) & 15 == codes[plane, c, y, x]


@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "dilation"),
    [
        ((3, 3), (2, 2), (1, 1, 1, 1), (1, 1)),
        ((2, 3), (1, 2), (0, 2, 1, 0), (2, 1)),
        ((7, 7), (2, 2), (3, 3, 3, 3), (1, 1)),
        ((1, 1), (3, 2), (0, 0, 0, 0), (1, 1)),
    ],
)
def test_folds_are_windows(kernel, stride, padding, dilation, rng):
    fold = Fold(kernel, stride, padding, dilation)
    image = rng.integers(-7, 8, (3, 9, 10))
    top, left = padding[:2]
    got = fold.apply(image, -5)
    assert got.shape == fold.shape((3, 9, 10))
    for channel, y, x in np.ndindex(got.shape):
        tap, c = divmod(channel, 3)
        ky, kx = divmod(tap, kernel[1])
        row = y * stride[0] + ky * dilation[0] - top
        column = x * stride[1] + kx * dilation[1] - left
        inside = 0 <= row < 9 and 0 <= column < 10
        assert got[channel, y, x] == (image[c, row, column] if inside else -5)
    height, width = got.shape[1:]  # one more window would not fit
    assert height * stride[0] + dilation[0] * (kernel[0] - 1) >= 9 + top + padding[2]
    assert width * stride[1] + dilation[1] * (kernel[1] - 1) >= 10 + left + padding[3]


def test_a_folded_port_holds_the_folded_tensor(rng):
    fold = Fold((3, 3), (2, 2), (1, 1, 1, 1))
    port = Port("x", (3, 8, 8), 0, 2, 1, 0.5, 2, -20, 20, fold)
    plain = Port("x", port.packed_shape, 0, 2, 1, 0.5, 2, -20, 20)
    assert port.packed_shape == (27, 4, 4)
    stored = rng.integers(-20, 21, port.shape)
    data = port.pack(stored, NANO)
    assert port.bytes(NANO) == data.size == plain.bytes(NANO)
    assert (data == plain.pack(fold.apply(stored, -2), NANO)).all()
    assert (port.unpack(data, NANO) == fold.apply(stored, -2)).all()


def test_rows_of_a_port_are_consecutive(rng):
    """Without padding to a beat, the bytes of a band of rows are those of a port of just these."""
    port = Port("x", (8, 6, 4), 0, 2, 2, 1.0, 0, -7, 7)
    stored = rng.integers(-7, 8, port.shape)
    rows = port.bytes(NANO) // 6
    band = replace(port, shape=(8, 2, 4)).pack(stored[:, 3:5], NANO)
    assert (port.pack(stored, NANO)[3 * rows : 5 * rows] == band).all()


def test_preprocessing_is_kept_where_it_fits(program, tmp_path):
    how = ImagePreprocessing((5, 7), (0.5, 0.25, 0), (1, 2, 3), 1.0, 9, "BGR")
    one = replace(program, inputs=program.inputs[:1], preprocessing=how)
    one.save(tmp_path / "net.sigbit")
    assert Program.load(tmp_path / "net.sigbit").preprocessing == how
    with pytest.raises(ProgramError, match=r"makes one input of \[3, 5, 7\], not \[3, 5, 7\], "):
        replace(program, preprocessing=how).save(tmp_path / "net.sigbit")


def test_port_quantizes_and_dequantizes():
    port = Port("x", (1, 1, 4), 0, 1, 1, 0.5, 2, -7, 7)
    got = port.quantize([[[[-99.0, 0.25, 0.75, 99.0]]]])
    assert got.ravel().tolist() == [-7, -2, -1, 7]
    assert port.dequantize(got).ravel().tolist() == [-2.5, 0.0, 0.5, 4.5]
    with pytest.raises(ProgramError, match=r"x must have shape \[N, 1, 1, 4\] .*, not \[1, 1, 4\]"):
        port.quantize(np.zeros((1, 1, 4)))
    with pytest.raises(ProgramError, match="x must be finite"):
        port.quantize([[[[0, 0, np.nan, 0]]]])
    assert port.clipped([[[[-99.0, 0.25, 0.0, 0.0]]]]) == 0.5


@pytest.mark.parametrize(
    ("axes", "stored", "own"),
    [
        (Axes.IMAGE, (2, 3, 4), (2, 3, 4)),
        (Axes.FEATURES, (2, 3, 4), (24,)),
        (Axes.SEQUENCE, (4, 6, 1), (6, 4)),
        (Axes.SEQUENCE, (4, 3, 2), (6, 4)),
        (Axes.SIGNAL, (4, 3, 2), (4, 6)),
        (Axes.LINES, (4, 3, 2), (3, 2, 4)),
    ],
)
def test_axes_arrange_samples(axes, stored, own, rng):
    """Exact inverses: channels come first, pixels in their order after them."""
    assert axes.shape(stored) == own
    x = rng.integers(-9, 9, (5, *own))
    arranged = axes.to_stored(x, stored)
    assert arranged.shape == (5, *stored)
    assert (axes.from_stored(arranged) == x).all()
    channels = axes.channels(stored)
    pixels = x.reshape(5, -1, channels) if axes.channels_last else x.reshape(5, channels, -1)
    first = pixels.swapaxes(1, 2) if axes.channels_last else pixels
    assert (arranged.reshape(first.shape) == first).all()
    assert (torch.from_numpy(arranged) == axes.to_stored(torch.from_numpy(x), stored)).all()
    assert (torch.from_numpy(x) == axes.from_stored(torch.from_numpy(arranged))).all()


@pytest.mark.parametrize(
    "stored", [(1, 2, 3), (1, 1, 1), (4, 2, 2), (3, 1, 1), (4, 6, 1), (2, 1, 4), (2, 2, 2)]
)
def test_axes_are_alike_if_samples_are(stored):
    """The same shape, and the same order of elements."""
    x = np.arange(np.prod(stored)).reshape(1, *stored)
    for one, other in product(Axes, Axes):
        a, b = one.from_stored(x), other.from_stored(x)
        assert one.alike(other, stored) == (a.shape == b.shape and (a == b).all())


def test_a_square_sequence_is_not_misread():
    """[N, T, F] is read as the model has it, [N, F, T, 1] as it is stored is refused, also where
    T = F."""
    port = Port("x", (3, 3, 1), 0, 2, 1, 1.0, 0, -63, 63, axes=Axes.SEQUENCE)
    x = np.arange(18).reshape(2, 3, 3)
    assert (port.quantize(x)[..., 0] == x.transpose(0, 2, 1)).all()
    assert (port.arranged(x)[..., 0] == x.transpose(0, 2, 1)).all()
    with pytest.raises(
        ProgramError, match=r"\[N, 3, 3\] \(N samples of steps, features\).*not \[2, 3, 3, 1\]"
    ):
        port.quantize(x[..., None])
