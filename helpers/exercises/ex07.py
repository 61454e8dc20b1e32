"""Checkers of notebook 7: replay the stream."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from helpers.exercises.checker import as_column, as_flags, as_number, ask, checker, compare
from helpers.settings import BLOCK


@checker
def check_7a(attempt: Callable) -> str:
    """Which reviews have come back."""
    alerted = np.array([1_005, 13, 980, 1_000, 2_000])
    end_of_block = (alerted // BLOCK + 1) * BLOCK
    for now, delay in ((2_100, 1_000), (2_000, 1_000), (1_013, 1_000), (1_000, 20)):
        found = as_flags(ask(attempt, alerted, now, delay), len(alerted)).astype(int)
        slips = {
            "This is when the event was alerted; its review takes `delay` events more.": alerted <= now,
            "Almost: a review is there *at* `now` when it is due at `now`.": alerted + delay < now,
            "This counts from the end of the event's block; a review comes `delay` events after the event.": (
                end_of_block + delay <= now
            ),
            "Give one answer for each alert, in the order in which they come, not sorted.": (
                np.sort(alerted) + delay <= now
            ),
            "Its review comes once, at `alerted + delay`, and stays.": alerted + delay == now,
            "This is the wrong way round: these reviews are still to come.": alerted + delay > now,
        }
        compare(found, (alerted + delay <= now).astype(int), slips, f"At event {now:,}, delay {delay:,}:")
    return "right. This is the one line in `stream.review` that keeps the future out."


@checker
def check_7b(attempt: Callable) -> str:
    """The average of two judges' log-odds, as a risk."""
    one, other = np.array([0.5, 0.5, 0.9, 0.02]), np.array([0.999, 0.5, 0.2, 0.01])
    pair = np.array([one / (1 - one), other / (1 - other)])
    odds = np.sqrt(pair.prod(axis=0))
    slips = {
        "This averages the risks; average their log-odds.": (one + other) / 2,
        "This adds the log-odds; take half of the sum.": odds**2 / (1 + odds**2),
        "These are log-odds; turn them into a risk.": np.log(odds),
        "These are odds; divide by 1 + odds.": odds,
        "This is the geometric mean of the risks; average their log-odds.": np.sqrt(one * other),
        "This is the product of the risks; average their log-odds.": one * other,
        "This averages the odds; average their logarithms.": 1
        - 2 / (2 + one / (1 - one) + other / (1 - other)),
    }
    found = as_column(ask(attempt, one, other), len(one))
    compare(found, odds / (1 + odds), slips)
    return "right. A judge that is sure outweighs one that shrugs."


@checker
def check_7c(attempt: Callable) -> str:
    """The population stability index of two sets of shares."""
    before, now = np.full(10, 0.1), np.array([0.3, 0.2, 0.1, 0.1, 0.1, 0.05, 0.05, 0.04, 0.03, 0.03])
    terms = (now - before) * np.log(now / before)
    slips = {
        "This is the mean over the bins; take the sum.": terms.mean(),
        "Take the natural logarithm, `np.log`, not that to base 10.": terms.sum() / np.log(10),
        "Take the natural logarithm, `np.log`, not that to base 2.": terms.sum() / np.log(2),
        "This is a relative entropy; the factor is the difference of the shares.": (
            now * np.log(now / before)
        ).sum(),
        "This is a relative entropy, from `before`; the factor is the difference of the shares.": (
            before * np.log(before / now)
        ).sum(),
        "The logarithm is missing.": ((now - before) * (now / before)).sum(),
        "Terms of either sign cancel out: the sum of differences says nothing.": 0.0,
        "Its sign is wrong: the index is never negative.": -terms.sum(),
    }
    compare(as_number(ask(attempt, before, now)), float(terms.sum()), slips)
    return "right. Above 0.25 one usually speaks of drift; here the warm-up says what is usual."
