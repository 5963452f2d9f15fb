"""Linear expressions: what a node computes, down to stored tensors."""

from dataclasses import replace

from sigbit.ir.floating import (
    Add,
    AvgPool2d,
    BatchNorm,
    Channels,
    Conv2d,
    ConvTranspose2d,
    FloatGraph,
    GroupSum,
    Interpolate,
    Linear,
    Multiply,
    Pad,
    Unary,
)
from sigbit.quant.plan.plans import (
    NO_PADDING,
    BiasPlan,
    Ones,
    Separable,
    SourcePlan,
    SquarePlan,
)
from sigbit.quant.plan.structure import VIEWS, Structure
from sigbit.quant.plan.tensors import Expression, Tensors


class Expressions:
    """Expressions of the nodes of ``graph``."""

    def __init__(self, graph: FloatGraph, structure: Structure, tensors: Tensors) -> None:
        self._graph, self._structure, self._tensors = graph, structure, tensors
        self._plans = tensors.plans

    def of(self, name: str) -> Expression:
        """Return the linear expression that node ``name`` computes, down to stored tensors."""
        node = self._graph[name]
        match node:
            case _ if isinstance(node, VIEWS):
                return self.of(node.inputs[0])
            case Conv2d():
                tensor, padding = self._tensors.bordered(node.inputs[0], node.padding)
                height, width = self._graph.parameters[node.weight].shape[2:]
                source = replace(
                    self._tensors.plain(tensor),
                    weight=node.weight,
                    kernel=(height, width),
                    stride=node.stride,
                    padding=padding,
                    groups=node.groups,
                    dilation=node.dilation,
                )
                return Expression((source,), _bias(node.bias))
            case ConvTranspose2d():
                return self._transposed(node)
            case Linear():
                tensor, padding = self._tensors.view(node.inputs[0])
                _, height, width = self._structure.image(node.inputs[0])
                source = replace(
                    self._tensors.plain(tensor, padding),
                    weight=node.weight,
                    kernel=(height, width),
                    groups=1,
                )
                return Expression((source,), _bias(node.bias))
            case Interpolate():
                tensor, padding = self._tensors.bordered(node.inputs[0], NO_PADDING)
                if any(padding):
                    tensor = self._tensors.stored(node.inputs[0])
                source = replace(
                    self._tensors.plain(tensor, node.padding),
                    kernel=(len(node.lines), len(node.columns)),
                    taps=Separable(node.lines, node.columns),
                    stride=node.stride,
                    upsampling=node.factor,
                    scale=1 / node.divisor,
                )
                return Expression((source,))
            case AvgPool2d():
                tensor, padding = self._tensors.bordered(node.inputs[0], node.padding)
                source = replace(
                    self._tensors.plain(tensor, padding),
                    kernel=node.kernel,
                    stride=node.stride,
                    scale=1 / node.divisor,
                )
                return Expression((source,))
            case GroupSum():
                tensor, padding = self._tensors.view(node.inputs[0])
                source = replace(
                    self._tensors.plain(tensor, padding),
                    taps=Ones(node.copies),
                    groups=node.groups,
                    scale=node.factor,
                )
                return Expression((source,))
            case BatchNorm():
                return self.operand(node.inputs[0]).normalized(node)
            case Unary():
                return self.operand(node.inputs[0]).negated()
            case Channels():
                return self.of(node.inputs[0]).rows(node.index)
            case Add():
                parts = [self.operand(i) for i in node.inputs]
                return Expression(
                    tuple(s for p in parts for s in p.sources),
                    tuple(b for p in parts for b in p.biases),
                )
            case Multiply():
                return self._product(node)
        raise AssertionError(f"{node.name} is not linear")

    def operand(self, name: str) -> Expression:
        """Return the value of node ``name`` as an operand of another one: a stored tensor, or else
        its expression."""
        node = self._structure.origin(name)
        if isinstance(node, Pad) or self._structure.is_tensor(node):
            return Expression((self._tensors.plain(*self._tensors.view(node.name)),))
        return self.of(node.name)

    def _transposed(self, node: ConvTranspose2d) -> Expression:
        tensor, border = self._tensors.view(node.inputs[0])
        if min(border) < 0:
            tensor, border = self._tensors.stored(node.inputs[0]), NO_PADDING
        height, width = self._graph.parameters[node.weight].shape[2:]
        reach = ((height - 1) * node.dilation[0], (width - 1) * node.dilation[1])
        top, left, bottom, right = (
            r + b * s - c
            for r, b, s, c in zip(reach * 2, border, node.stride * 2, node.crop, strict=True)
        )
        source = replace(
            self._tensors.plain(tensor),
            weight=node.weight,
            kernel=(height, width),
            padding=(top, left, bottom, right),
            groups=node.groups,
            dilation=node.dilation,
            upsampling=node.stride,
            transposed=True,
        )
        return Expression((source,), _bias(node.bias))

    def _product(self, node: Multiply) -> Expression:
        """Return a product as the difference of two quarter squares."""
        shape = self._structure.image(node.name)
        operands: list[SourcePlan] = []
        for name in node.inputs:
            if self._structure.is_spread(self._graph[name]):
                operands += self.of(name).sources
                continue
            if self._structure.image(name) == shape:
                tensor, padding = self._tensors.view(name)
            else:
                tensor, padding = (
                    self._tensors.broadcast(self._tensors.stored(name), shape, node),
                    NO_PADDING,
                )
            operands.append(self._tensors.plain(tensor, padding))
        negative = any(self._tensors.negative(s.tensor) for s in operands)
        halves = []
        for sign, half in ((1, "sum"), (-1, "difference")):
            name = f"{node.name}.{half}"
            if name not in self._plans:
                self._plans[name] = SquarePlan(
                    name, shape, tuple(operands), sign, node.name, float(negative), node.location
                )
            halves.append(replace(self._tensors.plain(name), scale=float(sign)))
        return Expression(tuple(halves), product=True)


def _bias(name: str | None) -> tuple[BiasPlan, ...]:
    return () if name is None else (BiasPlan(name),)
