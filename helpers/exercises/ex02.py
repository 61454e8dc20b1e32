"""Checkers of notebook 2: label by expert rules."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from helpers import rules
from helpers.exercises.checker import (
    Off,
    as_flags,
    as_number,
    ask,
    checker,
    compare,
    still_right,
    tables_outside,
)
from helpers.settings import ALERTS, BLOCK, BUDGET

TOO_MANY = 10 * BUDGET  # share of events beyond which a rule does not accuse, it complains
CUTS = 30  # a rule is asked again about the events before, and up to, so many that it accuses,
LOUD = 10  # and up to so many that stand out in a signal and are not accused
LATER = (
    " about them: it uses events that come later. Look back only, and take numbers from `thresholds`, or "
    "write them down."
)


@checker
def check_2a(attempt: Callable, votes: pd.DataFrame) -> str:
    """A rule's coverage: the share of events on which it does not abstain."""
    for name, vote in votes.items():
        slips = {
            "leaves out the votes for the defence: 0 is a vote, only -1 abstains.": (
                vote == rules.SUSPICIOUS
            ).mean(),
            "counts the abstentions: -1 is no vote, and 0 is one.": (vote != 0).mean(),
            "is how many events; coverage is a share of all.": (vote != rules.ABSTAIN).sum(),
            "is the share of the abstentions.": (vote == rules.ABSTAIN).mean(),
            "is the mean of the codes 1, 0 and -1, which says nothing.": vote.mean(),
        }
        slips = {f"For `{name}` your number {sentence}": value for sentence, value in slips.items()}
        expected = (vote != rules.ABSTAIN).mean()
        compare(as_number(ask(attempt, vote)), expected, slips, f"For `{name}`")
    still_right(as_number(ask(attempt, pd.Series([1, 0, -1, -1, 0, 0, 1, 0]))), 6 / 8)
    return "right. The same as the column Coverage above."


@checker
def check_2b(attempt: Callable, values: pd.Series) -> str:
    """The value that the alert budget's share exceeds."""
    threshold = as_number(ask(attempt, values))
    if np.isclose(threshold, (BUDGET, 1 - BUDGET)).any():
        raise Off("This is the share itself; the question is which value that share of the events exceeds.")
    share = float((values > threshold).mean())
    if abs(share - BUDGET) * len(values) > 1:
        hint = (
            " You are at the other end of the list."
            if share > 0.9
            else f" {ALERTS} of {BLOCK:,} is {100 * BUDGET:g} %, not {1_000 * BUDGET:g} %."
            if abs(share - 10 * BUDGET) < BUDGET
            else " Nobody would ever be accused."
            if share == 0
            else ""
        )
        found = f"{share * BLOCK:.1f} of {BLOCK:,} events exceed {threshold:.4g}"
        raise Off(f"{found}; the budget is {ALERTS}.{hint}")
    others = 2 * values[: len(values) // 2] + 1
    exceed = (others > as_number(ask(attempt, others))).sum()
    still_right(abs(exceed - BUDGET * len(others)) <= 1, True)
    return (
        f"right. {ALERTS} of {BLOCK:,} events of the training part are farther from the profile than "
        f"{threshold:.1f}."
    )


def accused(
    rule: Callable, signals: pd.DataFrame, thresholds: dict[str, float], most: float = TOO_MANY
) -> np.ndarray:
    """Where a learner's rule fires, after the checks that every rule must pass; `most` is a share."""

    def says(events: pd.DataFrame) -> np.ndarray:
        return as_flags(ask(rule, events, thresholds), len(events))

    if outside := tables_outside(rule):
        raise Off(
            f"Your rule reads `{outside[0]}`, a table from outside. It should work with the signals that it "
            "is given; take numbers from `thresholds`, or write them down."
        )
    fires = says(signals)
    if not fires.any():
        raise Off("Your rule accuses nobody. Lower what it asks for.")
    if fires.mean() > most:
        raise Off(
            f"Your rule accuses {fires.mean() * BLOCK:.0f} of {BLOCK:,} events. Analysts can look at "
            f"{ALERTS}; ask for something rarer, {most * BLOCK:.0f} at most."
        )
    if (says(signals) != fires).any():
        raise Off("Asked twice, your rule accuses others. An accusation must not depend on chance.")
    first = np.flatnonzero(fires)[:CUTS]
    quiet = signals.select_dtypes("number")[~fires]
    loud = [signals.index.get_indexer(quiet[name].nlargest(LOUD).index) for name in quiet]
    for end in (len(signals) // 2, *first, *(first + 1), *(np.concatenate(loud) + 1)):
        if end and (says(signals[:end]) != fires[:end]).any():
            raise Off(f"Asked about the first {end:,} events alone, your rule says something else{LATER}")
    extreme = signals.copy()
    extreme.index += signals.index[-1] + 1
    for name in signals.select_dtypes("number"):
        extreme[name] = 10.0 * signals[name].max()
    if (says(pd.concat([signals, extreme]))[: len(fires)] != fires).any():
        raise Off(f"With extreme events after these, your rule says something else{LATER}")
    return fires


VOTED_TWICE = "Your rule says exactly what `{}` says; a vote cast twice is no second opinion."


def only_if_new(fires: np.ndarray, said: pd.DataFrame, twice: str = VOTED_TWICE) -> None:
    """Told off where a rule accuses exactly those whom a column of `said` accuses."""
    for name in said:
        if (said[name] == fires).all():
            raise Off(twice.format(name))


def this_is_a_rule(fires: np.ndarray, said: pd.DataFrame) -> str:
    """Praise: how many it accuses, and how many of these no other rule does."""
    alone = fires[~said.any(axis=1)].sum() / fires.sum()
    return (
        f"this is a rule. It accuses {fires.mean() * BLOCK:.1f} of {BLOCK:,} events; no other rule accuses "
        f"{alone:.0%} of these."
    )


@checker
def check_2c(attempt: Callable, signals: pd.DataFrame, thresholds: dict[str, float]) -> str:
    """A rule of the learner's own; any that accuses few, looks back only and is new."""
    fires = accused(attempt, signals, thresholds)
    said = rules.apply_rules(signals, thresholds) == rules.SUSPICIOUS
    only_if_new(fires, said)
    return f"{this_is_a_rule(fires, said)} Notebook 6 measures it."
