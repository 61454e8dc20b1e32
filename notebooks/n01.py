"""What notebook 1: load the stream alone needs: its figures and its checkers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from checker import Off, as_column, as_number, ask, checker, compare, still_right
from helpers import features, plots
from helpers.settings import BLOCK

# --- figures


def amounts(amount: pd.Series) -> Figure:
    """Histogram of charges on a log axis, with the median; those of zero or less are counted below it."""
    median, largest, hidden = amount.median(), amount.max(), (amount <= 0).mean()
    below = "zero" if amount.min() >= 0 else "zero or less"
    what, all_of_it, unit = _in_words(amount)
    title = f"Half of all {all_of_it} are below {median:,.0f}{unit}, the largest is {largest:,.0f}"
    figure, axes = plots.single(
        title, f"{what} (log scale; {hidden:.1%} are {below} and not drawn)", "events"
    )
    axes.hist(amount[amount > 0], bins=plots.log_bins(amount.to_numpy()), color=plots.BLUE)
    axes.axvline(median, color="black", ls="--", label=f"median {median:,.0f}{unit}")
    axes.set_xscale("log")
    axes.legend()
    return figure


def _in_words(column: pd.Series) -> tuple[str, str, str]:
    """How figures name a column, its values, and their unit."""
    if column.name == "Amount":
        return "amount in euro", "charges", " euro"
    return str(column.name), f"values of {column.name}", ""


def behaviour_axes(axes_values: pd.DataFrame) -> Figure:
    """Where the middle half, 99 % and everything of each behaviour axis lies."""
    middle = axes_values.quantile(0.75) - axes_values.quantile(0.25)
    reach = ((axes_values.max() - axes_values.min()) / middle).min()
    figure, axes = plots.single(
        f"Every axis reaches at least {reach:.0f} times as far as its middle half",
        "value of the axis (no unit)",
        figsize=(7.5, 3.6),
    )
    levels = ((0, 1, 1.5, "all events"), (0.005, 0.995, 5, "99%"), (0.25, 0.75, 12, "middle half"))
    for (low, high, width, label), colour in zip(levels, (plots.GREY, plots.SKY, plots.BLUE), strict=True):
        lower, upper = axes_values.quantile(low), axes_values.quantile(high)
        axes.hlines(axes_values.columns, lower, upper, lw=width, color=colour, label=label)
    axes.invert_yaxis()
    axes.legend(**plots.BESIDE)
    return figure


def chronological_split(events: pd.DataFrame, n_train: int) -> Figure:
    """Median of the first column per block over the stream's clock, training and test part shaded."""
    title = f"The first {n_train:,} events teach, the last {len(events) - n_train:,} test"
    shown = events.iloc[:, 0]
    figure, axes = plots.single(
        title, plots.CLOCK, f"{_in_words(shown)[0]},\nmedian of {BLOCK:,} events", figsize=(7.5, 3)
    )
    clock = events.index.to_numpy() // BLOCK * BLOCK
    medians = shown.groupby(clock).median()
    axes.stairs(medians, [*medians.index, medians.index[-1] + BLOCK], baseline=None, color="black")
    first, border, end = events.index[0], events.index[0] + n_train, events.index[-1] + 1
    parts = ((first, border, plots.BLUE, "training part"), (border, end, plots.ORANGE, "test part"))
    for left, right, colour, label in parts:
        axes.axvspan(left, right, color=colour, alpha=0.15, lw=0)
        axes.annotate(label, ((left + right) / 2, 0.92), xycoords=("data", "axes fraction"), ha="center")
    axes.set_ylim(0)
    return figure


# --- checkers


@checker
def check_1a(attempt: float, events: pd.DataFrame, train: pd.DataFrame) -> str:
    """The share of the training part that costs more than 200 euro."""
    large = train["Amount"] > 200
    slips = {
        "This counts 200 euro itself, too; the question is who pays more.": (train["Amount"] >= 200).mean(),
        "This is how many they are; divide by the number of events.": large.sum(),
        "This is the share of the others, those that cost 200 euro or less.": 1 - large.mean(),
        "This is the share in the whole window; the question is about the training part.": (
            events["Amount"] > 200
        ).mean(),
    }
    compare(as_number(attempt), large.mean(), slips)
    return (
        f"right. {large.mean():.1%} of the events, while the publication counts 0.17 % frauds: "
        "nearly everybody above 200 euro is honest."
    )


@checker
def check_1b(attempt: Callable, values: pd.Series) -> str:
    """Robust z-scores of a column."""
    v = values.to_numpy()
    centred = v - np.median(v)
    distances = np.abs(centred)
    mad = np.median(distances)
    slips = {
        "These are ordinary z-scores; use medians, which a few extreme values cannot move.": (v - v.mean())
        / v.std(),
        "The factor 1.4826 is missing, which makes the median deviation a standard deviation.": centred / mad,
        "The factor 1.4826 belongs to the deviation, below the line.": centred * 1.4826 / mad,
        "Divide by the robust standard deviation; here it multiplies.": centred * (1.4826 * mad),
        "Subtract the median first: 0 should be the middle.": v / (1.4826 * mad),
        "Above the line the mean is subtracted; take the median there, too.": (v - v.mean()) / (1.4826 * mad),
        "This divides by the ordinary standard deviation, which a few extreme values blow up.": centred
        / v.std(),
        "The middle of the distances is their median, too, not their mean.": centred
        / (1.4826 * distances.mean()),
        "The middle is the median, not the mean, above the line and below it.": (v - v.mean())
        / (1.4826 * np.median(np.abs(v - v.mean()))),
        "The distances are counted from the median, not from the mean.": centred
        / (1.4826 * np.median(np.abs(v - v.mean()))),
        "The sign is lost: below the middle means negative.": distances / (1.4826 * mad),
        "This is centred, but not yet in units of the robust standard deviation.": centred,
    }
    compare(as_column(ask(attempt, values), len(v)), _robust(v), slips, tol=1e-3)
    still_right(as_column(ask(attempt, values**2), len(v)), _robust(v**2), tol=1e-3)
    far = (np.abs(_robust(v)) > features.UNUSUAL_SD).mean()
    return f"right. {far:.1%} of these events lie beyond 3 robust standard deviations."


def _robust(values: np.ndarray) -> np.ndarray:
    centred = values - np.median(values)
    return centred / (1.4826 * np.median(np.abs(centred)))


@checker
def check_1c(attempt: Callable, train: pd.DataFrame, test: pd.DataFrame) -> str:
    """How many training events come after the first test event."""
    events = pd.concat([train, test])
    order = np.random.default_rng(0).permutation(len(events))
    shuffled = events.iloc[order[: len(train)]], events.iloc[order[len(train) :]]
    late = int((shuffled[0].index > shuffled[1].index.min()).sum())
    in_time, mixed = (as_number(ask(attempt, *parts)) for parts in ((train, test), shuffled))
    if in_time:
        raise Off(f"Our split follows time, so 0 training events come late; your function says {in_time:g}.")
    if 0 < mixed <= 1:
        raise Off("This is yes or no, or a share; the question is how many.")
    slips = {
        "For a shuffled split it says 0, too. Look at the clock, which is the index, not at row numbers.": 0,
        "It compares with the last test event; one test event in the past is enough to peek.": (
            shuffled[0].index > shuffled[1].index.max()
        ).sum(),
        "It counts test events; the question is how many training events come late.": (
            shuffled[1].index < shuffled[0].index.max()
        ).sum(),
    }
    compare(mixed, late, slips, "For a shuffled split")
    return f"right. Shuffled, {late:,} of {len(train):,} training events are later than the first test event."
