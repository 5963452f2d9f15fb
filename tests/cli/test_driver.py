"""``sigbit driver``, and UIO devices by name."""

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest

from boards.fake_kernel import FakeKernel
from boards.fake_registers import InterpAccelerator
from sigbit.errors import UserError
from sigbit.flows import device_list, devices
from sigbit_boards.host.linux import connect, kernel
from sigbit_hw.arch.program import Program
from sigbit_hw.driver.flat import flat_program


@pytest.mark.sim
def test_sources_compile_and_the_program_is_there(sigbit, program_file, tmp_path: Path) -> None:
    folder = tmp_path / "new/driver"
    answer = sigbit("driver", program_file, "-o", folder, "--json", tmp_path / "d.json")
    assert answer.code == 0, answer
    program = Program.load(program_file)
    flat = folder / f"{program.name}.flat"
    assert flat.read_bytes() == flat_program(program)
    assert "sigbit-run" in answer.out
    facts = json.loads((tmp_path / "d.json").read_text())
    assert facts["programs"] == {flat.name: flat.stat().st_size}
    assert {path.name for path in folder.iterdir()} == {*facts["sources"], flat.name}
    done = subprocess.run(["make"], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    run = subprocess.run([folder / "sigbit-run"], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stderr[:16]) == (2, "use: sigbit-run ")


def test_without_programs(sigbit, tmp_path: Path) -> None:
    assert sigbit("driver", "-o", tmp_path / "d").code == 0
    assert "Makefile" in {path.name for path in (tmp_path / "d").iterdir()}


def test_what_cannot_be_written_is_refused(refused, program_file, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "cannot make the folder" in refused("driver", "-o", tmp_path / "file")
    assert "no such file" in refused("driver", tmp_path / "no.sigbit", "-o", tmp_path / "d")
    assert "two Programs are called" in refused(
        "driver", program_file, program_file, "-o", tmp_path / "d"
    )
    assert not (tmp_path / "d").exists()


def test_uio_devices_by_name() -> None:
    assert str(devices.device_name("uio:sigbit,xrt=0x1000")) == "uio:sigbit,xrt=0x1000"
    assert devices.device("uio:sigbit", "nano").name == "uio:sigbit"
    with pytest.raises(UserError, match="name the UIO device, such as uio:sigbit"):
        devices.device_name("uio:")
    with pytest.raises(UserError, match=r"device uio:a,b: a Linux device is NAME, "):
        devices.device("uio:a,b", "nano")


def test_a_program_on_a_uio_device_is_compared(
    sigbit, program, program_file, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a fake of the kernel's files."""
    rng = np.random.default_rng(0)
    np.save(tmp_path / "x.npy", rng.integers(-7, 8, (3, *program.inputs[0].shape)))
    (tmp_path / "root").mkdir()

    def make(memory: np.ndarray) -> InterpAccelerator:
        return InterpAccelerator(program.config, [program], memory)

    with FakeKernel(tmp_path / "root", make).running() as kernel:
        monkeypatch.setattr(connect, "Kernel", lambda: kernel)
        answer = sigbit(
            "run", program_file, tmp_path / "x.npy", "--device", "uio:sigbit", "--check",
            "--json", tmp_path / "r.json",
        )  # fmt: skip
    assert answer.code == 0, answer
    found = json.loads((tmp_path / "r.json").read_text())
    assert (found["device"], found["images"], found["mismatches"]) == ("uio:sigbit", 3, 0)
    assert kernel.accelerator.starts == 3


def test_a_uio_device_that_is_not_there(refused, sigbit, program_file, tmp_path: Path) -> None:
    program = Program.load(program_file)
    (port,) = program.inputs
    np.save(tmp_path / "x.npy", np.zeros((1, *port.own_shape)))
    answer = sigbit("run", program_file, tmp_path / "x.npy", "--device", "uio:none")
    assert answer.code != 0
    assert "no UIO device is called none" in answer.err
    assert "Traceback" not in answer.err


def test_uio_devices_are_listed(sigbit, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    node = tmp_path / "sys/class/uio/uio7"
    node.mkdir(parents=True)
    (node / "name").write_text("sigbit\n")
    real = kernel.Kernel
    monkeypatch.setattr(kernel, "Kernel", lambda: real(tmp_path))
    names = [each.device for each in device_list.device_list().devices]
    assert names[3] == "uio:sigbit"
