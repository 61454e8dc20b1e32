"""Checkers of notebook 6: open the seal."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd
from sklearn.metrics import auc, average_precision_score, precision_recall_curve, roc_auc_score

from helpers import evaluation, rules
from helpers.exercises.checker import Off, as_column, as_number, as_pair, ask, checker, compare, still_right
from helpers.exercises.ex02 import TOO_MANY, accused


@checker
def check_6a(attempt: Callable, matrices: Mapping[str, np.ndarray]) -> str:
    """Precision and recall from a confusion matrix."""
    for name, matrix in {**matrices, "a made-up matrix": np.array([[90, 6], [1, 3]])}.items():
        (quiet_honest, false), (missed, found) = np.asarray(matrix, dtype=float)
        pair = as_pair(ask(attempt, matrix), "precision, recall")
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
        compare(pair, (precision, recall), slips, f"For {name}, precision and recall:")
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
    from_zero = hits.cumsum()[1:] / np.arange(1, len(hits))
    curve = precision_recall_curve(toy, ranked)
    slips = {
        "It walks through time, not down the ranking: sort by score first.": unsorted[toy == 1].mean(),
        "It begins at the lowest score; the riskiest event comes first.": upside_down[
            toy[order[::-1]] == 1
        ].mean(),
        "It averages over all events; only the places where a fraud is found count.": precision.mean(),
        "It divides by the number of events; divide by the number of frauds.": precision[hits == 1].sum()
        / len(toy),
        "It adds the notes up; return their mean.": precision[hits == 1].sum(),
        "It counts places from 0; the first place is number 1.": from_zero[hits[1:] == 1].sum() / hits.sum(),
        "It notes the precision before each fraud; count that fraud, too.": (
            (hits.cumsum() - 1) / np.arange(1, len(hits) + 1)
        )[hits == 1].mean(),
        "The order of `argsort` says which event comes first, not which place an event has.": (
            toy.cumsum() / (order + 1)
        )[toy == 1].mean(),
        "This is the area under the precision-recall curve with straight lines drawn between its points; "
        "take the mean of the notes.": auc(curve[1], curve[0]),
        "This is the area under the ROC curve.": roc_auc_score(toy, ranked),
        "This is the share of frauds, which is what chance reaches.": toy.mean(),
    }
    compare(
        as_number(ask(attempt, toy, ranked)), precision[hits == 1].mean(), slips, "On forty made-up events"
    )
    mine, ours = as_number(ask(attempt, truth, score)), average_precision_score(truth, score)
    still_right(mine, ours, tol=0.005)
    return (
        f"right. For the rule book it gives {mine:.2f}, as in the table. Where many scores are equal, as "
        "the judge's are, scikit-learn takes equal ones together."
    )


@checker
def check_6c(attempt: Callable, episode: np.ndarray) -> str:
    """One draw of a bootstrap over episodes."""
    small = np.array([0, 0, 1, 2, 2, 2, 3])
    draws = _draws(attempt, small, 200)
    if (draws != _draws(attempt, small, 200)).any():
        raise Off("The same generator gives another draw: let `generator` draw, not `np.random`.")
    each = draws[:, [0, 2, 3, 6]]
    if (draws != each[:, small]).any():
        raise Off(
            "Frauds of one episode are torn apart: draw episodes, and give each fraud its episode's count."
        )
    if (draws == draws[0]).all():
        raise Off("Every draw is the same; let the generator choose.")
    if each.max() == 1:
        raise Off("No episode comes twice: draw with replacement.")
    if (each.sum(axis=1) != 4).any():
        raise Off(
            "A draw holds as many episodes as there are, 4 here; some of them twice, others not at all."
        )
    if not each.any(axis=0).all():
        raise Off("One episode is never drawn. Up to which number does `integers` go?")
    if np.abs(each.mean(axis=0) - 1).max() > 0.25:
        raise Off("Some episodes are drawn more often than others; each should be as likely.")
    together = np.corrcoef(each.T)[~np.eye(4, dtype=bool)]  # -1/3 where each of four is drawn anew
    if np.abs(each.var(axis=0) - 0.75).max() > 0.3 or np.abs(together + 1 / 3).max() > 0.3:
        raise Off("The episodes of one draw hang together: draw anew for each of them.")
    draws = _draws(attempt, episode, 200)
    first = np.unique(episode, return_index=True)[1]
    if (draws[:, first].sum(axis=1) != len(first)).any():
        raise Off(f"It is right for 4 episodes, but not for the {len(first)} of the test part: count them.")
    low, high = np.quantile(draws.sum(axis=1), [0.025, 0.975])
    return f"right. The test part has {len(episode)} frauds; such draws hold {low:.0f} to {high:.0f} of them."


def _draws(attempt: Callable, episode: np.ndarray, count: int) -> np.ndarray:
    """(count, frauds) from so many calls, each with a generator of its own."""
    answers = [ask(attempt, episode, np.random.default_rng(draw)) for draw in range(count)]
    for answer in answers:
        if np.shape(answer) != episode.shape:
            raise Off(
                f"For {len(episode)} frauds it should say {len(episode)} times how often each is drawn, but "
                f"gives the shape {np.shape(answer)}."
            )
    return np.array([as_column(answer, len(episode)) for answer in answers])


@checker
def check_6d(
    attempt: Callable, signals: pd.DataFrame, thresholds: dict[str, float], truth: np.ndarray
) -> str:
    """The learner's own rule, measured on the test part."""
    fires = accused(attempt, signals, thresholds, most=4 * TOO_MANY)
    start = int(signals.index[0])
    found = evaluation.accusations(truth, fires, rules.suspicion(signals), start)
    book = evaluation.budget_report(truth, rules.suspicion(signals), start)
    return (
        f"measured. Of {found['accused']} accused events {found['frauds']} are frauds: a precision of "
        f"{found['precision']:.0%} and a recall of {found['recall']:.0%}. Within the budget it finds "
        f"{found['within_budget']} frauds, the whole rule book {book['true_positives']}."
    )
