"""Import of a plain ``nn.Module`` through ``torch.export``: every node is translated or
reported.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.utils._pytree import MappingKey, tree_flatten_with_path, tree_unflatten

from sigbit.frontend.aten.tail import AtenTail
from sigbit.frontend.cutting import cut_import, shortened_import
from sigbit.frontend.importer import Importer
from sigbit.frontend.quiet import quiet
from sigbit.frontend.report import UnsupportedModel, UnsupportedNode
from sigbit.frontend.source import Origin
from sigbit.frontend.states import with_states
from sigbit.frontend.tail import named_results
from sigbit.ir.floating import FloatGraph
from sigbit_hw.arch.names import legal_name
from sigbit_tools.errors import out_of_memory

Batches = Tensor | tuple[Tensor, ...]
"""Batches ``[batch, ...]``, one for each input of a model, or the only one."""

aten = torch.ops.aten
_KEPT = frozenset(
    [
        aten.add.Tensor,
        aten.avg_pool2d.default,
        aten.batch_norm.default,
        aten.cat.default,
        aten.conv2d.default,
        aten.dropout.default,
        aten.flatten.using_ints,
        aten.hardtanh.default,
        aten.linear.default,
        aten.max_pool2d.default,
        aten.mean.dim,
        aten.pad.default,
        aten.relu.default,
        aten.slice.Tensor,
    ]
)
"""Operations that are their own functional form: nothing in place, nothing to decompose."""


_CELLS = frozenset(
    [
        aten.gru_cell.default,
        aten.lstm_cell.default,
        aten.rnn_relu_cell.default,
        aten.rnn_tanh_cell.default,
    ]
)
"""Single steps of recurrent layers, read as the layers, functions and products they consist of."""


def as_tuple(batches: Batches) -> tuple[Tensor, ...]:
    """Return the batches as a tuple."""
    return (batches,) if isinstance(batches, Tensor) else tuple(batches)


def import_model(
    model: nn.Module,
    example_inputs: Batches,
    name: str | None = None,
    cuts: Sequence[str] = (),
) -> FloatGraph:
    """Return the float graph of ``model`` in evaluation mode; the model is left as it was. ``cuts``
    are those of :func:`graph_from_exported`.

    Raises :class:`UnsupportedModel` with one row for every node that cannot be compiled, before any
    other work.
    """
    name = name or type(model).__name__
    training = {m: m.training for m in model.modules()}
    model.eval()
    try:
        with quiet():
            exported = torch.export.export(model, as_tuple(example_inputs))
    except Exception as error:
        if out_of_memory(error):
            raise
        reason = str(error).strip().split("\n")[0]
        raise UnsupportedModel(
            name,
            (
                UnsupportedNode(
                    name,
                    "torch.export",
                    "",
                    f"the model cannot be exported ({type(error).__name__}: {reason})",
                    "write forward without data-dependent control flow (see torch.export)",
                ),
            ),
        ) from error
    finally:
        for module, mode in training.items():
            module.training = mode
    plain = _is_functional(exported)
    return _graph(exported if plain else _functional(exported, name), name, cuts)


def graph_from_exported(
    exported: ExportedProgram, name: str = "model", cuts: Sequence[str] = ()
) -> FloatGraph:
    """Return the float graph of an exported float model; raises :class:`UnsupportedModel` as
    :func:`import_model` does.

    The host continues after the nodes named ``cuts``; without cuts, after the last supported
    operations if it supports all later ones. ``UserError`` for invalid cuts.
    """
    return _graph(_functional(exported, name), name, cuts)


def _is_functional(exported: ExportedProgram) -> bool:
    """True if a model that was just exported has operations of :data:`_KEPT` only: torch, which
    traces a model once more for its functional form, would leave them as they are."""
    return all(
        node.target in _KEPT
        or (node.target is aten.adaptive_avg_pool2d.default and list(node.args[1]) == [1, 1])
        for node in exported.graph.nodes
        if node.op == "call_function"
    )


def _functional(exported: ExportedProgram, name: str) -> ExportedProgram:
    """Return the functional form: nothing done in place, and recurrent cells as their parts."""
    cells = [op for op in _CELLS if exported.graph.find_nodes(op="call_function", target=op)]
    try:
        with quiet():
            known = torch.export.default_decompositions() if cells else {}
            return exported.run_decompositions({op: known[op] for op in cells})
    except Exception as error:  # whatever an operator of a damaged graph trips over
        if out_of_memory(error):
            raise
        reason = str(error).strip().split("\n")[0]
        row = UnsupportedNode(
            name,
            "torch.export",
            "",
            f"the graph cannot be executed ({type(error).__name__}: {reason})",
            "export the model again",
        )
        raise UnsupportedModel(name, (row,)) from error


def _graph(exported: ExportedProgram, name: str, cuts: Sequence[str]) -> FloatGraph:
    """Return the float graph of an exported model in functional form; buffers that the model
    overwrites are states."""
    signature = exported.graph_signature
    target_of = {
        **signature.inputs_to_parameters,
        **signature.inputs_to_buffers,
        **signature.inputs_to_lifted_tensor_constants,
    }
    tensors = {**exported.state_dict, **exported.constants}
    # torch returns the new values of buffers first, in this order
    overwritten = list(signature.buffers_to_mutate.values())
    fit = {t for t in overwritten if _of_one_sample(tensors[t])}
    states = {n: target for n, target in target_of.items() if target in fit}
    constants = {
        n: (target, tensors[target].detach().clone())
        for n, target in target_of.items()
        if n not in states
    }
    for node in exported.graph.find_nodes(op="placeholder"):
        if node.name in states:
            node.meta["origin"] = Origin(legal_name(states[node.name]), "buffer", "")
    other = tuple(_no_state(t, tensors[t]) for t in overwritten if t not in fit)
    try:
        graph = _cut_or_whole(exported, constants, name, cuts)
    except UnsupportedModel as error:
        rows = tuple(row for row in error.rows if not (other and row.op == "output"))
        raise UnsupportedModel(name, rows or other) from error
    if other:
        raise UnsupportedModel(name, other)
    following = [legal_name(f"{target}.next") for target in overwritten]
    graph = named_results(graph, [*following, *_output_names(exported)])
    buffers = dict(zip((legal_name(t) for t in overwritten), following, strict=True))
    graph = with_states(graph, buffers)
    initial = {legal_name(target): tensors[target].detach() for target in overwritten}
    kept = tuple(replace(s, initial=initial[s.input][0].clone()) for s in graph.states)
    return replace(graph, states=kept)


def _of_one_sample(tensor: Tensor) -> bool:
    return tensor.is_floating_point() and tensor.dim() in (2, 3, 4) and len(tensor) == 1


def _no_state(target: str, tensor: Tensor) -> UnsupportedNode:
    """Return the refusal of a buffer that the model overwrites."""
    found = f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"
    reason = (
        "forward overwrites it, and a state must be a float tensor [1, C, H, W], [1, features] or "
        f"[1, steps, features], not {found}"
    )
    return UnsupportedNode(target, "buffer", "", reason, "leave it as it is, or change its shape")


def _cut_or_whole(
    exported: ExportedProgram,
    constants: Mapping[str, tuple[str, Tensor]],
    name: str,
    cuts: Sequence[str],
) -> FloatGraph:
    """Return the graph, with the operations behind a cut, or unsupported ones at its end, on the
    host."""
    if cuts:
        return cut_import(AtenTail(exported.graph, constants, name), name, cuts)
    whole = Importer(exported.graph, constants, name)
    try:
        return whole.run()
    except UnsupportedModel:
        if not whole.refused:
            raise
        network = AtenTail(exported.graph, constants, name)
        graph = shortened_import(network, name, whole.refused)
        if graph is None:
            raise
        return graph


def _output_names(exported: ExportedProgram) -> list[str]:
    """Return the keys under which the model returns its tensors; "" for a tensor without a key."""
    spec = exported.call_spec.out_spec
    if spec is None:
        return []
    places = tree_unflatten(range(spec.num_leaves), spec)
    paths, _ = tree_flatten_with_path(places)
    return [
        "_".join(str(part.key) for part in path if isinstance(part, MappingKey))
        for path, _ in paths
    ]
