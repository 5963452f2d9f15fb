"""Boards with a Zynq UltraScale+: complete projects for the vendor's tools; sigbit does not run
these."""
