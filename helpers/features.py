"""What describes an event: the profile, trailing-window behaviour and the scaled inputs.

Everything here looks at the past only and is the same in one pass, in batches, or one event at a time.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from scipy.spatial import KDTree

from helpers.settings import AXES, COLUMNS, RADIUS, REPEAT_RADIUS, UNUSUAL_AXES, UNUSUAL_SD, WINDOW

SIGNALS = ["amount", "amount_z", "axes_beyond", "distance", "usual", "burst", "repeats"]


def linear(x: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Multiply (n, k) by (k, m), column by column.

    Elementwise sums give each row the same bits whatever the other rows are. BLAS (`@`) does not, nor does
    einsum for one row. The result lies in memory column after column, so that numpy works along the rows.
    """
    columns = x.T
    out = weights[0][:, None] * columns[0]
    for column in range(1, len(weights)):
        out += weights[column][:, None] * columns[column]
    return out.T


def raw_inputs(events: pd.DataFrame) -> np.ndarray:
    """The seven inputs before scaling: log(1 + Amount), V1..V6; (n, 7) float64.

    Raises:
        ValueError: if a value is missing or infinite, or an amount is -1 or less.
    """
    values = events[COLUMNS].to_numpy(dtype=np.float64, copy=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        values[:, 0] = np.log1p(values[:, 0])
    good = np.isfinite(values)
    if not good.all():
        row, column = (int(place[0]) for place in np.nonzero(~good))
        raise ValueError(
            f"Event {events.index[row]} has {events[COLUMNS].iat[row, column]} in {COLUMNS[column]}, where a "
            "finite number (an amount above -1) is needed: repair or drop it."
        )
    return values


@dataclass(frozen=True)
class Profile:
    """Ordinary behaviour, learned once from the training part and then frozen.

    Attributes:
        centre: (7,) medians of log(1 + Amount), V1..V6.
        scale: (7,) robust standard deviations, 1.4826 times the median absolute deviation.
        ordinary_mean: (6,) mean of the ordinary events' robust z-scores of V1..V6.
        whitening: (6, 6) turns those z-scores into uncorrelated ones of unit variance.
        crowd: (m, 6) z-scores of the training part's unusual events.
        events: size of the training part.
    """

    centre: np.ndarray
    scale: np.ndarray
    ordinary_mean: np.ndarray
    whitening: np.ndarray
    crowd: np.ndarray
    events: int

    @classmethod
    def fit(cls, events: pd.DataFrame) -> Profile:
        """Learn the profile from the training part; no label is needed.

        Raises:
            ValueError: with fewer than 1,000 events, or where half of a column is one value.
        """
        if len(events) < WINDOW:
            raise ValueError(
                f"A profile needs {WINDOW:,} training events or more, not {len(events):,}: ask for more rows."
            )
        values = raw_inputs(events)
        centre = np.median(values, axis=0)
        scale = 1.4826 * np.median(np.abs(values - centre), axis=0)
        if not (scale > 0).all():
            column = COLUMNS[int(np.argmin(scale > 0))]
            raise ValueError(
                f"Column {column} has one value in at least half of the training events, so it has no "
                "robust scale: check the file or choose another window."
            )
        z = ((values - centre) / scale)[:, 1:]
        unusual = is_unusual(z)
        ordinary = z[~unusual]
        if len(ordinary) < 2:
            raise ValueError(
                "Every training event is out of the ordinary on two axes, so there is no ordinary behaviour "
                "to learn: check the file."
            )
        eigenvalues, vectors = np.linalg.eigh(np.cov(ordinary, rowvar=False))
        if not eigenvalues[0] > 1e-9 * eigenvalues[-1]:
            raise ValueError(
                "V1..V6 are copies or sums of one another in the training part, or one value dwarfs all, "
                "so no distance exists: check the file."
            )
        whitening = vectors / np.sqrt(eigenvalues)
        return cls(centre, scale, ordinary.mean(axis=0), whitening, z[unusual], len(events))

    def z_scores(self, events: pd.DataFrame) -> np.ndarray:
        """Robust z-scores of log(1 + Amount), V1..V6; (n, 7) in robust standard deviations."""
        return (raw_inputs(events) - self.centre) / self.scale

    def distance(self, z: np.ndarray) -> np.ndarray:
        """Mahalanobis distance of (n, 6) z-scores of V1..V6 from ordinary behaviour; (n,)."""
        return np.sqrt((linear(z - self.ordinary_mean, self.whitening) ** 2).sum(axis=1))

    def usual_rate(self, z: np.ndarray, radius: float = RADIUS) -> np.ndarray:
        """How many events like these (n, 6) the training part holds, per 1,000 of its events; (n,)."""
        if not len(self.crowd):
            return np.zeros(len(z))
        reach = radius * np.sqrt((z**2).sum(axis=1))
        return self._tree.query_ball_point(z, reach, return_length=True) * (WINDOW / self.events)

    @cached_property
    def _tree(self) -> KDTree:
        return KDTree(self.crowd)

    def to_dict(self) -> dict[str, list]:
        """Plain lists, ready for JSON."""
        return {name: np.asarray(getattr(self, name)).tolist() for name in self.__dataclass_fields__}

    @classmethod
    def from_dict(cls, values: dict[str, list]) -> Profile:
        """The profile that `to_dict` described."""
        arrays = {name: np.array(values[name]) for name in cls.__dataclass_fields__}
        return cls(**arrays | {"crowd": arrays["crowd"].reshape(-1, len(AXES)), "events": values["events"]})


def count_axes_beyond(z: np.ndarray) -> np.ndarray:
    """How many of V1..V6 lie beyond 3 robust standard deviations; (n, 6) -> (n,) int."""
    return (np.abs(z) > UNUSUAL_SD).sum(axis=1)


def is_unusual(z: np.ndarray) -> np.ndarray:
    """Outside the profile: two or more of V1..V6 beyond 3 robust standard deviations; (n, 6) -> (n,) bool."""
    return count_axes_beyond(z) >= UNUSUAL_AXES


def burst_count(
    unusual: np.ndarray, axes: np.ndarray, window: int = WINDOW, radius: float = RADIUS
) -> np.ndarray:
    """Count earlier unusual events that look like this one.

    Args:
        unusual: (n,) bool, events outside the profile.
        axes: (n, k) robust z-scores, in time order.
        window: how far back to look, in events.
        radius: largest distance, relative to the event's own length, that still counts as similar.

    Returns:
        (n,) int: 0 for ordinary events. Depends on the past only.

    Raises:
        ValueError: if the lengths differ or a value is not finite.

    Stands in for Netflix's "rapid licence acquisition" (arXiv 2203.02124).
    """
    if len(unusual) != len(axes) or not np.isfinite(axes).all():
        raise ValueError(
            "burst_count needs one finite row of axes for every event: check the input for gaps."
        )
    positions = np.flatnonzero(unusual)
    points = axes[positions]
    reach = (radius * radius) * (points**2).sum(axis=1)
    similar = np.zeros(len(positions), dtype=np.int64)
    for lag in range(1, len(positions)):
        recent = positions[lag:] - positions[:-lag] <= window
        if not recent.any():
            break
        squared = ((points[lag:] - points[:-lag]) ** 2).sum(axis=1)
        similar[lag:] += recent & (squared <= reach[lag:])
    counts = np.zeros(len(unusual), dtype=np.int64)
    counts[positions] = similar
    return counts


def behaviour(events: pd.DataFrame, profile: Profile, history: pd.DataFrame | None = None) -> pd.DataFrame:
    """Describe each event by what the rules look at.

    Args:
        events: (n, 7) Amount and V1..V6, in time order.
        profile: ordinary behaviour of the training part.
        history: the events just before, at least the last 1,000 where so many exist.

    Returns:
        (n, 7) one row an event: amount (as charged), amount_z (robust standard deviations of its logarithm),
        axes_beyond (count), distance (from the profile), usual (similar unusual events per 1,000 of the
        training part), burst (similar ones among the last 1,000) and repeats (near-identical ones, amount
        included); the last three are 0 for ordinary events.
    """
    past = 0 if history is None else min(len(history), WINDOW)
    z = profile.z_scores(pd.concat([history.iloc[-past:], events]) if past else events)
    unusual = is_unusual(z[:, 1:])
    usual = np.zeros(len(z))
    usual[unusual] = profile.usual_rate(z[unusual, 1:])
    columns = {
        "amount": events["Amount"].to_numpy(),
        "amount_z": z[past:, 0],
        "axes_beyond": count_axes_beyond(z[past:, 1:]),
        "distance": profile.distance(z[past:, 1:]),
        "usual": usual[past:],
        "burst": burst_count(unusual, z[:, 1:])[past:],
        "repeats": burst_count(unusual, z, radius=REPEAT_RADIUS)[past:],
    }
    return pd.DataFrame(columns, index=events.index, columns=SIGNALS)


@dataclass(frozen=True)
class Scaling:
    """Mean and standard deviation of the seven inputs in the training part."""

    mean: np.ndarray
    scale: np.ndarray

    @classmethod
    def fit(cls, events: pd.DataFrame) -> Scaling:
        """Learn the scaling from the training part, with scikit-learn's StandardScaler."""
        from sklearn.preprocessing import StandardScaler

        scaler = StandardScaler().fit(raw_inputs(events))
        return cls(scaler.mean_, scaler.scale_)

    def transform(self, events: pd.DataFrame) -> np.ndarray:
        """(n, 7) scaled inputs, without unit: 0 is the training part's mean, 1 its standard deviation."""
        return (raw_inputs(events) - self.mean) / self.scale

    def to_dict(self) -> dict[str, dict[str, float]]:
        """Column -> mean and standard deviation, ready for JSON."""
        return {
            name: {"mean": float(mean), "scale": float(scale)}
            for name, mean, scale in zip(COLUMNS, self.mean, self.scale, strict=True)
        }

    @classmethod
    def from_dict(cls, values: dict[str, dict[str, float]]) -> Scaling:
        """The scaling that `to_dict` described."""
        rows = [values[name] for name in COLUMNS]
        return cls(np.array([row["mean"] for row in rows]), np.array([row["scale"] for row in rows]))
