"""Boards that carry an accelerator, a folder each; ``registry`` finds them by name."""
