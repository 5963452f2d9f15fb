"""FILL instructions for the padding around a value."""

from sigbit.compiler.place.layout import Layout
from sigbit.compiler.place.memory import Placed
from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.arch.isa import Fill


def halo_fills(placed: Placed, name: str, config: ArchConfig) -> list[Fill]:
    """FILLs of everything between the image's lines, before and after them; none for a value
    without a halo.

    A stored value has no unset slots even if its width is not a multiple of the phases. Digits with
    the same code share instructions, because planes are evenly spaced.
    """
    value, layout = placed.network.values[name], placed.layouts[name]
    uneven = value.store is not None and layout.width % layout.phases > 0
    if value.halo is None and not uneven:
        return []
    halo = value.halo or 0
    codes = [int(code) for code in value.grid(config).encode([halo])[:, 0]]
    if len(set(codes)) == 1:
        groups = [(0, value.planes, codes[0])]
    else:
        groups = [(plane, 1, code) for plane, code in enumerate(codes)]
    return [
        Fill(
            code=code,
            dst=placed.bases[name] + first * layout.plane_step + start,
            n0=n0,
            n1=n1,
            d1=d1,
            n2=count * layout.slots,
            d2=layout.slot_step,
        )
        for first, count, code in groups
        for start, n0, n1, d1 in _runs(layout)
    ]


def _runs(layout: Layout) -> list[tuple[int, int, int, int]]:
    """(first slot, length, runs, distance) of the halo of one channel slot."""
    runs = []
    lines = (layout.top + layout.height + layout.bottom) * layout.pitch
    for phase in range(layout.phases):
        columns = layout.columns(phase)
        start = phase * layout.phase_step
        image = start + layout.top * layout.pitch + layout.left
        end = image + (layout.height - 1) * layout.pitch + columns
        runs += [
            (start, image - start, 1, 0),
            (image + columns, layout.pitch - columns, layout.height - 1, layout.pitch),
            (end, start + lines - end, 1, 0),
        ]
    return [run for run in runs if run[1] and run[2]]
