"""Fabrics, leaf modules that may take a fabric's form, and UltraScale+ cells."""
