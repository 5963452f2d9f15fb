"""The packages whose sources the results of campaigns depend on."""

DEVICES = (
    "sigbit_tools", "sigbit_hw", "sigbit_synthesis", "sigbit_sim", "sigbit.runtime",
    "sigbit.flows.devices", "sigbit.flows.campaigns",
)  # fmt: skip
"""Of what runs programs: contract, gateware, simulators."""
NETWORKS = (
    *DEVICES, "sigbit.accelerators", "sigbit.bench", "sigbit.compiler", "sigbit.data",
    "sigbit.frontend", "sigbit.ir", "sigbit.quant", "sigbit.zoo",
)  # fmt: skip
"""Of what quantizes, compiles and runs networks."""
RELEASES = ("numpy", "torch")
"""Of others, for the same."""
