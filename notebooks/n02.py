"""Notebook 2, label by expert rules: its figures and its checkers."""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from checker import Off, as_flags, as_number, ask, checker, compare, off_if, still_right, tables_outside
from helpers import plots, rules
from helpers.settings import ALERTS, BLOCK, BUDGET, WINDOW


def naive_rule(flagged: np.ndarray, index: pd.Index, guess: float | None = None) -> Figure:
    """Alerts of the naive rule, block by block, beside what analysts can look at."""
    counts = pd.Series(flagged).groupby(np.asarray(index) // BLOCK * BLOCK).sum()
    title = f"On average the naive rule flags {counts.mean():.0f} of {BLOCK:,} events; the budget is {ALERTS}"
    figure, axes = plots.single(title, plots.CLOCK, f"alerts per {BLOCK:,} events", height=3)
    plots.by_block(axes, counts, color=plots.GREY, lw=2, label="naive rule")
    axes.axhline(ALERTS, color="black", ls="--", lw=2, label="alert budget")
    axes.set_ylim(0)
    plots.guessed(axes, guess, upright=False)
    return figure


def bursts(burst: pd.Series, threshold: float, n_train: int) -> Figure:
    """Burst count over the stream; events above the threshold come in waves, 1,000 events apart or more."""
    above, border = burst > threshold, burst.index[n_train]
    when = burst.index[above].to_numpy()
    waves = np.split(when, np.flatnonzero(np.diff(when) > WINDOW) + 1) if above.any() else []
    many = f"{above.sum():,} events in {len(waves)} waves"
    title = f"The rule burst flags {many}; {(when < border).sum():,} of them lie in the training set"
    figure, axes = plots.single(title, plots.CLOCK, "burst (count)", height=3)
    for wave in waves:
        axes.axvspan(wave[0] - 50, wave[-1] + 50, color=plots.RED, alpha=0.15, lw=0)
    axes.vlines(burst.index[~above], 0, burst[~above], color=plots.GREY, lw=0.6)
    axes.vlines(burst.index[above], 0, burst[above], color=plots.RED, lw=0.8, label="flagged")
    axes.axhline(threshold, color="black", lw=1, ls="--", label=f"threshold {threshold:g}")
    axes.axvline(border, color="black", lw=2)
    for text, side in (("training set ", "right"), (" test set", "left")):
        axes.text(border, 0.7, text, ha=side, transform=axes.get_xaxis_transform())
    axes.legend()
    return figure


def rule_votes(summary: pd.DataFrame, guess: float | None = None) -> Figure:
    """Each rule's votes, split into those it casts alone, with others, and against others."""
    ordered = summary.sort_values("Coverage")
    own = ordered[["Overlaps", "Conflicts"]].div(ordered["Coverage"], axis=0).fillna(0)
    worst = own["Conflicts"].idxmax()
    title = f"Others contradict {own['Conflicts'].max():.0%} of the votes of {worst}"
    figure, axes = plots.single(title, "share of the rule's own votes")
    names = [f"{rule}\n({share:.1%} of events)" for rule, share in ordered["Coverage"].items()]
    ends = [0 * own["Overlaps"], own["Conflicts"], own["Overlaps"], 1 + 0 * own["Overlaps"]]
    labels, colours = ("others disagree", "others agree", "alone"), (plots.BLUE, plots.SKY, plots.GREY)
    for (left, right), colour, label in zip(pairwise(ends), colours, labels, strict=True):
        axes.barh(names, right - left, left=left, color=colour, label=label)
    plots.percent(axes.xaxis)
    plots.guessed(axes, guess, **plots.BESIDE)
    return figure


def label_counts(labels: np.ndarray, guess: float | None = None) -> Figure:
    """How many events have each pseudo-label."""
    counts = {label: (labels == label).sum() for label in plots.LABELS}
    title = f"Of {len(labels):,} events {counts[1]:,} are suspicious and {counts[-1]:,} stay undecided"
    figure, axes = plots.single(title, "events of the training set", height=2.2)
    plots.bars(axes, counts, "{:,.0f}", plots.LABELS)
    axes.margins(x=0.1)
    plots.guessed(axes, guess)
    return figure


def biggest_burst(suspects: pd.DataFrame) -> pd.DataFrame:
    """The suspects with which the largest burst among them ends: those of its last 1,000 events."""
    last = suspects["burst"].idxmax() if len(suspects) else 0
    return suspects.loc[last - WINDOW : last]


TOO_MANY = 10 * BUDGET  # share of events beyond which a rule is too loose to be worth a closer look
CUTS = 30  # a rule is asked again about the events before, and up to, so many that it flags,
LOUD = 10  # and up to so many that stand out in a signal and are not flagged
BACK = "Look back only, with what your rule is given, and take numbers from `thresholds` or write them down."
LATER = f"your rule says something else about them: it uses events that come later. {BACK}"


@checker
def check_2a(attempt: Callable, votes: pd.DataFrame) -> str:
    """A rule's coverage, overlaps and conflicts, as shares of all events."""
    summary = rules.rule_summary(votes)
    for name, right in summary.drop(columns="Polarity").iterrows():
        found, vote, of_own = ask(attempt, votes, name), votes[name], right / (right["Coverage"] or 1)
        off_if(np.shape(found) != (3,), "Give three numbers: return coverage, overlaps, conflicts.")
        coverage = {
            "leaves out the votes for an event: 0 is a vote, only -1 abstains.": (vote == 1).mean(),
            "counts the abstentions: -1 is no vote, and 0 is one.": (vote != 0).mean(),
            "is how many events; it should be a share of all.": (vote != rules.ABSTAIN).sum(),
        }
        overlaps = {
            "counts the rule itself as another one.": right["Coverage"],
            "counts conflicts only; rules that agree overlap, too.": right["Conflicts"],
        }
        conflicts = {"counts all overlaps, and rules that agree among them.": right["Overlaps"]}
        for what, value, slips in zip(right.index, found, (coverage, overlaps, conflicts), strict=True):
            slips |= {"is a share of the rule's own votes; divide by all events.": of_own[what]}
            where = f"For `{name}` your {what.lower()}"
            slips = {f"{where} {sentence}": slip for sentence, slip in slips.items()}
            compare(as_number(value), right[what], slips, f"{where}:")
    made_up = pd.DataFrame({"one": [1, 0, -1, -1, 0, 0, 1, 1], "other": [1, -1, 0, -1, 1, -1, 0, 0]})
    still_right(ask(attempt, made_up, "one"), [6 / 8, 4 / 8, 3 / 8])
    most = (summary["Conflicts"] / summary["Coverage"]).idxmax()
    return f"right. The same as in the table above, where `{most}` is contradicted most."


@checker
def check_2b(attempt: Callable, values: pd.Series) -> str:
    """The value that the alert budget's share exceeds."""
    threshold = as_number(ask(attempt, values))
    if np.isclose(threshold, (BUDGET, 1 - BUDGET)).any():
        raise Off("This is the share itself; the question is which value that share of the events exceeds.")
    share = float((values > threshold).mean())
    hint = " You are at the other end of the list." if share > 0.9 else ""
    if abs(share - 10 * BUDGET) < BUDGET:
        hint = f" {ALERTS} of {BLOCK:,} is {100 * BUDGET:g} %, not {1_000 * BUDGET:g} %."
    found = f"{share * BLOCK:.1f} of {BLOCK:,} events exceed {threshold:.4g}; the budget is {ALERTS}.{hint}"
    off_if(abs(share - BUDGET) * len(values) > 1, found)
    others = 2 * values[: len(values) // 2] + 1
    exceed = (others > as_number(ask(attempt, others))).sum()
    still_right(abs(exceed - BUDGET * len(others)) <= 1, True)
    few = f"{ALERTS} of {BLOCK:,} events of the training set"
    return f"right. {few} are farther from the profile than {threshold:.1f}."


def flagged(rule: Callable, signals: pd.DataFrame, thresholds: dict) -> np.ndarray:
    """Where a learner's rule fires, after the checks that every rule must pass."""

    def says(events: pd.DataFrame) -> np.ndarray:
        return as_flags(ask(rule, events, thresholds), len(events))

    outside = ", ".join(tables_outside(rule))
    off_if(outside, f"Your rule reads {outside}, a table from outside. {BACK}")
    fires = says(signals)
    off_if(not fires.any(), "Your rule flags nobody. Lower what it asks for.")
    many = f"Your rule flags {fires.mean() * BLOCK:.0f} of {BLOCK:,} events. Analysts can look at {ALERTS};"
    off_if(fires.mean() > TOO_MANY, f"{many} ask for something rarer, {TOO_MANY * BLOCK:.0f} at most.")
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


def this_is_a_rule(fires: np.ndarray, said: pd.DataFrame) -> str:
    """Praise for a new rule: how many it flags, and how many of these no other rule does."""
    for name in said:
        same = (said[name] == fires).all()
        off_if(same, f"Your rule says exactly what `{name}` says, so it adds nothing.")
    alone = f"no other rule flags {fires[~said.any(axis=1)].sum() / fires.sum():.0%} of these."
    return f"this is a rule. It flags {fires.mean() * BLOCK:.1f} of {BLOCK:,} events; {alone}"


@checker
def check_2c(attempt: Callable, signals: pd.DataFrame, thresholds: dict[str, float]) -> str:
    """A rule of the learner's own; any that keeps to the budget, looks back only and is new."""
    fires = flagged(attempt, signals, thresholds)
    said = rules.apply_rules(signals, thresholds) == rules.SUSPICIOUS
    praise = this_is_a_rule(fires, said)
    wide = f"It looks back only and is new, but it flags {fires.mean() * BLOCK:.1f} of {BLOCK:,} events."
    off_if(fires.mean() > BUDGET, f"{wide} The budget is {ALERTS}, so ask for something rarer.")
    return f"{praise} The budget is {ALERTS}. Notebooks 6 and 7 measure your rule."
