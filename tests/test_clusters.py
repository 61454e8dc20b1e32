"""helpers/clusters.py: ordinary behaviour as several clusters, and the distance from all of them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.mixture import GaussianMixture

from helpers import clusters as module
from helpers.clusters import Clusters
from helpers.settings import BUDGET

N = 2_000


def two_clusters(seed: int = 0, few: int = 0) -> np.ndarray:
    """Half around (-4, 0, 0), half around (4, 0, 0), and a few around (0, 6, 0)."""
    random = np.random.default_rng(seed)
    z = random.normal(size=(N, 3)) * [0.5, 1, 2]
    z[:, 0] += np.where(np.arange(N) % 2, 4.0, -4.0)
    z[:few] = [0, 6, 0] + random.normal(size=(few, 3)) / 10
    return z


once = pytest.fixture(scope="module")
clusters = once(lambda: Clusters.fit(two_clusters(), clusters=2, mixtures=5))


def test_what_lies_between_the_clusters_is_odd_though_it_is_in_the_middle(clusters):
    places = np.array([-4, 4, 0, 9, 1e150])[:, None] * [1, 0, 0]
    left, right, *odd = clusters.distance(places)
    assert left < 1 and right < 1 and min(odd) > 5 and np.isfinite(odd).all()
    assert clusters.distance(two_clusters()).min() == 0


def test_one_cluster_is_the_mahalanobis_distance():
    z = two_clusters()
    one = Clusters.fit(z, clusters=1, mixtures=3)
    covariance = np.cov(z, rowvar=False, bias=True) + 0.01 * np.diag(z.var(axis=0))
    away = z - z.mean(axis=0)
    squared = (away * np.linalg.solve(covariance, away.T).T).sum(axis=1)
    np.testing.assert_allclose(one.distance(z) ** 2, squared - squared.min(), atol=1e-9)


def test_log_density_is_the_mean_of_scikit_learns_whatever_the_units():
    z = two_clusters()
    scaled, expected = (z - z.mean(axis=0)) / z.std(axis=0), []
    for number in range(3):
        model = GaussianMixture(4, reg_covar=0.01, random_state=np.random.RandomState([3, number]))
        expected.append(model.fit(scaled).score_samples(scaled))
    found = Clusters.fit(z * 50 + 7, seed=3, clusters=4, mixtures=3)
    again = Clusters.fit(z * 50 + 7, seed=3, clusters=4, mixtures=3)
    assert (found.means == again.means).all() and set(found.mixture) == {0, 1, 2}
    np.testing.assert_allclose(found.log_density(z * 50 + 7), np.mean(expected, axis=0), atol=1e-8)


def test_a_cluster_below_the_budgets_share_is_no_cluster():
    few = int(BUDGET * N) - 1
    small = Clusters.fit(two_clusters(few=few), clusters=3, mixtures=1)
    assert len(small.means) == 2 and (small.distance(two_clusters(few=few)[:few]) > 4).all()
    large = two_clusters(few=10 * few)
    assert (Clusters.fit(large, clusters=3, mixtures=1).distance(large[: 10 * few]) < 4).all()


@settings(max_examples=10, deadline=None)
@given(k=st.sampled_from([1, 3, 7, 23]), cuts=st.lists(st.integers(0, 300), max_size=8))
def test_the_same_bits_for_any_cut_order_and_width(k, cuts):
    drawn = np.random.default_rng(k)
    z, whitening = drawn.normal(size=(300, k)), np.tril(drawn.normal(size=(9, k, k)))
    several = Clusters(drawn.normal(size=(9, k)), whitening, np.zeros(9), np.arange(9) // 5)
    whole, order = several.log_density(z), drawn.permutation(300)
    parts = np.split(z, sorted([*cuts, *range(70)]))  # some come one by one
    np.testing.assert_array_equal(np.concatenate([several.log_density(part) for part in parts]), whole)
    np.testing.assert_array_equal(several.log_density(np.asfortranarray(z)[order]), whole[order])


@pytest.mark.filterwarnings("error")
def test_few_different_rows_and_copied_columns_are_no_trouble():
    z = np.repeat([[0.0, 0, 0, 7], [1, 1, 2, 7], [3, 0, 3, 7]], [900, 80, 20], axis=0)  # the third is a sum
    distance = Clusters.fit(z).distance(z)
    assert np.isfinite(distance).all() and distance[0] < distance[950] < distance[-1]


def test_a_large_table_is_learned_from_evenly_spaced_rows(monkeypatch):
    monkeypatch.setattr(module, "LARGEST", 100)
    z = two_clusters()
    z[1_800:, 1] += 30  # its end is seen, too
    fitted = Clusters.fit(z, clusters=4, mixtures=1)
    assert np.median(fitted.distance(z[1_800:])) < 4


def test_a_cluster_that_experts_accuse_is_a_ring_and_no_cluster(clusters):
    z, place = two_clusters(), np.arange(N) % 20
    right = z[:, 0] > 0
    few, many = right & (place < 4), right & (place < 8)  # a fifth, two fifths of the right ones
    np.testing.assert_array_equal(clusters.without_contaminated(z, few).means, clusters.means)
    cleared = clusters.without_contaminated(z, many)
    assert len(cleared.means) == len(clusters.means) / 2 and (cleared.means[:, 0] < 0).all()
    assert (cleared.distance(z[right]) > 5).all() and cleared.distance(z[~right]).min() == 0
    nobody = clusters.without_contaminated(z, np.ones(N, dtype=bool))
    assert set(nobody.mixture) == set(clusters.mixture)  # somebody has to be ordinary
