"""What notebook 5: train a judge alone needs: its figures and its checkers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import PercentFormatter

from checker import Off, as_column, as_flags, as_number, ask, checker, compare, still_right
from helpers import plots, rules
from helpers.judge import Judge
from helpers.schema import CARDS

# --- figures


def _f1_bars(axes: plt.Axes, scores: Mapping[str, float], named: Mapping) -> None:
    """Bars of F1, from 0 to 1."""
    plots.bars(axes, scores, "%.2f", named)
    axes.set_xlim(0, 1.1)


def agreement(counts: pd.DataFrame) -> Figure:
    """Rules against autoencoder: how many training events in each combination."""
    said, rebuilt = [name for name, _ in plots.LABELS.values()], ["badly rebuilt", "well rebuilt"]
    counts = counts.reindex(index=said, columns=rebuilt, fill_value=0)
    figure, axes = plots.single(
        f"They agree on {counts.loc['suspicious', 'badly rebuilt']:,} suspicious and "
        f"{counts.loc['presumed normal', 'well rebuilt']:,} normal events",
        figsize=(6.5, 3),
    )
    plots.counts(axes, counts)
    for cell in ((0, 0), (1, 2)):  # columns and rows where both agree
        axes.add_patch(Rectangle(cell, 1, 1, fill=False, color="black", lw=3, clip_on=False))
    axes.set(xlabel="the autoencoder says", ylabel="the rules say")
    return figure


def importance(judges: Mapping[str, pd.Series]) -> Figure:
    """Share of the gain of each input, one panel a judge."""
    figure, axes = plt.subplots(1, len(judges), figsize=(7.5, 4), squeeze=False)
    for axis, (name, shares) in zip(axes[0], judges.items(), strict=True):
        label, colour = plots.DETECTORS[name]
        axis.barh(shares.index, shares, color=colour)
        axis.invert_yaxis()
        axis.xaxis.set_major_formatter(PercentFormatter(1))
        title = f"{label}:\n{shares.index[0]} decides {shares.iloc[0]:.0%}"
        axis.set(title=title, xlabel="share of the total gain")
    return figure


def one_tree(tree: Any, names: Sequence[str]) -> Figure:
    """A small decision tree: what it asks, and how many events of each kind arrive where."""
    from sklearn.tree import plot_tree

    figure, axes = plt.subplots(figsize=(7, 3.4))
    answers = ["normal", "suspicious"]
    style = {"impurity": False, "rounded": True, "fontsize": 10}
    plot_tree(tree, feature_names=list(names), class_names=answers, ax=axes, **style)
    for text in axes.texts:
        if box := text.get_bbox_patch():
            box.set_edgecolor(plots.GREY)
    grown = tree.tree_
    asked = sorted({str(names[feature]) for feature in grown.feature if feature >= 0})
    right = (grown.n_node_samples * grown.value[:, 0].max(axis=1))[grown.feature < 0].sum()
    questions, events = (grown.feature >= 0).sum(), grown.n_node_samples[0]
    axes.set_title(
        f"{questions} question{'' if questions == 1 else 's'} about {', '.join(asked)}: "
        f"{right:,.0f} of {events:,} events come out right"
    )
    return figure


def reasons(contributions: pd.Series, values: pd.Series, risk: float, event: int) -> Figure:
    """What pushed one event's risk up or down: from the bias, bar by bar, to its log-odds."""
    pushes = contributions.drop("bias").sort_values(key=np.abs, ascending=False, kind="stable")
    steps = pd.concat([contributions[["bias"]], pushes])
    ends = steps.cumsum()
    figure, axes = plots.single(
        f"Event {event:,}: {pushes.index[0]} is the strongest reason for a risk of {risk:.3f}",
        f"log-odds: {ends.iloc[0]:.1f} before any input, {ends.iloc[-1]:.1f} in the end",
        "input and its value",
        figsize=(7.5, 3.8),
    )
    names = ["bias", *(f"{name} = {values[name]:.1f}" for name in pushes.index)]
    axes.barh(names, steps, left=ends - steps, color=np.where(steps > 0, plots.RED, plots.BLUE))
    axes.axvline(ends.iloc[-1], color="black", ls="--", label=f"{ends.iloc[-1]:.1f}: a risk of {risk:.3f}")
    axes.use_sticky_edges = False
    axes.margins(x=0.04)
    axes.legend(loc="lower left")
    axes.invert_yaxis()
    return figure


def copied_votes(f1: pd.Series) -> Figure:
    """How well a judge repeats each rule's vote, from its own inputs alone."""
    ordered = f1.sort_values(ascending=False, kind="stable")
    figure, axes = plots.single(
        f"{(f1 > 0.8).sum()} of {len(f1)} votes can be copied with an F1 above 0.8",
        "F1 on the test part, against the rule's own votes",
        figsize=(7.5, 3.2),
    )
    _f1_bars(axes, ordered.to_dict(), {rule: (rule, plots.BLUE) for rule in ordered.index})
    axes.axvline(0.8, color="black", ls="--")
    return figure


def circularity(scores: Mapping[str, float]) -> Figure:
    """F1 of judges against the labels that they were taught; `seed_rules` is a judge of the naive rule."""
    best = max(scores.values())
    title = f"Against its own labels a judge reaches an F1 of {best:.2f}; that says nothing of fraud"
    figure, axes = plots.single(
        title, "F1 on the test part, against the labels it was taught", figsize=(7.5, 2.8)
    )
    judges = {
        name: (label.replace("naive", "judge of the naive"), c)
        for name, (label, c) in plots.DETECTORS.items()
    }
    _f1_bars(axes, scores, judges)
    return figure


# --- checkers


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
