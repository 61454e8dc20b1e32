"""Checkers of notebook 5: train a judge."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from helpers import rules
from helpers.exercises.checker import Off, as_column, as_flags, as_number, ask, checker, compare, still_right
from helpers.judge import Judge
from helpers.schema import CARDS


@checker
def check_5a(attempt: Callable, judge: Judge, seen: np.ndarray) -> str:
    """From SHAP contributions to the risk."""
    reasons = judge.reasons(seen).astype(float)
    middling = reasons * 0 + np.random.default_rng(0).normal(size=reasons.shape)  # made up, not near 0 or 1
    for _, row in middling.iterrows():
        total = row.sum()
        slips = {
            "These are log-odds; one step is missing on the way to a risk between 0 and 1.": total,
            "The bias is missing, the answer before any input was seen.": _sigmoid(total - row["bias"]),
            "The first contribution is missing; the bias is one of them, too.": _sigmoid(total - row.iloc[0]),
            "These are odds; a risk is odds / (1 + odds).": np.exp(total),
            "This is the chance of the opposite; mind the sign.": _sigmoid(-total),
            "This averages the contributions; they add up.": _sigmoid(row.mean()),
            "The logarithm is the natural one: its base is e, not 10.": _sigmoid(total * np.log(10)),
        }
        compare(as_number(ask(attempt, row)), _sigmoid(total), slips, "As a risk,")
    for (_, row), risk in zip(reasons.iterrows(), judge.risk(seen), strict=True):
        still_right(as_number(ask(attempt, row)), risk, tol=1e-4)
    return "right. The contributions explain the judge completely: nothing is left over."


def _sigmoid(log_odds: float) -> float:
    return 1 / (1 + np.exp(-log_odds))


@checker
def check_5b(attempt: Callable, events: pd.DataFrame, inputs: np.ndarray, n_train: int) -> str:
    """A senseless rule that a judge copies nearly perfectly."""
    from sklearn.metrics import f1_score

    flagged = as_flags(ask(attempt, events), len(events))
    if not 0.01 <= flagged[:n_train].mean() <= 0.5:
        raise Off(f"Your rule flags {flagged[:n_train].mean():.1%} of the events; stay between 1 % and 50 %.")
    naive = rules.naive_rule(events)
    if (flagged & naive).sum() > 0.5 * (flagged | naive).sum():
        raise Off("This is nearly the naive rule again; invent something that has no sense at all.")
    judge = Judge(names=list(CARDS.columns)).fit(inputs[:n_train], flagged[:n_train].astype(np.int8))
    f1 = f1_score(flagged[n_train:], judge.risk(inputs[n_train:]) > 0.5, zero_division=0)
    if f1 < 0.9:
        raise Off(
            f"The judge reaches an F1 of {f1:.2f} only. It cannot copy what it cannot see: use nothing but "
            "the columns of the event, and no order or chance."
        )
    return f"right. The judge copies it with an F1 of {f1:.2f}, and it means nothing."


@checker
def check_5c(attempt: Callable) -> str:
    """Scores of each event by a model that had not seen it."""
    spy = _Spy()
    found = as_column(ask(attempt, spy.fit, spy.rows, spy.labels), len(spy.rows))
    if (found == found[0]).all():
        raise Off("One model scores all events, also those that it learned from.")
    if spy.mislabelled:
        raise Off(f"Model {spy.mislabelled[0]} gets labels of other rows: cut `labels` as you cut `inputs`.")
    for number, (learned, scored) in enumerate(zip(spy.learned, spy.scored, strict=True)):
        if learned & scored:
            raise Off(f"Model {number + 1} scores {len(learned & scored)} events that it has learned from.")
        if len(learned) < len(scored):
            raise Off("It learns from one part and scores the others; it should be the other way round.")
        if scored and max(scored) - min(scored) >= len(scored):
            raise Off("The parts are mixed. Neighbouring events are alike, so leave out consecutive ones.")
        if scored and len(learned) + len(scored) < len(spy.rows):
            raise Off("A model learns from less than it could: all events but those that it scores.")
    if len(spy.learned) != 5:
        raise Off(f"{len(spy.learned)} models were fitted; five parts need five.")
    owner = {row: number for number, scored in enumerate(spy.scored) for row in scored}
    if len(owner) < len(spy.rows):
        raise Off(f"{len(spy.rows) - len(owner)} of {len(spy.rows)} rows are in no part: mind the remainder.")
    wrong = [row for row in range(len(spy.rows)) if owner.get(row) != found[row]]
    if wrong:
        raise Off(f"The score of event {wrong[0]} is not what its model said; put each part in its place.")
    return "right. `Judge.out_of_fold` does the same."


class _Spy:
    """Stands in for a model: remembers which rows each fit saw and scored; a score is the fit's number."""

    def __init__(self) -> None:
        self.rows = np.arange(103.0)[:, None]  # five parts cannot be of one size
        self.labels = np.random.default_rng(0).integers(0, 2, 103)
        self.learned: list[set[int]] = []
        self.scored: list[set[int]] = []
        self.mislabelled: list[int] = []

    def __deepcopy__(self, _: dict) -> _Spy:
        return self

    def fit(self, inputs: Any, labels: Any) -> Callable[[Any], np.ndarray]:
        if len(inputs) != len(labels):
            raise ValueError(f"{len(inputs)} rows, but {len(labels)} labels")
        rows, number = np.ravel(inputs).astype(int), len(self.learned)
        if (self.labels[rows] != np.ravel(labels)).any():
            self.mislabelled.append(number + 1)
        self.learned.append(set(rows.tolist()))
        self.scored.append(set())

        def score(rows: Any) -> np.ndarray:
            self.scored[number] |= set(np.ravel(rows).astype(int).tolist())
            return np.full(len(rows), float(number))

        return score
