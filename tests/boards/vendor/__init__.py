"""Judges of the vendor projects: what Vivado would be told, and whether it fits together."""
