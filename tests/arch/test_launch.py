"""The registers that start a run, and those that tell which accelerator answers."""

from dataclasses import replace

import numpy as np
import pytest

from sigbit_hw.arch import bus, isa, launch, regs
from sigbit_hw.arch.config import PRESETS, ArchConfig
from sigbit_hw.arch.formats import LevelFormat
from sigbit_hw.arch.program import Program

NANO = PRESETS["nano"]


def program(**changes: object) -> Program:
    plain = Program(
        name="p",
        config=NANO,
        instructions=isa.pack([isa.Fill(n0=4), isa.Halt()]),
        image=np.zeros(0, np.uint8),
        image_offset=0,
        program_offset=128,
        memory_bytes=4096,
        write_window=(1024, 2048),
        inputs=(),
        outputs=(),
        layers=(),
        execs=(),
    )
    return replace(plain, **changes)


def test_every_register_of_a_program_is_written_once() -> None:
    """All that software owns, but for the bases of absent ports; the start comes after them."""
    values = launch.set_up_program(program(), [0x12_4000_0000], watchdog=77)
    assert next(iter(values)) == "IRQ_STATUS"
    assert values == {
        "IRQ_STATUS": regs.IRQ_DONE | regs.IRQ_ERROR | regs.IRQ_REFUSED,
        "MEM_BASE0_LO": 0x4000_0000,
        "MEM_BASE0_HI": 0x12,
        "MEM_SIZE": 4096,
        "WRITE_LO": 1024,
        "WRITE_HI": 2048,
        "PROGRAM_OFFSET": 128,
        "PROGRAM_COUNT": 2,
        "WATCHDOG": 77,
        "CYCLE_LIMIT_LO": 0,
        "CYCLE_LIMIT_HI": 0,
        "BUS_ATTRIBUTES": 3,
        "IRQ_ENABLE": regs.IRQ_DONE | regs.IRQ_ERROR | regs.IRQ_REFUSED,
    }
    owned = {r.name for r in regs.REGISTERS if r.access in regs.OWNED}
    absent = {n for port in range(1, regs.PORTS_MAX) for n in regs.base_names(port)}
    assert set(values) == (owned - absent) | {"IRQ_STATUS"}
    assert launch.START == {"CONTROL": regs.CONTROL_START}


def test_defaults_are_those_of_the_reset() -> None:
    values = launch.set_up_program(program(), [0])
    assert {name: values[name] for name in regs.RW_RESET} == dict(regs.RW_RESET)


def test_limit_and_attributes() -> None:
    attributes = bus.Attributes(cache=15, prot=2, qos=9)
    values = launch.set_up_program(program(), [0], cycle_limit=(3 << 32) + 5, attributes=attributes)
    assert (values["CYCLE_LIMIT_HI"], values["CYCLE_LIMIT_LO"]) == (3, 5)
    assert values["BUS_ATTRIBUTES"] == 0x92F
    for wrong in ({"cache": 16}, {"prot": -1}, {"prot": 8}, {"qos": 16}):
        (name,) = wrong
        with pytest.raises(ValueError, match=f"{name} must be in "):
            bus.Attributes(**wrong)


@pytest.mark.parametrize("config", PRESETS.values(), ids=lambda c: c.name)
def test_capabilities_are_the_parameters(config: ArchConfig) -> None:
    """Every number of the ArchConfig has a register; formats say how to pack a code."""
    values = launch.capabilities(config)
    plain = config.to_json()
    numbers = {name for name, value in plain.items() if type(value) is int}
    assert {name: values[name.upper()] for name in numbers} == {n: plain[n] for n in numbers}
    assert values["WEIGHT_FORMAT"] == 4 | 1 << 8 | 1 << 16
    assert values["ACT_FORMAT"] == 4 | 2 << 8 | 1 << 16
    assert set(values) == {n.upper() for n in numbers} | {"WEIGHT_FORMAT", "ACT_FORMAT"}
    assert all(0 <= v <= regs.WORD_MAX for v in values.values())


def test_capabilities_of_a_level_table() -> None:
    form = LevelFormat((0, 1, 2, 3, 5, 8, 13, 21), signed=True)
    values = launch.capabilities(replace(NANO, weight_format=form, act_format=form))
    assert values["ACT_FORMAT"] == values["WEIGHT_FORMAT"] == form.bits | 1 << 16 | 1 << 17


@pytest.mark.parametrize("config", PRESETS.values(), ids=lambda c: c.name)
def test_an_accelerator_is_known_from_its_registers(config: ArchConfig) -> None:
    values = launch.identity(config) | launch.capabilities(config)
    found = launch.discover(values.__getitem__)
    assert replace(found, name=config.name, ultra_ram=config.ultra_ram) == config
    assert found.digest == config.digest


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"MAGIC": 0}, "no accelerator that this release knows: MAGIC is 0x0"),
        ({"VERSION": 2}, "VERSION is 0x2"),
        ({"TABLES": 4}, "that of its parameters"),
        ({"PIXELS": 3}, "pixels must be a power of two, not 3"),
        ({"ACT_FORMAT": 4 | 3 << 16}, "tables of levels, which no register holds"),
    ],
)
def test_what_is_no_accelerator_is_refused(changes: dict[str, int], message: str) -> None:
    values = launch.identity(NANO) | launch.capabilities(NANO) | changes
    with pytest.raises(ValueError, match=message):
        launch.discover(values.__getitem__)


def test_counters_that_have_wrapped_are_left_out() -> None:
    names = [name for name, _ in regs.COUNTERS]
    values = {name: 10 + i for i, name in enumerate(names)} | {"CYCLES_HI": 2, "OVERFLOW": 4 | 256}
    found = launch.counters(values.__getitem__)
    assert found["CYCLES"] == (2 << 32) + 10
    assert set(found) == set(names) - {names[2], names[8]}
    assert all(found[name] == values[name] for name in set(found) - {"CYCLES"})


def test_every_port_has_a_base() -> None:
    config = replace(NANO, name="two", oc_lanes=8, bus_bits=128, ports=2)
    values = launch.set_up_program(program(config=config), [0x1000, 0xFF_FFFF_F000])
    assert [values[n] for port in (0, 1) for n in regs.base_names(port)] == [
        0x1000,
        0,
        0xFFFF_F000,
        0xFF,
    ]
    with pytest.raises(ValueError, match="two has 2 ports: give as many bases, not 1"):
        launch.set_up_program(program(config=config), [0])


@pytest.mark.parametrize("base", [64, 0x1800, 1 << 40, -4096])
def test_bases_that_no_port_can_have_are_refused(base: int) -> None:
    with pytest.raises(ValueError, match=r"the base of port 1 must be a multiple of 4096 below"):
        launch.set_up(
            [0, base],
            memory_bytes=64,
            write_window=(0, 64),
            program_offset=0,
            instructions=1,
        )


@pytest.mark.parametrize("ports", [1, 2, 4])
def test_windows_that_no_port_can_address_are_refused(ports: int) -> None:
    def base_of_last(base: int) -> int:
        bases = [*range(0, (ports - 1) << 16, 1 << 16), base]
        low, high = regs.base_names(ports - 1)
        values = launch.set_up(
            bases,
            memory_bytes=0x2000 * ports,
            write_window=(0, 64),
            program_offset=0,
            instructions=1,
        )
        return values[high] << 32 | values[low]

    last = (1 << 40) - 0x2000
    assert base_of_last(last) == last
    with pytest.raises(ValueError, match=f"do not fit .*: give port {ports - 1} a lower base"):
        base_of_last(last + 0x1000)


def test_registers_hold_what_is_used() -> None:
    masks = {r.name: r.mask for r in regs.REGISTERS}
    for port in range(regs.PORTS_MAX):
        low, high = regs.base_names(port)
        assert masks[high] << 32 | masks[low] == (1 << 40) - 4096
    assert masks["IRQ_ENABLE"] == masks["IRQ_STATUS"] == launch.INTERRUPTS
    assert all(value & ~masks[name] == 0 for name, value in regs.RW_RESET.items())
    setup = {r.name for r in regs.REGISTERS if r.access is regs.Access.SETUP}
    assert setup == set(launch.set_up_program(program(), [0])) - {"IRQ_ENABLE", "IRQ_STATUS"} | {
        n for port in range(regs.PORTS_MAX) for n in regs.base_names(port)
    }


def test_identity_is_the_digest_as_it_is_printed() -> None:
    identity = launch.identity(NANO)
    assert f"{identity['DIGEST_LO']:08x}{identity['DIGEST_HI']:08x}" == NANO.digest[:16]
    assert (identity["MAGIC"], identity["VERSION"]) == (regs.MAGIC, regs.VERSION)
    constant = {r.name for r in regs.REGISTERS[:4]}
    assert set(identity) == constant
