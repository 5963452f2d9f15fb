"""Tables and figures that a page may show, by name, with the files of their rows."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from sigbit.bench import accelerator_tables
from sigbit.bench.demo_tables import layer_grid, result_grid
from sigbit.bench.imports import tables as import_tables
from sigbit.bench.nets import tables as net_tables
from sigbit.bench.number_systems import tables as number_tables
from sigbit.bench.number_systems.plot import pareto
from sigbit.bench.packing import PACKING
from sigbit.bench.quantization import tables as quant_tables
from sigbit.bench.quantization.claims import claim_grid, findings, goal_grid
from sigbit.bench.quantization.plot import accuracies
from sigbit.bench.verification_tables import (
    TRIED,
    class_grid,
    coverage_grid,
    lint_grid,
    module_grid,
    mutant_grid,
    proof_grid,
    survivor_grid,
)
from sigbit.report.tables import Grid
from sigbit.results.files import Row

Rows = Sequence[Row]


@dataclass(frozen=True)
class Entry:
    """A table: ``grid`` of the rows of ``files``."""

    files: tuple[str, ...]
    grid: Callable[[Rows], Grid]


@dataclass(frozen=True)
class Plot:
    """A figure: ``draw`` makes an SVG of the rows of ``files``."""

    files: tuple[str, ...]
    draw: Callable[[Rows], bytes]


_FABRICS = ("xcup", "ecp5")

TABLES: Mapping[str, Entry] = {
    "networks": Entry(("networks",), net_tables.NETWORKS.grid),
    "accuracy": Entry(("networks",), net_tables.ACCURACY.grid),
    "modelled": Entry(("networks",), net_tables.MODELLED.grid),
    **{
        f"{name}_{fabric}": Entry(("number_systems",), table(fabric).grid)
        for fabric in _FABRICS
        for name, table in (
            ("costs", number_tables.costs),
            ("summary", number_tables.summary),
            ("evidence", number_tables.evidence),
        )
    },
    "noise": Entry(("number_systems",), number_tables.noise("xcup").grid),
    "verdicts": Entry(("number_systems",), number_tables.verdict_grid),
    "published": Entry((), lambda rows: number_tables.published_grid()),
    "synthesis": Entry(("synthesis",), accelerator_tables.SYNTHESIS.grid),
    "budget": Entry(("lut_budget",), accelerator_tables.BUDGET.grid),
    "packing": Entry(("packing",), PACKING.grid),
    "boards": Entry(("routing",), accelerator_tables.BOARDS.grid),
    "sdram_rates": Entry(("sdram",), accelerator_tables.SDRAM_RATES.grid),
    "memory_cycles": Entry(("sdram",), accelerator_tables.MEMORY_CYCLES.grid),
    "methods": Entry(("training",), quant_tables.method_grid),
    "goals": Entry(("training",), goal_grid),
    "claims": Entry(("claims", "training", "rates"), lambda rows: claim_grid(findings(rows))),
    "rates": Entry(("rates",), quant_tables.RATES.grid),
    "robust": Entry(("training",), quant_tables.ROBUST.grid),
    "post_training": Entry(("post_training",), quant_tables.POST.grid),
    "exact_scales": Entry(("exact_scales",), accelerator_tables.EXACT_SCALES.grid),
    "exact": Entry(("quantized_models",), import_tables.EXACT.grid),
    "judged": Entry(("judges",), import_tables.JUDGED.grid),
    "speed": Entry(("speed",), quant_tables.SPEED.grid),
    "tried": Entry(("verification",), TRIED.grid),
    "proofs": Entry(("verification",), proof_grid),
    "coverage": Entry(("verification",), coverage_grid),
    "covered_modules": Entry(("verification",), module_grid),
    "unreached": Entry(("verification",), class_grid),
    "lint": Entry(("verification",), lint_grid),
    "mutants": Entry(("verification",), mutant_grid),
    "survivors": Entry(("verification",), survivor_grid),
    "demo": Entry(("demo",), lambda rows: result_grid(rows[0])),
    "demo_layers": Entry(("demo",), lambda rows: layer_grid(rows[0])),
}

PLOTS: Mapping[str, Plot] = {
    "number_systems": Plot(("number_systems",), partial(pareto, source="gaussian")),
    "training": Plot(("training",), accuracies),
}
