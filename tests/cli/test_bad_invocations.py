"""Mistakes that users make: every answer is one line and exit code 2, without a traceback, without
a file half written, and without a device node replaced."""

import os
import stat
import threading
from pathlib import Path

import numpy as np
import pytest

from sigbit.cli.invocation import invoke

NETS = """
import numpy as np
from torch import nn
from sigbit.compiler.random_graph import random_graph
from sigbit_hw.arch.config import PRESETS
graph = random_graph(np.random.default_rng(3), PRESETS["nano"], layers=2)
net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(32, 3))
vector = nn.Sequential(nn.Linear(4, 3))
number = 7
def broken():
    raise ValueError("no network today")
"""


@pytest.fixture
def folder(program, tmp_path, monkeypatch) -> Path:
    """A folder of networks and arrays, most of them wrong."""
    import onnx
    from onnx import TensorProto, helper
    from PIL import Image

    monkeypatch.chdir(tmp_path)
    program.save("tiny.sigbit")
    Path("nets.py").write_text(NETS)
    Path("syntax.py").write_text("net = (\n")
    rng = np.random.default_rng(0)
    x = rng.standard_normal((24, 1, 6, 6)).astype(np.float32)
    np.save("x.npy", x)
    np.save("small.npy", x[:, :, :5])
    np.save("nan.npy", np.full_like(x, np.nan))
    np.save("tiny.npy", np.zeros((1, 4, 4, 4)))
    np.savez("y.npz", x=x, y=rng.integers(0, 3, 24))
    np.savez("outside.npz", x=x, y=rng.integers(0, 4, 24) + 1)
    np.savez("real.npz", x=x, y=rng.random(24))
    np.savez("uneven.npz", x=x, y=np.zeros(3, np.int64))
    np.savez("names.npz", a=x, b=x)
    side = [helper.make_tensor_value_info(n, TensorProto.FLOAT, (1, 1, 6, 6)) for n in "xy"]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "n", side[:1], side[1:])
    content = helper.make_model(graph).SerializeToString()
    onnx.save(helper.make_model(graph), "net.onnx")
    Path("empty.onnx").touch()
    Path("cut.onnx").write_bytes(content[:-3])
    Path("noise.onnx").write_bytes(rng.bytes(200))
    Path("folder.onnx").mkdir()
    Path("empty.pt2").touch()
    Path("noise.pt2").write_bytes(rng.bytes(200))
    Path("noise.sigbit").write_bytes(rng.bytes(200))
    Path("empty.sigbit").touch()
    Path("noise.sbm").write_bytes(rng.bytes(200))
    Path("noise.npy").write_bytes(rng.bytes(200))
    Path("noise.json").write_text("{")
    Path("labels.txt").touch()
    Path("noise.png").write_bytes(rng.bytes(200))
    Image.fromarray(np.zeros((4, 4), np.uint8)).save("grey.png")
    Path("dir").mkdir()
    return tmp_path


Q = ("quantize", "nets.py:net", "--input", "1x6x6", "--arch", "nano")
WRONG: list[tuple[str, ...]] = [
    ("check", "none.onnx"),
    ("check", "empty.onnx"),
    ("check", "cut.onnx"),
    ("check", "noise.onnx"),
    ("check", "folder.onnx"),
    ("check", "empty.pt2"),
    ("check", "noise.pt2"),
    ("check", "none.pt2"),
    ("check", "noise.sbm"),
    ("check", "/dev/null"),
    ("check", "resnet"),
    ("check", "zoo:resnet"),
    ("check", "digits"),
    ("check", "nets.py"),
    ("check", "nets.py:none"),
    ("check", "nets.py:number", "--input", "1x6x6"),
    ("check", "nets.py:broken", "--input", "1x6x6"),
    ("check", "syntax.py:net", "--input", "1x6x6"),
    ("check", "none.py:net", "--input", "1x6x6"),
    ("check", "nets.py:net"),
    ("check", "nets.py:net", "--input", "0x6x6"),
    ("check", "nets.py:net", "--input", "6"),
    ("check", "nets.py:net", "--input", "axb"),
    ("check", "nets.py:net", "--input", "1x1x1x1x1"),
    ("check", "nets.py:net", "--input", "1x20000x20000"),
    ("check", "nets.py:net", "--input", "1x6x6", "--input", "1x6x6"),
    ("check", "net.onnx", "--input", "1x6x6"),
    ("check", "net.onnx", "--input", "z=1x6x6"),
    ("check", "net.onnx", "--input", "x=1x6x5"),
    ("check", "net.onnx", "--input", "x=1x6x6", "--input", "x=1x6x6"),
    ("check", "net.onnx", "--checkpoint", "x.npy"),
    ("check", "zoo:digits", "--input", "1x6x6"),
    ("check", "zoo:digits", "--arch", "giant"),
    ("check", "zoo:digits", "--arch", "noise.json"),
    ("check", "zoo:digits", "--arch", "none.json"),
    ("check", "zoo:digits", "--json", "none/c.json"),
    ("check", "zoo:digits", "--json", "dir"),
    ("check", "zoo:digits", "--json", "/dev/full"),
    ("check", "zoo:digits", "--report", "none/c.html"),
    ("check", "zoo:digits", "--report", "dir"),
    ("check", "zoo:digits", "--report", "/dev/full"),
    (*Q, "--calibrate", "none.npy", "-o", "n.sigbit"),
    (*Q, "--calibrate", "noise.npy", "-o", "n.sigbit"),
    (*Q, "--calibrate", "small.npy", "-o", "n.sigbit"),
    (*Q, "--calibrate", "nan.npy", "-o", "n.sigbit"),
    (*Q, "--calibrate", "names.npz", "-o", "n.sigbit"),
    (*Q, "--calibrate", "uneven.npz", "-o", "n.sigbit"),
    (*Q, "--calibrate", "outside.npz", "-o", "n.sigbit"),
    (*Q, "--calibrate", "real.npz", "-o", "n.sigbit"),
    (*Q, "--calibrate", "nowhere", "-o", "n.sigbit"),
    (*Q, "--calibrate", "x.npy", "-o", "n.exe"),
    (*Q, "--calibrate", "x.npy", "-o", "dir"),
    (*Q, "--calibrate", "x.npy", "-o", "none/n.sigbit"),
    (*Q, "--calibrate", "x.npy", "-o", "n.sigbit", "--report", "none/n.html"),
    (*Q, "--calibrate", "x.npy", "-o", "n.sigbit", "--mean", "0.5,0.5,0.5,0.5,0.5"),
    (*Q, "--calibrate", "x.npy", "-o", "n.sigbit", "--std", "0"),
    (*Q, "--calibrate", "x.npy", "-o", "n.sigbit", "--resize", "9"),
    (*Q, "--calibrate", "x.npy", "-o", "n.sigbit", "--mean", "0", "--resize", "1"),
    (*Q, "--calibrate", "x.npy", "-o", "n.sigbit", "--mean", "0", "--colours", "BGR"),
    (*Q, "--calibrate", "x.npy", "-o", "n.sigbit", "--labels", "labels.txt"),
    (*Q, "--calibrate", "digits", "-o", "n.sigbit"),
    (*Q, "--calibrate", "x.npy", "-o", "n.sigbit", "--weights", "int99"),
    (*Q, "--calibrate", "x.npy", "-o", "n.sigbit", "--budget", "luts=many"),
    ("compile", "none.sbm", "-o", "n.sigbit"),
    ("compile", "noise.sbm", "-o", "n.sigbit"),
    ("compile", "zoo:digits", "-o", "n.sigbit"),
    ("compile", "nets.py:graph", "--arch", "nano", "-o", "n.sigbit", "--images", "100000"),
    ("compile", "nets.py:net", "-o", "n.sigbit"),
    ("compile", "nets.py:graph", "--arch", "nano", "-o", "/dev/full"),
    ("run", "none.sigbit", "tiny.npy"),
    ("run", "empty.sigbit", "tiny.npy"),
    ("run", "noise.sigbit", "tiny.npy"),
    ("run", "net.onnx", "tiny.npy"),
    ("run", "tiny.sigbit", "none.npy"),
    ("run", "tiny.sigbit", "x.npy"),
    ("run", "tiny.sigbit", "noise.npy"),
    ("run", "tiny.sigbit", "noise.png", "--mean", "0.5", "--std", "0.5"),
    ("run", "tiny.sigbit", "grey.png"),
    ("run", "tiny.sigbit", "grey.png", "--mean", "0.1,0.2"),
    ("run", "tiny.sigbit", "grey.png", "--std", "0"),
    ("run", "tiny.sigbit", "grey.png", "--mean", "grey"),
    ("run", "tiny.sigbit", "tiny.npy", "--mean", "0.5"),
    ("run", "tiny.sigbit", "tiny.npy", "--stored"),
    ("run", "tiny.sigbit", "grey.png", "--stored"),
    ("run", "tiny.sigbit", "tiny.npy", "tiny.npy"),
    ("run", "tiny.sigbit", "tiny.npy", "--labels", "none.txt"),
    ("run", "tiny.sigbit", "tiny.npy", "--labels", "labels.txt"),
    ("run", "tiny.sigbit", "tiny.npy", "-o", "/dev/full"),
    ("run", "tiny.sigbit", "tiny.npy", "-o", "none/y.npy"),
    ("run", "tiny.sigbit", "tiny.npy", "--layers", "x.npy"),
    ("run", "tiny.sigbit", "tiny.npy", "--report", "dir"),
    ("inspect", "none.sigbit"),
    ("inspect", "noise.sigbit"),
    ("inspect", "tiny.sigbit", "--report", "none/i.html"),
    ("export", "nets.py:net", "--qonnx", "n.onnx"),
    ("export", "nets.py:graph"),
    ("export", "nets.py:graph", "--qonnx", "none/n.onnx"),
    ("export", "nets.py:graph", "--qonnx", "/dev/full"),
]


@pytest.mark.parametrize("arguments", WRONG, ids=" ".join)
def test_one_line(sigbit, folder: Path, arguments: tuple[str, ...]) -> None:
    before = sorted(folder.rglob("*"))
    full = os.stat("/dev/full")
    answer = sigbit(*arguments)
    assert answer.code == 2, answer
    assert answer.err.startswith("error: ")
    assert answer.err.count("\n") == 1, answer.err
    assert not answer.out or "/dev/full" in arguments  # which is found full in the end
    left = [p for p in folder.rglob("*") if "__pycache__" not in p.parts]
    assert sorted(left) == before
    assert os.stat("/dev/full") == full


def test_there_are_enough() -> None:
    assert len(set(WRONG)) >= 60


@pytest.mark.parametrize(
    "arguments",
    [
        ("compile", "nets.py:graph", "--arch", "nano", "-o"),
        ("run", "tiny.sigbit", "tiny.npy", "-o"),
        ("export", "nets.py:graph", "--qonnx"),
        ("check", "nets.py:net", "--input", "1x6x6", "--json"),
        ("check", "nets.py:net", "--input", "1x6x6", "--report"),
    ],
    ids=lambda a: f"{a[0]} {a[-1]}",
)
def test_standard_output(folder: Path, capfdbinary, arguments: tuple[str, ...]) -> None:
    """``-`` is standard output, on which nothing else is then written; it has what a file has."""
    assert invoke([*arguments, "whole"]) == 0
    capfdbinary.readouterr()
    assert invoke([*arguments, "-"]) == 0
    out = capfdbinary.readouterr().out
    assert not Path("-").exists()
    written = Path("whole").read_bytes()
    if arguments[0] == "check":
        assert out.startswith(b"{" if arguments[-1] == "--json" else b"<!doctype html>")
        assert out.count(b"\n") == written.count(b"\n")
    else:
        assert out == written


def test_links_and_pipes_are_written_through(sigbit, folder: Path) -> None:
    Path("link.npy").symlink_to("dir/there.npy")
    assert sigbit("run", "tiny.sigbit", "tiny.npy", "-o", "link.npy").code == 0
    assert Path("link.npy").is_symlink()
    os.mkfifo("pipe.npy")
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(Path("pipe.npy").read_bytes()))
    reader.start()
    assert sigbit("run", "tiny.sigbit", "tiny.npy", "-o", "pipe.npy").code == 0
    reader.join()
    assert read == [Path("dir/there.npy").read_bytes()]
    assert stat.S_ISFIFO(os.stat("pipe.npy").st_mode)
    assert sigbit("run", "tiny.sigbit", "tiny.npy", "-o", "/dev/null").code == 0
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
