"""The pass that splits operations into tiles, and its verifier."""
