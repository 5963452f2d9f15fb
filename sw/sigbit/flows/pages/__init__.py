"""HTML reports of commands on users' own networks, from the results of their flows.

``execution`` shows the run of a Program, ``memory`` its memory use, ``numbers`` the grids of its
tensors and the sources of errors; one module per command combines them.
"""
