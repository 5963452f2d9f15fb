"""Graph representations: the float graph that importers produce and the integer graph that runs on
the accelerator.
"""
