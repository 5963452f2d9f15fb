"""The report of ``sigbit inspect`` on an integer model."""

from sigbit.flows.model_facts import ModelFacts, TensorFacts
from sigbit.flows.pages.identity import FOOTER, provenance
from sigbit.flows.pages.numbers import grid_use
from sigbit.report import sections
from sigbit.report.components import Card, Column, table
from sigbit.report.page import Section, render
from sigbit.report.units import count, size


def page(found: ModelFacts, command: str) -> str:
    """Return a self-contained page of an integer model read in detail; ``command`` is the command
    that reproduces it."""
    parts = [
        sections.headline(
            [
                Card("Layers", f"{len(found.layers):,}"),
                Card("Weights", count(sum(layer.weights for layer in found.layers))),
                Card("Native multiply-accumulates", count(found.macs), "per sample"),
                Card("File", size(found.file_bytes)),
            ]
        ),
        _tensors(found),
    ]
    if found.weights:
        lead = "Integers of the weights, terms added up."
        parts += [
            grid_use(found.weights, (), lead),
            sections.codes("Weights", found.weights, "steps of the grid", lead),
        ]
    parts += [_layers(found), provenance(command, {"integer model": f"digest {found.digest}"})]
    return render(
        f"Integer model {found.name}",
        f"{len(found.layers)} layers, weights {found.weight_format}, activations "
        f"{found.act_format}. Cycles and memory follow from an accelerator: compile it first.",
        None,
        parts,
        FOOTER,
    )


def _tensors(found: ModelFacts) -> Section:
    columns = [Column("tensor"), Column("name", code=True), Column("shape"), Column("axes")]
    columns += [Column(n, number=True) for n in ("planes", "scale", "zero")]
    rows = [
        *(_tensor("input", tensor) for tensor in found.inputs),
        *(_tensor("output", tensor) for tensor in found.outputs),
    ]
    return Section("Inputs and outputs", table(columns, rows))


def _tensor(role: str, tensor: TensorFacts) -> tuple[object, ...]:
    shape = " × ".join(map(str, tensor.shape))
    scale = f"{tensor.scale:.6g}"
    return (role, tensor.name, shape, tensor.axes, tensor.planes, scale, tensor.zero)


def _layers(found: ModelFacts) -> Section:
    columns = [Column("layer"), Column("kind"), Column("shape"), Column("weight terms")]
    columns += [Column(n, number=True) for n in ("planes", "weights", "native MACs")]
    rows = [
        (
            layer.name,
            layer.kind,
            " × ".join(map(str, layer.shape)),
            " + ".join(map(str, layer.terms)),
            layer.planes,
            f"{layer.weights:,}",
            f"{layer.macs:,}",
            layer.location,
        )
        for layer in found.layers
    ]
    return Section("Layers", table([*columns, Column("source", code=True)], rows))
