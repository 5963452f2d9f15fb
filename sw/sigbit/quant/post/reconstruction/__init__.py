"""Reconstruction: a quantized network is brought close to its float original, layer by layer and
block by block, with unlabelled samples.

``walk`` goes through both networks with the quantized inputs that every layer will get, in memory
that does not grow with the samples (``store``). The operations on the way are steps: ``rounding``
(error compensation), ``learning`` (of blocks, which ``blocks`` delimits), and the bias correction
and weight scales of :mod:`sigbit.quant.post`. ``ranges`` equalizes activations in advance,
``judge`` decides which results to keep, ``reconstruct`` combines everything, ``resume`` handles
interruptions.
"""
