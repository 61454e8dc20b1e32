"""Ordinary behaviour is many clusters: mixtures of Gaussians, and how far from all of them an event lies."""

import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self

import numpy as np

from helpers.rows import in_blocks
from helpers.settings import BUDGET, CLUSTERS, CONTAMINATED, MIXTURES

REGULARISED = 0.01  # of each input's variance, added to that of a cluster: none is thinner
LARGEST = 30_000  # events that a mixture is fitted on; of more, evenly spaced ones


@dataclass(frozen=True)
class Clusters:
    """Several mixtures of Gaussians, all fitted to the same events; m clusters in all.

    Attributes:
        means: (m, k) where the clusters stand.
        whitening: (m, k, k) turns an event's way from a cluster into k uncorrelated numbers of unit variance.
        heights: (m,) logarithm of a cluster's share times its density in its middle.
        mixture: (m,) int, which mixture a cluster belongs to.
        peak: the largest log density, averaged over the mixtures, among the events they were fitted to.
    """

    means: np.ndarray
    whitening: np.ndarray
    heights: np.ndarray
    mixture: np.ndarray
    peak: float = 0.0

    @classmethod
    def fit(cls, z: np.ndarray, seed: int = 0, clusters: int = CLUSTERS, mixtures: int = MIXTURES) -> Self:
        """Find the clusters of (n, k) events, such as robust z-scores; no label is needed.

        Clusters with a smaller share of the events than the alert budget are left out, because behaviour
        that rare is what analysts should see. Where a mixture begins is chance (`seed`), so several are
        averaged.
        """
        from sklearn.mixture import GaussianMixture
        from threadpoolctl import threadpool_limits

        centre, scale = z.mean(axis=0), z.std(axis=0)
        scale = np.where(scale > 0, scale, 1)  # one value among these events: any other is odd
        rows = (z[np.linspace(0, len(z) - 1, min(len(z), LARGEST)).astype(int)] - centre) / scale
        clusters = min(clusters, len(np.unique(rows, axis=0)))

        def fitted(number: int) -> tuple[np.ndarray, ...]:
            chance = np.random.RandomState([seed, number])
            model = GaussianMixture(clusters, reg_covar=REGULARISED, random_state=chance).fit(rows)
            whole = model.weights_ >= BUDGET
            whitening = model.precisions_cholesky_[whole]
            steep = np.log(np.diagonal(whitening, axis1=1, axis2=2)).sum(axis=1)
            heights = np.log(model.weights_[whole]) + steep - z.shape[1] / 2 * np.log(2 * np.pi)
            return (
                model.means_[whole] * scale + centre,
                whitening / scale[:, None],
                heights,
                np.full(whole.sum(), number),
            )

        with warnings.catch_warnings(), threadpool_limits(1), ThreadPoolExecutor(mixtures) as pool:
            warnings.simplefilter("ignore")  # a mixture that still moves a little after 100 rounds will do
            parts = list(zip(*pool.map(fitted, range(mixtures)), strict=True))
        return cls(*map(np.concatenate, parts))._with_peak(z)

    def _with_peak(self, z: np.ndarray) -> Self:
        return replace(self, peak=float(self.log_density(z).max()))

    @cached_property
    def _polynomial(self) -> np.ndarray:
        """(m, 1 + k + k (k + 1) / 2) each cluster's log density is a polynomial of second degree: weights of
        1, of the inputs, and of their products two by two."""
        precision = self.whitening @ self.whitening.transpose(0, 2, 1)
        slope = np.einsum("mij,mj->mi", precision, self.means)
        level = self.heights - (slope * self.means).sum(axis=1) / 2
        i, j = np.triu_indices(self.means.shape[1])
        return np.column_stack([level, slope, np.where(i == j, -0.5, -1) * precision[:, i, j]])

    @cached_property
    def _firsts(self) -> np.ndarray:
        """(mixtures,) the first cluster of each."""
        return np.flatnonzero(np.diff(self.mixture, prepend=-1))

    def _log_each(self, rows: np.ndarray) -> np.ndarray:
        """(n, m) log density of each cluster."""
        columns = np.ascontiguousarray(rows.T)
        products = [column * columns[place:] for place, column in enumerate(columns)]
        return (self._polynomial @ np.concatenate([np.ones((1, len(rows))), columns, *products])).T

    def log_density(self, z: np.ndarray) -> np.ndarray:
        """Mean of the mixtures' log densities; (n, k) -> (n,)."""

        def of(rows: np.ndarray) -> np.ndarray:
            total = 0.0
            for clusters in np.split(self._log_each(rows), self._firsts[1:], axis=1):
                highest = clusters.max(axis=1)
                total = total + highest + np.log(np.exp(clusters - highest[:, None]).sum(axis=1))
            return total / len(self._firsts)

        return in_blocks(of, z)

    def without_contaminated(self, z: np.ndarray, flagged: np.ndarray) -> Self:
        """The clusters of whose events experts flag less than a quarter; of every mixture at least the one
        that is flagged least. `z` (n, k) are the events that they were fitted to, `flagged` is (n,) bool."""
        log_each, parts = in_blocks(self._log_each, z), []
        for clusters in np.split(np.arange(len(self.means)), self._firsts[1:]):
            member = clusters[log_each[:, clusters].argmax(axis=1)]
            count = np.bincount(member, minlength=clusters[-1] + 1)[clusters]
            share = np.bincount(member, flagged, clusters[-1] + 1)[clusters] / np.maximum(count, 1)
            parts.append((share < CONTAMINATED) | (share == share.min()))
        keep = np.concatenate(parts)
        kept = Clusters(self.means[keep], self.whitening[keep], self.heights[keep], self.mixture[keep])
        return kept._with_peak(z)

    def distance(self, z: np.ndarray) -> np.ndarray:
        """How far (n, k) events lie from all clusters; (n,), 0 in the densest place. With one cluster it is
        the Mahalanobis distance from its middle; with several, the distance at which one cluster's density
        would have fallen as low as theirs has."""
        return np.sqrt(2 * np.maximum(self.peak - self.log_density(z), 0))
