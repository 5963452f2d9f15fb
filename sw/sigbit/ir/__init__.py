"""Graph representations: the float graph that importers produce (``floating``, ``nodes``) and the
integer graph that runs on the accelerator (``integer``). Both can be evaluated; the integer graph
is the golden model.
"""

MODEL_SUFFIX = ".sbm"
"""Suffix of integer models' files."""
