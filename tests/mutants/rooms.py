"""Rooms whose modules are mutated, and the tests of each that must notice: the *quick tier*.

The arithmetic, the contract, the gateware, the interpreter, the compiler and the quantizer: all
that codes and cycles depend on.
"""

from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Room:
    """Modules of ``folder``, and test files in the order in which they run."""

    name: str
    folder: str
    tests: tuple[str, ...]

    def modules(self) -> dict[str, Path]:
        """Modules by name; their paths are relative to the repository."""
        root, found = ROOT / self.folder, {}
        for path in sorted(root.rglob("*.py") if root.is_dir() else [root]):
            relative = path.relative_to(ROOT)
            name = ".".join(relative.with_suffix("").parts[1:])
            if path.name != "__init__.py":
                found[name] = relative
        return found


def _hw(*names: str) -> tuple[str, ...]:
    return tuple(f"tests/hw/test_{name}.py" for name in names)


_BLOCKS = _hw("dot_product", "datapath", "buffers", "operands", "drain", "compute")
_MEMORY = (*_hw("dma", "load_store", "errors"), "tests/formal/test_window.py")
_BUS = (*_hw("axi", "ports", "bus_protocol"), "tests/formal/test_axi.py")
_CONTROL = _hw("control", "sequencer", "registers", "errors")

ROOMS = (
    Room("array", "hw/sigbit_hw/gateware/compute", _BLOCKS),
    Room("memory", "hw/sigbit_hw/gateware/memory", _MEMORY),
    Room("bus", "hw/sigbit_hw/gateware/bus", _BUS),
    Room("control", "hw/sigbit_hw/gateware/control", _CONTROL),
    Room("parts", "hw/sigbit_hw/gateware/parts", (*_hw("leaf"), *_BLOCKS, *_MEMORY)),
    Room("contract", "hw/sigbit_hw/arch", ("tests/arch", "tests/sim/test_interp.py")),
    Room(
        "interpreter",
        "sim/sigbit_sim/interp",
        ("tests/sim/test_interp.py", "tests/sim/test_random_program.py"),
    ),
    Room("compiler", "sw/sigbit/compiler", ("tests/compiler",)),
    Room("integer model", "sw/sigbit/ir", ("tests/ir",)),
    Room("numbers", "sw/sigbit/quant/numbers", ("tests/quant",)),
    Room("quantized layers", "sw/sigbit/quant/layers", ("tests/quant",)),
)
"""Where mutants are made."""

SECOND = ("tests/hw", "tests/sim/test_rtl.py", "tests/sim/test_cycles.py", "tests/e2e")
"""Tests that survivors of the quick tier meet: whole machines."""
