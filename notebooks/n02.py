"""Notebook 2, label by expert rules: its figures and its checkers."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from checker import Off, as_flags, as_number, ask, checker, compare, off_if, still_right, tables_outside
from helpers import plots, rules
from helpers.settings import ALERTS, BLOCK, BUDGET, WINDOW


def naive_rule(flagged: np.ndarray, index: pd.Index) -> Figure:
    """Alerts of the naive rule, block by block, beside what analysts can look at."""
    counts = pd.Series(flagged).groupby(np.asarray(index) // BLOCK * BLOCK).sum()
    title = f"The naive rule raises {counts.mean():.0f} alerts in {BLOCK:,} events; the budget is {ALERTS}"
    figure, axes = plots.single(title, "event", f"alerts per {BLOCK:,} events", height=3)
    plots.by_block(axes, counts, color=plots.GREY, lw=2, label="naive rule")
    axes.axhline(ALERTS, color="black", ls="--", lw=2, label="alert budget")
    axes.set_ylim(0)
    axes.legend()
    return figure


def profile_map(z: pd.DataFrame, unusual: np.ndarray, beyond: float) -> Figure:
    """Ordinary and unusual events on two of their axes, the first and the third, and the profile's limits."""
    x, y = z.columns[0], z.columns[:3][-1]
    within = (z[[x, y]].abs() <= beyond).all(axis=1)
    figure, both = plt.subplots(1, 2, figsize=(7.5, 4.4), sharex=True, sharey=True)
    parts = ((~unusual, plots.BLUE, "ordinary"), (unusual, plots.ORANGE, "unusual"))
    box = {"fill": False, "ec": "black", "ls": "--", "lw": 2, "zorder": 3}
    for axes, (mask, colour, label) in zip(both, parts, strict=True):
        axes.scatter(x, y, data=z[mask], s=6, color=colour, alpha=0.4, lw=0)
        axes.add_patch(Rectangle((-beyond, -beyond), 2 * beyond, 2 * beyond, **box))
        axes.set_title(f"{label}: {mask.sum():,} of {len(z):,}", fontweight="normal")
        axes.set_xlabel(f"{x} (robust units)")
    both[0].set_ylabel(f"{y} (robust units)")
    for set_limits, name in ((axes.set_xlim, x), (axes.set_ylim, y)):
        low, high = z[name].quantile([0.003, 0.997])
        set_limits(min(low, -1.3 * beyond), max(high, 1.3 * beyond))
    share = within[unusual].mean() if unusual.any() else 0
    title = f"{share:.0%} of the unusual events lie inside this box, too: they are so on other axes"
    plots.headed(figure, plots.wrapped(title))
    return figure


def rule_votes(summary: pd.DataFrame) -> Figure:
    """Each rule's coverage, split into votes it casts alone, with others, and against others."""
    ordered = summary.sort_values("Coverage")
    coverage, overlaps, conflicts = (ordered[name] for name in ("Coverage", "Overlaps", "Conflicts"))
    contradicted = (summary["Conflicts"] / summary["Coverage"]).fillna(0)
    title = f"Others contradict {contradicted.max():.0%} of the votes of {contradicted.idxmax()}"
    figure, axes = plots.single(title, "share of events it votes on (the widest bar is cut off)")
    ends = [0 * coverage, coverage - overlaps, coverage - conflicts, coverage]
    labels, colours = ("alone", "others agree", "others disagree"), (plots.GREY, plots.SKY, "black")
    for (left, right), colour, label in zip(pairwise(ends), colours, labels, strict=True):
        axes.barh(ordered.index, right - left, left=left, color=colour, label=label)
    axes.set_xlim(0, coverage[coverage < 0.5].max() * 1.15)
    plots.percent(axes.xaxis, 1)
    axes.legend(title="votes cast", loc="lower right")
    return figure


def bursts(burst: pd.Series, threshold: float) -> Figure:
    """Burst count over the stream; events above the rule's threshold stand out."""
    above = burst > threshold
    when = burst.index[above].to_numpy()
    clusters = np.split(when, np.flatnonzero(np.diff(when) > WINDOW) + 1) if above.any() else []
    title = f"Burst: {above.sum():,} events exceed the threshold, in {len(clusters)} clusters (shaded)"
    figure, axes = plots.single(title, "event", "burst (count)", height=3)
    for cluster in clusters:
        axes.axvspan(cluster[0] - 50, cluster[-1] + 50, color=plots.RED, alpha=0.15, lw=0)
    axes.vlines(burst.index[~above], 0, burst[~above], color=plots.GREY, lw=0.6)
    axes.vlines(burst.index[above], 0, burst[above], color=plots.RED, lw=0.8, label="rule fires")
    axes.axhline(threshold, color="black", lw=1, ls="--", label=f"threshold {threshold:g}")
    axes.legend()
    return figure


def rule_score_by_label(rule_score: np.ndarray, labels: np.ndarray, threshold: float) -> Figure:
    """Rule score on a log axis, split by pseudo-label, and the budget's threshold."""
    beyond = f"{(rule_score > threshold).sum():,} events beyond the threshold are suspicious"
    undecided = f"{(labels == -1).sum():,} of all {len(labels):,} stay undecided"
    title = f"{(labels == 1).sum():,} of the {beyond}; {undecided}"
    return plots.by_label(title, "rule score (log scale)", rule_score, labels, threshold)


def rule_coverage(signal: pd.Series, threshold: float) -> Figure:
    """How many events of a block a rule flags at every threshold of its signal, and at this one."""
    flagged = (signal > threshold).mean() * BLOCK
    found = f"flags {flagged:.1f} of {BLOCK:,} events; the budget is {ALERTS}"
    x, y = f"threshold of {signal.name}", f"flagged of {BLOCK:,} events\n(log scale)"
    figure, axes = plots.single(f"{signal.name} > {threshold:g} {found}", x, y, height=3, yscale="log")
    values = np.sort(signal.to_numpy())
    beyond = (len(values) - np.searchsorted(values, values, side="right")) * BLOCK / len(values)
    drawn = np.where(beyond > 0, beyond, np.nan)
    axes.step(values, drawn, where="post", color="black", label="every threshold")
    axes.axhline(ALERTS, color="black", ls="--", lw=2, label="alert budget")
    axes.plot(threshold, flagged, "o", ms=9, color=plots.BLUE, label="this threshold", clip_on=False)
    axes.legend()
    return figure


TOO_MANY = 10 * BUDGET  # share of events beyond which a rule does not flag, it complains
CUTS = 30  # a rule is asked again about the events before, and up to, so many that it flags,
LOUD = 10  # and up to so many that stand out in a signal and are not flagged
BACK = "Look back only, and take numbers from `thresholds`, or write them down."
LATER = f"your rule says something else about them: it uses events that come later. {BACK}"


@checker
def check_2a(attempt: Callable, votes: pd.DataFrame) -> str:
    """A rule's coverage: the share of events on which it does not abstain."""
    for name, vote in votes.items():
        flagged = (vote == rules.SUSPICIOUS).mean()
        slips = {
            "leaves out the votes for the defence: 0 is a vote, only -1 abstains.": flagged,
            "counts the abstentions: -1 is no vote, and 0 is one.": (vote != 0).mean(),
            "is how many events; coverage is a share of all.": (vote != rules.ABSTAIN).sum(),
            "is the share of the abstentions.": (vote == rules.ABSTAIN).mean(),
            "is the mean of the codes 1, 0 and -1, which says nothing.": vote.mean(),
        }
        slips = {f"For `{name}` your number {sentence}": value for sentence, value in slips.items()}
        compare(as_number(ask(attempt, vote)), (vote != rules.ABSTAIN).mean(), slips, f"For `{name}`")
    still_right(as_number(ask(attempt, pd.Series([1, 0, -1, -1, 0, 0, 1, 0]))), 6 / 8)
    return "right. The same as the column Coverage above."


@checker
def check_2b(attempt: Callable, values: pd.Series) -> str:
    """The value that the alert budget's share exceeds."""
    threshold = as_number(ask(attempt, values))
    if np.isclose(threshold, (BUDGET, 1 - BUDGET)).any():
        raise Off("This is the share itself; the question is which value that share of the events exceeds.")
    share = float((values > threshold).mean())
    ten_times = abs(share - 10 * BUDGET) < BUDGET
    hints = {
        " You are at the other end of the list.": share > 0.9,
        f" {ALERTS} of {BLOCK:,} is {100 * BUDGET:g} %, not {1_000 * BUDGET:g} %.": ten_times,
        " Nobody would ever be flagged.": share == 0,
    }
    hint = "".join(hint for hint, fits in hints.items() if fits)
    found = f"{share * BLOCK:.1f} of {BLOCK:,} events exceed {threshold:.4g}; the budget is {ALERTS}.{hint}"
    off_if(abs(share - BUDGET) * len(values) > 1, found)
    others = 2 * values[: len(values) // 2] + 1
    exceed = (others > as_number(ask(attempt, others))).sum()
    still_right(abs(exceed - BUDGET * len(others)) <= 1, True)
    few = f"{ALERTS} of {BLOCK:,} events of the training set"
    return f"right. {few} are farther from the profile than {threshold:.1f}."


def flagged(rule: Callable, signals: pd.DataFrame, thresholds: dict, most: float = TOO_MANY) -> np.ndarray:
    """Where a learner's rule fires, after the checks that every rule must pass; `most` is a share."""

    def says(events: pd.DataFrame) -> np.ndarray:
        return as_flags(ask(rule, events, thresholds), len(events))

    for outside in tables_outside(rule):
        work = "It should work with the signals that it is given; take numbers from `thresholds`, or write"
        raise Off(f"Your rule reads `{outside}`, a table from outside. {work} them down.")
    fires = says(signals)
    off_if(not fires.any(), "Your rule flags nobody. Lower what it asks for.")
    many = f"Your rule flags {fires.mean() * BLOCK:.0f} of {BLOCK:,} events. Analysts can look at {ALERTS};"
    off_if(fires.mean() > most, f"{many} ask for something rarer, {most * BLOCK:.0f} at most.")
    again = "Asked twice, your rule flags others. What it flags must not depend on chance."
    off_if((says(signals) != fires).any(), again)
    first = np.flatnonzero(fires)[:CUTS]
    quiet = signals.select_dtypes("number")[~fires]
    loud = [signals.index.get_indexer(quiet[name].nlargest(LOUD).index) for name in quiet]
    for end in (len(signals) // 2, *first, *(first + 1), *(np.concatenate(loud) + 1)):
        if end and (says(signals[:end]) != fires[:end]).any():
            raise Off(f"Asked about the first {end:,} events alone, {LATER}")
    extreme = signals.assign(**10.0 * signals.select_dtypes("number").max())
    extreme.index += signals.index[-1] + 1
    changed = says(pd.concat([signals, extreme]))[: len(fires)] != fires
    off_if(changed.any(), f"With extreme events after these, {LATER}")
    return fires


def only_if_new(fires: np.ndarray, said: pd.DataFrame, twice: str) -> None:
    """Tell off a rule that flags the same events as a column of `said`."""
    for name in said:
        off_if((said[name] == fires).all(), twice.format(name))


def this_is_a_rule(fires: np.ndarray, said: pd.DataFrame) -> str:
    """Praise for a new rule: how many it flags, and how many of these no other rule does."""
    only_if_new(fires, said, "Your rule says exactly what `{}` says; a vote cast twice is no second opinion.")
    alone = f"no other rule flags {fires[~said.any(axis=1)].sum() / fires.sum():.0%} of these."
    return f"this is a rule. It flags {fires.mean() * BLOCK:.1f} of {BLOCK:,} events; {alone}"


@checker
def check_2c(attempt: Callable, signals: pd.DataFrame, thresholds: dict[str, float]) -> str:
    """A rule of the learner's own; any that flags few, looks back only and is new."""
    fires = flagged(attempt, signals, thresholds)
    said = rules.apply_rules(signals, thresholds) == rules.SUSPICIOUS
    return f"{this_is_a_rule(fires, said)} Notebook 6 measures it."
