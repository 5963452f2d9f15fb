"""The Amaranth gateware: an instruction-driven accelerator, one package for each part."""
