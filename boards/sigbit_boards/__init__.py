"""Boards that carry an accelerator, one folder each; ``registry`` finds them by name."""
