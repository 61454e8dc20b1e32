"""Notebook 5, train a classifier: its figures and its checkers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy.special import expit

from checker import Off, as_column, as_flags, as_number, ask, checker, compare, off_if, still_right
from helpers import plots, rules
from helpers.classifier import Classifier
from helpers.schema import CARDS


def seeds(strongest: pd.DataFrame) -> Figure:
    """The strongest reason for each of the highest test events, one panel a seed of the classifier."""
    shared = strongest.dropna()  # of an event that is not among a seed's highest the reason is missing
    agreed = (shared.nunique(axis=1) == 1).sum()
    same = f"{len(shared)} of the {strongest.count().max()} highest test events stay with every seed"
    counts = strongest.apply(pd.Series.value_counts).fillna(0)
    figure, axes = plt.subplots(1, strongest.shape[1], figsize=(7.5, 3.4), sharex=True, sharey=True)
    for axis, (seed, events) in zip(axes, counts.items(), strict=True):
        axis.barh(counts.index, events, color=plots.VIOLET)
        axis.set(title=f"{seed}: mostly {events.idxmax()}", xlabel="events")
    axes[0].set_ylabel("strongest reason")
    plots.headed(figure, f"{same},\n{agreed} of them for the same strongest reason")
    return figure


def one_tree(tree: Any, names: Sequence[str]) -> Figure:
    """A small decision tree: what it asks, and how many events of each kind arrive where."""
    from sklearn.tree import plot_tree

    grown, names = tree.tree_, list(names)
    asks = grown.feature >= 0
    about = ", ".join(sorted({names[feature] for feature in grown.feature[asks]}))
    share = grown.value[:, 0] / grown.value[:, 0].sum(axis=1, keepdims=True)
    suspicious = grown.weighted_n_node_samples * share[:, 1]
    found = suspicious[~asks & (share[:, 1] > 0.5)].sum()
    questions = f"{asks.sum()} question{'' if asks.sum() == 1 else 's'}"
    title = f"{questions} about {about} collect {found:.0f} of {suspicious[0]:.0f} suspicious events"
    figure, axes = plt.subplots(figsize=(7, 3.4))
    style = {"impurity": False, "rounded": True, "fontsize": 10}
    plot_tree(tree, feature_names=names, class_names=["normal", "suspicious"], ax=axes, **style)
    for box in filter(None, (text.get_bbox_patch() for text in axes.texts)):
        box.set_edgecolor(plots.GREY)
    axes.set_title(title)
    return figure


def reasons(contributions: pd.Series, values: pd.Series, risk: float, event: int) -> Figure:
    """What pushed one event's probability up or down: from the base value, bar by bar, to its log-odds."""
    pushes = contributions.drop("base_value").sort_values(key=np.abs, ascending=False, kind="stable")
    steps = pd.concat([contributions[["base_value"]], pushes])
    ends = steps.cumsum()
    title = f"Event {event:,}: {pushes.index[0]} is the strongest reason for a probability of {risk:.3f}"
    x = f"log-odds: {ends.iloc[0]:.1f} before any input, {ends.iloc[-1]:.1f} in the end"
    figure, axes = plots.single(title, x, "input and its value", height=3.8)
    names = ["base_value", *(f"{name} = {values[name]:.1f}" for name in pushes.index)]
    axes.barh(names, steps, left=ends - steps, color=np.where(steps > 0, plots.RED, plots.BLUE))
    axes.axvline(
        ends.iloc[-1], color="black", ls="--", label=f"{ends.iloc[-1]:.1f}: a probability of {risk:.3f}"
    )
    axes.use_sticky_edges = False
    axes.margins(x=0.04)
    axes.legend(loc="lower left")
    axes.invert_yaxis()
    return figure


def copied_votes(f1: pd.DataFrame) -> Figure:
    """How well a classifier repeats each rule's vote, from its own inputs alone, measured in three ways."""
    ordered = f1.sort_values("test set", ascending=False, kind="stable")
    title = f"{(f1['test set'] > 0.8).sum()} of {len(f1)} votes can be copied with an F1 above 0.8"
    figure, axes = plots.single(title, "F1 against the rule's own votes", height=3.6, xlim=(-0.03, 1.03))
    colours = (plots.ORANGE, plots.BLUE, plots.VIOLET)
    for how, mark, size, colour in zip(ordered, "o|D", (9, 18, 6), colours, strict=True):
        axes.plot(ordered[how], range(len(f1)), mark, ms=size, mew=2, color=colour, label=how)
    plots.rows(axes, list(ordered.index))
    axes.set_ylabel("rule (votes in training; test set)")
    axes.axvline(0.8, color="black", ls="--")
    axes.legend()
    return figure


def circularity(scores: Mapping[str, float]) -> Figure:
    """F1 of classifiers against the labels that they were taught; `seed_rules` has learned the naive rule."""
    best = max(scores.values())
    title = f"Against its own labels a classifier reaches an F1 of {best:.2f}; that says nothing of fraud"
    what = "F1 on the test set, against the labels it was taught"
    figure, axes = plots.single(title, what, height=2.8, xlim=(0, 1.1))
    named = plots.DETECTORS | {"seed_rules": ("classifier of the naive rule", plots.GREY)}
    plots.bars(axes, scores, "%.2f", named)
    return figure


@checker
def check_5a(attempt: Callable, classifier: Classifier, seen: np.ndarray) -> str:
    """From SHAP contributions to the probability."""
    reasons = classifier.reasons(seen).astype(float)
    middling = reasons * 0 + np.random.default_rng(0).normal(size=reasons.shape)  # made up, not near 0 or 1
    for _, row in middling.iterrows():
        total = row.sum()
        slips = {
            "These are log-odds; one step is missing on the way to a probability.": total,
            "The base value is missing, the answer before any feature is seen.": expit(
                total - row["base_value"]
            ),
            "The first contribution is missing; the base value is one of them, too.": expit(
                total - row.iloc[0]
            ),
            "These are odds; a probability is odds / (1 + odds).": np.exp(total),
            "This is the chance of the opposite; mind the sign.": expit(-total),
            "This averages the contributions; they add up.": expit(row.mean()),
            "The logarithm is the natural one: its base is e, not 10.": expit(total * np.log(10)),
        }
        compare(as_number(ask(attempt, row)), expit(total), slips, "As a probability,")
    for (_, row), risk in zip(reasons.iterrows(), classifier.probability(seen), strict=True):
        still_right(as_number(ask(attempt, row)), risk, tol=1e-4)
    return "right. The contributions explain the classifier completely: nothing is left over."


@checker
def check_5b(attempt: Callable, events: pd.DataFrame, inputs: np.ndarray, n_train: int) -> str:
    """A senseless rule that a classifier copies nearly perfectly."""
    from sklearn.metrics import f1_score

    flagged, naive = as_flags(ask(attempt, events), len(events)), rules.naive_rule(events)
    share = flagged[:n_train].mean()
    far = f"Your rule flags {share:.1%} of the events; stay between 1 % and 50 %."
    off_if(not 0.01 <= share <= 0.5, far)
    alike = (flagged & naive).sum() > 0.5 * (flagged | naive).sum()
    off_if(alike, "This is nearly the naive rule again; invent something that has no sense at all.")
    classifier = Classifier(names=list(CARDS.columns)).fit(
        inputs[:n_train], flagged[:n_train].astype(np.int8)
    )
    f1 = f1_score(flagged[n_train:], classifier.probability(inputs[n_train:]) > 0.5, zero_division=0)
    unseen = "It cannot copy what it cannot see: use nothing but the columns of the event, and no order or"
    off_if(f1 < 0.9, f"The classifier reaches an F1 of {f1:.2f} only. {unseen} chance.")
    return f"right. The classifier copies it with an F1 of {f1:.2f}, and it means nothing."


@checker
def check_5c(attempt: Callable) -> str:
    """Scores of each event by a model that had not seen it."""
    spy = _Spy()
    n = len(spy.rows)
    found = as_column(ask(attempt, spy.fit, spy.rows, spy.labels), n)
    off_if((found == found[0]).all(), "One model scores all events, also those that it learned from.")
    for number in spy.mislabelled:
        raise Off(f"Model {number} gets labels of other rows: cut `labels` as you cut `inputs`.")
    for number, (learned, scored) in enumerate(spy.models, 1):
        both, many = len(learned & scored), len(scored)
        off_if(both, f"Model {number} scores {both} events that it has learned from.")
        if len(learned) < many:
            raise Off("It learns from one part and scores the others; it should be the other way round.")
        if scored and max(scored) - min(scored) >= many:
            raise Off("The parts are mixed. Neighbouring events are alike, so leave out consecutive ones.")
        if scored and len(learned) + many < n:
            raise Off("A model learns from less than it could: all events but those that it scores.")
    off_if(len(spy.models) != 5, f"{len(spy.models)} models were fitted; five parts need five.")
    owner = {row: number for number, (_, scored) in enumerate(spy.models) for row in scored}
    off_if(len(owner) < n, f"{n - len(owner)} of {n} rows are in no part: mind the remainder.")
    for row in range(n):
        own = owner[row] == found[row]
        off_if(not own, f"The score of event {row} is not what its model said; put each part in its place.")
    return "right. `Classifier.out_of_fold` does the same."


class _Spy:
    """Stands in for a model: remembers which rows each fit saw and scored; a score is the fit's number."""

    def __init__(self) -> None:
        self.rows = np.arange(103.0)[:, None]  # five parts cannot be of one size
        self.labels = np.random.default_rng(0).integers(0, 2, 103)
        self.models: list[tuple[set[int], set[int]]] = []  # rows learned and scored
        self.mislabelled: list[int] = []

    def __deepcopy__(self, _: dict) -> _Spy:
        return self

    def fit(self, inputs: Any, labels: Any) -> Callable[[Any], np.ndarray]:
        if len(inputs) != len(labels):
            raise ValueError(f"{len(inputs)} rows, but {len(labels)} labels")
        rows, number, scored = np.ravel(inputs).astype(int), len(self.models), set()
        self.models.append((set(rows.tolist()), scored))
        if (self.labels[rows] != np.ravel(labels)).any():
            self.mislabelled.append(number + 1)

        def score(rows: Any) -> np.ndarray:
            scored.update(np.ravel(rows).astype(int).tolist())
            return np.full(len(rows), float(number))

        return score
