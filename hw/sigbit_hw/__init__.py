"""The sigbit accelerator: the hardware contract (`arch`) and the Amaranth gateware built on it."""
