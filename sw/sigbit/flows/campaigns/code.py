"""The packages whose sources the results of campaigns depend on. Every list of jobs adds its
measuring modules, but no tables and plots."""

DEVICES = (
    "sigbit_tools", "sigbit_hw", "sigbit_synthesis", "sigbit_sim", "sigbit.accelerators",
    "sigbit.compiler.order", "sigbit.flows.devices", "sigbit.flows.progress",
    "sigbit.inputs.accelerators",
    "sigbit.report.metrics", "sigbit.runtime",
)  # fmt: skip
"""Packages that run programs: contract, gateware, simulators."""
NETWORKS = (
    *DEVICES, "sigbit.bench.nets.cases", "sigbit.bench.nets.row", "sigbit.compiler",
    "sigbit.data", "sigbit.frontend", "sigbit.ir", "sigbit.quant", "sigbit.zoo",
)  # fmt: skip
"""Packages that quantize, compile and run networks."""
RELEASES = ("numpy", "torch")
"""Third-party packages for the same purpose."""
