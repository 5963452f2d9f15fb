"""A module for each command: options, one call of a flow, a table."""
