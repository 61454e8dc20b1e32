"""Notebook 5, train a classifier: its figures and its checkers."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xgboost
from matplotlib.figure import Figure
from scipy.special import expit

from checker import as_column, as_number, ask, checker, compare, off_if, still_right
from helpers import plots
from helpers.classifier import Classifier


def one_tree(tree: Any, names: Sequence[str], example: np.ndarray, event: int) -> Figure:
    """A small decision tree: its questions, the events of each label in every box, and one event's path."""
    from sklearn.tree import plot_tree

    grown, asks = tree.tree_, tree.tree_.feature >= 0
    share = grown.value[:, 0, 1] / grown.value[:, 0].sum(axis=1)  # of the weight
    suspicious = np.rint(grown.weighted_n_node_samples * share).astype(int)
    others = grown.n_node_samples - suspicious
    caught = ~asks & (share > 0.5)
    title = f"With {asks.sum()} questions we collect {suspicious[caught].sum()} of {suspicious[0]} suspicious"
    title += f" events and {others[caught].sum()} others; outlined: the path of event {event:,}"
    figure, axes = plots.single("", height=3.8)
    plot_tree(tree, feature_names=list(names), rounded=True, fontsize=10, ax=axes)
    boxes = [text for text in axes.texts if text.get_bbox_patch()]
    path = tree.decision_path(example[None]).indices
    for node, box in enumerate(boxes):
        question = f"{names[grown.feature[node]]} <= {grown.threshold[node]:.1f}?\n" if asks[node] else ""
        box.set_text(f"{question}labelled suspicious: {suspicious[node]:,}\nothers: {others[node]:,}")
        style = {"edgecolor": plots.VIOLET, "linewidth": 2.5} if node in path else {"edgecolor": plots.GREY}
        box.get_bbox_patch().set(**style)
    axes.set_title(plots.wrapped(title))  # which plot_tree would have taken away
    return figure


def contributions(classifier: Classifier, seen: np.ndarray) -> pd.DataFrame:
    """What pushed each probability up or down: XGBoost's own SHAP contributions, in log-odds; (n, k + 1),
    one column per input, and `base_value`, the answer before any input is seen."""
    rows = xgboost.DMatrix(seen, nthread=1)
    pushes = classifier.model.predict(rows, pred_contribs=True, validate_features=False)
    return pd.DataFrame(pushes, columns=[*classifier.names, "base_value"])


def seeds(contributions: pd.DataFrame, stay: float, event: int) -> Figure:
    """What pushed one event's log-odds up or down, for classifiers that differ in their seed alone."""
    pushes = contributions.drop("base_value")
    strongest = dict.fromkeys(pushes.abs().idxmax())
    reasons = f"{len(strongest)} strongest reasons ({', '.join(strongest)})"
    title = f"With {pushes.shape[1]} seeds event {event:,} has {reasons}; "
    title += f"{stay:.0%} of the highest test events stay"
    pushes = pushes.loc[pushes.abs().max(axis=1).sort_values(ascending=False, kind="stable").index]
    figure, axes = plots.single(title, "contribution to the log-odds", "column", height=3.8)
    colours = (plots.VIOLET, plots.ORANGE, plots.BLUE)
    for (seed, pushed), mark, colour in zip(pushes.items(), "Dos", colours, strict=True):
        axes.plot(pushed, range(len(pushes)), mark, ms=8, color=colour, label=seed)
    plots.rows(axes, list(pushes.index))
    axes.axvline(0, color="black", lw=1)
    axes.legend(loc="lower right")
    return figure


def circularity(scores: Mapping[str, float], guess: float | None = None) -> Figure:
    """F1 of three classifiers against the labels that they were taught."""
    best = max(scores.values())
    title = f"Against its own labels a classifier reaches an F1 of {best:.2f}, which says nothing about fraud"
    what = "F1 on the test set, against the labels it was taught"
    figure, axes = plots.single(title, what, height=2.8, xlim=(0, 1.1))
    named = plots.DETECTORS | {"naive_classifier": ("classifier of the naive rule", plots.GREY)}
    plots.bars(axes, scores, "%.2f", named)
    plots.guessed(axes, guess)
    return figure


def copied_votes(f1: pd.DataFrame, guess: float | None = None) -> Figure:
    """How well a classifier repeats each rule's votes from what ours sees, by two kinds of folds."""
    ordered = f1.sort_values("consecutive", ascending=False, kind="stable")
    title = f"{(f1['consecutive'] > 0.8).sum()} of {len(f1)} rules can be copied with an F1 above 0.8"
    figure, axes = plots.single(title, "F1 against the rule's own votes", height=3.6, xlim=(-0.03, 1.03))
    for how, mark, colour in (("shuffled", "o", plots.ORANGE), ("consecutive", "D", plots.VIOLET)):
        axes.plot(ordered[how], range(len(f1)), mark, ms=9, color=colour, label=f"{how} folds")
    plots.rows(axes, [f"{name} ({votes:,.0f})" for name, votes in ordered["votes"].items()])
    axes.set_ylabel("rule (its votes in training)")
    axes.axvline(0.8, color="black", ls="--")
    plots.guessed(axes, guess)
    return figure


@checker
def check_5a(attempt: Callable, classifier: Classifier, seen: np.ndarray) -> str:
    """From SHAP contributions to the probability."""
    reasons = contributions(classifier, seen).astype(float)
    middling = reasons * 0 + np.random.default_rng(0).normal(size=reasons.shape)  # made up, not near 0 or 1
    for _, row in middling.iterrows():
        total = row.sum()
        slips = {
            "These are log-odds; one step is missing on the way to a probability.": total,
            "The base value is missing, where the sum begins.": expit(total - row["base_value"]),
            "These are odds; a probability is odds / (1 + odds).": np.exp(total),
            "This is the chance of the opposite; mind the sign.": expit(-total),
        }
        compare(as_number(ask(attempt, row)), expit(total), slips, "As a probability,")
    for (_, row), probability in zip(reasons.iterrows(), classifier.probability(seen), strict=True):
        still_right(as_number(ask(attempt, row)), probability, tol=1e-4)
    return "right. The contributions explain the classifier completely: nothing is left over."


@checker
def check_5b(attempt: Callable) -> str:
    """Fisher's combined score of three events, from two scores without a common unit."""
    random, n = np.random.default_rng(0), 2_000
    for rank in ([[1_981, 1_999, 1_901], [1_981, 1_001, 1_951]], [[7, 1_400, 900], [800, 33, 1_990]]):
        unit, rank = np.array([[1.0], [7.0]]), np.array(rank)  # of the training scores 1 is the lowest
        scores, training = list(unit * rank), [random.permutation(n) * by + by for by in unit]
        p = (n + 1 - rank) / n
        slips = {
            "These are the p-values multiplied; add up their logarithms and turn the sign.": p.prod(axis=0),
            "The scores have no common unit, so they cannot be added up.": sum(scores),
            "A p-value is the share of higher scores, not of lower ones.": -np.log(rank / n).sum(axis=0),
            "Training scores that are exactly as high count, too.": -np.log(p - 1 / n).sum(axis=0),
        }
        answer = as_column(ask(attempt, scores, training), 3)
        compare(answer, -np.log(p).sum(axis=0), slips, "The combined score")
    return "right. Two moderate scores, 1 in 100 each, outrank 1 in 1,000 beside 1 in 2."


@checker
def check_5c(attempt: Callable) -> str:
    """Scores of each event by a model that has not learned from it."""
    n = 103  # five folds cannot be of one size
    rows, labels = np.arange(n)[:, None], np.random.default_rng(0).random(n)

    def fit(inputs: Any, labels: Any) -> Callable[[Any], np.ndarray]:
        """A model that says of an event the label of the nearest one that it has learned from."""
        known, said = np.ravel(inputs), np.ravel(labels)
        return lambda asked: said[np.abs(np.ravel(asked)[:, None] - known).argmin(axis=1)]

    folds = np.array_split(np.arange(n), 5)
    right = [fit(np.delete(rows, fold), np.delete(labels, fold))(fold) for fold in folds]
    found = as_column(ask(attempt, fit, rows, labels), n)
    off_if((found == labels).mean() > 0.5, "The models score events that they have learned from.")
    near = ((found == np.roll(labels, 1)) | (found == np.roll(labels, -1))).mean()
    off_if(near > 0.5, "The folds are mixed. Neighbouring events are alike, so leave out consecutive ones.")
    off_if((found == 0).any(), f"{(found == 0).sum()} of {n} rows are in no fold: mind the remainder.")
    compare(found, np.concatenate(right), {}, "The score")
    return "right. `Classifier.out_of_fold` does the same."
