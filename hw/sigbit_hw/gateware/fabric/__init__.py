"""Fabrics, leaf modules that may have fabric-specific forms, and UltraScale+ cells."""
