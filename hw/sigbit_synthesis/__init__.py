"""Synthesis with open tools: the cost of an accelerator on a target, and its achievable speed.

``modules`` splits a design into modules, ``netlist`` maps each with Yosys and caches the result,
``resources`` counts, ``paths`` finds the longest logic paths, ``report`` combines them; ``pnr``
places and routes.
"""

from sigbit_synthesis.report import Report, netlist_sha256, synthesize
from sigbit_synthesis.resources import Resources
from sigbit_synthesis.target import Target

__all__ = ["Report", "Resources", "Target", "netlist_sha256", "synthesize"]
