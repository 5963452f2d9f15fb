"""Fabrics: the targets for which gateware modules are built.

A fabric is the ``platform`` of ``elaborate``. A leaf module may have a form made of a fabric's
primitives; it has the members, function and latency of the plain form, which is the reference.
"""

from enum import Enum


class Fabric(Enum):
    """Families of parts."""

    GENERIC = "generic"
    """Any part: plain RTL, as run by the simulators."""
    XCUP = "xcup"
    """UltraScale+: 6-input LUTs with two outputs, carry chains of eight."""
    ECP5 = "ecp5"
    """ECP5: 4-input LUTs, carry chains of two."""
    ICE40 = "ice40"
    """iCE40: 4-input LUTs."""
