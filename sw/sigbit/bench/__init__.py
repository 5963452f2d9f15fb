"""Benchmarks whose rows are figures of the documentation: whole networks through all devices."""
