"""A bundle holds all that is needed: plain NumPy, from the files alone, gives its golden values."""

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from sigbit.compiler.random_graph import Builder, random_graph, random_products
from sigbit.export import ExportError, export_bundle
from sigbit_hw.arch.config import PRESETS

CONFIG = PRESETS["nano"]
Array = NDArray[Any]
Load = Callable[[str], Array]


def bordered(x: Array, padding: list[int], value: int) -> Array:
    top, left, bottom, right = padding
    h, w = x.shape[2:]
    out = np.full((*x.shape[:2], h + top + bottom, w + left + right), value, np.int64)
    ys, xs = slice(max(-top, 0), h + min(bottom, 0)), slice(max(-left, 0), w + min(right, 0))
    inner = x[:, :, ys, xs]
    y0, x0 = max(top, 0), max(left, 0)
    out[:, :, y0 : y0 + inner.shape[2], x0 : x0 + inner.shape[3]] = inner
    return out


def windows(x: Array, kernel: list[int], stride: list[int], dilation: list[int]) -> Array:
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    view = np.lib.stride_tricks.sliding_window_view(x, reach, (2, 3))
    return view[:, :, :: stride[0], :: stride[1], :: dilation[0], :: dilation[1]]


def convolved(x: Array, s: dict[str, Any], load: Load) -> Array:
    (u, v), border = s["upsampling"], -s["zero"]
    h, w = x.shape[2:]
    spread = np.full((*x.shape[:2], (h - 1) * u + 1, (w - 1) * v + 1), border, np.int64)
    spread[:, :, ::u, ::v] = x
    weights = load(s["weights"]).astype(np.int64)
    view = windows(
        bordered(spread, s["padding"], border), weights.shape[2:], s["stride"], s["dilation"]
    )
    n, c, g = len(view), view.shape[1], s["groups"]
    view = view.reshape(n, g, c // g, *view.shape[2:])
    weights = weights.reshape(g, -1, *weights.shape[1:])
    return np.einsum("ngiyxkl,goikl->ngoyx", view, weights).reshape(n, -1, *view.shape[3:5])


def computed(node: dict[str, Any], values: dict[str, Array], load: Load) -> Array:
    if node["op"] == "maxpool":
        x = bordered(values[node["tensor"]], node["padding"], node["padding_value"])
        return windows(x, node["kernel"], node["stride"], [1, 1]).max((4, 5))
    if node["op"] == "gather":
        rows = load(node["channels"])
        return np.stack([values[node["tensors"][t]][:, c] for t, c in rows], axis=1)
    if node["op"] == "constant":
        return load(node["values"])[None]
    if node["op"] == "matmul":
        left, right = values[node["left"]], values[node["right"]]
        products = np.einsum("bkp,bkn->bnp", *(x.reshape(*x.shape[:2], -1) for x in (left, right)))
        return requantized(node, products.reshape(len(right), -1, *left.shape[2:]), load)
    return requantized(node, summed(node, values, load), load)


def summed(node: dict[str, Any], values: dict[str, Array], load: Load) -> Any:
    return sum(convolved(values[s["tensor"]], s, load) for s in node["sources"])


def requantized(node: dict[str, Any], acc: Array, load: Load) -> Array:
    base, step, tie = (
        load(node[k]).astype(np.int64)[:, None, None] for k in ("base", "step", "tie")
    )
    total = acc * 65536 + base
    y = np.clip(total // step, -128, 127)
    y = np.where((tie == 1) & (y % 2 == 1) & (total == y * step), y - 1, y)
    return load(node["table"])[y % 256]


def check(document: dict[str, Any], load: Load) -> int:
    values: dict[str, Array] = {}
    compared = 0
    for node in document["nodes"]:
        golden = load(document["golden"][node["name"]])
        if node["op"] == "input":
            values[node["name"]] = golden.astype(np.int64)
            continue
        found = computed(node, values, load).astype(np.int64)
        values[node["name"]] = np.broadcast_to(found, golden.shape)
        assert list(golden.shape[1:]) == node["type"]["shape"]
        assert np.array_equal(golden, values[node["name"]]), node["name"]
        compared += golden.size
    return compared


@pytest.mark.parametrize("seed", range(12))
def test_golden_values_follow_from_the_bundle(seed: int, tmp_path: Path) -> None:
    graph = random_graph(np.random.default_rng(seed), CONFIG, layers=5)
    export_bundle(graph, tmp_path / "net")
    document = json.loads((tmp_path / "net" / "bundle.json").read_text())
    assert check(document, lambda name: np.load(tmp_path / "net" / name)) > 0
    assert [n["name"] for n in document["nodes"]] == [n.name for n in graph.nodes]


@pytest.mark.parametrize("seed", range(4))
def test_products_follow_from_the_bundle(seed: int, tmp_path: Path) -> None:
    export_bundle(random_products(np.random.default_rng(seed), CONFIG), tmp_path / "net")
    document = json.loads((tmp_path / "net" / "bundle.json").read_text())
    assert check(document, lambda name: np.load(tmp_path / "net" / name)) > 0


def small() -> Any:
    b = Builder(np.random.default_rng(5), CONFIG)
    return b.graph(b.conv([b.source(b.input((4, 5, 6), 2), 6, (3, 2), groups=2)]))


def test_zip_and_given_vectors(tmp_path: Path) -> None:
    graph = small()
    node = graph.inputs[0]
    x = np.full((3, *node.type.shape), node.high)
    export_bundle(graph, tmp_path / "net.zip", {node.name: x})
    first = (tmp_path / "net.zip").read_bytes()
    with zipfile.ZipFile(io.BytesIO(first)) as archive:
        document = json.loads(archive.read("bundle.json"))
        assert check(document, lambda name: np.load(io.BytesIO(archive.read(name)))) > 0
        golden = np.load(io.BytesIO(archive.read(document["golden"][node.name])))
    assert np.array_equal(golden, x)
    export_bundle(graph, tmp_path / "net.zip", {node.name: x})
    assert (tmp_path / "net.zip").read_bytes() == first
    assert len(list(tmp_path.iterdir())) == 1


def test_only_bundles_are_replaced(tmp_path: Path) -> None:
    graph = small()
    export_bundle(graph, tmp_path / "net")
    (tmp_path / "net" / "stale").touch()
    export_bundle(graph, tmp_path / "net")
    assert not (tmp_path / "net" / "stale").exists()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").touch()
    with pytest.raises(ExportError, match="holds other files"):
        export_bundle(graph, tmp_path / "mine")
    with pytest.raises(ExportError, match="is a file"):
        export_bundle(graph, tmp_path / "mine" / "notes.txt")
    assert {p.name for p in tmp_path.iterdir()} == {"net", "mine"}


def test_vectors_must_fit(tmp_path: Path) -> None:
    graph = small()
    node = graph.inputs[0]
    with pytest.raises(ExportError, match="must be"):
        export_bundle(graph, tmp_path / "net", {})
    with pytest.raises(ExportError, match="must lie in"):
        export_bundle(graph, tmp_path / "net", {node.name: np.full((1, *node.type.shape), 999)})
    assert list(tmp_path.iterdir()) == []
