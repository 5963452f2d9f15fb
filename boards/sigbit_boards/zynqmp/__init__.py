"""Boards with a Zynq UltraScale+: complete projects for the vendor's tools, which are not run
here."""
