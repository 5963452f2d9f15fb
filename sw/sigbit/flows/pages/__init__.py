"""The HTML reports of commands on people's own networks, from what their flows found.

``execution`` shows how a Program runs, ``memory`` where it lies, ``numbers`` how its tensors use
their grids and where errors come from; a module for each command puts them together.
"""
