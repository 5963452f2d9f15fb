"""Campaigns: benchmarks and fuzzers as lists of jobs."""
