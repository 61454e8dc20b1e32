"""Checkers of notebook 8: past one machine."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from helpers.exercises.checker import Off, as_number, ask, checker, compare


@checker
def check_8a(attempt: Callable) -> str:
    """From how many events on the faster starter is overtaken."""
    for start, slow, fast in ((10.0, 100_000, 250_000), (30.0, 50_000, 80_000)):
        slips = {
            "This is a time; multiply by a speed to get events.": start / (1 - slow / fast),
            "By then one process has done so many; Spark still has all of them to do.": start * slow,
            "This is as if one process handled nothing while Spark starts.": start * fast,
            "Compare the seconds for one event, not the events in one second.": start * (fast - slow),
        }
        where = f"For {start:g} s, {slow:,} and {fast:,} events a second:"
        compare(as_number(ask(attempt, start, slow, fast)), start / (1 / slow - 1 / fast), slips, where)
    for fast in (100_000, 200_000):
        answer = ask(attempt, 10.0, 200_000, fast)
        if np.ndim(answer) or answer != np.inf:
            raise Off(
                "If Spark is not faster it never catches up, not even where both are as fast: give np.inf."
            )
    return "right. Below that number the start-up is all that one notices."


@checker
def check_8b(attempt: Callable) -> str:
    """Amdahl's law."""
    for share, cores in ((0.9, 2), (0.9, 64), (0.5, 1_000), (1.0, 8)):
        slips = {
            "This is as if all of the work could be spread.": float(cores),
            "This is the share of the time that is left; one divided by it is the speed-up.": 1
            - share
            + share / cores,
            "The two are swapped: `share` can be spread, 1 - share cannot.": 1
            / (share + (1 - share) / cores),
            "This is how much more work gets done in the same time; the work here stays the same.": (
                1 - share + share * cores
            ),
            "This is Amdahl's limit, of any number of cores.": 1 / (1 - share) if share < 1 else np.inf,
            "The work that is spread over the cores is divided by them.": share * cores,
            "The part that cannot be spread still takes its time: 1 - share.": cores / share,
        }
        where = f"With a share of {share:g} and {cores:,} cores:"
        compare(as_number(ask(attempt, share, cores)), 1 / (1 - share + share / cores), slips, where)
    return "right. With a share of 0.9, no number of cores is ten times as fast."
