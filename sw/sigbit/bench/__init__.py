"""Benchmarks whose rows are figures of the documentation."""
