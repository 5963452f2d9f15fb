"""An SDRAM beside the accelerator, measured in the simulated top: how fast it is, and what that
costs.

    PYTHONPATH=tests python -m boards.sdram --json results/sdram.json
"""

import argparse
import json
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch

from boards.pins import Pins, Setting, simulator
from sigbit.compiler import compile_graph
from sigbit.data.digits import load_digits
from sigbit.quant import IntegerModel, QuantSpec, convert
from sigbit.quant.post import post_training
from sigbit.runtime import Session, unlimited
from sigbit.training import Schedule, train
from sigbit.zoo import DigitsResNet
from sigbit_boards.ecp5 import pins
from sigbit_boards.host.connect import connected
from sigbit_boards.host.device import BoardDevice
from sigbit_boards.host.link import SerialLink
from sigbit_boards.ulx3s.build import BOARD
from sigbit_hw.arch import images, isa
from sigbit_hw.arch.config import PRESETS, ArchConfig
from sigbit_hw.arch.isa import Halt, Instr, Load, LoadKind, Store
from sigbit_hw.arch.program import Program
from sigbit_sim.cycles import predict
from sigbit_tools.stopwatch import Stopwatch

COMMAND = "PYTHONPATH=tests python -m boards.sdram --json results/sdram.json"
DIVISOR = 8
"""Cycles a bit: a line faster than any real one, which does not change what is measured."""
PATIENCE = 3600.0
PHASE = 90.0
BATCHES = (1, 8, 16)
IMAGES = 16
MOVED = 256 << 10
"""Bytes of a transfer whose rate is measured."""


def setting(config: ArchConfig, phase: float | None, memory_bytes: int = 0) -> Setting:
    """The ULX3S with an accelerator, its SDRAM if there is a ``phase``, at 90 MHz."""
    clock = BOARD.clock(config, 90e6)
    return Setting(config, pins.oscillator(BOARD.platform), clock, DIVISOR, memory_bytes, phase)


def transport(board: Pins) -> SerialLink:
    return connected("ulx3s", board.port, BOARD.bauds, PATIENCE)


def device(board: Pins, config: ArchConfig) -> BoardDevice:
    return BoardDevice(f"ulx3s:{board.port}", config, lambda: transport(board))


def network(config: ArchConfig) -> IntegerModel:
    """A small network of digits."""
    digits = load_digits()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = DigitsResNet(8)
        train(model, digits.train_x, digits.train_y, Schedule(epochs=2, lr=4e-3))
        spec = QuantSpec.from_arch(config, input_range=digits.input_range)
        return convert(post_training(model.eval(), digits.train_x[:64], spec))


def run_digits(model: IntegerModel, on: BoardDevice, batch: int, count: int) -> tuple[int, int]:
    """Cycles and wrong codes of ``count`` digits, ``batch`` of them a run."""
    program = compile_graph(model.graph, on.config, images=batch)
    values = model.levels(load_digits().test_x[:count])
    (given,), (wanted,) = model.graph.inputs, model.graph.outputs
    found = Session(program, on).run_stored({program.inputs[0].name: values[given.name].numpy()})
    (output,) = found.outputs.values()
    golden = values[wanted].numpy().reshape(output.shape)
    assert found.cycles is not None
    return int(found.cycles.sum()), int(np.count_nonzero(output != golden))


def transfers(config: ArchConfig) -> dict[str, tuple[Program, int]]:
    """Programs that do nothing but read, or write, and the bytes that they move."""
    item = images.item_bytes(LoadKind.WEIGHTS, config)
    count = min(images.depth(LoadKind.WEIGHTS, config), (8 << 10) // item)
    beats = images.beats(count * item, config)
    times = MOVED // (beats * config.bus_bytes)
    begin, slots = 8 << 10, min(config.act_slots, 2048)
    kept = images.beats(slots * config.slot_bytes, config)
    turns = MOVED // (kept * config.bus_bytes)
    loads: list[Instr] = [Load(address=begin, n0=count, beats=beats)] * times
    stores: list[Instr] = [Store(address=begin, n0=slots, beats=kept)] * turns
    return {
        "read": (_program(config, [*loads, Halt()]), times * beats * config.bus_bytes),
        "write": (_program(config, [*stores, Halt()]), turns * kept * config.bus_bytes),
    }


def _program(config: ArchConfig, code: list[Instr]) -> Program:
    return Program(
        name="transfer",
        config=config,
        instructions=isa.pack(code),
        image=np.zeros(0, np.uint8),
        image_offset=0,
        program_offset=0,
        memory_bytes=16 << 10,
        write_window=(8 << 10, 16 << 10),
        inputs=(),
        outputs=(),
        layers=(),
        execs=(),
    )


def rates(on: BoardDevice, memory_clock: float, clock: float) -> Iterator[dict[str, Any]]:
    """Bytes per cycle of the memory's clock, of whole runs."""
    for direction, (program, moved) in transfers(on.config).items():
        watch = Stopwatch()
        _, counters = on._start(on._open(unlimited), program, [], [], unlimited)
        cycles = float(Fraction(counters["CYCLES"]) * Fraction(memory_clock) / Fraction(clock))
        yield {
            "preset": on.config.name,
            "direction": direction,
            "bytes": moved,
            "memory_cycles": round(cycles),
            "bytes_per_cycle": moved / cycles,
            **watch.read(),
        }


def predicted(model: IntegerModel, config: ArchConfig, batch: int, place: Setting) -> float:
    """Estimated cycles per image."""
    board = BOARD if place.phase is None else BOARD.with_sdram(place.phase)
    program = compile_graph(model.graph, config, images=batch)
    return predict(program, board.memory_timing(config, place.clock)).cycles / batch


def measure(preset: str, memory: str) -> Iterator[dict[str, Any]]:
    """All rows of an accelerator with a memory."""
    config = PRESETS[preset]
    model = network(config)
    place = setting(config, PHASE)
    if memory == "on-chip":
        needed = max(compile_graph(model.graph, config, images=n).memory_bytes for n in BATCHES)
        place = setting(config, None, 1 << (needed - 1).bit_length())
    simulator(place)
    with Pins(place) as board:
        on = device(board, config)
        if memory == "sdram":
            yield from rates(on, place.memory_clock, place.clock)
        for batch in BATCHES:
            watch = Stopwatch()
            cycles, wrong = run_digits(model, on, batch, IMAGES)
            yield {
                "preset": preset,
                "memory": memory,
                "batch": batch,
                "images": IMAGES,
                "cycles_per_image": cycles / IMAGES,
                "estimate": predicted(model, config, batch, place),
                "wrong": wrong,
                **watch.read(),
            }


def main() -> None:
    parser = argparse.ArgumentParser(prog="boards.sdram", description=__doc__)
    parser.add_argument("--preset", default="nano")
    parser.add_argument("--json", type=Path, required=True, help="file of the rows")
    options = parser.parse_args()
    rows = []
    for memory in ("sdram", "on-chip"):
        for row in measure(options.preset, memory):
            print(row, flush=True)
            rows.append(row)
    document = {"schema_version": 1, "command": COMMAND, "rows": rows}
    options.json.write_text(json.dumps(document, indent=2) + "\n")
    if any(row.get("wrong") for row in rows):
        raise SystemExit("codes differ from the integer model's")


if __name__ == "__main__":
    main()
