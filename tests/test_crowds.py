"""helpers/crowds.py: ordinary behaviour as several crowds, and the distance from all of them."""

from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import multivariate_normal
from sklearn.mixture import GaussianMixture

from helpers.crowds import LARGEST, ROWS_AT_ONCE, Crowds
from helpers.settings import BUDGET

N = 2_000


def two_crowds(seed: int = 0, n: int = N, few: int = 0) -> np.ndarray:
    """Half around (-4, 0, 0), half around (4, 0, 0), and a few around (0, 6, 0)."""
    random = np.random.default_rng(seed)
    z = random.normal(size=(n, 3)) * [0.5, 1, 2]
    z[:, 0] += np.where(np.arange(n) % 2, 4.0, -4.0)
    z[:few] = [0, 6, 0] + random.normal(size=(few, 3)) / 10
    return z


@pytest.fixture(scope="module")
def crowds() -> Crowds:
    return Crowds.fit(two_crowds(), crowds=2)


def test_what_lies_between_the_crowds_is_odd_though_it_is_in_the_middle(crowds):
    middle, left, right, outside = crowds.distance(np.array([[0, 0, 0], [-4, 0, 0], [4, 0, 0], [9, 0, 0.0]]))
    assert left < 1 and right < 1 and middle > 5 and outside > 5
    assert Crowds.fit(two_crowds(), crowds=1).distance(np.zeros((1, 3)))[0] < 0.5  # one crowd does not see it


def test_one_crowd_is_the_mahalanobis_distance():
    z = two_crowds()
    one = Crowds.fit(z, crowds=1, mixtures=1)
    cov = np.cov(z, rowvar=False, bias=True) + 0.01 * np.diag(z.var(axis=0))
    away = z - z.mean(axis=0)
    squared = (away * np.linalg.solve(cov, away.T).T).sum(axis=1)
    np.testing.assert_allclose(one.distance(z) ** 2, squared - squared.min(), atol=1e-9)


def test_log_density_is_scikit_learns_in_the_tables_own_units():
    z = two_crowds() * 50 + 7
    scale, centre = z.std(axis=0), z.mean(axis=0)
    random = np.random.RandomState([3, 0])
    model = GaussianMixture(2, reg_covar=0.01, random_state=random).fit((z - centre) / scale)
    expected = model.score_samples((z - centre) / scale) - np.log(scale).sum()
    found = Crowds.fit(z, seed=3, crowds=2, mixtures=1).log_density(z)
    np.testing.assert_allclose(found - found[0], expected - expected[0], atol=1e-8)


def test_several_mixtures_are_averaged():
    z = two_crowds()
    several = Crowds.fit(z, seed=5, crowds=4, mixtures=3)
    assert set(several.mixture) == {0, 1, 2}
    alone = []
    for number in range(3):
        mine = several.mixture == number
        one = [
            np.log(multivariate_normal(mean, np.linalg.inv(w @ w.T)).pdf(z))
            + height
            - np.log(w.diagonal()).sum()
            for mean, w, height in zip(
                several.means[mine], several.whitening[mine], several.heights[mine], strict=True
            )
        ]
        alone.append(np.logaddexp.reduce(one) + 3 / 2 * np.log(2 * np.pi))
    np.testing.assert_allclose(several.log_density(z), np.mean(alone, axis=0), atol=1e-8)


def test_a_crowd_below_the_budgets_share_is_no_crowd():
    few = int(BUDGET * N) - 2
    z = two_crowds(few=few)
    small = Crowds.fit(z, crowds=3, mixtures=1)
    assert len(small.means) == 2 and (small.distance(z[:few]) > 4).all()
    large = two_crowds(few=10 * few)
    assert (Crowds.fit(large, crowds=3, mixtures=1).distance(large[: 10 * few]) < 4).all()


def test_distance_is_zero_where_most_events_are_and_finite_far_away(crowds):
    z = two_crowds()
    distance = crowds.distance(z)
    assert distance.min() == 0 and (distance >= 0).all()
    far = crowds.distance(np.array([[1e6, -1e6, 1e6], [1e150, 0, 0]]))
    assert np.isfinite(far).all() and far[1] > far[0] > 1e5


@settings(max_examples=20, deadline=None)
@given(cuts=st.lists(st.integers(0, N), max_size=8))
def test_the_same_bits_for_any_cut(crowds, cuts):
    z, parts = two_crowds(1), [0, *sorted(cuts), N]
    cut = [crowds.distance(z[a:b]) for a, b in pairwise(parts)]
    np.testing.assert_array_equal(np.concatenate(cut), crowds.distance(z))


@pytest.mark.parametrize("k", [1, 3, 7, 23, 28])
def test_the_same_bits_for_tables_of_any_width(k):
    z = np.random.default_rng(k).normal(size=(1_500, k))
    many = Crowds.fit(z, crowds=9)
    whole = many.distance(z)
    for shift in (1, 2, 3, 5, 8, 100):
        np.testing.assert_array_equal(many.distance(z[shift:]), whole[shift:])


def test_the_same_bits_one_at_a_time_and_shuffled(crowds):
    z = two_crowds(1)
    whole, order = crowds.distance(z), np.random.default_rng(0).permutation(N)
    one_by_one = [crowds.distance(z[i : i + 1])[0] for i in range(ROWS_AT_ONCE + 50)]
    np.testing.assert_array_equal(one_by_one, whole[: ROWS_AT_ONCE + 50])
    np.testing.assert_array_equal(crowds.distance(np.asfortranarray(z)[order]), whole[order])
    assert crowds.distance(z[:0]).shape == (0,)


def test_the_seed_decides_and_json_keeps_everything():
    z = two_crowds()
    one, same, other = (Crowds.fit(z, seed=seed, crowds=5) for seed in (1, 1, 2))
    assert one.to_dict() == same.to_dict() != other.to_dict()
    again = Crowds.from_dict(json.loads(json.dumps(one.to_dict())))
    np.testing.assert_array_equal(again.distance(z), one.distance(z))


@pytest.mark.filterwarnings("error")
def test_few_different_rows_and_copied_columns_are_no_trouble():
    z = np.repeat([[0.0, 0, 0], [1, 1, 2], [3, 0, 3]], [900, 80, 20], axis=0)  # the third is a sum
    distance = Crowds.fit(z).distance(z)
    assert np.isfinite(distance).all() and distance[0] < distance[950] < distance[-1]


def test_a_large_table_is_learned_from_evenly_spaced_rows():
    z = two_crowds(n=LARGEST + 5_000)
    z[LARGEST:, 1] += 3  # its end is seen, too
    fitted = Crowds.fit(z, crowds=4, mixtures=1)
    assert np.median(fitted.distance(z[LARGEST:])) < 4


def test_a_crowd_that_experts_accuse_is_a_ring_and_no_crowd():
    z = two_crowds()
    crowds, right = Crowds.fit(z, crowds=2), z[:, 0] > 0
    few, many = right & (np.arange(N) % 10 < 2), right & (np.arange(N) % 10 < 4)  # a fifth, two fifths
    assert crowds.without_rings(z, few).to_dict() == crowds.to_dict()
    cleared = crowds.without_rings(z, many)
    assert len(cleared.means) == len(crowds.means) / 2 and (cleared.means[:, 0] < 0).all()
    assert (cleared.distance(z[right]) > 5).all() and cleared.distance(z[~right]).min() == 0
    nobody = crowds.without_rings(z, np.ones(N, dtype=bool))
    assert set(nobody.mixture) == set(crowds.mixture)  # somebody has to be ordinary


def test_shapes_are_those_of_the_mixture():
    z = two_crowds()
    (mean,), (covariance,) = Crowds.fit(z, crowds=1, mixtures=2).shapes(1)
    np.testing.assert_allclose(mean, z.mean(axis=0), atol=1e-9)
    expected = np.cov(z, rowvar=False, bias=True) + 0.01 * np.diag(z.var(axis=0))
    np.testing.assert_allclose(covariance, expected, atol=1e-9)
