"""The work of the commands, as functions of plain arguments."""
