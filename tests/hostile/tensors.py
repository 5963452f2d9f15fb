"""Arrays and tensors: inputs, weights, and the checkpoints of trainings and simulations."""

import io
import json
import pickle
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

from hostile.containers import header_length, with_header
from hostile.kinds import Kind, Rng
from hostile.models import Canary, repacked
from sigbit import zoo
from sigbit.inputs.arrays import read_arrays
from sigbit.runtime import stored_inputs
from sigbit.training.folder import FORMAT, RunFolder
from sigbit.training.loop import Loop
from sigbit.training.machine import reproducible
from sigbit.training.samples import TensorSamples
from sigbit.training.schedule import Schedule
from sigbit_hw.arch.config import PRESETS
from sigbit_hw.arch.program import Program
from sigbit_sim.random_programs.program import random_inputs, random_program
from sigbit_sim.rtl.checkpoint import Checkpoint, Results
from sigbit_tools.archives import read_npz

Craft = Callable[[bytes], bytes]


@cache
def _program() -> Program:
    return random_program(PRESETS["nano"], np.random.default_rng(7), execs=1)


def _write_npy(folder: Path, rng: Rng) -> None:
    np.save(folder / "x.npy", random_inputs(_program(), rng, 3)["x"])


def _write_npz(folder: Path, rng: Rng) -> None:
    save = np.savez if rng.random() < 0.5 else np.savez_compressed
    save(folder / "x.npz", **random_inputs(_program(), rng, 3))


def _read_inputs(path: Path) -> None:
    stored_inputs(_program(), read_arrays(path))


def npy(shape: object, descr: str = "<i8", *, content: bytes = b"", extra: str = "") -> bytes:
    """An .npy file that claims something."""
    header = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape!r}{extra}}}"
    raw = header.encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + len(raw).to_bytes(2, "little") + raw + content


def _pickled(value: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.array([value], dtype=object), allow_pickle=True)
    return buffer.getvalue()


_NPYS: dict[str, bytes] = {
    "nothing": b"",
    "text": b"1, 2, 3",
    "code in a pickle": _pickled(Canary()),
    "code alone": pickle.dumps(Canary()),
    "2^60 values": npy((1 << 30, 1 << 30), content=bytes(64)),
    "10 GB of values": npy((10 << 30,), "|i1", content=bytes(64)),
    "-1 values": npy((-1,), content=bytes(64)),
    "a shape of text": npy("abc", content=bytes(64)),
    "a shape of floats": npy((2.0,), content=bytes(16)),
    "values of nothing": npy((1 << 60,), "<U0"),
    "records": npy((1,), "i4, i4", content=bytes(8)),
    "objects": npy((1,), "|O", content=bytes(8)),
    "dates": npy((1,), "<M8[s]", content=bytes(8)),
    "an unknown type": npy((1,), "<q99", content=bytes(8)),
    "a type of code": npy((1,), "__import__('os').system('id')", content=bytes(8)),
    "an expression for a shape": b"\x93NUMPY\x01\x00\x40\x00"
    + b"{'descr': '<i8', 'fortran_order': False, 'shape': 9**9**9}".ljust(63)
    + b"\n",
    "an endless header": b"\x93NUMPY\x02\x00" + (1 << 30).to_bytes(4, "little") + b"{" * 100_000,
    "a deep header": b"\x93NUMPY\x02\x00" + (9000).to_bytes(4, "little") + b"(" * 9000,
    "version 9": b"\x93NUMPY\x09\x00" + bytes(100),
    "two arrays": npy((1,), content=bytes(8)) * 2,
}


def _zipped(entries: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def _claimed(data: bytes, size: int) -> bytes:
    """A zip archive that claims another size of what it holds, in both places."""
    field = size.to_bytes(4, "little")
    start, end = data.index(b"PK\x03\x04"), data.index(b"PK\x01\x02")
    data = data[: start + 22] + field + data[start + 26 :]
    return data[: end + 24] + field + data[end + 28 :]


ANY_ZIP: dict[str, Craft] = {
    "nothing": lambda data: b"PK\x03\x04",
    "an empty archive": lambda data: _zipped({}),
    "a bomb of 256 MiB": lambda data: _zipped({"x.npy": bytes(1 << 28)}, zipfile.ZIP_DEFLATED),
    "a path that leaves": repacked(lambda e: e.update({"../../x": b"1"})),
    "an absolute path": repacked(lambda e: e.update({"/x": b"1"})),
    "a path of Windows": repacked(lambda e: e.update({"..\\x": b"1"})),
    "another packing": repacked(lambda e: None, compression=zipfile.ZIP_BZIP2),
    "a lie about a size": lambda data: _claimed(data, 1 << 30),
    "200,000 entries": lambda data: _zipped({str(i): b"" for i in range(200_000)}),
}


def _packed(content: bytes) -> Craft:
    return lambda data: _zipped({"x.npy": content})


_NPZS = ANY_ZIP | {f"{name}, packed": _packed(content) for name, content in _NPYS.items()}


@cache
def _net() -> nn.Module:
    torch.manual_seed(0)
    return zoo.build("resnet8", width=2)


def _write_weights(folder: Path, rng: Rng) -> None:
    save_file(_net().state_dict(), folder / "net.safetensors")


def _write_pth(folder: Path, rng: Rng) -> None:
    tensors = {f"module.{k}": v for k, v in _net().state_dict().items()}
    content = {"state_dict": tensors, "epoch": 3} if rng.random() < 0.5 else tensors
    old = rng.random() < 0.3
    torch.save(content, folder / "net.pth", _use_new_zipfile_serialization=not old)


def _read_weights(path: Path) -> None:
    zoo.load_checkpoint(_net(), path)


def torch_file(change: Callable[[Any], Any]) -> Craft:
    """A file of ``torch.save`` whose content is what ``change`` makes of it."""

    def craft(data: bytes) -> bytes:
        content = torch.load(io.BytesIO(data), weights_only=True)
        result = change(content)
        buffer = io.BytesIO()
        torch.save(content if result is None else result, buffer)
        return buffer.getvalue()

    return craft


def _deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


def _states(content: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = content.get("state_dict", content)
    return found


def _one(value: torch.Tensor) -> Craft:
    """The first tensor of a state as another."""

    def change(content: dict[str, Any]) -> None:
        states = _states(content)
        states[next(iter(states))] = value

    return torch_file(change)


ANY_TORCH: dict[str, Craft] = {
    "nothing": lambda data: b"",
    "text": lambda data: b"not a checkpoint",
    "code": lambda data: pickle.dumps(Canary()),
    "code in an archive": lambda data: _zipped(
        {"archive/data.pkl": pickle.dumps(Canary()), "archive/version": b"3\n"}
    ),
    "a list": torch_file(lambda content: [1, 2]),
    "a number": torch_file(lambda content: 5),
    "200 lists": torch_file(lambda content: {"x": _deep(200)}),
    "bytes": torch_file(lambda content: {"x": bytearray(b"1")}),
    "a set": torch_file(lambda content: {1, 2}),
}

_PTHS = ANY_TORCH | {
    "a tensor of 2^40": _one(torch.zeros(1).expand(1 << 20, 1 << 20)),
    "a sparse tensor": _one(torch.eye(3).to_sparse()),
    "a tensor of nothing": _one(torch.zeros(0)),
    "NaN": _one(torch.full((2, 3, 3, 3), float("nan"))),
    "complex numbers": _one(torch.zeros(2, 3, 3, 3, dtype=torch.complex64)),
    "numbers for weights": torch_file(lambda c: _states(c).update({"x": 1})),
    "a tensor less": torch_file(lambda c: _dropped(_states(c))),
    "a tensor more": torch_file(lambda c: _states(c).update(more=torch.zeros(1))),
    "a name of control characters": torch_file(
        lambda c: _states(c).update({"\x1b[31m": torch.zeros(1)})
    ),
}


def _dropped(states: dict[str, Any]) -> None:
    del states[next(name for name in states if name.endswith("weight"))]


_SAFETENSORS: dict[str, Craft] = {
    "nothing": lambda data: b"",
    "text": lambda data: b"not a safetensors file",
    "code": lambda data: pickle.dumps(Canary()),
    "a header of 2^63": header_length(1 << 63),
    "a header of 0": header_length(0),
    "a tensor of 2^60": with_header(lambda h: h["conv1.weight"].update(shape=[1 << 30, 1 << 30])),
    "a tensor before the data": with_header(
        lambda h: h["conv1.weight"].update(data_offsets=[-8, 208])
    ),
    "a tensor behind the data": with_header(
        lambda h: h["conv1.weight"].update(data_offsets=[1 << 40, (1 << 40) + 216])
    ),
    "a tensor of no type": with_header(lambda h: h["conv1.weight"].update(dtype="X9")),
    "a tensor of 8-bit floats": with_header(
        lambda h: h["conv1.weight"].update(dtype="F8_E4M3", shape=[8, 3, 3, 3])
    ),
    "tensors over each other": with_header(
        lambda h: h["conv1.weight"].update(data_offsets=h["bn1.weight"]["data_offsets"])
    ),
    "a tensor less": with_header(lambda h: h.pop("conv1.weight")),
    "metadata of numbers": with_header(lambda h: h.update(__metadata__={"x": 5})),
}

STEPS = 4


@cache
def _loop() -> Loop:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
    samples = TensorSamples(torch.zeros(8, 1, 2, 2), torch.arange(8) % 3, 3)
    schedule = Schedule(epochs=2, batch_size=4, optimizer="adamw", lr=0.01)
    return Loop(model, samples, schedule)


@cache
def _state() -> dict[str, Any]:
    loop = _loop()
    with reproducible():
        next(iter(loop))
    row = {
        "phase": "float", "epoch": 1, "step": 2, "loss": 0.5, "lr": 0.1, "accuracy": 0.5,
        "seconds": 1.0,
    }  # fmt: skip
    return {
        "phase": "float",
        "loop": loop.state_dict(),
        "total": 0.5,
        "seconds": 1.0,
        "log": [row],
    }


def _write_training(folder: Path, rng: Rng) -> None:
    RunFolder(folder).save(_state())


def _read_training(path: Path) -> None:
    state = RunFolder(path.parent).restore()
    assert state is not None
    _loop().load_state_dict(state["loop"])


def _loop_of(change: Callable[[dict[str, Any]], object]) -> Craft:
    return torch_file(lambda content: (change(content["loop"]), None)[1])


_TRAINING = ANY_TORCH | {
    "another format": torch_file(lambda c: c.update(format=FORMAT + 1)),
    "no phase": torch_file(lambda c: _without(c, "phase")),
    "a phase of a number": torch_file(lambda c: c.update(phase=5)),
    "seconds of NaN": torch_file(lambda c: c.update(seconds=float("nan"))),
    "a log of text": torch_file(lambda c: c.update(log="rows")),
    "a row of other keys": torch_file(lambda c: c.update(log=[{"=cmd()": 1}])),
    "step -1": _loop_of(lambda s: s.update(step=-1)),
    "step 10^9": _loop_of(lambda s: s.update(step=10**9)),
    "step of 0.5": _loop_of(lambda s: s.update(step=0.5)),
    "no model": _loop_of(lambda s: _without(s, "model")),
    "a model of numbers": _loop_of(lambda s: s.update(model=5)),
    "another shape": _loop_of(lambda s: s["model"].update({"1.bias": torch.zeros(4)})),
    "another type": _loop_of(lambda s: s["model"].update({"1.bias": torch.zeros(3).long()})),
    "an optimizer of text": _loop_of(lambda s: s.update(optimizer="sgd")),
    "no groups": _loop_of(lambda s: s["optimizer"].update(param_groups=[])),
    "groups of other parameters": _loop_of(
        lambda s: s["optimizer"]["param_groups"][0].update(params=[1, 0])
    ),
    "a rate of text": _loop_of(lambda s: s["optimizer"]["param_groups"][0].update(lr="fast")),
    "a rate of NaN": _loop_of(lambda s: s["optimizer"]["param_groups"][0].update(lr=float("nan"))),
    "moments of nobody": _loop_of(lambda s: s["optimizer"]["state"].update({99: {}})),
    "moments of another shape": _loop_of(
        lambda s: s["optimizer"]["state"][0].update(exp_avg=torch.zeros(7))
    ),
    "a method of the rate": _loop_of(lambda s: s["rate"].update(step=5)),
    "a generator of nothing": _loop_of(lambda s: s.update(random=torch.zeros(0).byte())),
    "a generator of zeros": _loop_of(lambda s: s.update(random=torch.zeros_like(s["random"]))),
    "a generator of ones": _loop_of(lambda s: s.update(random=torch.full_like(s["random"], 255))),
    "a generator of floats": _loop_of(lambda s: s.update(random=s["random"].float())),
}


def _without(table: dict[str, Any], key: str) -> None:
    del table[key]


def _write_stage(folder: Path, rng: Rng) -> None:
    state = {"bits": {"conv": 4}, "values": _net().state_dict(), "measures": {"x": 0.5}}
    torch.save(state, folder / "stage.pt")


_STAGE = ANY_TORCH | {
    "bits of text": torch_file(lambda c: c.update(bits={"conv": "4"})),
    "bits of 99": torch_file(lambda c: c.update(bits={"conv": 99})),
    "no values": torch_file(lambda c: _without(c, "values")),
}


class _Model:
    """Stands for the simulator: its state is a file of which only it knows the meaning."""

    STATE = bytes(range(256)) * 16

    def save(self, path: Path) -> None:
        path.write_bytes(self.STATE)

    def restore(self, path: Path) -> None:
        assert path.read_bytes() == self.STATE


def _write_simulation(folder: Path, rng: Rng) -> None:
    results = Results(outputs={"y": [rng.integers(0, 9, (1, 2, 3, 3))]}, counters=[{"CYCLES": 7}])
    model: Any = _Model()
    Checkpoint(folder / "run.checkpoint", "key").save(model, results, spent=9)


def _read_simulation(path: Path) -> None:
    model: Any = _Model()
    Checkpoint(path, "key").restore(model)


def _resigned(change: Callable[[dict[str, bytes]], object]) -> Craft:
    """What somebody without the secret can do: anything behind the signature."""
    return lambda data: data[:32] + repacked(change)(data[32:])


_SIMULATION: dict[str, Craft] = {
    "nothing": lambda data: b"",
    "no signature": lambda data: data[32:],
    "a signature of zeros": lambda data: bytes(32) + data[32:],
    "packed again": _resigned(lambda e: None),
    "another state": _resigned(lambda e: e.update(state=b"\xff" * 4096)),
    "another document": _resigned(
        lambda e: e.update({"document.json": json.dumps({"key": "key"}).encode()})
    ),
    "a pickled output": _resigned(lambda e: e.update({"outputs/y.npy": _pickled(Canary())})),
}


def _constant(content: bytes) -> Craft:
    return lambda data: content


KINDS = (
    Kind(
        "inputs, .npy",
        "x.npy",
        _write_npy,
        _read_inputs,
        crafted={name: _constant(content) for name, content in _NPYS.items()},
    ),
    Kind("inputs, .npz", "x.npz", _write_npz, _read_inputs, crafted=_NPZS),
    Kind(
        "arrays, .npz",
        "x.npz",
        _write_npz,
        lambda path: read_npz(path, "x"),
        crafted=ANY_ZIP,
    ),
    Kind(
        "weights, safetensors",
        "net.safetensors",
        _write_weights,
        _read_weights,
        crafted=_SAFETENSORS,
    ),
    Kind("weights, PyTorch", "net.pth", _write_pth, _read_weights, crafted=_PTHS),
    Kind(
        "training checkpoint", "checkpoint.pt", _write_training, _read_training, crafted=_TRAINING
    ),
    Kind(
        "training stage",
        "stage.pt",
        _write_stage,
        lambda path: RunFolder(path.parent).restore_stage(),
        crafted=_STAGE,
    ),
    Kind(
        "simulation checkpoint",
        "run.checkpoint",
        _write_simulation,
        _read_simulation,
        exact=True,
        crafted=_SIMULATION,
    ),
)
