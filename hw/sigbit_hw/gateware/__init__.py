"""The Amaranth gateware: an instruction-driven accelerator, a room for each part of it."""
