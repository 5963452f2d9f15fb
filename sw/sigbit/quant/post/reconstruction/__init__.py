"""Reconstruction: a quantized network brought near its float self, layer by layer and block by
block, from unlabelled samples.

``walk`` goes through both networks with the quantized inputs that every layer will get, in memory
that does not grow with the samples (``store``). What is done on the way are steps: ``rounding``
(error compensation), ``learning`` (of blocks, which ``blocks`` delimits), and the bias correction
and weight scales of :mod:`sigbit.quant.post`. ``ranges`` equalizes activations beforehand,
``judge`` decides what is kept, ``reconstruct`` puts it together, ``resume`` survives interruptions.
"""
