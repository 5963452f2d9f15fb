"""Documents in JSON, TOML and plain text."""

import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hostile.kinds import Codec, Document, Kind, Rng, Unsound, at, edited, text, without
from sigbit.accelerators import load_accelerator
from sigbit.campaigns.job import Job
from sigbit.campaigns.store import Record, Store
from sigbit.errors import UserError
from sigbit.inputs.labels import read_labels
from sigbit.results.files import read_row_file
from sigbit.training import RunConfig
from sigbit.training.config import load_config, load_sweep
from sigbit.training.folder import RunFolder
from sigbit_hw.arch.config import PRESETS, ArchConfig
from sigbit_tools.errors import SigbitError

JSON = Codec(json.loads, lambda _, document: document.encode())

Craft = Callable[[bytes], bytes]


def doc(*path: str | int, value: object) -> Craft:
    """The JSON document with ``value`` at ``path``."""
    return edited(JSON, at(*path, value=value))


ANY_JSON: dict[str, Craft] = {
    "nothing": text(JSON, lambda t: ""),
    "no JSON": text(JSON, lambda t: "{bad"),
    "a list": text(JSON, lambda t: "[1, 2]"),
    "null": text(JSON, lambda t: "null"),
    "100,000 lists": text(JSON, lambda t: "[" * 100_000 + "]" * 100_000),
    "50,000 objects": text(JSON, lambda t: '{"a":' * 50_000 + "1" + "}" * 50_000),
    "a number of 5,000 digits": text(JSON, lambda t: t[:-1] + ', "x": ' + "9" * 5000 + "}"),
    "NaN": text(JSON, lambda t: t[:-1] + ', "x": NaN}'),
    "Infinity": text(JSON, lambda t: t[:-1] + ', "x": -Infinity}'),
    "a key twice": text(JSON, lambda t: t[:-1] + ', "x": 1, "x": 2}'),
    "no UTF-8": lambda data: data[:-1] + b', "\xff": 1}',
    "UTF-16": lambda data: data.decode().encode("utf-16"),
}
"""What no document of any kind may be."""


def write_json(path: Path, document: object) -> None:
    """Write ``document``."""
    path.write_text(json.dumps(document))


def _write_arch(folder: Path, rng: Rng) -> None:
    names = list(PRESETS)
    document: Any = PRESETS[names[int(rng.integers(len(names)))]].to_json()
    write_json(folder / "arch.json", {"config": document} if rng.random() < 0.3 else document)


def _read_arch(path: Path) -> None:
    config = load_accelerator(str(path))
    if ArchConfig.from_json(config.to_json()).digest != config.digest:
        raise Unsound("an accelerator changes when it is saved and loaded")


def arch(key: str, value: object) -> Craft:
    """The accelerator with another ``value`` of ``key``."""

    def change(document: Document) -> None:
        document.get("config", document)[key] = value

    return edited(JSON, change)


_ARCH = {
    "a name that leaves": arch("name", "nano-123/../../x"),
    "a name of two dots": arch("name", ".."),
    "a name with a slash": arch("name", "a/b"),
    "a name of a line end": arch("name", "a\n#include <x>"),
    "an endless name": arch("name", "n" * 200),
    "a name of null": arch("name", None),
    "3 pixels": arch("pixels", 3),
    "2^40 pixels": arch("pixels", 1 << 40),
    "true pixels": arch("pixels", True),
    "2^60 lanes": arch("oc_lanes", 1 << 60),
    "a queue of 2^60": arch("queue_depth", 1 << 60),
    "2^60 reads": arch("outstanding_reads", 1 << 60),
    "2^60 slots": arch("act_slots", 1 << 60),
    "accumulators of -1 bits": arch("acc_bits", -1),
    "a format as text": arch("act_format", "s(4,2)"),
    "a format of text": arch("act_format", {"bits": 4, "frac": 1, "signed": "x"}),
    "a format of 400 bits": arch("weight_format", {"bits": 400, "frac": 1, "signed": True}),
    "a million levels": arch("weight_format", {"levels": list(range(1 << 20)), "signed": True}),
    "levels of 10^300": arch("weight_format", {"levels": [0, 10**300], "signed": True}),
    "levels of floats": arch("weight_format", {"levels": [0, 1.5], "signed": True}),
    "an unknown key": arch("foo", 1),
    "no pixels": edited(JSON, lambda d: d.get("config", d).pop("pixels")),
}


def _write_labels(folder: Path, rng: Rng) -> None:
    lines = [f"n{int(rng.integers(1e8)):08d} class {i}, größer" for i in range(20)]
    (folder / "labels.txt").write_text("\n".join(lines), encoding="utf-8")


_LABELS: dict[str, Craft] = {
    "nothing": lambda data: b"",
    "blanks": lambda data: b"\n \n\t\n",
    "no UTF-8": lambda data: b"\xff\xfe" + data,
    "control characters": lambda data: data + b"\n\x1b[31mred\x1b[0m",
    "a title for the terminal": lambda data: data + b"\n\x1b]0;pwned\x07",
    "2 MiB": lambda data: b"class\n" * (1 << 19),
}

RUN = """
seed = 1
[data]
name = "digits"
[model]
name = "digits"
[float]
epochs = 2
lr = 1
[quantizer]
weight_bits = 4
act_bits = 4
[train]
epochs = 2
[[strategies]]
name = "sinareq"
lambda_w = 0.5
"""
SWEEP = f"""{RUN}
[sweep]
trials = 3
[sweep.space]
"train.lr" = {{low = 0.1, high = 1.0}}
"""


def _toml(added: str) -> Craft:
    return lambda data: added.encode() + data


ANY_TOML: dict[str, Craft] = {
    "no TOML": _toml("= 1\n"),
    "no UTF-8": lambda data: b'x = "\xff"\n' + data,
    "an unknown key": _toml("foo = 1\n"),
    "a key twice": _toml("seed = 1\n"),
    "10,000 lists": _toml("foo = " + "[" * 10_000 + "]" * 10_000 + "\n"),
    "10,000 dots": _toml(".".join(["a"] * 10_000) + " = 1\n"),
    "a number of 5,000 digits": _toml("foo = " + "9" * 5000 + "\n"),
    "2 MiB": _toml("# " + "x" * (2 << 20) + "\n"),
    "a seed of 2^60": lambda data: data.replace(b"seed = 1", b"seed = 1152921504606846976"),
    "a seed of inf": lambda data: data.replace(b"seed = 1", b"seed = inf"),
    "a rate of nan": lambda data: data.replace(b"lr = 1", b"lr = nan"),
    "-1 epochs": lambda data: data.replace(b"epochs = 2", b"epochs = -1"),
    "a strategy of a date": lambda data: data.replace(b"lambda_w = 0.5", b"lambda_w = 2020-01-01"),
    "an accelerator that leaves": lambda data: data.replace(
        b"[quantizer]", b'[quantizer]\narch = "../../../etc/passwd"'
    ),
    "an accelerator of NUL": lambda data: data.replace(
        b"[quantizer]", b'[quantizer]\narch = "a\\u0000b"'
    ),
    "an accelerator that is none": lambda data: data.replace(
        b"[quantizer]", b"[quantizer]\narch = {pixels = 3}"
    ),
}


def _write_rows(folder: Path, rng: Rng) -> None:
    rows = [
        {"name": f"row{i}", "value": float(rng.random()), "count": int(rng.integers(100))}
        for i in range(4)
    ]
    write_json(folder / "rows.json", {"schema_version": 1, "command": "sigbit bench", "rows": rows})


_ROWS = ANY_JSON | {
    "rows as text": doc("rows", value="x"),
    "rows of numbers": doc("rows", value=[1, 2]),
    "another version": doc("schema_version", value=99),
}


def _write_record(folder: Path, rng: Rng) -> None:
    job = Job("x", "hostile.documents:_job", {"a": 1})
    Store(folder).save("0123abcd", job, Record(({"value": 1.5},), 1.0, 0.5, "here"))


def _read_record(path: Path) -> None:
    record = Store(path.parent).load(path.stem)
    if record is None:
        raise UserError("no result that can be read")  # the job is done again
    assert all(isinstance(row, dict) for row in record.rows)
    assert record.seconds + record.cpu_seconds >= 0


_RECORD = ANY_JSON | {
    "no record": edited(JSON, without("record")),
    "rows as text": doc("record", "rows", value="x"),
    "rows of numbers": doc("record", "rows", value=[1]),
    "seconds as text": doc("record", "seconds", value="1"),
    "-1 seconds": doc("record", "seconds", value=-1),
    "an unknown key": doc("record", "foo", value=1),
    "another version": doc("schema_version", value=2),
}


def _config() -> RunConfig:
    return RunConfig.from_table(tomllib.loads(RUN))


def _write_run(folder: Path, rng: Rng) -> None:
    RunFolder(folder).begin(_config(), {"threads": 1})


def _read_run(path: Path) -> None:
    RunFolder(path.parent).check(_config(), {"threads": 1}, resume=True)


def _write_summary(folder: Path, rng: Rng) -> None:
    accuracies = {f"accuracy_{w}": float(rng.random()) for w in ("float", "quantized", "deployed")}
    document = {"model": "digits", "dataset": "Digits", "test_samples": 360, "seconds": 1.5}
    write_json(folder / "summary.json", document | accuracies | {"measures": {}})


_SUMMARY = ANY_JSON | {
    "no accuracy": edited(JSON, without("accuracy_deployed")),
    "an accuracy of text": doc("accuracy_deployed", value="good"),
    "an accuracy of null": doc("accuracy_float", value=None),
    "-1 samples": doc("test_samples", value=-1),
}

KINDS = (
    Kind(
        "ArchConfig",
        "arch.json",
        _write_arch,
        _read_arch,
        (SigbitError, ValueError),
        codec=JSON,
        crafted=ANY_JSON | _ARCH,
    ),
    Kind(
        "class labels",
        "labels.txt",
        _write_labels,
        read_labels,
        crafted=_LABELS,
    ),
    Kind(
        "run, TOML",
        "run.toml",
        lambda folder, rng: (folder / "run.toml").write_text(RUN),
        load_config,
        (SigbitError, OSError),
        crafted=ANY_TOML,
    ),
    Kind(
        "sweep, TOML",
        "sweep.toml",
        lambda folder, rng: (folder / "sweep.toml").write_text(SWEEP),
        load_sweep,
        (SigbitError, OSError),
        crafted=ANY_TOML,
    ),
    Kind("rows", "rows.json", _write_rows, read_row_file, codec=JSON, crafted=_ROWS),
    Kind(
        "campaign's result",
        "0123abcd.json",
        _write_record,
        _read_record,
        codec=JSON,
        crafted=_RECORD,
    ),
    Kind(
        "run's configuration",
        "config.json",
        _write_run,
        _read_run,
        codec=JSON,
        crafted=ANY_JSON | {"another seed": doc("run", "seed", value=7)},
    ),
    Kind(
        "run's summary",
        "summary.json",
        _write_summary,
        lambda path: RunFolder(path.parent).results(),
        codec=JSON,
        crafted=_SUMMARY,
    ),
)
