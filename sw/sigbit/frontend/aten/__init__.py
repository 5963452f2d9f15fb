"""Translators of ATen operators to the float graph."""
