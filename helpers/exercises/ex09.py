"""Checkers of notebook 9: the sessions themselves."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from helpers.exercises.checker import Off, as_pair, ask, checker, compare
from helpers.exercises.ex02 import accused, only_if_new
from helpers.settings import BLOCK


@checker
def check_9a(attempt: Callable) -> str:
    """Exact match and Hamming loss of several answers at once."""
    real = np.array([[1, 0, 0], [0, 1, 1], [0, 0, 0], [1, 1, 0], [1, 0, 1]])
    answers = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 0], [0, 0, 0], [0, 0, 1]])
    right = real == answers
    exact, loss = right.all(axis=1).mean(), 1 - right.mean()
    found = as_pair(ask(attempt, real, answers), "exact match, Hamming loss")
    slips = {
        "The first is the share of right answers; all three of a row must be right.": [right.mean(), loss],
        "The second is the share of right answers; the loss counts the wrong ones.": [exact, right.mean()],
        "The second counts rows; the Hamming loss counts single answers.": [exact, 1 - exact],
        "These are counts; divide the first by the rows, the second by all the answers.": [
            right.all(axis=1).sum(),
            (~right).sum(),
        ],
        "The second counts wrong answers a row; divide by the number of categories, too.": [exact, 3 * loss],
        "The first asks for one right answer of three; all three of a row must be right.": [
            right.any(axis=1).mean(),
            loss,
        ],
        "This is the wrong way round: exact match first.": [loss, exact],
    }
    compare(found, [exact, loss], slips)
    return "right. On rare categories the Hamming loss looks small for anybody who answers nothing."


@checker
def check_9b(attempt: Callable) -> str:
    """Synthetic rows between neighbours."""
    generator = np.random.default_rng(0)
    (rows, neighbours), share = generator.normal(size=(2, 5, 3)), generator.random(5)
    step = share[:, None] * (neighbours - rows)
    found = np.asarray(ask(attempt, rows, neighbours, share), dtype=float)
    if found.shape != rows.shape:
        raise Off(
            f"Return {rows.shape[0]} rows of {rows.shape[1]} numbers, not an array of shape {found.shape}."
        )
    slips = {
        "This is the step; add it to the row.": step,
        "This begins at the neighbour and goes away from it.": neighbours + step,
        "This begins at the neighbour; begin at the row.": neighbours - step,
        "This goes away from the neighbour.": rows - step,
        "This is half way every time; go as far as `share` says.": (rows + neighbours) / 2,
        "Multiply the difference to the neighbour by the share, not the neighbour itself.": (
            rows + share[:, None] * neighbours
        ),
    }
    compare(found, rows + step, slips)
    return "right. Between one device and five lie 2.7 devices: SMOTE knows no counts, and no real campaign."


@checker
def check_9c(attempt: Callable, facts: pd.DataFrame, thresholds: dict[str, float], said: pd.DataFrame) -> str:
    """What a heuristic of the learner's own does on the training days."""
    fires = accused(attempt, facts, thresholds)
    only_if_new(fires, said, "Your rule says exactly what the heuristic of {} says; look at other columns.")
    known = said["any"].to_numpy()[fires].mean()
    return (
        f"this is a rule. It accuses {fires.mean() * BLOCK:.1f} of {BLOCK:,} account-days; the three "
        f"heuristics know {known:.0%} of these. What the others are, only the truth says."
    )
