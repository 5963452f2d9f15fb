"""DMA between the bus and the memories on chip: instruction fetch, LOAD and STORE."""
