"""helpers/rows.py: the same bits for a row whatever rows come with it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.rows import AT_ONCE, in_blocks, row_sums

N = 2 * AT_ONCE + 22
X = np.random.default_rng(0).normal(size=(N, 23))
WEIGHTS = np.random.default_rng(1).normal(size=(23, 640))


def product(x: np.ndarray) -> np.ndarray:
    return in_blocks(lambda rows: rows @ WEIGHTS, x)


@pytest.mark.parametrize(
    ("function", "plain"), [(product, lambda x: x @ WEIGHTS), (row_sums, lambda x: x.sum(axis=1))]
)
@settings(max_examples=10, deadline=None)
@given(cuts=st.lists(st.integers(0, N), max_size=6))
def test_a_row_has_the_same_bits_in_any_cut_and_memory_order(function, plain, cuts):
    whole = function(X)
    np.testing.assert_allclose(whole, plain(X), atol=1e-12)
    for x in (X, np.asfortranarray(X)):
        np.testing.assert_array_equal(np.concatenate([function(p) for p in np.split(x, sorted(cuts))]), whole)
    order = np.random.default_rng(len(cuts)).permutation(N)
    np.testing.assert_array_equal(function(X[order]), whole[order])
    np.testing.assert_array_equal([function(X[i : i + 1])[0] for i in range(0, N, 97)], whole[::97])


def test_the_function_sees_blocks_of_one_shape_and_no_row_of_none():
    shapes = []
    for n in (AT_ONCE + 1, 0):
        assert in_blocks(lambda rows: shapes.append(rows.shape) or rows, X[:n]).shape == (n, 23)
    assert shapes == [(AT_ONCE, 23)] * 3 and row_sums(X[:0]).shape == (0,)
