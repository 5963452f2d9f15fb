"""FPGA targets of the sigbit accelerator: synthesis and its reports."""
