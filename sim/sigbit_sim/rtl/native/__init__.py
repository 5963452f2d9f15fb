"""The RTL as native code: Verilator model, memory and checkers in one shared library."""
