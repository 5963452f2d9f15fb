"""The bus side: shells that keep AXI4 promises, and several ports joined to one."""
