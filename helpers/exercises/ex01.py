"""Checkers of notebook 1: load the stream."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from helpers import features
from helpers.exercises.checker import Off, as_column, as_number, ask, checker, compare, still_right


@checker
def check_1a(attempt: float, events: pd.DataFrame, train: pd.DataFrame) -> str:
    """The share of the training part that costs more than 200 euro."""
    large = train["Amount"] > 200
    slips = {
        "This counts 200 euro itself, too; the question is who pays more.": (train["Amount"] >= 200).mean(),
        "This is how many they are; divide by the number of events.": large.sum(),
        "This is the share of the others, those that cost 200 euro or less.": 1 - large.mean(),
        "This is the share in the whole window; the question is about the training part.": (
            events["Amount"] > 200
        ).mean(),
    }
    compare(as_number(attempt), large.mean(), slips)
    return (
        f"right. {large.mean():.1%} of the events, while the publication counts 0.17 % frauds: "
        "nearly everybody above 200 euro is honest."
    )


@checker
def check_1b(attempt: Callable, values: pd.Series) -> str:
    """Robust z-scores of a column."""
    v = values.to_numpy()
    centred = v - np.median(v)
    distances = np.abs(centred)
    mad = np.median(distances)
    slips = {
        "These are ordinary z-scores; use medians, which a few extreme values cannot move.": (v - v.mean())
        / v.std(),
        "The factor 1.4826 is missing, which makes the median deviation a standard deviation.": centred / mad,
        "The factor 1.4826 belongs to the deviation, below the line.": centred * 1.4826 / mad,
        "Divide by the robust standard deviation; here it multiplies.": centred * (1.4826 * mad),
        "Subtract the median first: 0 should be the middle.": v / (1.4826 * mad),
        "Above the line the mean is subtracted; take the median there, too.": (v - v.mean()) / (1.4826 * mad),
        "This divides by the ordinary standard deviation, which a few extreme values blow up.": centred
        / v.std(),
        "The middle of the distances is their median, too, not their mean.": centred
        / (1.4826 * distances.mean()),
        "The middle is the median, not the mean, above the line and below it.": (v - v.mean())
        / (1.4826 * np.median(np.abs(v - v.mean()))),
        "The distances are counted from the median, not from the mean.": centred
        / (1.4826 * np.median(np.abs(v - v.mean()))),
        "The sign is lost: below the middle means negative.": distances / (1.4826 * mad),
        "This is centred, but not yet in units of the robust standard deviation.": centred,
    }
    compare(as_column(ask(attempt, values), len(v)), _robust(v), slips, tol=1e-3)
    still_right(as_column(ask(attempt, values**2), len(v)), _robust(v**2), tol=1e-3)
    far = (np.abs(_robust(v)) > features.UNUSUAL_SD).mean()
    return f"right. {far:.1%} of these events lie beyond 3 robust standard deviations."


def _robust(values: np.ndarray) -> np.ndarray:
    centred = values - np.median(values)
    return centred / (1.4826 * np.median(np.abs(centred)))


@checker
def check_1c(attempt: Callable, train: pd.DataFrame, test: pd.DataFrame) -> str:
    """How many training events come after the first test event."""
    events = pd.concat([train, test])
    order = np.random.default_rng(0).permutation(len(events))
    shuffled = events.iloc[order[: len(train)]], events.iloc[order[len(train) :]]
    late = int((shuffled[0].index > shuffled[1].index.min()).sum())
    in_time, mixed = (as_number(ask(attempt, *parts)) for parts in ((train, test), shuffled))
    if in_time:
        raise Off(f"Our split follows time, so 0 training events come late; your function says {in_time:g}.")
    if 0 < mixed <= 1:
        raise Off("This is yes or no, or a share; the question is how many.")
    slips = {
        "For a shuffled split it says 0, too. Look at the clock, which is the index, not at row numbers.": 0,
        "It compares with the last test event; one test event in the past is enough to peek.": (
            shuffled[0].index > shuffled[1].index.max()
        ).sum(),
        "It counts test events; the question is how many training events come late.": (
            shuffled[1].index < shuffled[0].index.max()
        ).sum(),
    }
    compare(mixed, late, slips, "For a shuffled split")
    return f"right. Shuffled, {late:,} of {len(train):,} training events are later than the first test event."
