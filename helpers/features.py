"""What describes an event: the profile, trailing-window behaviour and the scaled inputs. After the training
set, which the profile knows as a whole, everything here looks at the past only; it is the same in one pass,
in batches, or one event at a time."""

from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
import pandas as pd
from scipy.spatial import KDTree

from helpers.clusters import Clusters
from helpers.rows import row_sums
from helpers.schema import CARDS, Schema
from helpers.settings import (
    BUDGET,
    CLUSTERS,
    RADIUS,
    REPEAT_RADIUS,
    UNUSUAL_AXES,
    UNUSUAL_SD,
    UNUSUAL_SHARE,
    WINDOW,
)

EXTREME = 0.001  # share of the training events beyond what reasons say that 99.9 % have
DWARFED = 1e6  # a variance in robust units that no sound column reaches: a standard deviation of 1,000


def budget_threshold(values: np.ndarray) -> float:
    """The value that the alert budget's share of the training set exceeds."""
    return float(np.quantile(values, 1 - BUDGET))


@dataclass(frozen=True)
class Profile:
    """Ordinary behaviour, learned from the training set, of k columns and d axes; for the cards 7 and 6.

    Attributes:
        centre: (k,) medians of the inputs, such as log(1 + Amount), V1..V6.
        scale: (k,) robust standard deviations, 1.4826 times the median absolute deviation; where that is 0
            (most events have one value), the standard deviation.
        clusters: the groups that the training set's events form, by their robust z-scores.
        oddities, events: (m, d) z-scores of the axes of the training set's unusual events; its size.
        usual: of each number what all but a thousandth of the training set have at least, the half, and all
            but a thousandth at most, in the units of the columns; for the reasons of an alert.
        schema: what the columns are.
        beyond: robust standard deviations beyond which an axis is out of the ordinary: 3, or as many as it
            takes for the unusual to be a tenth of the training set at most, the alert budget's at least.
    """

    centre: np.ndarray
    scale: np.ndarray
    clusters: Clusters
    oddities: np.ndarray
    events: int
    usual: pd.DataFrame
    schema: Schema = CARDS
    beyond: float = UNUSUAL_SD

    @classmethod
    def fit(
        cls, events: pd.DataFrame, schema: Schema = CARDS, seed: int = 0, clusters: int = CLUSTERS
    ) -> Self:
        """Learn the profile from the training set, (n, ...); no label is needed. `seed` is where the search
        for clusters begins, and `clusters` how many there may be."""
        if len(events) < WINDOW:
            raise ValueError(
                f"A profile needs {WINDOW:,} training events or more, not {len(events):,}: ask for more rows."
            )
        values = schema.inputs(events)
        centre = np.median(values, axis=0)
        scale = 1.4826 * np.median(np.abs(values - centre), axis=0)
        scale = np.where(scale > 0, scale, values.std(axis=0))
        if schema.encoder:  # what no training event did, such as a new country, is far out when it comes
            scale = np.where(scale > 0, scale, len(values) ** -0.5)
        if not (scale > 0).all():
            column = schema.columns[int(np.argmin(scale > 0))]
            raise ValueError(
                f"Column {column} has one value in all training events, so it has no scale: leave it out of "
                "the schema or choose another window."
            )
        z = (values - centre) / scale
        if z.var(axis=0).max() > DWARFED:
            column = schema.columns[int(z.var(axis=0).argmax())]
            raise ValueError(f"One value of {column} dwarfs all others: check it, or give sizes as amounts.")
        axes = z[:, schema.behaviour]
        needed = min(UNUSUAL_AXES, axes.shape[1])
        last_needed = np.partition(np.abs(axes), -needed, axis=1)[:, -needed]
        few, many = np.quantile(last_needed, [1 - UNUSUAL_SHARE, 1 - BUDGET])
        beyond = float(np.clip(UNUSUAL_SD, few, many))
        oddities = axes[is_unusual(axes, beyond)]
        usual = (
            schema.table(events)
            .astype(float)
            .quantile([EXTREME, 0.5, 1 - EXTREME])
            .set_axis(["low", "half", "high"])
        )
        usual.attrs = {}  # which a file would keep
        return cls(
            centre, scale, Clusters.fit(z, seed, clusters), oddities, len(events), usual, schema, beyond
        )

    def z_scores(self, events: pd.DataFrame) -> np.ndarray:
        """Robust z-scores of the inputs; (n, k) in robust standard deviations."""
        return (self.schema.inputs(events) - self.centre) / self.scale

    def axes(self, events: pd.DataFrame) -> np.ndarray:
        """Robust z-scores of the axes alone; (n, d)."""
        return self.z_scores(events)[:, self.schema.behaviour]

    def distance(self, z: np.ndarray) -> np.ndarray:
        """How far (n, k) robust z-scores lie from all clusters; (n,)."""
        return self.clusters.distance(z)

    def background_rate(self, z: np.ndarray) -> np.ndarray:
        """How many events like these (n, d) the training set holds, per 1,000 events; (n,)."""
        reach = RADIUS * np.sqrt(row_sums(z**2))
        return self._tree.query_ball_point(z, reach, return_length=True) * (WINDOW / self.events)

    @cached_property
    def _tree(self) -> KDTree:
        return KDTree(self.oddities)


def count_axes_beyond(z: np.ndarray, beyond: float = UNUSUAL_SD) -> np.ndarray:
    """How many axes lie beyond 3 (or so many) robust standard deviations; (n, d) -> (n,) int."""
    return (np.abs(z) > beyond).sum(axis=1)


def is_unusual(z: np.ndarray, beyond: float = UNUSUAL_SD) -> np.ndarray:
    """Outside the profile: two axes or more beyond the limit (`Profile.beyond`); (n, d) -> (n,) bool."""
    return count_axes_beyond(z, beyond) >= min(UNUSUAL_AXES, z.shape[1])


def burst_count(
    unusual: np.ndarray,
    axes: np.ndarray,
    keys: np.ndarray,
    moments: np.ndarray,
    window: float,
    radius: float = RADIUS,
) -> np.ndarray:
    """Count earlier unusual events of the same key that look like this one; (n,) int, 0 for ordinary events.

    Stands in for Netflix's "rapid licence acquisition" (arXiv 2203.02124).

    Args:
        unusual: (n,) bool, events outside the profile.
        axes: (n, d) robust z-scores, in time order.
        keys, moments: (n,) whose event it is, and when it happened, not falling.
        window: how far back to look, in the unit of `moments`.
        radius: largest distance, relative to the event's own length, that still counts as similar.
    """
    positions = np.flatnonzero(unusual)  # one key after the other, each in time order
    positions = positions[np.argsort(keys[positions], kind="stable")]
    points, key, moment = axes[positions], keys[positions], moments[positions]
    reach = (radius * radius) * row_sums(points**2)
    similar = np.zeros(len(positions), dtype=np.int64)
    for lag in range(1, len(positions)):
        recent = (moment[lag:] - moment[:-lag] <= window) & (key[lag:] == key[:-lag])
        if not recent.any():
            break
        squared = row_sums((points[lag:] - points[:-lag]) ** 2)
        similar[lag:] += recent & (squared <= reach[lag:])
    counts = np.zeros(len(unusual), dtype=np.int64)
    counts[positions] = similar
    return counts


def behaviour(events: pd.DataFrame, profile: Profile, history: pd.DataFrame | None = None) -> pd.DataFrame:
    """Describe each event by what the rules look at.

    Args:
        events: (n, ...) with the schema's columns, in time order.
        profile: ordinary behaviour of the training set.
        history: the events just before, as far as the window reaches: the last 1,000 where so many exist.

    Returns:
        (n, 7) amount (the first one, as charged), amount_z (robust standard deviations of the amount that
        lies highest), axes_beyond (count), distance (from the clusters), background_rate (similar unusual
        events per 1,000 of the training set), burst (similar ones within the window) and repeats
        (near-identical ones, amounts included); the last three are 0 for ordinary events, and without amounts
        the first two are missing. With a key there are unlike_itself (the farthest that a column lies from
        the mean of the key's earlier events, in standard deviations) and new_for_it (how many of its
        categories have values that its key never had, each weighted up to 1 by how well the key is known).
    """
    schema = profile.schema
    events, history = schema.encoded(events, history)
    here = schema.table(events, schema.remembered)
    before = here[:0] if history is None or history.empty else schema.recent(history)[schema.remembered]
    together, past = pd.concat([before, here]) if len(before) else here, len(before)
    z = profile.z_scores(together)
    axes = z[:, schema.behaviour]
    clock = schema.clock(together)
    unusual = is_unusual(axes, profile.beyond)
    usual = np.zeros(len(z))
    usual[unusual] = profile.background_rate(axes[unusual])
    amounts = {}
    if schema.amounts:
        amounts["amount"] = events[schema.amounts[0]].to_numpy()
        amounts["amount_z"] = z[past:, : len(schema.amounts)].max(axis=1)
    columns = {
        "axes_beyond": count_axes_beyond(axes[past:], profile.beyond),
        "distance": profile.distance(z[past:]),
        "background_rate": usual[past:],
        "burst": burst_count(unusual, axes, *clock)[past:],
        "repeats": burst_count(unusual, z, *clock, REPEAT_RADIUS)[past:],
    }
    if schema.key and schema.encoder:
        columns["unlike_itself"] = here[schema.encoder.own].abs().to_numpy().max(axis=1, initial=0)
        columns["new_for_it"] = here[schema.encoder.new].sum(axis=1).to_numpy()
    return pd.DataFrame(amounts | columns, index=events.index)


def facts(signals: pd.DataFrame, events: pd.DataFrame, schema: Schema = CARDS) -> pd.DataFrame:
    """What a rule may look at: the signals of `behaviour`, then the table's own columns."""
    return signals.join(events[[name for name in schema.carried if name not in signals]])


@dataclass(frozen=True)
class Scaling:
    """Mean and standard deviation of the inputs in the training set, and what the columns are."""

    mean: np.ndarray
    scale: np.ndarray
    schema: Schema = CARDS

    @classmethod
    def fit(cls, events: pd.DataFrame, schema: Schema = CARDS) -> Self:
        """Learn the scaling from the training set, with scikit-learn's StandardScaler."""
        from sklearn.preprocessing import StandardScaler

        scaler = StandardScaler().fit(schema.inputs(events))
        return cls(scaler.mean_, scaler.scale_, schema)

    def transform(self, events: pd.DataFrame) -> np.ndarray:
        """(n, k) scaled inputs, without unit: 0 is the training set's mean, 1 its standard deviation."""
        return (self.schema.inputs(events) - self.mean) / self.scale
