"""Synthesis with open tools: what an accelerator costs on a target, and how fast it can be.

``modules`` cuts a design into modules, ``netlist`` maps each with Yosys and keeps the result,
``resources`` counts, ``paths`` finds the longest logic, ``report`` puts it together; ``pnr`` places
and routes.
"""

from sigbit_synthesis.report import Report, netlist_sha256, synthesize
from sigbit_synthesis.resources import Resources
from sigbit_synthesis.target import Target

__all__ = ["Report", "Resources", "Target", "netlist_sha256", "synthesize"]
