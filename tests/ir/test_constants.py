"""Constant arrays by content: digests, and one array for equal weights."""

import gc

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from sigbit.compiler.random_graph import Builder
from sigbit.ir import constants
from sigbit.ir.constants import Pool, digest, digests
from sigbit.ir.integer import Conv
from sigbit_hw.arch.config import PRESETS

SMALL = arrays.arrays(
    st.sampled_from([np.int64, np.uint8, np.int16]),
    arrays.array_shapes(min_dims=1, max_dims=3, max_side=3, min_side=0),
    elements=st.integers(0, 2),
)


@given(SMALL, SMALL)
def test_digests_are_equal_where_contents_are(a: np.ndarray, b: np.ndarray) -> None:
    same = a.dtype == b.dtype and a.shape == b.shape and np.array_equal(a, b)
    assert (digest(a) == digest(b)) == same
    assert digest(a) == digest(a.copy()) == digest(np.asfortranarray(a))


def test_views_have_the_digest_of_their_elements() -> None:
    whole = np.arange(24).reshape(2, 3, 4)
    part = whole[:, ::2, 1:3]
    assert digest(part) == digest(part.copy()) != digest(whole)
    assert digests([None, part]) == (b"", digest(part))


def test_a_digest_is_computed_once_and_forgotten_with_its_array() -> None:
    gc.collect()
    before = len(constants._known)
    array = np.arange(5)
    first = digest(array)
    assert digest(array) is first
    assert len(constants._known) == before + 1
    del array
    gc.collect()
    assert len(constants._known) == before


def test_an_id_that_is_used_again_is_another_array() -> None:
    """Arrays come and go at the same address: none gets the digest of one before."""
    seen = set()
    for value in range(300):
        array = np.full(7, value)
        assert digest(array) == digest(array.copy())
        seen.add(digest(array))
    assert len(seen) == 300


def test_a_pool_keeps_the_first_of_every_content() -> None:
    pool = Pool()
    a, b, c = np.ones((2, 2), np.int64), np.ones((2, 2), np.int64), np.ones(4, np.int64)
    assert pool.intern(a) is a
    assert pool.intern(b) is a
    assert pool.intern(c) is c


def test_equal_weights_of_a_graph_are_one_array(rng: np.random.Generator) -> None:
    b = Builder(rng, PRESETS["nano"])
    x = b.input((4, 6, 6), 1)
    for _ in range(3):
        x = b.conv([b.source(x, 4, (2, 2), depthwise=True, ones=True)])
    graph = b.graph(b.conv([b.source(x, 5, (1, 1))]))
    weights = [s.weights for n in graph.nodes if isinstance(n, Conv) for s in n.sources]
    assert len(weights) == 4
    assert len({id(w) for w in weights}) == 2
