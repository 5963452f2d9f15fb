"""The C driver's sources, and Programs for it, in a folder."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sigbit.errors import UserError
from sigbit.flows.result import Result, Stopwatch
from sigbit.inputs.programs import load_program
from sigbit_hw.arch.program import Program
from sigbit_hw.driver.flat import flat_program
from sigbit_hw.driver.sources import driver_sources
from sigbit_tools.files import make_folder, replacing


@dataclass(frozen=True, kw_only=True)
class DriverFiles(Result):
    """Files that were written.

    Parameters
    ----------
    folder : Path
    sources : tuple of str
        Names of sources and headers, and the Makefile.
    programs : mapping
        Bytes of every flat Program by the name of its file.
    """

    folder: Path
    sources: tuple[str, ...]
    programs: dict[str, int]


def write_driver(folder: Path, programs: Sequence[Program | str | Path] = ()) -> DriverFiles:
    """Write the C driver, with a Makefile, into a folder, which is created if missing; also write
    Programs in the driver's format, each under its name with ``.flat``.

    Raises :class:`~sigbit_hw.arch.program.ProgramError` for files that hold no Program,
    :class:`~sigbit.errors.UserError` for two Programs of the same name.
    """
    watch = Stopwatch()
    flat: dict[str, bytes] = {}
    for each in programs:
        program = load_program(each)
        name = f"{program.name}.flat"
        if name in flat:
            raise UserError(
                f"two Programs are called {program.name}: write them to different folders"
            )
        flat[name] = flat_program(program)
    sources = driver_sources()
    make_folder(folder)
    for name, content in {**{n: t.encode() for n, t in sources.items()}, **flat}.items():
        with replacing(folder / name) as file:
            file.write(content)
    return DriverFiles(
        folder=folder,
        sources=tuple(sources),
        programs={name: len(content) for name, content in flat.items()},
        **watch.read(),
    )
