"""The packages whose sources the results of campaigns depend on. Every list of jobs adds the
modules that measure, and no tables and plots."""

DEVICES = (
    "sigbit_tools", "sigbit_hw", "sigbit_synthesis", "sigbit_sim", "sigbit.accelerators",
    "sigbit.compiler.order", "sigbit.flows.devices", "sigbit.inputs.accelerators",
    "sigbit.report.metrics", "sigbit.runtime",
)  # fmt: skip
"""What runs programs: contract, gateware, simulators."""
NETWORKS = (
    *DEVICES, "sigbit.bench.nets.cases", "sigbit.bench.nets.row", "sigbit.compiler",
    "sigbit.data", "sigbit.frontend", "sigbit.ir", "sigbit.quant", "sigbit.zoo",
)  # fmt: skip
"""What quantizes, compiles and runs networks."""
RELEASES = ("numpy", "torch")
"""Packages of others, for the same."""
