"""Notebook 7, replay the stream: its figures and its checkers."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from scipy.special import expit, logit

from checker import as_column, as_flags, as_number, ask, checker, compare
from helpers import plots
from helpers.settings import BLOCK
from helpers.stream import Learner


def one_alert(delay: int, reported: int) -> Figure:
    """What happens to an event, from its arrival to a customer's report; not to scale."""
    steps = (
        ("arrives,\nis scored", "at once", plots.GREY),
        ("is alerted,\nis queued", f"when its block\nof {BLOCK:,} ends", plots.RED),
        ("is reviewed", f"{delay:,} events\nafter the event", plots.GREEN),
        ("the learner\nis taught", "when that\nblock ends", plots.BLUE),
        ("a customer\nreports fraud", f"{reported:,} events\nafter the event", plots.GREEN),
    )
    figure, axes = plots.single("What the learner knows of an event comes in steps", height=2.4)
    places, level = np.arange(len(steps)), np.zeros(len(steps))
    axes.plot(places, level, color=plots.GREY, lw=2, zorder=0)
    axes.scatter(places, level, s=160, color=[colour for *_, colour in steps])
    for place, (what, when, _) in enumerate(steps):
        axes.annotate(what, (place, 0.25), ha="center", va="bottom", weight="bold")
        axes.annotate(when, (place, -0.25), ha="center", va="top")
    axes.set(xlim=(-0.6, len(steps) - 0.4), ylim=(-1, 1), xticks=[], yticks=[])
    axes.spines[["left", "bottom"]].set_visible(False)
    return figure


def found_per_review(found: Mapping[str, np.ndarray]) -> Figure:
    """Frauds found against alerts reviewed; one line a detector, all with the same budget."""
    totals = {name: int(values.sum()) for name, values in found.items()}
    title = f"After {max(map(len, found.values())):,} reviews the learner has found {totals['stream']} frauds"
    free = f"the label-free detector {totals['detector']}"
    figure, axes = plots.single(f"{title}, {free}", "alerts reviewed", "frauds found")
    for name in sorted(totals, key=totals.__getitem__, reverse=True):
        label, colour, line = plots.STREAM[name]
        finds, width = np.r_[0, found[name].cumsum()], 3 if name == "stream" else 1.5
        label = f"{label}: {totals[name]}"
        axes.step(np.arange(len(finds)), finds, where="post", color=colour, ls=line, lw=width, label=label)
    axes.legend(**plots.BESIDE, fontsize="small")
    return figure


def stream_timeline(index: pd.Index, alert: np.ndarray, truth: np.ndarray) -> Figure:
    """Finds, false alarms and misses over the stream's clock."""
    fraud = truth == 1
    found, missed = fraud & alert, fraud & ~alert
    busiest = pd.Series(fraud).groupby(index // BLOCK).sum().max()
    counts = f"{found.sum()} frauds found, {missed.sum()} missed"
    title = f"{counts}; the busiest {BLOCK:,} events hold {busiest} frauds"
    figure, axes = plots.single(title, plots.CLOCK, height=2.8, width=8.5)
    groups = {"false alarm": alert & ~fraud, "found": found, "missed": missed}
    colours = (plots.GREY, plots.GREEN, plots.RED)
    for row, (mask, colour) in enumerate(zip(groups.values(), colours, strict=True)):
        axes.plot(index[mask], np.full(mask.sum(), row), "|", ms=22, mew=1.2, color=colour, alpha=0.8)
    plots.rows(axes, [f"{name} ({mask.sum()})" for name, mask in groups.items()])
    axes.set_ylim(2.6, -0.6)
    axes.xaxis.set_major_formatter("{x:,.0f}")
    return figure


def drift_by_block(moved: pd.Series, calm: pd.Series, chance: float) -> Figure:
    """How far each block lies from the warm-up, relative to the farthest block of the warm-up itself.

    `calm` are the blocks of a shuffled stream; `chance` is the share of them that is expected above 1.
    """
    over = f"{(moved > 1).sum()} of {len(moved)} blocks lie farther from the warm-up than its own blocks"
    by_chance = f"shuffled {(calm > 1).sum()}, by chance {len(moved) * chance:.0f}"
    figure, axes = plots.single(f"{over}; {by_chance}", "first event of the block", height=3.2)
    axes.set_ylabel("largest PSI,\nrelative to the limit")
    for one, label, colour in ((calm, "shuffled stream", plots.GREY), (moved, "stream", plots.BLUE)):
        axes.plot(moved.index, one, "o-", ms=4, color=colour, label=label)
    axes.axhline(1, color=plots.RED, ls="--", label="limit")
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.set_ylim(0)
    axes.legend(**plots.BESIDE)
    return figure


def latencies(learner: Learner, events: pd.DataFrame) -> dict[str, float]:
    """Measure serving: one event at a time (up to 1,000 of them), and a batch of 1,000."""

    def milliseconds(part: pd.DataFrame) -> float:
        started = time.perf_counter()
        learner.score(part)
        return 1_000 * (time.perf_counter() - started)

    batch = events[:BLOCK]
    singles = [milliseconds(batch[row : row + 1]) for row in range(len(batch))]
    together = float(np.median([milliseconds(batch) for _ in range(5)]))
    middle, slow = np.quantile(singles, [0.5, 0.99]).tolist()
    times = {"one_event_median_ms": middle, "one_event_p99_ms": slow, "batch_ms": together}
    return times | {"events_per_s": 1_000 * len(batch) / together}


@checker
def check_7a(attempt: Callable) -> str:
    """Which reviews have come back."""
    alerted = np.array([1_005, 13, 980, 1_000, 2_000])
    end_of_block = (alerted // BLOCK + 1) * BLOCK
    for now, delay in ((2_100, 1_000), (2_000, 1_000), (1_013, 1_000), (1_000, 20)):
        due, from_end = alerted + delay, end_of_block + delay
        in_order, after = np.sort(due) <= now, "a review comes `delay` events after the event."
        slips = {
            "This is when the event was alerted; its review takes `delay` events more.": alerted <= now,
            "Almost: a review is there *at* `now` when it is due at `now`.": due < now,
            f"This counts from the end of the event's block; {after}": from_end <= now,
            "Give one answer for each alert, in the order in which they come, not sorted.": in_order,
            "Its review comes once, at `alerted + delay`, and stays.": due == now,
            "This is the wrong way round: these reviews are still to come.": due > now,
        }
        found = as_flags(ask(attempt, alerted, now, delay), len(alerted)).astype(int)
        compare(found, (due <= now).astype(int), slips, f"At event {now:,}, delay {delay:,}:")
    return "right. This is the one line in `stream.review` that keeps the future out."


@checker
def check_7b(attempt: Callable) -> str:
    """The average of two log-odds, as a risk."""
    one, other = np.array([0.5, 0.5, 0.9, 0.02]), np.array([0.999, 0.5, 0.2, 0.01])
    pair = logit([one, other])
    log_odds = pair.mean(axis=0)
    slips = {
        "This averages the risks; average their log-odds.": (one + other) / 2,
        "This adds the log-odds; take half of the sum.": expit(2 * log_odds),
        "These are log-odds; turn them into a risk.": log_odds,
        "These are odds; divide by 1 + odds.": np.exp(log_odds),
        "This is the geometric mean of the risks; average their log-odds.": np.sqrt(one * other),
        "This is the product of the risks; average their log-odds.": one * other,
        "This averages the odds; average their logarithms.": expit(np.log(np.exp(pair).mean(axis=0))),
    }
    compare(as_column(ask(attempt, one, other), len(one)), expit(log_odds), slips)
    return "right. A score that is sure outweighs one that is not."


@checker
def check_7c(attempt: Callable) -> str:
    """The population stability index of two sets of shares."""
    factor = "the factor is the difference of the shares."
    before, now = np.full(10, 0.1), np.array([0.3, 0.2, 0.1, 0.1, 0.1, 0.05, 0.05, 0.04, 0.03, 0.03])
    logs = np.log(now / before)
    right, entropy = (now - before) @ logs, now @ logs
    slips = {
        "This is the mean over the bins; take the sum.": right / len(now),
        "Take the natural logarithm, `np.log`, not that to base 10.": right / np.log(10),
        "Take the natural logarithm, `np.log`, not that to base 2.": right / np.log(2),
        f"This is a relative entropy; {factor}": entropy,
        f"This is a relative entropy, from `before`; {factor}": right - entropy,
        "The logarithm is missing.": (now - before) @ (now / before),
        "Terms of either sign cancel out: the sum of differences says nothing.": 0.0,
        "Its sign is wrong: the index is never negative.": -right,
    }
    compare(as_number(ask(attempt, before, now)), right, slips)
    return "right. Above 0.25 one usually speaks of drift; here the warm-up says what is usual."
