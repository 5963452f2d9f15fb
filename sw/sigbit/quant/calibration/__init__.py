"""Calibration: samples that are read in chunks (``samples``), the float network's tensors on them
(``reference``), and their statistics (``statistics``)."""
