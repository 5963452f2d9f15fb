"""The compute engine: operand fetch, the array, and the drain that post-processes its results."""
