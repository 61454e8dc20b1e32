"""Checkers of notebook 3: describe behaviour."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
from scipy.spatial.distance import cdist

from helpers.exercises.checker import Off, as_column, ask, checker, compare, only_if_no_slip, still_right


@checker
def check_3a(attempt: Sequence[str], candidates: Mapping[str, Callable], events: pd.DataFrame) -> str:
    """Which candidate features see the future."""
    several = np.iterable(attempt) and not isinstance(attempt, str | Mapping)
    if not several or not all(isinstance(name, str) for name in attempt):
        raise Off('Give the names in a set, such as {"change", "rank"}.')
    if unknown := set(attempt) - set(candidates):
        raise Off(f"There is no candidate called {sorted(unknown)[0]}.")
    half = len(events) // 2
    past = {name: feature(events)[:half] for name, feature in candidates.items()}
    leaking = {name for name, values in past.items() if not values.equals(candidates[name](events[:half]))}
    if innocent := sorted(set(attempt) - leaking):
        raise Off(f"`{innocent[0]}` is the same without the later events: it looks back only.")
    if missed := len(leaking - set(attempt)):
        raise Off(
            f"{missed} more {'sees' if missed == 1 else 'see'} the future. Compare each candidate on all "
            "events with the same candidate on the first half alone."
        )
    shuffled = pd.concat([events[:half], events[half:].sample(frac=1, random_state=0)])
    hidden = sum(past[name].equals(candidates[name](shuffled)[:half]) for name in leaking)
    return (
        f"right. Shuffling the later events would have missed {hidden} of these {len(leaking)}: it moves "
        "the largest value, but keeps it."
    )


@checker
def check_3b(attempt: Callable) -> str:
    """How many of the `window` events before each one are flagged."""
    flags, window = np.random.default_rng(0).random(200) < 0.3, 7
    other = flags.copy()
    other[100:] = ~other[100:]
    series = pd.Series(flags.astype(float))
    before = series.shift(1, fill_value=0)
    expected = _flagged_before(flags, window)
    slips = {
        "Each event counts itself; only the events before it should count.": (
            series.rolling(window, min_periods=1).sum()
        ),
        "It counts the event itself, besides the `window` events before it.": (
            series.rolling(window + 1, min_periods=1).sum()
        ),
        "This is the share that is flagged; the question is how many.": (
            before.rolling(window, min_periods=1).mean()
        ),
        "This is yes or no; the question is how many.": (expected > 0).astype(int),
        "It counts everything since the beginning; only the last `window` events are recent.": (
            before.cumsum()
        ),
        "It reaches back one event too far.": before.rolling(window + 1, min_periods=1).sum(),
        "It reaches back one event too little.": before.rolling(window - 1, min_periods=1).sum(),
    }
    answer, changed = ask(attempt, flags, window), ask(attempt, other, window)
    early = [np.ravel(np.asarray(each, dtype=float))[:100] for each in (answer, changed)]
    if len(early[0]) == 100 and not np.array_equal(*early, equal_nan=True):
        raise Off("When later events change, the counts before them change: it sees the future.")
    found = np.ravel(np.asarray(answer, dtype=float))
    if len(found) == len(flags) and np.isnan(found[: window + 1]).any():
        late = {sentence: slip[window + 1 :] for sentence, slip in slips.items()}
        only_if_no_slip(found[window + 1 :], late)
        raise Off(
            "The first events have fewer than `window` events before them: count those that exist; before "
            "the very first there are 0."
        )
    found = as_column(answer, len(flags))
    compare(found, expected, slips)
    still_right(as_column(ask(attempt, other, 3), len(other)), _flagged_before(other, 3))
    return (
        "right. It looks back only, and event by event it is what `burst` counts before asking for likeness."
    )


def _flagged_before(flags: np.ndarray, window: int) -> pd.Series:
    before = pd.Series(flags.astype(float)).shift(1, fill_value=0)
    return before.rolling(window, min_periods=1).sum()


@checker
def check_3c(attempt: Callable, z: np.ndarray) -> str:
    """The Mahalanobis distance of rows from a mean, under a covariance."""
    mean, covariance = z.mean(axis=0) + 0.5, np.cov(z[500:], rowvar=False)
    z = z[:500]
    away = z - mean
    expected = _mahalanobis(z, mean, covariance)
    slips = {
        "This is the distance squared; the root is missing.": expected**2,
        "This is the straight distance, as if the inputs had nothing to do with one another.": (
            np.linalg.norm(away, axis=1)
        ),
        "This divides each input by its own spread, but leaves out how the inputs move together.": (
            np.linalg.norm(away / np.sqrt(np.diag(covariance)), axis=1)
        ),
        "The covariance must be inverted: directions in which events vary much count little.": np.sqrt(
            np.einsum("ni,ij,nj->n", away, covariance, away)
        ),
        "Subtract the mean first.": _mahalanobis(z, 0 * mean, covariance),
        "Subtract the mean that is given; this is the rows' own.": _mahalanobis(
            z, z.mean(axis=0), covariance
        ),
        "Take the covariance that is given; this is the rows' own.": (
            _mahalanobis(z, mean, np.cov(z, rowvar=False))
        ),
    }
    answer = ask(attempt, z, mean, covariance)
    if np.shape(answer) == (len(z), len(z)):
        raise Off(
            "This multiplies every row with every other; only the table's diagonal is about one row alone. "
            "Multiply value by value instead and add up along the rows (axis=1)."
        )
    compare(as_column(answer, len(z)), expected, slips)
    return "right. If ordinary events were one crowd, this would be the signal `distance`."


def _mahalanobis(z: np.ndarray, mean: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    return cdist(z, [mean], "mahalanobis", VI=np.linalg.inv(covariance))[:, 0]
