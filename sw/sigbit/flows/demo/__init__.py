"""The demonstration: handwritten digits from training to the accelerator, every code compared.

``training`` trains the network, ``checking`` runs it on devices and compares, ``outcome`` holds the
results, ``page`` shows them, ``run`` combines all steps.
"""
