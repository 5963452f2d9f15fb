"""Benchmarks whose rows are the figures of the documentation."""
