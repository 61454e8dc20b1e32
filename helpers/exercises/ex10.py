"""Checkers of notebook 10: your own stream."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd

from helpers.exercises.checker import as_number, ask, checker, compare
from helpers.exercises.ex02 import accused, only_if_new, this_is_a_rule
from helpers.rules import SUSPICIOUS
from helpers.settings import BLOCK


@checker
def check_10a(attempt: Callable) -> str:
    """Hours of work that an alert budget asks for."""
    for per, events, minutes in ((5, 40_000, 6), (2, 250_000, 10)):
        hours = per * events / BLOCK * minutes / 60
        slips = {
            "These are minutes; 60 make an hour.": hours * 60,
            "These are alerts a day; multiply by the minutes that each takes.": per * events / BLOCK,
            "The budget is of every thousand events.": hours * BLOCK,
            "This is alerts an hour; multiply by the minutes of each.": per * events / BLOCK / 60,
            "This is the work on every event; only the alerts are looked at.": events * minutes / 60,
            "These are working days of 8 hours; the question is how many hours.": hours / 8,
        }
        found = as_number(ask(attempt, per, events, minutes))
        compare(found, hours, slips, f"At {per} of 1,000, {events:,} events a day, {minutes} minutes:")
    return "right. Who cannot pay for these hours has another budget."


@checker
def check_10b(
    attempt: Callable, facts: pd.DataFrame, thresholds: dict[str, float], votes: pd.DataFrame
) -> str:
    """A rule of the learner's own, on the learner's own table."""
    fires, said = accused(attempt, facts, thresholds), votes == SUSPICIOUS
    only_if_new(fires, said)
    return f"{this_is_a_rule(fires, said)} Add it to `book` above and run the notebook again."
