"""Damaged and crafted files of every kind, opened by the readers of the product."""

import tempfile
from collections.abc import Iterator
from itertools import count
from pathlib import Path

from hostile.campaign import Worker, run
from hostile.kinds import kinds
from sigbit.campaigns import Job, Row, Tell
from verify.part import Tally, job

PART = "files"
DAMAGES, CRAFTS = 250, 25
"""Damaged files of a job, and crafted ones: many, as its worker imports everything first."""


def jobs(first: int) -> Iterator[Job]:
    """Every kind of file, then again with the next seed."""
    for seed in count(first):
        for kind in kinds():
            yield job(
                PART,
                kind,
                f"{__name__}:files",
                {"kind": kind, "seed": seed, "damages": DAMAGES, "crafts": CRAFTS},
                seed=seed,
                code=("sigbit", "sigbit_boards", "hostile"),
                releases=("numpy", "onnx", "pillow", "pydantic", "safetensors", "torch"),
            )


def files(kind: str, seed: int, damages: int, crafts: int, tell: Tell) -> list[Row]:
    """Open so many damaged and crafted files of a kind, and valid ones before and after."""
    tell(f"files: {kind}", 0, 1)
    tally = Tally(PART, kind, seed)
    with tempfile.TemporaryDirectory() as name, Worker(Path(name) / "sandbox") as worker:
        rows = run(worker, Path(name), damages=damages, crafts=crafts, seed=seed, only=kind)
    (row,) = (row for row in rows if row.kind == kind)
    faults = sum(row.faults.values())
    tally.fine("opened", row.valid + row.damaged + row.crafted - faults)
    for what in ("valid", "damaged", "crafted", "accepted", "refused"):
        tally.reached(what, getattr(row, what))
    told = iter(row.failures)
    for fault, number in row.faults.items():
        for _ in range(number):
            tally.failed(fault, next(told, {"case": "one more"})["case"])
    return tally.rows(slowest_seconds=row.seconds, grown_bytes=row.grown)
