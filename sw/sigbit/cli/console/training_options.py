"""Options of training commands, in groups."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

Config = Annotated[
    Path,
    typer.Argument(
        metavar="CONFIG", exists=True, dir_okay=False, help="A TOML file that says what to train."
    ),
]


@dataclass(frozen=True)
class FolderOptions:
    """Folders of data sets, and of float networks shared by runs."""

    data: Annotated[
        Path | None,
        typer.Option(metavar="DIR", exists=True, file_okay=False, help="Folder of data sets."),
    ] = None
    twins: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            file_okay=False,
            help="Folder in which float networks are kept for runs that share them.",
        ),
    ] = None


@dataclass(frozen=True)
class MachineOptions:
    """Machine and processes for training."""

    cpu: Annotated[bool, typer.Option("--cpu", help="Train on the CPU even if there is a GPU.")] = (
        False
    )
    precision: Annotated[
        str,
        typer.Option(
            metavar="no|bf16",
            help="bf16: train in mixed precision; tests are exact in any case.",
        ),
    ] = "no"
    threads: Annotated[
        int | None,
        typer.Option(min=1, help="CPU threads; the last bits of a result depend on their number."),
    ] = None


@dataclass(frozen=True)
class RunOptions:
    """Storage of a run."""

    resume: Annotated[
        bool,
        typer.Option(
            "--resume", help="Go on from the last checkpoint: the same result, to the bit."
        ),
    ] = False
    every: Annotated[
        int, typer.Option(min=0, help="Steps between checkpoints; 0: one per epoch.")
    ] = 0
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Write TensorBoard events beside log.csv.")
    ] = False
