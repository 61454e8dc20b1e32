"""Notebook 7, replay the stream: its figures and its checkers."""

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from textwrap import fill

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from checker import as_flags, as_number, ask, checker, compare
from helpers import plots
from helpers.readers import read_reviews
from helpers.settings import BLOCK
from helpers.stream import Learner, drift


def found_per_review(found: Mapping[str, np.ndarray], guess: float | None = None) -> Figure:
    """Frauds found against alerts reviewed; one line per detector, all with the same budget."""
    totals = {name: int(values.sum()) for name, values in found.items()}
    title = f"After {max(map(len, found.values())):,} reviews the learner has found {totals['stream']} frauds"
    free = f"the label-free detector {totals['detector']}"
    figure, axes = plots.single(f"{title}, {free}", "alerts reviewed", "frauds found")
    for name in sorted(totals, key=totals.__getitem__, reverse=True):
        label, colour, line = plots.STREAM[name]
        finds, width = np.r_[0, found[name].cumsum()], 3 if name == "stream" else 1.5
        label = f"{label}: {totals[name]}"
        axes.step(np.arange(len(finds)), finds, where="post", color=colour, ls=line, lw=width, label=label)
    plots.guessed(axes, guess, upright=False, **plots.BESIDE, fontsize="small")
    return figure


def wrong_reviews(right: pd.DataFrame, wrong: pd.DataFrame, guess: float | None = None) -> Figure:
    """Frauds stopped, and frauds found but dismissed, by which reviews are wrong; mean over six starts.

    `right` is results/stream.csv and `wrong` results/wrong.csv.
    """
    share, same = wrong["wrong"].iloc[0], right["start"].isin(wrong["start"]) & (right["seed"] == 0)
    found = right[same].groupby("detector")["found"].mean()
    slips = wrong.groupby("detector")[["found", "stopped"]].mean()
    bars = {
        "all reviews right": found[["stream", "stream"]],
        f"{share:.0%} of frauds dismissed": slips.loc["wrong on frauds alone"],
        f"{share:.0%} of legitimate events confirmed": slips.loc["wrong on legitimate events alone"],
        f"{share:.0%} of all reviews wrong": slips.loc["wrong_reviews"],
        "... and customers' reports": slips.loc["wrong_reviews_and_reports"],
        "... and nothing is learned": found["detector"] * np.array([1, 1 - share]),
    }
    every, stopped = np.array(list(bars.values())).T
    title = f"With {share:.0%} of the reviews wrong the learner stops {stopped[3]:.1f} frauds instead of"
    figure, axes = plots.single(f"{title} {stopped[0]:.1f}", "frauds per start, mean of six", height=4)
    drawn = axes.barh(list(bars), stopped, color=plots.GREEN, label="stopped")
    axes.bar_label(drawn, fmt="%.1f", padding=-34, color="white")
    axes.barh(list(bars), every - stopped, left=stopped, color=plots.GREY, label="found, but dismissed")
    axes.invert_yaxis()
    place = {"loc": "upper center", "bbox_to_anchor": (0.3, -0.22)}
    plots.guessed(axes, guess, **place, ncols=3, fontsize="small")
    return figure


def largest_psi(known: pd.DataFrame, later: pd.DataFrame) -> tuple[pd.Series, float]:
    """The largest PSI of any column for each block of `later`, against the `known` events, and the limit. It
    is the largest that a block of the known events has against the others."""

    def blocks(events: pd.DataFrame) -> list[pd.DataFrame]:
        each = [block for _, block in events.groupby(events.index // BLOCK)]
        return [block for block in each if 2 * len(block) >= BLOCK]

    psi = {block.index[0]: drift(known, block)["psi"].max() for block in blocks(later)}
    limit = max(drift(known.drop(block.index), block)["psi"].max() for block in blocks(known))
    return pd.Series(psi), limit


def drift_by_block(psi: pd.Series, limit: float, shuffled: int) -> Figure:
    """The largest population stability index of each block, and the limit.

    `shuffled` is how many blocks of the shuffled stream lie above the limit of theirs.
    """
    over = psi > limit
    title = f"{over.sum()} of {len(psi)} blocks exceed the limit, and {shuffled} of a shuffled stream"
    figure, axes = plots.single(title, "first event of the block", "largest PSI", height=3.2)
    axes.bar(psi.index, psi, 0.7 * BLOCK, color=np.where(over, plots.RED, plots.BLUE), align="edge")
    axes.axhline(limit, color="black", ls="--", label=f"limit: {limit:.2f}")
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.legend(**plots.BESIDE)
    return figure


def show_alerts(events: pd.DataFrame, reasons: pd.DataFrame, amounts: Sequence[str]) -> None:
    """Print alerts as an analyst sees them: amounts, how rare, how many look alike, and why."""
    for place, (event, said) in enumerate(reasons.iterrows(), 1):
        paid = "".join(f"{name} {events.at[event, name]:,.2f}, " for name in amounts)
        print(f"{place}. Event {event:,}: {paid}about 1 in {said['one_in']:,}, look-alikes: {said['burst']}")
        print(fill(said["why"], 88, initial_indent="   ", subsequent_indent="   "))


def compare_reviews(
    answers: str | Path, shown: pd.Index, learner: Learner, later: pd.DataFrame, truth: pd.Series
) -> None:
    """Hold reviews of the alerts `shown` against the truth, and see what the learner that raised them would
    make of either in the events `later`; it stays as it is.

    `answers` are f or l for each alert in this order, or the path of a file that `read_reviews` reads.
    """
    if isinstance(answers, Path):
        said = [read_reviews(answers).get(event) for event in shown]
    else:
        said = [{"f": 1, "l": 0}.get(letter) for letter in answers.lower() if letter.strip()]
    many, given = len(shown), sum(one in (0, 1) for one in said)
    if not said:
        return print("Nothing typed yet, so there is nothing to compare.")
    if not given == len(said) == many:
        return print(f"These are {given} answers; type f or l once for each of the {many} alerts.")
    mine, right = pd.Series(said, shown), truth[shown]
    off = ", ".join(str(place) for place in np.flatnonzero(mine != right) + 1) or "none"
    print(
        f"You confirmed {(mine & right).sum()} of {right.sum()} frauds and would have blocked "
        f"{(mine & ~right).sum()} of {(right == 0).sum()} legitimate customers (mistaken: {off}). "
        f"Calling all of them legitimate is right for {(right == 0).sum()} of {many}."
    )
    finds = []
    for reviews in (mine, right, mine[:0]):
        pupil = deepcopy(learner)
        pupil.learn(reviews)
        decided = pd.concat([pupil.watch(later), pupil.close()])
        finds.append(int(truth[decided.index[decided["alert"] == 1]].sum()))
    print(
        f"Of the {truth[later.index].sum()} later frauds a learner finds {finds[0]} after your reviews, "
        f"{finds[1]} after the true ones and {finds[2]} after none."
    )


@checker
def check_7a(attempt: Callable) -> str:
    """Which reviews have come back."""
    alerted = np.array([1_005, 13, 980, 1_000, 2_000])
    end_of_block = (alerted // BLOCK + 1) * BLOCK
    for now, delay in ((2_100, 1_000), (2_000, 1_000), (1_013, 1_000), (1_000, 20)):
        due, from_end = alerted + delay, end_of_block + delay
        after = "a review comes `delay` events after the event."
        slips = {
            "This is when the event was alerted; its review takes `delay` events more.": alerted <= now,
            "Almost: a review is there *at* `now` when it is due at `now`.": due < now,
            f"This counts from the end of the event's block; {after}": from_end <= now,
            "This is the wrong way round: these reviews are still to come.": due > now,
        }
        found = as_flags(ask(attempt, alerted, now, delay), len(alerted)).astype(int)
        compare(found, (due <= now).astype(int), slips, f"At event {now:,}, delay {delay:,}:")
    return "right. This is the one line in `stream.review` that keeps the future out."


@checker
def check_7b(attempt: Callable) -> str:
    """The population stability index of two sets of shares."""
    before, now = np.full(10, 0.1), np.array([0.3, 0.2, 0.1, 0.1, 0.1, 0.05, 0.05, 0.04, 0.03, 0.03])
    logs = np.log(now / before)
    right = (now - before) @ logs
    slips = {
        "This is the mean over the bins; take the sum.": right / len(now),
        "Take the natural logarithm, `np.log`, not that to base 10.": right / np.log(10),
        "This is a relative entropy; the factor is the difference of the shares.": now @ logs,
        "Terms of either sign cancel out: the sum of differences says nothing.": 0.0,
    }
    compare(as_number(ask(attempt, before, now)), right, slips)
    return "right. Above 0.25 one usually speaks of drift; here the warm-up says what is usual."
