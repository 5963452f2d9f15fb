"""Inputs with few channels: the host arranges their windows as channels, so that they fill the
lanes."""

from dataclasses import replace

from sigbit.compiler.legalize.batch import MAX_PHASES
from sigbit.ir.integer import Conv, Input, IntegerGraph, Source, tensors_of
from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.arch.program import Fold


def choose_folds(graph: IntegerGraph, config: ArchConfig) -> dict[str, Fold]:
    """Fold that saves most steps per pixel, by input; of equal ones the one with the smaller
    tensor. Inputs that gain nothing, or have several readers, are omitted."""
    folds = {}
    states = {state.input for state in graph.states}
    for node in graph.inputs:
        readers = [n for n in graph.nodes if node.name in tensors_of(n)]
        if (
            node.name in graph.outputs
            or node.name in states
            or len(readers) != 1
            or not isinstance(readers[0], Conv)
        ):
            continue
        sources = [s for s in readers[0].sources if s.tensor == node.name]
        if len(sources) == 1 and sources[0].groups == 1 and sources[0].upsampling == (1, 1):
            fold = _best(node, sources[0], config)
            if fold:
                folds[node.name] = fold
    return folds


def folded(source: Source, fold: Fold) -> Source:
    """``source`` as it reads the folded tensor: the folded taps of a kernel become channels."""
    oc, c, kh, kw = source.weights.shape
    taps = source.weights.transpose(0, 2, 3, 1)
    if fold == _whole(source):
        weights = taps.reshape(oc, kh * kw * c, 1, 1)
        return replace(source, weights=weights, stride=(1, 1), padding=(0,) * 4, dilation=(1, 1))
    assert fold == _lines(source)
    top, _, bottom, _ = source.padding
    return replace(
        source,
        weights=taps.reshape(oc, kh, kw * c).transpose(0, 2, 1)[..., None],
        stride=(source.stride[0], 1),
        padding=(top, 0, bottom, 0),
        dilation=(source.dilation[0], 1),
    )


def _best(node: Input, source: Source, config: ArchConfig) -> Fold | None:
    c, kh, kw = node.type.shape[0], *source.weights.shape[2:]
    options: list[tuple[int, int, Fold | None]] = []
    if source.stride[1] <= MAX_PHASES:
        options.append((kh * kw * -(-c // config.ic_lanes), 0, None))
    for fold, height in ((_whole(source), 1), (_lines(source), kh)):
        if min(fold.padding) >= 0:
            channels, *size = fold.shape(node.type.shape)
            slots = -(-channels // config.ic_lanes)
            options.append((height * slots, size[0] * size[1] * slots, fold))
    best = min(options, key=lambda option: option[:2], default=None)
    return best[2] if best else None


def _lines(source: Source) -> Fold:
    """Fold of windows of one line each."""
    _, left, _, right = source.padding
    width = source.weights.shape[3]
    return Fold((1, width), (1, source.stride[1]), (0, left, 0, right), (1, source.dilation[1]))


def _whole(source: Source) -> Fold:
    """Fold of whole windows."""
    kernel = source.weights.shape[2], source.weights.shape[3]
    return Fold(kernel, source.stride, source.padding, source.dilation)
