"""PyTorch's operator database: sample inputs of every operator; the first float tensor of each is
the network's input."""

import importlib.util
import itertools
import random
import sys
import unittest
import warnings
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_unflatten

from sigbit.bench.imports.verdicts import Expected, Judged, Verdict, judge
from sigbit.frontend import import_model

SUITE = "torch"
LEFT_OUT = (
    "__", "_batch_norm", "_chunk_cat", "_native_batch_norm", "_segment", "_softmax_backward",
    "_unsafe", "_upsample", "bernoulli", "broadcast_shapes", "cauchy", "cdouble", "cfloat", "chalf",
    "cholesky", "complex", "empty", "equal", "exponential", "fft.", "geometric", "geqrf",
    "hash_tensor", "histc", "histogram", "igamma", "istft", "item", "jiterator", "linalg.",
    "log_normal", "lu", "masked.", "max_pool2d_with_indices_backward", "multinomial", "mvlgamma",
    "native_dropout_backward", "new_", "nn.functional.alpha_dropout", "nn.functional.cross_entropy",
    "nn.functional.ctc_loss", "nn.functional.dropout", "nn.functional.feature_alpha_dropout",
    "nn.functional.fractional", "nn.functional.linear_cross_entropy", "nn.functional.max_unpool",
    "nn.functional.rrelu", "normal", "polygamma", "rand", "resize", "signal.", "sparse.",
    "special.", "stft", "svd", "to_sparse", "torch.", "uniform", "view_as_complex",
)  # fmt: skip
"""Prefixes of the names of operators that no network contains: linear algebra, special functions,
random numbers, other layouts, gradients, internals of torch, and losses other than these."""
GIVE_UP = 3
"""Number of refusals of an operator without a translator after which its other cases are
skipped."""
_PER_VARIANT = {"image": 6, "vector": 3, "given": 6, "several": 4, "batched": 4}
"""Maximum number of cases of every kind: with an image [2, 3, 4, 6] or a vector [2, 6] as first
operand; as sampled; as sampled with several computed operands; with a leading batch."""


@dataclass(frozen=True)
class Case:
    """A call of an operator; ``inputs`` are the network's inputs among its flattened arguments."""

    name: str
    function: Any
    leaves: tuple[Any, ...]
    spec: Any
    inputs: tuple[int, ...]

    @cached_property
    def module(self) -> nn.Module:
        """A network that consists of this call."""
        return _Call(self).eval()

    @property
    def given(self) -> tuple[Tensor, ...]:
        """The inputs as sampled."""
        return tuple(self.leaves[i].detach().clone() for i in self.inputs)


class _Call(nn.Module):
    """One call; tensors that are not inputs are buffers."""

    def __init__(self, case: Case) -> None:
        super().__init__()
        self._case = case
        for i, leaf in enumerate(case.leaves):
            if isinstance(leaf, Tensor) and i not in case.inputs:
                self.register_buffer(f"b{i}", leaf.detach().clone())

    def forward(self, *inputs: Tensor) -> Any:
        """Call the operator."""
        case = self._case
        given = dict(zip(case.inputs, inputs, strict=True))
        leaves = [
            given[i] if i in given else getattr(self, f"b{i}") if isinstance(leaf, Tensor) else leaf
            for i, leaf in enumerate(case.leaves)
        ]
        args, kwargs = tree_unflatten(leaves, case.spec)
        return case.function(*args, **kwargs)


def operators() -> list[str]:
    """Names of all operators that are tested."""
    return [name for name, _, _ in _operators()]


def cases(only: Collection[str] | None = None) -> Iterator[Case]:
    """Every case, or those with these names."""
    for name, function, samples in _operators():
        if only is None or any(n.startswith(f"{name}/") for n in only):
            for case in _cases(name, function, samples()):
                if only is None or case.name in only:
                    yield case


def judge_suite(only: Collection[str] | None = None) -> Iterator[Judged]:
    """Judge every case, or those with these names."""
    hopeless: Counter[str] = Counter()
    for case in cases(only):
        operator = case.name.split("/")[0]
        if only is None and hopeless[operator] == GIVE_UP:
            continue
        if (found := judge_case(case)) is not None:
            yield found
            never = found.verdict is Verdict.REFUSED and "not supported on" in found.reason
            hopeless[operator] += 1 if never else -1_000_000


def judge_case(case: Case) -> Judged | None:
    """Judge one case, on the sampled inputs and on others of the same shapes; None if it is not a
    function of its inputs to tensors."""
    torch.manual_seed(1)
    first = case.given
    others = tuple(torch.randn_like(x) * (_spread(x) + 0.5) for x in first)
    expected = []
    for inputs in (first, others):
        both = [results(case, inputs) for _ in range(2)]
        if both[0] is None or both[1] is None:
            break
        if not all(_equal(a, b) for a, b in zip(*both, strict=True)):
            return None  # random
        expected.append(Expected(inputs, both[0]))
    if not expected:
        return None
    return judge(SUITE, case.name, lambda: import_model(case.module, first), expected)


def _spread(x: Tensor) -> float:
    return float(x.double().std()) if x.numel() > 1 else 1.0


def results(case: Case, inputs: Sequence[Tensor]) -> list[Tensor] | None:
    """Results of torch; None if it raises an error, or returns anything but real tensors."""
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what is deprecated in torch
            found = case.module(*(x.clone() for x in inputs))
    except Exception:  # samples that only some variants of an operator allow
        return None
    leaves, _ = tree_flatten(found)
    if leaves and all(isinstance(r, Tensor) and not r.is_complex() for r in leaves):
        return leaves
    return None


def _equal(a: Tensor, b: Tensor) -> bool:
    return torch.equal(a.double().nan_to_num(), b.double().nan_to_num())


def _operators() -> Iterator[tuple[str, Any, Any]]:
    """Name, function and sampler of every operator that a network can contain."""
    for operator in sorted(_database(), key=lambda o: (o.name, o.variant_test_name)):
        named = operator.name.startswith(LEFT_OUT) or "loss" in operator.name
        if named or torch.float32 not in operator.dtypes:
            continue
        variant = operator.variant_test_name
        name = f"{operator.name}.{variant}" if variant else operator.name
        yield name, operator.op, lambda o=operator: _samples(o)


def _database() -> list[Any]:
    """The operator database. It is part of torch's own tests, whose base class comes from a
    separate package, ``expecttest``; nothing here uses it, so it need not be installed."""
    if "expecttest" not in sys.modules and importlib.util.find_spec("expecttest") is None:
        stand_in = ModuleType("expecttest")
        vars(stand_in)["TestCase"] = unittest.TestCase
        sys.modules["expecttest"] = stand_in
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations inside torch
        from torch.testing._internal.common_methods_invocations import op_db
    return list(op_db)


def _samples(operator: Any) -> list[Any]:
    """Samples, identical in every run."""
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002  # what torch's samplers draw from
    torch.manual_seed(0)
    samples = operator.sample_inputs("cpu", torch.float32, requires_grad=False)
    return list(itertools.islice(samples, 200))


def _cases(name: str, function: Any, samples: Sequence[Any]) -> Iterator[Case]:
    """Cases of an operator, every call once, evenly distributed over the samples."""
    kinds: dict[str, list[tuple[tuple[Any, ...], Any, tuple[int, ...]]]] = {}
    seen: set[str] = set()
    for sample in samples:
        leaves, spec = tree_flatten(((sample.input, *sample.args), sample.kwargs))
        for kind, changed, inputs in _kinds(leaves, isinstance(sample.input, (list, tuple))):
            key = f"{kind} {inputs} {spec} {[_shown(leaf) for leaf in changed]}"
            if key not in seen:
                seen.add(key)
                kinds.setdefault(kind, []).append((tuple(changed), spec, inputs))
    for kind, most in _PER_VARIANT.items():
        found = kinds.get(kind, [])
        step = max(1, len(found) / most)
        for number in range(min(most, len(found))):
            arguments, spec, inputs = found[int(number * step)]
            yield Case(f"{name}/{kind}{number}", function, arguments, spec, inputs)


def _kinds(leaves: list[Any], listed: bool) -> Iterator[tuple[str, list[Any], tuple[int, ...]]]:
    """Variants of a sample whose arguments are ``leaves``; ``listed``: its first argument is a list
    of tensors."""
    floats = [i for i, v in enumerate(leaves) if isinstance(v, Tensor) and v.dtype == torch.float32]
    if not floats:
        return
    first = floats[0]
    x: Tensor = leaves[first]
    for kind, shape in (("image", (2, 3, 4, 6)), ("vector", (2, 6))):
        chosen = floats if listed else floats[:1]
        changed = [torch.randn(shape) if i in chosen else v for i, v in enumerate(leaves)]
        yield kind, changed, tuple(chosen)
    if x.dim() in (2, 3, 4) and x.numel():
        yield "given", leaves, (first,)
        alike = [i for i in floats if leaves[i].dim() in (2, 3, 4) and leaves[i].numel()]
        alike = [i for i in alike if leaves[i].shape[0] == x.shape[0]]
        if len(alike) > 1:
            yield "several", leaves, tuple(alike)
    if x.dim() <= 3 and x.numel():
        both = torch.stack([x, 0.9 * x])
        while both.dim() < 2 or both.dim() == 3:
            both = both.unsqueeze(1)
        yield "batched", [both if i == first else v for i, v in enumerate(leaves)], (first,)


def _shown(leaf: Any) -> str:
    return f"{leaf.dtype}{tuple(leaf.shape)}" if isinstance(leaf, Tensor) else repr(leaf)
