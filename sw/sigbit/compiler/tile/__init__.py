"""The pass that cuts operations into tiles, and its verifier."""
