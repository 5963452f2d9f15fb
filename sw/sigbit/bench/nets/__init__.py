"""The benchmark of whole networks."""
