"""Public cost figures of other DSP-free or low-bit designs, shown beside the rows."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Published:
    """One figure as stated by its source, or derived from one that is (``derived``).

    Parameters
    ----------
    source : str
        Author and place of publication.
    bits : str
        Bits of weights x activations.
    covers : str
        Scope of the count: one processing element, or a whole design.
    lut_per_mac, gops_per_klut : float, optional
        LUTs per multiply-accumulate per cycle; billions of operations per second per 1,000 LUTs.
    clock_mhz : float, optional
        Clock frequency of the throughput; None if it is not stated.
    dsp : bool
        True if the design also uses DSP blocks.
    derived : str
        Derivation of the figure from the published one; "" if it is the published one.
    """

    source: str
    bits: str
    covers: str
    lut_per_mac: float | None = None
    gops_per_klut: float | None = None
    clock_mhz: float | None = None
    dsp: bool = False
    derived: str = ""


_FINN = "FINN-R cost formula, as coded in FINN's HLS matrix-vector unit"
_FORMULA = "formula for wide SIMD, thresholds left out"
_BISMO = "BISMO on Ultra96, 15.4 TOPS binary (README of EECS-NTNU/bismo)"
_BINARY = "at least: binary peak / 70.6 kLUT of the device /"

PUBLISHED = (
    Published(
        "ESB (Gong et al., TPDS 2022, arXiv 2109.03513), ZCU102",
        "4x4",
        "whole, peak",
        gops_per_klut=10.95,
    ),
    Published(_FINN, "2x2", "element", lut_per_mac=13.2, derived=_FORMULA),
    Published(_FINN, "3x3", "element", lut_per_mac=19.8, derived=_FORMULA),
    Published(_FINN, "4x4", "element", lut_per_mac=44.0, derived=_FORMULA),
    Published(_FINN, "4x8", "element", lut_per_mac=66.0, derived=_FORMULA),
    Published(_FINN, "8x8", "element", lut_per_mac=123.0, derived=_FORMULA),
    Published(
        _BISMO,
        "2x2",
        "whole",
        gops_per_klut=54.6,
        derived=f"{_BINARY} 4",
    ),
    Published(
        _BISMO,
        "4x4",
        "whole",
        gops_per_klut=13.6,
        derived=f"{_BINARY} 16",
    ),
    Published(
        _BISMO,
        "8x8",
        "whole",
        gops_per_klut=3.4,
        derived=f"{_BINARY} 64",
    ),
    Published(
        "MSD on ZU9EG, ResNet-18 (README of CASR-HKU/MSD-FCCM23)",
        "1 to 3 signed digits x8",
        "whole, achieved",
        gops_per_klut=4.22,
        clock_mhz=214,
        dsp=True,
    ),
    Published(
        "Vitis AI DPU, 3 x B4096 on ZCU102 (PG338)",
        "8x8",
        "whole, peak",
        gops_per_klut=28.0,
        clock_mhz=281,
        dsp=True,
        derived="3.45 TOPS / 122.6 kLUT",
    ),
)
"""The figures; LUTs are as counted by each source."""
