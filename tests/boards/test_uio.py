"""A board that runs Linux, on a fake of the kernel's files."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from boards.conformance import JOBS, NANO, PROGRAMS, STATEFUL, Conformance
from boards.fake_kernel import MEMORY_BYTES, NAME, FakeKernel
from boards.fake_registers import ADDRESS, COUNTS, InterpAccelerator, RtlAccelerator
from sigbit.runtime import BoardError, Device, DeviceError
from sigbit.runtime.device import port_parts
from sigbit_boards.host.linux.connect import linux_device
from sigbit_boards.host.linux.kernel import Kernel
from sigbit_boards.host.linux.uio import Uio
from sigbit_hw.arch.program import ProgramError
from sigbit_hw.arch.regs import OFFSET
from sigbit_hw.arch.scrub import scrub_program
from sigbit_sim.interp.device import Interp
from sigbit_sim.random_programs.program import random_inputs, random_program

KNOWN = [*PROGRAMS, *STATEFUL, scrub_program(NANO)]


@pytest.fixture
def kernel(tmp_path) -> Iterator[FakeKernel]:
    def make(memory: np.ndarray) -> InterpAccelerator:
        return InterpAccelerator(NANO, KNOWN, memory)

    with FakeKernel(tmp_path, make).running() as running:
        yield running


class TestUio(Conformance):
    """Every provider of memory, on an accelerator whose start is the interpreter."""

    @pytest.fixture(params=["u-dma-buf", "xrt", "reserved"])
    def device(self, kernel: FakeKernel, request) -> Device:
        names = {"u-dma-buf": lambda: NAME, "xrt": kernel.xrt, "reserved": kernel.reserved}
        return linux_device(names[request.param](), NANO, kernel)

    def test_counters(self, device: Device) -> None:
        counters = device.run(JOBS[0].program, JOBS[0].inputs).counters
        assert [{name: found[name] for name in COUNTS} for found in counters] == [COUNTS] * 2


@pytest.fixture(scope="module")
def rtl(tmp_path_factory) -> Iterator[Device]:
    def make(memory: np.ndarray) -> RtlAccelerator:
        return RtlAccelerator(NANO, memory)

    with FakeKernel(tmp_path_factory.mktemp("root"), make).running() as kernel:
        yield linux_device(NAME, NANO, kernel)


@pytest.mark.sim
@pytest.mark.slow
class TestUioRtl(Conformance):
    """The accelerator's Verilog behind the kernel's files."""

    @pytest.fixture
    def device(self, rtl: Device) -> Device:
        return rtl


@pytest.mark.parametrize("memory", ["u-dma-buf", "xrt"])
def test_exactly_what_was_touched_is_synchronised(kernel: FakeKernel, memory: str) -> None:
    job = JOBS[0]
    device = linux_device(kernel.xrt() if memory == "xrt" else NAME, NANO, kernel)
    job.right(device)
    program = job.program
    first, *frames = kernel.synchronised
    assert first == ("sync_for_device", 0, program.memory_bytes)
    wanted = [
        (act, part.start, part.stop - part.start)
        for act, ports in (("sync_for_device", program.inputs), ("sync_for_cpu", program.outputs))
        for port in ports
        for part in port_parts(program, port)
    ]
    assert set(frames) == set(wanted)
    assert frames[: len(program.inputs)] == wanted[: len(program.inputs)]
    kernel.synchronised.clear()
    job.right(device)  # the Program stays
    assert set(kernel.synchronised) == set(wanted)


@pytest.mark.parametrize("forgotten", ["sync_for_device", "sync_for_cpu"])
def test_what_is_not_synchronised_is_stale(kernel: FakeKernel, forgotten: str) -> None:
    """The fake tells a driver that forgets from one that does not."""
    put = kernel.put
    kernel.put = lambda path, value: None if path.endswith(forgotten) else put(path, value)
    with pytest.raises((AssertionError, ValueError, DeviceError)):
        JOBS[0].right(linux_device(NAME, NANO, kernel))


def test_several_ports_above_4_gib(tmp_path) -> None:
    config = replace(NANO, name="nano2", oc_lanes=8, bus_bits=128, ports=2)
    rng = np.random.default_rng(2)
    programs = [random_program(config, rng, execs=2) for _ in range(2)]
    bases = []

    class Spy(InterpAccelerator):
        def _run(self) -> None:
            bases.append(
                [self.values[f"MEM_BASE{p}_{end}"] for p in (0, 1) for end in ("LO", "HI")]
            )
            super()._run()

    with FakeKernel(tmp_path, lambda memory: Spy(config, programs, memory)).running() as kernel:
        device = linux_device(NAME, config, kernel)
        for program in programs * 2:
            inputs = random_inputs(program, rng, 2)
            found = device.run(program, inputs).outputs
            for name, values in Interp(config).run(program, inputs).outputs.items():
                np.testing.assert_array_equal(found[name], values)
    low, high = ADDRESS & 0xFFFFFFFF, ADDRESS >> 32
    assert bases[0] == [low, high, low + MEMORY_BYTES // 2, high]
    assert all(first % 4096 == 0 for first, *_ in bases)


def test_a_program_larger_than_memory(kernel: FakeKernel) -> None:
    device = linux_device(NAME, NANO, kernel)
    large = replace(JOBS[0].program, memory_bytes=MEMORY_BYTES + 64)
    with pytest.raises(ProgramError, match=r"needs 65,600 bytes .* the board has 65,536"):
        device.run(large, JOBS[0].inputs)
    JOBS[0].right(device)


def test_the_bitstream_is_unloaded_and_loaded_again(kernel: FakeKernel) -> None:
    device = linux_device(NAME, NANO, kernel)
    JOBS[0].right(device)
    device.close()
    kernel.there = False
    with pytest.raises(BoardError, match=r"uio3\.gone: there is no such file: is the device-tree"):
        JOBS[0].right(device)
    kernel.there = True
    JOBS[1].right(device)


def test_one_program_at_a_time(kernel: FakeKernel) -> None:
    first, second = (linux_device(NAME, NANO, kernel) for _ in range(2))
    JOBS[0].right(first)
    with pytest.raises(BoardError, match="another program uses it"):
        JOBS[0].right(second)
    first.close()
    JOBS[0].right(second)


def test_another_accelerator(kernel: FakeKernel) -> None:
    kernel.accelerator.values["DIGEST_HI"] = 1
    with pytest.raises(ProgramError, match=r"is not nano, .* its DIGEST_HI is 0x00000001"):
        JOBS[0].right(linux_device(NAME, NANO, kernel))
    assert not kernel.accelerator.starts


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("none", "no UIO device is called none; there are: another, sigbit"),
        (f"{NAME},u-dma-buf=none", "no u-dma-buf is called none; there are: sigbit"),
        (f"{NAME},xrt=0x1000", "there is no module pyxrt here"),
        (f"{NAME},reserved=0x1000+0x1000", "dev/mem: there is no such file"),
    ],
)
def test_what_is_not_there(kernel: FakeKernel, name: str, message: str) -> None:
    for _ in range(2):  # nothing stays open
        with pytest.raises(BoardError, match=message):
            JOBS[0].right(linux_device(name, NANO, kernel))
    JOBS[0].right(linux_device(NAME, NANO, kernel))


def test_xrt_has_not_so_much(kernel: FakeKernel) -> None:
    kernel.xrt()
    with pytest.raises(BoardError, match=r"XRT cannot allocate 1,048,576 bytes \(failed"):
        JOBS[0].right(linux_device(f"{NAME},xrt=0x100000", NANO, kernel))


@pytest.mark.parametrize(
    ("attribute", "value", "message"),
    [
        ("u-dma-buf/sigbit/dma_coherent", "1", "take `dma-coherent` out of the device tree"),
        ("u-dma-buf/sigbit/size", "much", "size must hold a number, not 'much'"),
        ("uio/uio3/maps/map0/size", "0x80", "its registers have 128 bytes, an accelerator's 256"),
        ("uio/uio0/name", NAME, "several UIO devices are called sigbit"),
    ],
)
def test_a_device_tree_that_is_wrong(kernel: FakeKernel, attribute, value, message) -> None:
    (kernel.root / "sys/class" / attribute).write_text(value)
    with pytest.raises(BoardError, match=message):
        JOBS[0].right(linux_device(NAME, NANO, kernel))


@pytest.mark.parametrize(
    "name",
    ["a,", "a,cma=0x1000", "a,u-dma-buf=", "a,u-dma-buf=../b", "a,xrt=5", "a,reserved=4096"],
)
def test_names_of_another_form(name: str) -> None:
    with pytest.raises(ValueError, match=r"a Linux device is NAME, |must be a multiple of 4096"):
        linux_device(name, NANO)


def test_registers_are_words_of_the_mapped_file(tmp_path) -> None:
    """What the fake replaces: the mapping, at an offset that is no page."""
    for folder, values in {
        "sys/class/uio/uio0": {"name": "n"},
        "sys/class/uio/uio0/maps/map0": {"size": "0x100", "offset": "0x40"},
    }.items():
        (tmp_path / folder).mkdir(parents=True)
        for name, value in values.items():
            (tmp_path / folder / name).write_text(value)
    (tmp_path / "dev").mkdir()
    file = tmp_path / "dev/uio0"
    file.write_bytes(bytes(range(64)) + bytes(4096))
    uio = Uio(Kernel(tmp_path), "n")
    uio.write(OFFSET["MEM_SIZE"], 0x87654321)
    assert uio.read(OFFSET["MEM_SIZE"]) == 0x87654321
    uio.close()
    wanted = bytearray(bytes(range(64)) + bytes(4096))
    at = 64 + OFFSET["MEM_SIZE"]
    wanted[at : at + 4] = bytes.fromhex("21436587")
    assert file.read_bytes() == bytes(wanted)
