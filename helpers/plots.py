"""Every figure of the course: data in, figure out. Titles that state a finding are computed.

Colours are Okabe and Ito's, which colour-blind readers can tell apart (the grey is darker and the yellow
greener, to show on white); a detector keeps its colour in every figure.
"""

from __future__ import annotations

from collections.abc import Mapping
from textwrap import fill
from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter

from helpers.settings import BUDGET

if TYPE_CHECKING:
    pass

GREY, ORANGE, SKY, GREEN = "#666666", "#e69f00", "#56b4e9", "#009e73"
BLUE, RED, PINK, YELLOW = "#0072b2", "#d55e00", "#cc79a7", "#c6d045"
BROWN, VIOLET = "#602000", "#6000e0"  # of the two opinions that the detector pools
DETECTORS = {
    "seed_rules": ("naive rule", GREY),
    "rules": ("rule book", ORANGE),
    "isolation_forest": ("isolation forest", YELLOW),
    "pca": ("PCA reconstruction", PINK),
    "autoencoder_all_rows": ("autoencoder, all events", SKY),
    "autoencoder": ("autoencoder, presumed normals", BLUE),
    "judge_circular": ("judge that sees the rules", RED),
    "crowds": ("distance from the crowds", BROWN),
    "judge": ("judge", VIOLET),
    "detector": ("detector (judge and crowds)", GREEN),
    "oracle": ("oracle (true labels)", "#000000"),
}
VARIANTS = {  # of the sweep, where they are detectors of the table
    "naive rule": "seed_rules",
    "rules only": "rules",
    "autoencoder only": "autoencoder",
    "distance only": "crowds",
    "judge alone": "judge",
    "detector": "detector",
    "oracle": "oracle",
}
LABELS = {1: ("suspicious", RED), -1: ("undecided", GREY), 0: ("presumed normal", BLUE)}
WITHIN = f"{100 * (1 - BUDGET):g}%"  # what the alert budget leaves
CLOCK = "event (the stream's clock)"
BESIDE = {"loc": "center left", "bbox_to_anchor": (1, 0.5)}  # a legend right of the axes
LINE = 58  # letters of a title, so that a figure is narrow and its text large on a phone
STYLE = {
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "figure.constrained_layout.use": True,
    "figure.figsize": (7.5, 4),
    "legend.frameon": False,
}
sns.set_theme(style="ticks", context="notebook", rc=STYLE)


def single(title: str, x: str = "", y: str = "", **options) -> tuple[Figure, plt.Axes]:
    figure, axes = plt.subplots(**options)
    axes.set(title=wrapped(title), xlabel=wrapped(x), ylabel=y)
    return figure, axes


def wrapped(text: str) -> str:
    """In lines of about the same length."""
    lines = -(-len(text) // LINE) or 1
    return fill(text, len(text) // lines + 8, break_on_hyphens=False)


def headed(figure: Figure, title: str) -> None:
    """One title over all panels."""
    figure.suptitle(title, x=0.01, ha="left", fontweight="bold")


def log_bins(values: np.ndarray) -> np.ndarray:
    positive = values[values > 0]
    low, high = (positive.min(), positive.max()) if len(positive) else (1, 1)
    return np.geomspace(low, high if high > low else 2 * low, 60)


def counts(axis: plt.Axes, table: pd.DataFrame | np.ndarray, **options) -> None:
    """A table of counts; the shades are logarithmic."""
    style = {"fmt": ",d", "cmap": "Blues", "cbar": False, "linewidths": 2}
    sns.heatmap(np.log10(table + 1), annot=table, ax=axis, **style, **options)


def bars(axes: plt.Axes, values: Mapping[str, float], value: str = "", named: Mapping = DETECTORS) -> None:
    """One bar a detector in its colour, the first on top; `value` formats what stands at its end."""
    labels, colours = zip(*(named[name] for name in values), strict=True)
    bars = axes.barh(labels, list(values.values()), color=colours)
    if value:
        axes.bar_label(bars, fmt=value, padding=4)
    axes.invert_yaxis()


def by_label(title: str, x: str, values: np.ndarray, labels: np.ndarray, threshold: float) -> Figure:
    figure, axes = single(title, x, "events (log scale)")
    for label in (0, -1, 1):
        name, colour = LABELS[label]
        style = {"alpha": 0.5} if label == 0 else {"histtype": "step", "lw": 2.5}
        axes.hist(values[labels == label], bins=log_bins(values), color=colour, label=name, **style)
    axes.axvline(threshold, color="black", ls="--", label=f"threshold {threshold:.3g}")
    axes.set(xscale="log", yscale="log")
    axes.legend()
    return figure


STREAM = {  # label, colour, line; the wine and the olive are Paul Tol's
    "stream": ("learns from its reviews", "#882255", "-"),
    "complaints": ("learns from reviews and complaints", "#999933", "-"),
    "told_everything": ("the same, told everything", "#882255", ":"),
    "wrong_reviews": ("a tenth of its reviews wrong", "#882255", "--"),
    "wrong_reviews_and_complaints": ("a tenth wrong, and complaints", "#999933", "--"),
    "detector": ("label-free detector", DETECTORS["detector"][1], "-"),
    "seed_rules": ("naive rule", DETECTORS["seed_rules"][1], "-"),
    "oracle": ("oracle, trained once", DETECTORS["oracle"][1], "-"),
    "oracle_prequential": ("oracle, told every older label", DETECTORS["oracle"][1], "--"),
    "perfect": ("perfect ranking", DETECTORS["oracle"][1], ":"),
}
EVENTS = StrMethodFormatter("{x:,.0f}")
