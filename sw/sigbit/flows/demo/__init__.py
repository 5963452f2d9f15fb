"""The demonstration: handwritten digits from training to the accelerator, every code compared.

``training`` makes the network, ``checking`` runs it on devices and compares, ``outcome`` holds what
came of it, ``page`` shows that, ``run`` does it all.
"""
