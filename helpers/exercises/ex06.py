"""Checkers of notebook 6: open the seal."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd
from sklearn.metrics import average_precision_score

from helpers import evaluation, rules
from helpers.exercises.checker import Off, as_number, ask, checker, compare
from helpers.exercises.ex02 import accused


@checker
def check_6a(attempt: Callable, matrices: Mapping[str, np.ndarray]) -> str:
    """Precision and recall from a confusion matrix."""
    for name, matrix in matrices.items():
        (quiet_honest, false), (missed, found) = np.asarray(matrix, dtype=float)
        answer = ask(attempt, matrix)
        if np.shape(answer) != (2,):
            raise Off("It should give two numbers: return precision, recall.")
        pair = [as_number(value) for value in answer]
        precision, recall = found / (found + false), found / (found + missed)
        slips = {
            "The two are swapped: precision is about the alerts, recall about the frauds.": (
                recall,
                precision,
            ),
            "These are about the honest events; frauds are the second row, alerts the second column.": (
                quiet_honest / (quiet_honest + missed),
                quiet_honest / (quiet_honest + false),
            ),
            "The first is accuracy, the share of right answers, which is high for everybody here.": (
                (quiet_honest + found) / np.sum(matrix),
                recall,
            ),
        }
        compare(pair, (precision, recall), slips, f"For {name}, precision and recall:", tol=1e-6)
    return "right. Both ask about the same frauds found, out of the alerts or out of all frauds."


@checker
def check_6b(attempt: Callable, truth: np.ndarray, score: np.ndarray) -> str:
    """Average precision, walked down the ranking."""
    generator = np.random.default_rng(0)
    toy, ranked = (generator.random(40) < 0.3).astype(int), generator.permutation(40).astype(float)
    order = np.argsort(-ranked)
    hits = toy[order]
    precision = hits.cumsum() / np.arange(1, len(hits) + 1)
    unsorted = toy.cumsum() / np.arange(1, len(toy) + 1)
    upside_down = toy[order[::-1]].cumsum() / np.arange(1, len(toy) + 1)
    slips = {
        "It walks through time, not down the ranking: sort by score first.": unsorted[toy == 1].mean(),
        "It begins at the lowest score; the riskiest event comes first.": upside_down[
            toy[order[::-1]] == 1
        ].mean(),
        "It averages over all events; only the places where a fraud is found count.": precision.mean(),
        "It divides by the number of events; divide by the number of frauds.": precision[hits == 1].sum()
        / len(toy),
        "This is the share of frauds, which is what chance reaches.": toy.mean(),
        "This is the precision at the end of the list.": precision[-1],
    }
    compare(
        as_number(ask(attempt, toy, ranked)), precision[hits == 1].mean(), slips, "On forty made-up events"
    )
    mine, ours = as_number(ask(attempt, truth, score)), average_precision_score(truth, score)
    compare(mine, ours, {}, "For the rule book", tol=0.005)
    return (
        f"right. For the rule book it gives {mine:.2f}, as in the table. Where many scores are equal, as "
        "the judge's are, scikit-learn takes equal ones together."
    )


@checker
def check_6c(attempt: Callable, truth: np.ndarray) -> str:
    """One draw of a circular block bootstrap."""
    n, block = 1_050, 100
    draws = _draws(attempt, n, block, 50)
    if draws.dtype.kind not in "iu" or draws.min() < 0 or draws.max() >= n:
        raise Off(
            f"Positions are whole numbers from 0 to {n - 1:,}; a block that runs over the end goes on at the "
            "beginning (% n)."
        )
    if (draws == draws[0]).all():
        raise Off("Every draw is the same; let the generator choose.")
    torn = ((np.diff(draws, axis=1) % n) != 1).mean() * block
    if torn > 2:
        raise Off("Neighbours are torn apart: draw where blocks begin, and take whole blocks.")
    starts = draws[:, ::block]
    if all(len(set(row)) == n for row in draws.tolist()):
        raise Off("Each event comes exactly once, so nothing varies: draw blocks with replacement.")
    if (starts % block == 0).all():
        raise Off("Blocks begin at multiples of the block's length only; let them begin anywhere.")
    if starts.max() <= n - block:
        raise Off("No block runs over the end of the stream, so the last events are drawn too rarely.")
    low, high = np.quantile(truth[_draws(attempt, len(truth), 1_000, 200)].sum(axis=1), [0.025, 0.975])
    return f"right. The test part has {truth.sum()} frauds; such draws hold {low:.0f} to {high:.0f} of them."


def _draws(attempt: Callable, n: int, block: int, count: int) -> np.ndarray:
    """(count, n) positions from so many calls, each with a generator of its own."""
    draws = [np.asarray(ask(attempt, n, block, np.random.default_rng(draw))) for draw in range(count)]
    for draw in draws:
        if draw.shape != (n,):
            raise Off(f"For {n:,} events it should give {n:,} positions, but gives the shape {draw.shape}.")
    return np.array(draws)


@checker
def check_6d(
    attempt: Callable, signals: pd.DataFrame, thresholds: dict[str, float], truth: np.ndarray
) -> str:
    """The learner's own rule, measured on the test part."""
    fires = accused(attempt, signals, thresholds)
    start = int(signals.index[0])
    found = evaluation.accusations(truth, fires, rules.suspicion(signals), start)
    book = evaluation.budget_report(truth, rules.suspicion(signals), start)
    return (
        f"measured. Of {found['accused']} accused events {found['frauds']} are frauds: a precision of "
        f"{found['precision']:.0%} and a recall of {found['recall']:.0%}. Within the budget it finds "
        f"{found['within_budget']} frauds, the whole rule book {book['true_positives']}."
    )
