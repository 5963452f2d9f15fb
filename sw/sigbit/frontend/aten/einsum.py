"""Translation of einsum: contractions of two operands as products of matrices."""

import math
from collections.abc import Sequence

import numpy as np
from torch import Tensor
from torch.fx import Node as FxNode

from sigbit.frontend.aten.attention import product
from sigbit.frontend.aten.layers import times_matrix
from sigbit.frontend.translation import Translation
from sigbit.frontend.values import Computed, Refusal, Value

_OTHERS = "0123456789"


def einsum(t: Translation) -> Value:
    """einsum of two computed tensors, or of a computed one and a constant, whose sums run over axes
    of both."""
    operands = t.argument("tensors")
    t.in_shape("path")
    if len(operands) != 2:
        raise Refusal(f"einsum of {len(operands)} operands", "use one einsum for two operands")
    terms, result = _terms(str(t.argument("equation")), operands)
    constants = [v if isinstance(v := t.values.get(x), Tensor) else None for x in operands]
    first = 0 if constants[0] is None else 1
    a, b = terms[first], terms[1 - first]
    x, matrix = t.known(operands[first]), constants[1 - first]
    if a[0] != result[0] or (matrix is None and b[0] != result[0]) or result[0] in a[1:]:
        raise Refusal("einsum whose first axes are not the samples", "keep the batch first")
    if any(len(set(term)) < len(term) for term in (a, b, result)):
        raise Refusal("einsum of a diagonal", "name every axis of an operand once")
    samples = result[0]
    a, out = a[1:], result[1:]
    b = b if matrix is not None else b[1:]
    if matrix is not None and samples in b:
        raise Refusal("einsum of a constant that differs from sample to sample", "use one for all")
    lead = [n for n in out if n in a and n in b]
    rows, columns = ([n for n in out if n in p and n not in q] for p, q in ((a, b), (b, a)))
    inner = [n for n in a if n in b and n not in out]
    if {*a, *b} != {*lead, *rows, *columns, *inner} or not inner:
        raise Refusal(
            "einsum that is no product of matrices",
            "sum over axes of both operands; multiply with *, sum with sum()",
        )
    left = _grouped(t, x, a, (lead, rows, inner))
    if matrix is None:
        y = t.known(operands[1 - first])
        sizes = dict(zip(a, t.size(x), strict=True)) | dict(zip(b, t.size(y), strict=True))
        found = product(t, left, _grouped(t, y, b, (lead, inner, columns)))
    else:
        if lead:
            raise Refusal("einsum of several constant matrices", "use one matrix, or Linear layers")
        sizes = dict(zip(b, matrix.shape, strict=True)) | dict(zip(a, t.size(x), strict=True))
        turned = matrix.permute([b.index(n) for n in (*columns, *inner)])
        count = math.prod(sizes[n] for n in columns)
        weight = t.derived("weight", turned.reshape(count, -1))
        value = times_matrix(t, left, weight, None)
        assert isinstance(value, Computed)
        found = value
    order = (*lead, *rows, *columns)
    index = t.index(found).reshape([sizes[n] for n in order])
    return t.chosen(found, index.transpose([order.index(n) for n in out]))


def _terms(equation: str, operands: Sequence[FxNode]) -> tuple[list[str], str]:
    """Return the axes of the operands and of the result, one letter each."""
    equation = equation.replace(" ", "")
    given, arrow, result = equation.partition("->")
    terms = given.split(",")
    if not arrow:
        once = sorted(c for c in {*given} - {*",."} if given.count(c) == 1)
        result = ("..." if "..." in given else "") + "".join(once)
    ranks = [o.meta["val"].dim() for o in operands]
    most = 0
    for i, (term, rank) in enumerate(zip(terms, ranks, strict=True)):
        if "..." in term:
            count = rank - len(term) + 3
            most = max(most, count)
            terms[i] = term.replace("...", _OTHERS[len(_OTHERS) - count :])
    return terms, result.replace("...", _OTHERS[len(_OTHERS) - most :])


def _grouped(
    t: Translation, value: Computed, axes: str, groups: tuple[list[str], list[str], list[str]]
) -> Computed:
    """Return a value with the axes of the first group, then those of each other as one."""
    index = t.index(value)
    if index.ndim != len(axes):
        raise Refusal("einsum of axes that broadcast", "give every axis a letter")
    sizes = dict(zip(axes, index.shape, strict=True))
    turned = index.transpose([axes.index(n) for group in groups for n in group])
    lead, *others = groups
    shape = [sizes[n] for n in lead] + [math.prod(sizes[n] for n in group) for group in others]
    return Computed(value.tensor, np.ascontiguousarray(turned).reshape(shape), value.origin)
