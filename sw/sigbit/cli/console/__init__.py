"""Common parts of commands: options, tables, files, exit codes."""
