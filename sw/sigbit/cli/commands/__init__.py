"""One module per command: options, one call of a flow, a table."""
