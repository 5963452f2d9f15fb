"""Program files."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from math import prod
from pathlib import Path

import numpy as np

from hostile.containers import Arrays, codec, header_length, with_arrays, with_header
from hostile.kinds import Kind, Rng, Unsound, at, edited, text, without
from sigbit.runtime import DeviceError, load_program, results
from sigbit_hw.arch import isa
from sigbit_hw.arch.axes import Axes
from sigbit_hw.arch.config import PRESETS
from sigbit_hw.arch.host import HostInput, HostPart, HostStep
from sigbit_hw.arch.preprocessing import ImagePreprocessing
from sigbit_hw.arch.program import ModelOutput, Program, ProgramError
from sigbit_hw.arch.program_schema import CHANNELS_MAX, CLASSES_MAX
from sigbit_sim.interp.device import Interp
from sigbit_sim.random_programs.program import random_inputs, random_program

NANO = PRESETS["nano"]
FOUR = replace(
    NANO, name="four-ports", oc_lanes=16, ic_lanes=16, post_lanes=16, bus_bits=256, ports=4
)
IMAGES_RUN = 2
"""Programs of more images are not run."""
INSTRUCTIONS_RUN = 400

Craft = Callable[[bytes], bytes]
_CODEC = codec("program")


def write(path: Path, rng: Rng) -> None:
    """A legal random Program with test vectors, preprocessing, classes, outputs of its own and a
    host's part that reads one."""
    program = random_program(NANO if rng.random() < 0.7 else FOUR, rng, execs=2)
    inputs = random_inputs(program, rng, 1)
    vectors = {f"input.{name}": value for name, value in inputs.items()}
    y, z = program.outputs
    channels, *size = program.inputs[0].shape
    how = ImagePreprocessing((size[0], size[1]), (0.5,) * channels, (0.25,) * channels)
    replace(
        program,
        vectors=vectors,
        host=_host("features", (prod(y.shape),)),
        results=(ModelOutput("features", y.name, Axes.FEATURES), ModelOutput("map", z.name)),
        preprocessing=how if channels <= CHANNELS_MAX else None,
        classes=("cat", "dog"),
    ).save(path)


def _host(output: str, shape: tuple[int, ...]) -> HostPart:
    """Steps with options and constants of every kind."""
    steps = (
        HostStep("Clip", ("y", "", "most"), ("clipped",), {}, "net.py:3"),
        HostStep("Reshape", ("clipped", "flat"), ("row",), {"allowzero": 0}),
        HostStep("Tile", ("row", "twice"), ("rows",)),
        HostStep("TopK", ("row", "one"), ("best", "which"), {"axis": 1}),
        HostStep("Transpose", ("rows",), ("columns",), {"perm": (1, 0)}),
    )
    constants = {
        "most": np.array(0.5),
        "flat": np.array([1, -1], np.int64),
        "twice": np.array([2, 1], np.int64),
        "one": np.array([1], np.int64),
    }
    results = ("best", "which", "columns")
    return HostPart((HostInput("y", output, shape),), steps, constants, results)


def read(path: Path) -> None:
    """Load and verify it, and run it: what is taken must not make any device's software stumble."""
    program = load_program(path)
    again = path.with_name("again.sigbit")
    program.save(again)
    if Program.load(again).digest != program.digest:
        raise Unsound("a Program changes when it is saved and loaded")
    again.unlink()
    if program.images <= IMAGES_RUN and len(program.listing) <= INSTRUCTIONS_RUN:
        inputs = random_inputs(program, np.random.default_rng(0), program.images)
        with suppress(ProgramError, DeviceError):  # legal reasons to stop
            found = Interp(program.config, strict=True).run(program, inputs)
            results(program, found.outputs)


def _tiled(arrays: Arrays) -> None:
    arrays["host.twice"] = np.array([1 << 31, 1 << 31], np.int64)


def _retyped(arrays: Arrays) -> None:
    arrays["host.flat"] = np.array([1, 255], np.uint8)


def doc(*path: str | int, value: object) -> Craft:
    """The document with ``value`` at ``path``."""
    return edited(_CODEC, at(*path, value=value))


def code(*listing: isa.Instr) -> Craft:
    """The instructions replaced, and what is said of their layers left out."""
    replaced = with_arrays("program", lambda a: a.update(instructions=isa.pack([*listing])))
    emptied = edited(_CODEC, lambda d: d.update(layers=[], execs=[]))
    return lambda data: emptied(replaced(data))


def added(key: str, value: str) -> Callable[[str], str]:
    """A document's text with one key more, perhaps a second time."""
    return lambda document: f'{document[:-1]}, "{key}": {value}}}'


_ARRAYS: dict[str, Craft] = {
    "instructions of two dimensions": with_arrays(
        "program", lambda a: a.update(instructions=a["instructions"].reshape(-1, 32))
    ),
    "instructions as float": with_arrays(
        "program", lambda a: a.update(instructions=a["instructions"].astype(np.float32))
    ),
    "instructions as int64": with_arrays(
        "program", lambda a: a.update(instructions=a["instructions"].astype(np.int64))
    ),
    "no instructions": with_arrays(
        "program", lambda a: a.update(instructions=np.zeros(0, np.uint8))
    ),
    "instructions absent": with_arrays("program", lambda a: a.pop("instructions")),
    "part of an instruction": with_arrays(
        "program", lambda a: a.update(instructions=a["instructions"][:-3].copy())
    ),
    "image as float64": with_arrays(
        "program", lambda a: a.update(image=a["image"].astype(np.float64))
    ),
    "image of two dimensions": with_arrays(
        "program", lambda a: a.update(image=a["image"].reshape(-1, 8))
    ),
    "another array": with_arrays("program", lambda a: a.update(foo=np.zeros(3, np.uint8))),
    "a vector that leaves": with_arrays(
        "program", lambda a: a.update({"vector.../../x": np.zeros((1, 1, 1, 1), np.int64)})
    ),
    "a vector of floats": with_arrays(
        "program", lambda a: a.update({"vector.input.x": a["vector.input.x"].astype(float)})
    ),
    "a vector of another shape": with_arrays(
        "program", lambda a: a.update({"vector.input.x": np.zeros((1, 1, 1, 1), np.int64)})
    ),
    "a header of 10 GB": with_header(
        lambda h: h["image"].update(
            shape=[10 << 30],
            data_offsets=[
                h["image"]["data_offsets"][0],
                h["image"]["data_offsets"][0] + (10 << 30),
            ],
        )
    ),
    "a header length of 2^63": header_length(1 << 63),
    "a header length of 0": header_length(0),
    "no checksum": with_header(lambda h: h["__metadata__"].pop("sha256")),
    "another kind": with_header(lambda h: h["__metadata__"].update(kind="integer-model")),
}

_CODE: dict[str, Craft] = {
    "a FILL of 128 TiB": code(isa.Fill(n0=1048575, n1=4095, n2=4095), isa.Halt()),
    "a FILL of 4 GiB": code(isa.Fill(n0=1048575, n1=700), isa.Halt()),
    "an EXEC that never ends": code(
        isa.Seg(n_ic=2047, n_kx=31, n_ky=31),
        isa.Out(),
        isa.Exec(
            n_seg=1,
            run=1048575,
            n_rows=4095,
            n_ocb=2047,
            drain=1,
            wrap=1048575,
            block_step=2,
            group_step=1,
        ),
        isa.Halt(),
    ),
    "an EXEC of endless steps": code(
        isa.Seg(n_ic=2047, n_kx=31, n_ky=31),
        isa.Exec(n_seg=1, n_ocb=2047),
        isa.Halt(),
    ),
    "a STORE of all memory": code(
        isa.Store(beats=(1 << 24) - 1, n0=1048575, n1=4095, n2=4095), isa.Halt()
    ),
    "a LOAD of all memory": code(
        isa.Load(kind=isa.LoadKind.ACTS, beats=(1 << 24) - 1, n0=1048575, n1=4095, n2=4095),
        isa.Halt(),
    ),
    "a LOAD beyond the window": code(
        isa.Load(address=0xFFFFFFF8, beats=1, kind=isa.LoadKind.ACTS), isa.Halt()
    ),
    "a wait for nobody": code(isa.Fill(wait=2), isa.Halt()),
    "no HALT": code(isa.Fill()),
    "HALT in between": code(isa.Halt(), isa.Halt()),
    "a slot written twice": code(
        isa.Fill(n0=64, signal=2),
        isa.Seg(),
        isa.Out(base=64),
        isa.Exec(
            wait=1, n_seg=1, run=2, drain=1, mode=isa.Mode.MAX, wrap=4, block_step=2, group_step=1
        ),
        isa.Halt(),
    ),
}

_DOCUMENT: dict[str, Craft] = {
    "memory of 10 GiB": doc("memory_bytes", value=10 << 30),
    "memory of 1 EiB": doc("memory_bytes", value=1 << 60),
    "memory below 0": doc("memory_bytes", value=-1),
    "memory as text": doc("memory_bytes", value="x"),
    "memory as float": doc("memory_bytes", value=32768.5),
    "memory as 32768.0": doc("memory_bytes", value=32768.0),
    "memory too small": doc("memory_bytes", value=16),
    "memory of no whole beats": doc("memory_bytes", value=1_000_001),
    "program before the window": doc("program_offset", value=-4096),
    "program behind the window": doc("program_offset", value=1 << 40),
    "program not aligned": doc("program_offset", value=8),
    "image before the window": doc("image_offset", value=-64),
    "image over the program": edited(_CODEC, lambda d: d.update(image_offset=d["program_offset"])),
    "write window too large": doc("write_window", value=[-1, 1 << 40]),
    "write window over everything": edited(
        _CODEC, lambda d: d.update(write_window=[0, d["memory_bytes"]])
    ),
    "write window of three": doc("write_window", value=[0, 1, 2]),
    "write window as text": doc("write_window", value="ab"),
    "write window as number": doc("write_window", value=5),
    "states as number": doc("states", value=5),
    "a state without codes": edited(
        _CODEC, lambda d: d["states"].append(d["outputs"][0] | {"name": "s"})
    ),
    "codes without a state": with_arrays(
        "program", lambda a: a.update({"state.s": np.zeros((1, 1, 1), np.int64)})
    ),
    "states beyond number": edited(
        _CODEC, lambda d: d.update(states=[d["outputs"][0]] * ((1 << 12) + 1))
    ),
    "write window backwards": edited(
        _CODEC, lambda d: d.update(write_window=d["write_window"][::-1])
    ),
    "input before the window": doc("inputs", 0, "offset", value=-8),
    "input behind the window": doc("inputs", 0, "offset", value=1 << 50),
    "input over the program": edited(
        _CODEC, lambda d: d["inputs"][0].update(offset=d["program_offset"])
    ),
    "input in the write window": edited(
        _CODEC, lambda d: d["inputs"][0].update(offset=d["write_window"][0])
    ),
    "output outside the write window": edited(
        _CODEC, lambda d: d["outputs"][0].update(offset=d["inputs"][0]["offset"])
    ),
    "outputs over each other": edited(
        _CODEC, lambda d: d["outputs"][1].update(offset=d["outputs"][0]["offset"])
    ),
    "input of 2^40 values": doc("inputs", 0, "shape", value=[1, 1 << 20, 1 << 20]),
    "input of -1 channels": doc("inputs", 0, "shape", value=[-1, 2, 3]),
    "input of nothing": doc("inputs", 0, "shape", value=[0, 0, 0]),
    "input's shape as text": doc("inputs", 0, "shape", value="abc"),
    "input's shape of two": doc("inputs", 0, "shape", value=[3, 4]),
    "input of 1000 planes": doc("inputs", 0, "planes", value=1000),
    "input of true planes": doc("inputs", 0, "planes", value=True),
    "input of 0 phases": doc("inputs", 0, "phases", value=0),
    "scale 0": doc("inputs", 0, "scale", value=0),
    "scale -1": doc("inputs", 0, "scale", value=-1.0),
    "scale as text": doc("inputs", 0, "scale", value="1"),
    "scale 1e-320": doc("inputs", 0, "scale", value=1e-320),
    "scale NaN": text(_CODEC, lambda t: t.replace('"scale": 0.5', '"scale": NaN', 1)),
    "scale Infinity": text(_CODEC, lambda t: t.replace('"scale": 0.5', '"scale": Infinity', 1)),
    "scale 1e999": text(_CODEC, lambda t: t.replace('"scale": 0.5', '"scale": 1e999', 1)),
    "low above high": doc("inputs", 0, "low", value=100),
    "high of a million": doc("inputs", 0, "high", value=10**6),
    "high of 2^62": doc("inputs", 0, "high", value=1 << 62),
    "a fold of windows of 0": doc(
        "inputs",
        0,
        "fold",
        value={"kernel": [0, 0], "stride": [0, 0], "padding": [0] * 4, "dilation": [1, 1]},
    ),
    "a fold of endless padding": doc(
        "inputs",
        0,
        "fold",
        value={
            "kernel": [1, 1],
            "stride": [1 << 19, 1 << 19],
            "padding": [1 << 19] * 4,
            "dilation": [1, 1],
        },
    ),
    "a fold of something else": doc("inputs", 0, "fold", value={"a": 1}),
    "a fold as text": doc("inputs", 0, "fold", value="abc"),
    "a fold of an output": doc(
        "outputs",
        0,
        "fold",
        value={"kernel": [1, 1], "stride": [1, 1], "padding": [0] * 4, "dilation": [1, 1]},
    ),
    "no inputs": doc("inputs", value=[]),
    "inputs null": doc("inputs", value=None),
    "inputs as numbers": doc("inputs", value=[1]),
    "two inputs of one name": edited(_CODEC, lambda d: d.update(inputs=d["inputs"] * 2)),
    "no outputs": doc("outputs", value=[]),
    "output of 2^40 values": doc("outputs", 0, "shape", value=[1 << 20, 1 << 20, 1]),
    "layer of 2^40 values": doc("layers", 0, "shape", value=[1 << 20, 1 << 20, 1]),
    "no layers": doc("layers", value=[]),
    "two layers of one name": edited(_CODEC, lambda d: d.update(layers=d["layers"] * 2)),
    "a layer of -1 macs": doc("layers", 0, "macs", value=-1),
    "an EXEC before the first": doc("execs", 0, "index", value=-1),
    "an EXEC behind the last": doc("execs", 0, "index", value=1 << 40),
    "an EXEC that is none": doc("execs", 0, "index", value=0),
    "an EXEC twice": edited(_CODEC, lambda d: d.update(execs=d["execs"][:1] * 2)),
    "an EXEC of step 0": doc("execs", 0, "step", value=[0, 0]),
    "an EXEC at line -5": doc("execs", 0, "y", value=-5),
    "an EXEC of 2^50 rows": doc("execs", 0, "rows", value=1 << 50),
    "an EXEC of no layer": doc("execs", 0, "layer", value="nope"),
    "an EXEC left out": edited(_CODEC, without("execs", 0)),
    "0 images": doc("images", value=0),
    "-1 images": doc("images", value=-1),
    "2^40 images": doc("images", value=1 << 40),
    "images as text": doc("images", value="7"),
    "images as 1.0": doc("images", value=1.0),
    "a host's function": doc("host", "steps", 0, "function", value="os.system"),
    "no results": doc("results", value=[]),
    "a result of no port": doc("results", 0, "port", value="nobody"),
    "a result's name that leaves": doc("results", 0, "name", value="../../x"),
    "two results of one name": edited(_CODEC, lambda d: d.update(results=d["results"] * 2)),
    "a result of other axes": doc("results", 0, "axes", value="batch features"),
    "axes as number": doc("inputs", 0, "axes", value=1),
    "preprocessing of another size": doc("preprocessing", "size", value=[1 << 20, 1 << 20]),
    "preprocessing of size 0": doc("preprocessing", "size", value=[0, 0]),
    "preprocessing of no channel": edited(
        _CODEC, lambda d: d["preprocessing"].update(mean=[], std=[])
    ),
    "preprocessing of 65 channels": edited(
        _CODEC, lambda d: d["preprocessing"].update(mean=[0.5] * 65, std=[0.5] * 65)
    ),
    "preprocessing of another std": doc("preprocessing", "std", value=[1.0] * 9),
    "preprocessing of std 0": edited(
        _CODEC, lambda d: d["preprocessing"].update(std=[0.0] * len(d["preprocessing"]["std"]))
    ),
    "preprocessing resized to 0": doc("preprocessing", "resize", value=0),
    "preprocessing of other colours": doc("preprocessing", "colours", value="GRB"),
    "preprocessing as text": doc("preprocessing", value="imagenet"),
    "a class of control characters": doc("classes", 0, value="cat\x1b[31m"),
    "a class without a name": doc("classes", 0, value=""),
    "a class as number": doc("classes", 0, value=1),
    "65,537 classes": doc("classes", value=["a"] * (CLASSES_MAX + 1)),
    "a host's input of a port": edited(
        _CODEC, lambda d: d["host"]["inputs"][0].update(output=d["results"][0]["port"])
    ),
    "a host's input": doc("host", "inputs", 0, "output", value="../../etc/passwd"),
    "a host's input of another shape": doc("host", "inputs", 0, "shape", value=[1 << 30]),
    "a host's operand": doc("host", "steps", 0, "operands", value=["__import__"]),
    "a host's operand of later": doc("host", "steps", 0, "operands", 0, value="row"),
    "a host's result twice": doc("host", "steps", 1, "results", 0, value="clipped"),
    "a host's option": doc("host", "steps", 0, "options", value={"mode": 1}),
    "a host's option as true": doc("host", "steps", 1, "options", value={"allowzero": True}),
    "a host's option of text": doc("host", "steps", 4, "options", value={"perm": "x"}),
    "a host's axis": doc("host", "steps", 3, "options", value={"axis": 1 << 62}),
    "a host's permutation": doc("host", "steps", 4, "options", value={"perm": [0, 0]}),
    "a host without steps": doc("host", "steps", value=[]),
    "a host of 5,000 steps": edited(
        _CODEC, lambda d: d["host"].update(steps=d["host"]["steps"] * 1_000)
    ),
    "a host's constant left out": edited(_CODEC, without("host", "constants", 0)),
    "a host's result of nothing": doc("host", "results", value=["nope"]),
    "a host's tile of 2^62": with_arrays("program", _tiled),
    "a host's constant of bytes": with_arrays("program", _retyped),
    "a source of control characters": doc("host", "steps", 0, "source", value="a\x1b[31m"),
    "a name that leaves": doc("name", value="../../..x/evil"),
    "a name of two dots": doc("name", value="a..b"),
    "a name of control characters": doc("name", value="evil\x1b[31m"),
    "a name of HTML": doc("name", value="<script>alert(1)</script>"),
    "a name as number": doc("name", value=5),
    "no name": doc("name", value=""),
    "an endless name": doc("name", value="x" * 100_000),
    "an input's name that leaves": doc("inputs", 0, "name", value="../x"),
    "a layer's name that leaves": doc("layers", 0, "name", value="a/../../x"),
    "an accelerator that leaves": doc("config", "name", value="nano-123/../../x"),
    "an accelerator of NUL": doc("config", "name", value="nano\0"),
    "an unknown key": doc("foo", value=1),
    "no memory": edited(_CODEC, without("memory_bytes")),
    "no accelerator": edited(_CODEC, without("config")),
    "an accelerator's unknown key": doc("config", "foo", value=1),
    "an accelerator of 3 pixels": doc("config", "pixels", value=3),
    "an accelerator of 2^80 lanes": doc("config", "oc_lanes", value=1 << 80),
    "an accelerator as text": doc("config", value="x"),
    "an accelerator as list": doc("config", value=[]),
    "an accelerator of 1e400 pixels": text(
        _CODEC, lambda t: t.replace('"pixels": 2', '"pixels": 1e400', 1)
    ),
    "levels of 2^400": doc(
        "config",
        "act_format",
        value={"levels": [0, *(1 << (50 * k) for k in range(1, 8))], "signed": True},
    ),
    "another accelerator": doc("config", "acc_bits", value=25),
    "a digest as number": doc("config_digest", value=5),
    "version [2]": doc("format_version", value=[2]),
    "version 1": doc("format_version", value=1),
    "version true": doc("format_version", value=True),
    "a document of a list": text(_CODEC, lambda t: "[1,2]"),
    "a document of a number": text(_CODEC, lambda t: "5"),
    "a document of null": text(_CODEC, lambda t: "null"),
    "a document of NaN": text(_CODEC, lambda t: "NaN"),
    "a document that is none": text(_CODEC, lambda t: "{bad"),
    "a document of nothing": text(_CODEC, lambda t: ""),
    "a document of 100,000 lists": text(_CODEC, lambda t: "[" * 100_000 + "]" * 100_000),
    "a document of 50,000 objects": text(_CODEC, lambda t: '{"a":' * 50_000 + "1" + "}" * 50_000),
    "a number of 5,000 digits": text(_CODEC, added("memory_bytes", "9" * 5000)),
    "a key twice": text(_CODEC, added("name", '"dup"')),
}
KINDS = (
    Kind(
        "Program",
        "net.sigbit",
        lambda folder, rng: write(folder / "net.sigbit", rng),
        read,
        exact=True,
        codec=_CODEC,
        crafted=_DOCUMENT | _ARRAYS | _CODE,
    ),
)
