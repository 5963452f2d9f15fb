"""Rooms whose modules are mutated, and the tests of each that must notice: the *nano tier*, tests
of blocks and of the smallest accelerators that start no tools and read no data.

The arithmetic, the contract, the gateware, the interpreter, the compiler and the quantizer: all
that codes and cycles depend on.
"""

from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MARKERS = "not (sim or synth or slow or data or long)"
"""Tests of the tier, as an expression of markers."""


@dataclass(frozen=True)
class Room:
    """Modules of ``folder``; files and folders of tests."""

    name: str
    folder: str
    tests: tuple[str, ...]

    def modules(self) -> dict[str, Path]:
        """Modules by name; their paths are relative to the repository."""
        root, found = ROOT / self.folder, {}
        for path in sorted(root.rglob("*.py")):
            relative = path.relative_to(ROOT)
            name = ".".join(relative.with_suffix("").parts[1:])
            if path.name != "__init__.py":
                found[name] = relative
        return found

    def files(self) -> list[Path]:
        """Files of tests, relative to the repository."""
        roots = [ROOT / name for name in self.tests]
        found = [path for r in roots for path in (r.rglob("test_*.py") if r.is_dir() else [r])]
        return sorted(path.relative_to(ROOT) for path in found)


def _named(folder: str, *names: str) -> tuple[str, ...]:
    return tuple(f"tests/{folder}/test_{name}.py" for name in names)


_CONTROL = _named("hw", "axi", "control", "errors", "sequencer")
_HARDWARE = (
    *_CONTROL,
    *_named("hw", "buffers", "bus_protocol", "datapath", "dma", "dot_product", "drain", "fetch"),
    *_named("hw", "leaf", "load", "load_front", "load_store", "operands", "ports", "registers"),
    *_named("hw", "store", "widths"),
)
_PROGRAMS = ("tests/compiler", "tests/runtime", "tests/sim")
_NUMBERS = _named("quant", "grid", "scales", "quantizers", "requant")
_LAYERS = (
    *_NUMBERS,
    *_named("quant", "annotated", "arithmetic", "attention", "attention_forms", "exactness"),
    *_named("quant", "folding", "given", "last_layer", "layers", "lookup", "operations"),
    *_named("quant", "operators", "pairs", "products", "quantized", "states", "transform"),
    *_named("quant", "training_layers", "two_scales"),
)

ROOMS = (
    Room("array", "hw/sigbit_hw/gateware/compute", _HARDWARE),
    Room("memory", "hw/sigbit_hw/gateware/memory", _HARDWARE),
    Room("bus", "hw/sigbit_hw/gateware/bus", _HARDWARE),
    Room("control", "hw/sigbit_hw/gateware/control", _HARDWARE),
    Room("parts", "hw/sigbit_hw/gateware/parts", _HARDWARE),
    Room("contract", "hw/sigbit_hw/arch", ("tests/arch", *_CONTROL, *_PROGRAMS)),
    Room("interpreter", "sim/sigbit_sim/interp", _PROGRAMS),
    Room("compiler", "sw/sigbit/compiler", _PROGRAMS),
    Room("integer model", "sw/sigbit/ir", ("tests/ir", "tests/compiler", *_LAYERS)),
    Room("numbers", "sw/sigbit/quant/numbers", _NUMBERS),
    Room("quantized layers", "sw/sigbit/quant/layers", _LAYERS),
)
"""Where mutants are made."""
