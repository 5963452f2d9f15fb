"""DMA between the bus and the on-chip memories: instruction fetch, LOAD and STORE."""
