"""The lowest layer: tool discovery, the build cache, and files that are written atomically and read
with limits."""
