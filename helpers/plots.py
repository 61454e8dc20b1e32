"""What the figures of two notebooks or more share: colours, style and a few pieces. Colours are Okabe and
Ito's, which colour-blind readers can tell apart (the grey is darker and the yellow greener, to show on
white); a detector keeps its colour in every figure."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import fill
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from helpers.settings import BLOCK

GREY, ORANGE, SKY, GREEN = "#666666", "#e69f00", "#56b4e9", "#009e73"
BLUE, RED, PINK, YELLOW = "#0072b2", "#d55e00", "#cc79a7", "#c6d045"
BROWN, VIOLET = "#602000", "#6000e0"  # of the two scores that the detector combines
WINE, OLIVE = "#882255", "#999933"  # Paul Tol's
DETECTORS = {
    "seed_rules": ("naive rule", GREY),
    "rules": ("rule book", ORANGE),
    "isolation_forest": ("isolation forest", YELLOW),
    "pca": ("PCA reconstruction", PINK),
    "autoencoder_all_rows": ("autoencoder, all events", SKY),
    "autoencoder": ("autoencoder, presumed normals", BLUE),
    "classifier_circular": ("classifier that sees the rules", RED),
    "clusters": ("distance from the clusters", BROWN),
    "classifier": ("classifier", VIOLET),
    "detector": ("detector (classifier and density)", GREEN),
    "supervised": ("fully supervised reference", "#000000"),
}
STREAM = {  # label, colour, line
    "stream": ("learns from its reviews", WINE, "-"),
    "reports": ("learns from reviews and reports", OLIVE, "-"),
    "reports_20000": ("the same, reports after 20,000 events", OLIVE, "-."),
    "reports_30000": ("the same, reports after 30,000 events", OLIVE, ":"),
    "every_label": ("learns from every label", WINE, ":"),
    "wrong_reviews": ("a tenth of its reviews wrong", WINE, "--"),
    "wrong_reviews_and_reports": ("a tenth wrong, and reports", OLIVE, "--"),
    "detector": ("label-free detector", GREEN, "-"),
    "seed_rules": ("naive rule", GREY, "-"),
    "my_rule": ("your rule of exercise 2c", PINK, "-"),
    "supervised": ("fully supervised reference", "#000000", "-"),
    "full_feedback": ("full-feedback reference", "#000000", "--"),
    "perfect": ("ceiling of the budget", "#000000", ":"),
}
LABELS = {1: ("suspicious", RED), -1: ("undecided", GREY), 0: ("presumed normal", BLUE)}
CLOCK = "event (the stream's clock)"
BESIDE = {"loc": "center left", "bbox_to_anchor": (1, 0.5)}  # a legend right of the axes
LINE = 58  # letters of a title, so that a figure is narrow and its text large on a phone
plt.style.use(Path(__file__).with_name("course.mplstyle"))


def single(title: str, x="", y="", height=4.0, width=7.5, **settings) -> tuple[Figure, plt.Axes]:
    """A figure with one pair of axes, their title in lines, and settings; height and width in inches."""
    figure, axes = plt.subplots(figsize=(width, height))
    axes.set(title=wrapped(title), xlabel=wrapped(x), ylabel=y, **settings)
    return figure, axes


def wrapped(text: str) -> str:
    """In lines of about the same length."""
    lines = -(-len(text) // LINE) or 1
    return fill(text, len(text) // lines + 8, break_on_hyphens=False)


def percent(axis: Axis, decimals: int | None = None) -> None:
    axis.set_major_formatter(PercentFormatter(1, decimals))


def guessed(axes: plt.Axes, guess: float | None, upright: bool = True, **legend: Any) -> None:
    """The learner's guess, if there is one, as a line at a value of the horizontal (or vertical) axis; and
    the legend, if anything has a label."""
    if guess is not None:
        line = axes.axvline if upright else axes.axhline
        line(guess, color=RED, ls=":", lw=2.5, label=f"your guess: {guess:g}")
    if axes.get_legend_handles_labels()[0]:
        axes.legend(**legend)


def rows(axes: plt.Axes, names: Sequence[str]) -> None:
    """Names on the vertical axis at 0, 1, 2, ..., the first on top."""
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()


def by_block(axes: plt.Axes, values: pd.Series, **style) -> None:
    """Steps from block to block of the clock; the index holds each block's first event."""
    axes.stairs(values, [*values.index, values.index[-1] + BLOCK], baseline=None, **style)


def log_bins(values: np.ndarray) -> np.ndarray:
    positive = values[values > 0]
    low, high = (positive.min(), positive.max()) if len(positive) else (1, 1)
    return np.geomspace(low, high if high > low else 2 * low, 60)


def bars(axes: plt.Axes, values: Mapping[str, float], value: str = "", named: Mapping = DETECTORS) -> None:
    """One bar per detector in its colour, the first on top; `value` formats the number at its end."""
    labels, colours = zip(*(named[name] for name in values), strict=True)
    bars = axes.barh(labels, list(values.values()), color=colours)
    if value:
        axes.bar_label(bars, fmt=value, padding=4)
    axes.invert_yaxis()
