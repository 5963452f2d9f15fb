"""The accelerator's RTL as a device: a Verilator model behind its own driver."""
