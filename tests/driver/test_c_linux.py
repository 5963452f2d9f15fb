"""The C driver's board of Linux, on files in a folder in place of /sys and /dev."""

import ctypes
import hashlib
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from boards.conformance import JOBS, NANO
from boards.fake_registers import ADDRESS
from driver.c_board import SANITIZED, Tools, need
from sigbit_hw.arch import launch, regs
from sigbit_hw.arch.regs import OFFSET
from sigbit_hw.driver.flat import flat_program
from sigbit_hw.driver.sources import driver_sources

MEMORY_BYTES = 64 << 10
PROGRAM = JOBS[0].program
pytestmark = pytest.mark.sim


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The driver as its Makefile builds it, but for the folder."""
    need("make", "cc")
    for name, text in driver_sources().items():
        (tmp_path / name).write_text(text)
    root = f"-DSIGBIT_ROOT='\"{tmp_path}\"'"
    command = ["make", f"CFLAGS={' '.join(SANITIZED)} {root}"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (tmp_path / "net.flat").write_bytes(flat_program(PROGRAM))
    for i, port in enumerate(PROGRAM.inputs):
        np.save(tmp_path / f"{i}.npy", np.zeros((1, *port.shape)))
    return tmp_path


@pytest.fixture
def run(root: Path) -> Callable[..., str]:
    """What ``sigbit-run`` says when it refuses."""

    def call(*options: str) -> str:
        inputs = [root / f"{i}.npy" for i in range(len(PROGRAM.inputs))]
        code, text, errors = Tools(root).run("sigbit-run", *options, root / "net.flat", *inputs)
        assert code in (1, 2)
        assert (text, errors.count("\n")) == ("", 1), errors
        return errors

    return call


def registers(**values: int) -> bytes:
    """A page of registers that do not act."""
    words = np.zeros(1024, "<u4")
    for name, value in (launch.identity(NANO) | values).items():
        words[OFFSET[name] // 4] = value
    return words.tobytes()


def test_from_nothing_to_a_start(root: Path, run: Callable[..., str]) -> None:
    """Whatever is missing is named; at last a start, which these registers refuse."""

    def write(path: str, content: str | bytes) -> None:
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content if isinstance(content, bytes) else content.encode())

    uio, buffer = "sys/class/uio/uio4", "sys/class/u-dma-buf/sigbit"
    assert "UIO device sigbit: there is none of this name" in run()
    write(f"{uio}/name", "sigbit\n")
    write("sys/class/uio/uio0/name", "sigbit\n")
    assert "several have this name" in run()
    write("sys/class/uio/uio0/name", "another\n")
    write(f"{uio}/maps/map0/size", "0x80\n")
    assert "its registers are too few" in run()
    write(f"{uio}/maps/map0/size", "0x1000\n")
    assert "dev/uio4: No such file or directory" in run()
    write("dev/uio4", registers(STATUS=regs.STATUS_BUS_IDLE))
    assert "u-dma-buf sigbit: there is none of this name" in run()
    write(f"{buffer}/phys_addr", f"{ADDRESS:#x}\n")
    write(f"{buffer}/size", f"{MEMORY_BYTES}\n")
    write(f"{buffer}/dma_coherent", "1\n")
    assert "take `dma-coherent` out" in run()
    write(f"{buffer}/dma_coherent", "0\n")
    assert "dev/sigbit: No such file or directory" in run()
    write("dev/sigbit", b"\xa5" * MEMORY_BYTES)
    assert "memory cannot be synchronised for the accelerator: No such file" in run()
    for name in ("offset", "size", "direction", "for_device", "for_cpu"):
        write(f"{buffer}/sync_{name}", "")
    assert "refused to be started: does another program use it?" in run()
    assert "refused to be started" in run("-d", "sigbit,sigbit")
    assert "u-dma-buf none: there is none" in run("-d", "sigbit,none")

    found = np.fromfile(root / "dev/uio4", "<u4")
    wanted = launch.set_up_program(PROGRAM, [ADDRESS]) | {"CONTROL": regs.CONTROL_SOFT_RESET}
    assert {name: int(found[OFFSET[name] // 4]) for name in wanted} == wanted
    memory = PROGRAM.memory()
    for port in PROGRAM.inputs:
        data = port.pack(port.quantize(np.zeros((1, *port.shape)))[0], NANO)
        memory[port.offset : port.offset + data.size] = data
    held = np.fromfile(root / "dev/sigbit", np.uint8)
    np.testing.assert_array_equal(held[: memory.size], memory)
    assert (held[memory.size :] == 0xA5).all()
    last = PROGRAM.inputs[-1]
    synchronised = {
        name: int((root / buffer / f"sync_{name}").read_text())
        for name in ("offset", "size", "direction", "for_device")
    }
    assert synchronised == {
        "offset": last.offset,
        "size": last.bytes(NANO),
        "direction": 1,
        "for_device": 1,
    }


def test_sha256(tmp_path: Path) -> None:
    """The C function, against Python's, around the sizes of a block."""
    need("cc")
    sources = driver_sources()
    for name in ("sha256.c", "sha256.h"):
        (tmp_path / name).write_text(sources[name])
    command = ["cc", "-shared", "-fPIC", "-O1", "sha256.c", "-o", "sha.so"]
    subprocess.run(command, cwd=tmp_path, check=True)
    function = ctypes.CDLL(str(tmp_path / "sha.so")).sigbit_sha256
    function.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_char_p]
    data = np.random.default_rng(0).bytes(300)
    for size in [*range(140), 255, 256, 300]:
        digest = ctypes.create_string_buffer(32)
        function(data[:size], size, digest)
        assert digest.raw == hashlib.sha256(data[:size]).digest(), size
