"""FPGA targets of the sigbit accelerator: board files, synthesis reports and drivers."""
