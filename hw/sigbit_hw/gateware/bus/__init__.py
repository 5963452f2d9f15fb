"""The bus side: shells that obey the AXI4 protocol, and several ports joined into one."""
