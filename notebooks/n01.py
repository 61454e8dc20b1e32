"""Notebook 1, load the stream: its figures and its checkers."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from checker import as_column, as_number, ask, checker, compare, off_if, still_right
from helpers import features, plots
from helpers.files import replace
from helpers.settings import BLOCK


def amounts(amount: pd.Series, guess: float | None = None) -> Figure:
    """Histogram of amounts on a log axis, with the median; those of zero or less are counted below it."""
    what, values, unit = _in_words(amount)
    median = f"{amount.median():,.0f}{unit}"
    below = f"{(amount <= 0).mean():.1%} are {'zero' if amount.min() >= 0 else 'zero or less'} and not drawn"
    title = f"Half of all {values} are below {median}, the largest is {amount.max():,.0f}"
    figure, axes = plots.single(title, f"{what} (log scale; {below})", "events", xscale="log")
    axes.hist(amount[amount > 0], bins=plots.log_bins(amount.to_numpy()), color=plots.BLUE)
    axes.axvline(amount.median(), color="black", ls="--", label=f"median {median}")
    axes.xaxis.set_major_formatter("{x:,g}")
    plots.guessed(axes, guess)
    return figure


def _in_words(column: pd.Series) -> tuple[str, str, str]:
    euro = "amount in euro", "payments", " euro"
    return euro if column.name == "Amount" else (str(column.name), f"values of {column.name}", "")


def behaviour_axes(values: pd.DataFrame, guess: float | None = None) -> Figure:
    """How many times as wide as the middle half of each behaviour axis all events and 99 % of them spread."""

    def width(share: float) -> pd.Series:
        return values.quantile((1 + share) / 2) - values.quantile((1 - share) / 2)

    middle = width(0.5)
    middle = middle[middle > 0]  # an axis of which most events have one value has no middle half
    times = (width(1) / middle)[middle.index]
    title = f"On every axis all events spread at least {times.min():.0f} times as far as the middle half"
    figure, axes = plots.single(title, "how many times as wide as the middle half", height=3.6)
    drawn = axes.barh(times.index, times, color=plots.SKY, label="all events")
    axes.bar_label(drawn, fmt="{:.0f} times", padding=4)
    axes.barh(times.index, (width(0.99) / middle)[middle.index], color=plots.BLUE, label="99% of them")
    axes.barh(times.index, 1, color="black", label="middle half")
    axes.margins(x=0.15)
    axes.invert_yaxis()
    plots.guessed(axes, guess, **plots.BESIDE)
    return figure


class Sealed:
    """A table that can be handed over, and neither read nor counted before that."""

    def __init__(self, table: pd.DataFrame) -> None:
        self._table = table.copy(deep=False)
        self._table.attrs = {}  # the source of the events is in settings.json

    def __repr__(self) -> str:
        return "sealed"

    def save(self, path: Path) -> None:
        """Write it as parquet."""
        replace(path, self._table.to_parquet())


def put_away(truth: pd.Series | None) -> dict[str, Sealed]:
    """What `run.hand_over` takes as sealed: the file of the labels, if there are any."""
    return {} if truth is None else {"truth.parquet": Sealed(truth.to_frame("Class"))}


def chronological_split(events: pd.DataFrame, n_train: int) -> Figure:
    """Median of the first column per block over the stream's clock, training and test set shaded."""
    shown = events.iloc[:, 0]
    what, early, later = _in_words(shown)[0], shown[:n_train].median(), shown[n_train:].median()
    title = f"The median {what} is {early:,.0f} in the training set and {later:,.0f} in the test set"
    figure, axes = plots.single(title, plots.CLOCK, f"{what},\nmedian of {BLOCK:,} events", height=3)
    medians = shown.groupby(events.index.to_numpy() // BLOCK * BLOCK).median()
    plots.by_block(axes, medians, color="black")
    first, border, end = events.index[0], events.index[0] + n_train, events.index[-1] + 1
    parts = ((first, border, plots.BLUE, "training set"), (border, end, plots.ORANGE, "test set"))
    for left, right, colour, label in parts:
        axes.axvspan(left, right, color=colour, alpha=0.15, lw=0)
        axes.annotate(label, ((left + right) / 2, 0.92), xycoords=("data", "axes fraction"), ha="center")
    axes.set_ylim(0)
    return figure


@checker
def check_1a(attempt: float, events: pd.DataFrame, train: pd.DataFrame) -> str:
    """The share of the training set that costs more than 200 euro."""
    large, in_all = train["Amount"] > 200, (events["Amount"] > 200).mean()
    slips = {
        "This counts 200 euro itself, too; the question is who pays more.": (train["Amount"] >= 200).mean(),
        "This is how many they are; divide by the number of events.": large.sum(),
        "This is the share of the others, those that cost 200 euro or less.": 1 - large.mean(),
        "This is the share in the whole window; the question is about the training set.": in_all,
    }
    compare(as_number(attempt), large.mean(), slips)
    frauds = "The publication counts 0.17 % frauds, so nearly all payments above 200 euro are legitimate."
    return f"right. It is {large.mean():.1%} of the events. {frauds}"


@checker
def check_1b(attempt: Callable, values: pd.Series) -> str:
    """Robust z-scores of a column."""
    v = values.to_numpy()
    away, right, from_mean = v - np.median(v), _robust(v), v - v.mean()
    mad = np.median(np.abs(away))
    slips = {
        "These are ordinary z-scores; use medians, which extreme values cannot move.": from_mean / v.std(),
        "The factor 1.4826 is missing, which makes the median deviation a standard deviation.": away / mad,
        "The factor 1.4826 belongs to the deviation, below the line.": away * 1.4826 / mad,
        "Subtract the median first: 0 should be the middle.": v / (1.4826 * mad),
        "Above the line the mean is subtracted; take the median.": from_mean / (1.4826 * mad),
        "The sign is lost: below the middle means negative.": np.abs(right),
        "This is centred, but not yet in units of the robust standard deviation.": away,
    }
    compare(as_column(ask(attempt, values), len(v)), right, slips, tol=1e-3)
    still_right(as_column(ask(attempt, values**2), len(v)), _robust(v**2), tol=1e-3)
    far = (np.abs(right) > features.UNUSUAL_SD).mean()
    return f"right. {far:.1%} of these events lie beyond 3 robust standard deviations."


def _robust(values: np.ndarray) -> np.ndarray:
    away = values - np.median(values)
    return away / (1.4826 * np.median(np.abs(away)))


@checker
def check_1c(attempt: Callable, train: pd.DataFrame, test: pd.DataFrame) -> str:
    """How many training events come after the first test event."""
    shuffled = pd.concat([train, test]).sample(frac=1, random_state=0)
    shuffled = shuffled[: len(train)], shuffled[len(train) :]
    clock, tested = (part.index for part in shuffled)
    late = (clock > tested.min()).sum()
    in_time, mixed = (as_number(ask(attempt, *parts)) for parts in ((train, test), shuffled))
    off_if(in_time, f"Our split follows time, so 0 training events come late, not {in_time:g}.")
    off_if(0 < mixed <= 1, "This is yes or no, or a share; the question is how many.")
    of_test = (tested < clock.max()).sum()
    slips = {
        "For a shuffled split it says 0, too. Look at the clock, which is the index, not at row numbers.": 0,
        "It counts test events; the question is how many training events come late.": of_test,
    }
    compare(mixed, late, slips, "For a shuffled split")
    return f"right. Shuffled, {late:,} of {len(train):,} training events are later than the first test event."
