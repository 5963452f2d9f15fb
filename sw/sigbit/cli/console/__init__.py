"""What commands share: options, tables, files, exit codes."""
