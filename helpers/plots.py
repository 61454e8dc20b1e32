"""Every figure of the course: data in, figure out. Titles that state a finding are computed.

Colours are Okabe and Ito's, which colour-blind readers can tell apart (the grey is darker and the yellow
greener, to show on white); a detector keeps its colour in every figure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from textwrap import fill
from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse, Rectangle
from matplotlib.ticker import PercentFormatter, StrMethodFormatter

from helpers.settings import ALERTS, BLOCK, BUDGET, UNUSUAL_SD, WINDOW

if TYPE_CHECKING:
    from sklearn.tree import DecisionTreeClassifier

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


def _single(title: str, x: str = "", y: str = "", **options) -> tuple[Figure, plt.Axes]:
    figure, axes = plt.subplots(**options)
    axes.set(title=_wrapped(title), xlabel=_wrapped(x), ylabel=y)
    return figure, axes


def _wrapped(text: str) -> str:
    """In lines of about the same length."""
    lines = -(-len(text) // LINE) or 1
    return fill(text, len(text) // lines + 8, break_on_hyphens=False)


def _headed(figure: Figure, title: str) -> None:
    """One title over all panels."""
    figure.suptitle(title, x=0.01, ha="left", fontweight="bold")


def _log_bins(values: np.ndarray) -> np.ndarray:
    positive = values[values > 0]
    low, high = (positive.min(), positive.max()) if len(positive) else (1, 1)
    return np.geomspace(low, high if high > low else 2 * low, 60)


def _counts(axis: plt.Axes, table: pd.DataFrame | np.ndarray, **options) -> None:
    """A table of counts; the shades are logarithmic."""
    style = {"fmt": ",d", "cmap": "Blues", "cbar": False, "linewidths": 2}
    sns.heatmap(np.log10(table + 1), annot=table, ax=axis, **style, **options)


def _confusion(axis: plt.Axes, matrix: np.ndarray, colour: str) -> None:
    """One confusion matrix under a bar in the detector's colour."""
    _counts(axis, matrix, xticklabels=["quiet", "alert"], yticklabels=["honest", "fraud"])
    axis.spines["top"].set(visible=True, color=colour, linewidth=5)


def _bars(axes: plt.Axes, values: Mapping[str, float], value: str = "", named: Mapping = DETECTORS) -> None:
    """One bar a detector in its colour, the first on top; `value` formats what stands at its end."""
    labels, colours = zip(*(named[name] for name in values), strict=True)
    bars = axes.barh(labels, list(values.values()), color=colours)
    if value:
        axes.bar_label(bars, fmt=value, padding=4)
    axes.invert_yaxis()


def _f1_bars(axes: plt.Axes, scores: Mapping[str, float], named: Mapping) -> None:
    """Bars of F1, from 0 to 1."""
    _bars(axes, scores, "%.2f", named)
    axes.set_xlim(0, 1.1)


def amounts(amount: pd.Series) -> Figure:
    """Histogram of charges on a log axis, with the median; those of zero or less are counted below it."""
    median, largest, hidden = amount.median(), amount.max(), (amount <= 0).mean()
    below = "zero" if amount.min() >= 0 else "zero or less"
    what, all_of_it, unit = _in_words(amount)
    title = f"Half of all {all_of_it} are below {median:,.0f}{unit}, the largest is {largest:,.0f}"
    figure, axes = _single(title, f"{what} (log scale; {hidden:.1%} are {below} and not drawn)", "events")
    axes.hist(amount[amount > 0], bins=_log_bins(amount.to_numpy()), color=BLUE)
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
    figure, axes = _single(
        f"Every axis reaches at least {reach:.0f} times as far as its middle half",
        "value of the axis (no unit)",
        figsize=(7.5, 3.6),
    )
    levels = ((0, 1, 1.5, "all events"), (0.005, 0.995, 5, "99%"), (0.25, 0.75, 12, "middle half"))
    for (low, high, width, label), colour in zip(levels, (GREY, SKY, BLUE), strict=True):
        lower, upper = axes_values.quantile(low), axes_values.quantile(high)
        axes.hlines(axes_values.columns, lower, upper, lw=width, color=colour, label=label)
    axes.invert_yaxis()
    axes.legend(**BESIDE)
    return figure


def chronological_split(events: pd.DataFrame, n_train: int) -> Figure:
    """Median of the first column per block over the stream's clock, training and test part shaded."""
    title = f"The first {n_train:,} events teach, the last {len(events) - n_train:,} test"
    shown = events.iloc[:, 0]
    figure, axes = _single(
        title, CLOCK, f"{_in_words(shown)[0]},\nmedian of {BLOCK:,} events", figsize=(7.5, 3)
    )
    clock = events.index.to_numpy() // BLOCK * BLOCK
    medians = shown.groupby(clock).median()
    axes.stairs(medians, [*medians.index, medians.index[-1] + BLOCK], baseline=None, color="black")
    first, border, end = events.index[0], events.index[0] + n_train, events.index[-1] + 1
    parts = ((first, border, BLUE, "training part"), (border, end, ORANGE, "test part"))
    for left, right, colour, label in parts:
        axes.axvspan(left, right, color=colour, alpha=0.15, lw=0)
        axes.annotate(label, ((left + right) / 2, 0.92), xycoords=("data", "axes fraction"), ha="center")
    axes.set_ylim(0)
    return figure


def naive_rule(flagged: np.ndarray, index: pd.Index) -> Figure:
    """Alerts of the naive rule, block by block, beside what analysts can look at."""
    counts = pd.Series(flagged).groupby(np.asarray(index) // BLOCK * BLOCK).sum()
    title = f"The naive rule raises {counts.mean():.0f} alerts in {BLOCK:,} events; the budget is {ALERTS}"
    figure, axes = _single(title, "event", f"alerts per {BLOCK:,} events", figsize=(7.5, 3))
    axes.stairs(
        counts, [*counts.index, counts.index[-1] + BLOCK], baseline=None, color=GREY, lw=2, label="naive rule"
    )
    axes.axhline(ALERTS, color="black", ls="--", lw=2, label="alert budget")
    axes.set_ylim(0)
    axes.legend()
    return figure


def profile_map(z: pd.DataFrame, unusual: np.ndarray, beyond: float) -> Figure:
    """Ordinary and unusual events on two of their axes, the first and the third, and the profile's limits."""
    x, y = z.columns[0], z.columns[min(2, z.shape[1] - 1)]
    within = (z[[x, y]].abs() <= beyond).all(axis=1)
    figure, both = plt.subplots(1, 2, figsize=(7.5, 4.4), sharex=True, sharey=True)
    parts = ((~unusual, BLUE, "ordinary"), (unusual, ORANGE, "unusual"))
    for axes, (mask, colour, label) in zip(both, parts, strict=True):
        axes.scatter(x, y, data=z[mask], s=6, color=colour, alpha=0.4, lw=0)
        box = {"fill": False, "ec": "black", "ls": "--", "lw": 2, "zorder": 3}
        axes.add_patch(Rectangle((-beyond, -beyond), 2 * beyond, 2 * beyond, **box))
        axes.set_title(f"{label}: {mask.sum():,} of {len(z):,}", fontweight="normal")
        axes.set_xlabel(f"{x} (robust units)")
    both[0].set_ylabel(f"{y} (robust units)")
    for set_limits, name in ((axes.set_xlim, x), (axes.set_ylim, y)):
        low, high = z[name].quantile([0.003, 0.997])
        set_limits(min(low, -1.3 * beyond), max(high, 1.3 * beyond))
    share = within[unusual].mean() if unusual.any() else 0
    title = f"{share:.0%} of the unusual events lie inside this box, too: they are so on other axes"
    _headed(figure, _wrapped(title))
    return figure


def crowds(z: pd.DataFrame, means: np.ndarray, covariances: np.ndarray, distance: np.ndarray) -> Figure:
    """Crowds, and one crowd for all, as ellipses of two standard deviations, on the two inputs along which
    the crowds stand farthest apart."""
    x, y = np.sort(np.argsort(means.var(axis=0))[-2:])
    far, out = (values > np.quantile(values, 1 - BUDGET) for values in (distance, np.linalg.norm(z, axis=1)))
    figure, axes = _single(
        f"{1 - out[far].mean():.0%} of the events farthest from all crowds are not among those farthest out",
        f"{z.columns[x]} (robust standard deviations)",
        f"{z.columns[y]} (robust standard deviations)",
        figsize=(8, 5),
    )
    both = z.iloc[:, [x, y]].to_numpy()
    axes.scatter(*both.T, s=4, color=GREY, alpha=0.25, lw=0)
    farthest = f"the {ALERTS} of {BLOCK:,} farthest from all"
    axes.scatter(*both[far].T, s=14, color=RED, alpha=0.8, lw=0, label=farthest)
    shapes = [
        (mean[[x, y]], spread[np.ix_([x, y], [x, y])])
        for mean, spread in zip(means, covariances, strict=True)
    ]
    for mean, spread in [*shapes, (both.mean(axis=0), np.cov(both, rowvar=False))]:
        (small, large), vectors = np.linalg.eigh(spread)
        angle = np.degrees(np.arctan2(*vectors[::-1, 1]))
        style = {"color": BLUE} if len(axes.patches) < len(means) else {"color": "black", "ls": "--"}
        axes.add_patch(Ellipse(mean, 4 * large**0.5, 4 * small**0.5, angle=angle, fill=False, lw=2, **style))
    axes.patches[0].set_label("a crowd")
    axes.patches[-1].set_label("one crowd for all")
    everyday, rare = np.quantile(both, [0.002, 0.998], axis=0), np.quantile(both[far], [0.05, 0.95], axis=0)
    low, high = np.minimum(everyday[0], rare[0]), np.maximum(everyday[1], rare[1])
    axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]))
    axes.legend(loc="upper left", fontsize="small", frameon=True)
    return figure


def rule_votes(summary: pd.DataFrame) -> Figure:
    """Each rule's coverage, split into votes it casts alone, with others, and against others."""
    ordered = summary.sort_values("Coverage")
    parts = {
        "alone": ordered["Coverage"] - ordered["Overlaps"],
        "others agree": ordered["Overlaps"] - ordered["Conflicts"],
        "others disagree": ordered["Conflicts"],
    }
    rare = ordered["Coverage"][ordered["Coverage"] < 0.5]
    contradicted = (ordered["Conflicts"] / ordered["Coverage"]).fillna(0)
    title = f"Others contradict {contradicted.max():.0%} of the votes of {contradicted.idxmax()}"
    figure, axes = _single(title, "share of events it votes on (the widest bar is cut off)")
    left = np.zeros(len(ordered))
    for (label, width), colour in zip(parts.items(), (GREY, SKY, "black"), strict=True):
        axes.barh(ordered.index, width, left=left, color=colour, label=label)
        left += width.to_numpy()
    axes.set_xlim(0, rare.max() * 1.15)
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=1))
    axes.legend(title="votes cast", loc="lower right")
    return figure


def bursts(burst: pd.Series, threshold: float) -> Figure:
    """Burst count over the stream; events above the rule's threshold stand out."""
    above = burst > threshold
    when = burst.index[above].to_numpy()
    clusters = np.split(when, np.flatnonzero(np.diff(when) > WINDOW) + 1) if above.any() else []
    title = f"Burst: {above.sum():,} events exceed the threshold, in {len(clusters)} clusters (shaded)"
    figure, axes = _single(title, "event", "burst (count)", figsize=(7.5, 3))
    for cluster in clusters:
        axes.axvspan(cluster[0] - 50, cluster[-1] + 50, color=RED, alpha=0.15, lw=0)
    axes.vlines(burst.index[~above], 0, burst[~above], color=GREY, lw=0.6)
    axes.vlines(burst.index[above], 0, burst[above], color=RED, lw=0.8, label="rule fires")
    axes.axhline(threshold, color="black", lw=1, ls="--", label=f"threshold {threshold:g}")
    axes.legend()
    return figure


def suspicion_by_label(suspicion: np.ndarray, labels: np.ndarray, threshold: float) -> Figure:
    """Suspicion on a log axis, split by pseudo-label, and the budget's threshold."""
    beyond, suspicious, undecided = (
        mask.sum() for mask in (suspicion > threshold, labels == 1, labels == -1)
    )
    title = (
        f"{suspicious:,} of the {beyond:,} events beyond the threshold are suspicious; "
        f"{undecided:,} of all {len(labels):,} stay undecided"
    )
    return _by_label(title, "suspicion (log scale)", suspicion, labels, threshold)


def errors_by_label(errors: np.ndarray, labels: np.ndarray, threshold: float) -> Figure:
    """Reconstruction errors on a log axis, split by pseudo-label, and the threshold."""
    caught = (errors[labels == 1] > threshold).mean()
    title = f"{caught:.0%} of the suspicious events are rebuilt worse than {WITHIN} of the presumed normals"
    return _by_label(title, "reconstruction error (log scale)", errors, labels, threshold)


def _by_label(title: str, x: str, values: np.ndarray, labels: np.ndarray, threshold: float) -> Figure:
    figure, axes = _single(title, x, "events (log scale)")
    for label in (0, -1, 1):
        name, colour = LABELS[label]
        style = {"alpha": 0.5} if label == 0 else {"histtype": "step", "lw": 2.5}
        axes.hist(values[labels == label], bins=_log_bins(values), color=colour, label=name, **style)
    axes.axvline(threshold, color="black", ls="--", label=f"threshold {threshold:.3g}")
    axes.set(xscale="log", yscale="log")
    axes.legend()
    return figure


def before_and_after_scaling(raw: np.ndarray, scaled: np.ndarray, names: Sequence[str]) -> Figure:
    """Spread of each input before and after scaling; boxes hold the middle half of the events."""
    figure, axes = plt.subplots(1, 2, figsize=(7.5, 3.4))
    titles = ["before: no input has a box", "after"]
    boxes = [np.subtract(*np.quantile(values, [0.75, 0.25], axis=0)) for values in (raw, scaled)]
    if (boxes[0] > 0).any():
        before, after = (box.max() / box[box > 0].min() for box in boxes)
        titles = [f"before: the widest box is\n{before:.0f} times the narrowest", f"after: {after:.1f} times"]
    for axis, values, title in zip(axes, (raw, scaled), titles, strict=True):
        sns.boxplot(pd.DataFrame(values, columns=names), orient="h", ax=axis, color=SKY, showfliers=False)
        axis.set(title=title, xlabel="value (outliers not drawn)")
    return figure


def past_only(original: pd.DataFrame, scrambled: pd.DataFrame, change: int, columns: Sequence[str]) -> Figure:
    """By how much a scrambled future moves each signal: not at all before `change`, and much after it."""
    size = (7.5, 1.5 * len(columns) + 0.6)
    figure, axes = plt.subplots(len(columns), 1, figsize=size, sharex=True, squeeze=False)
    moved = scrambled[list(columns)] - original[list(columns)]
    earlier = moved[moved.index < change].to_numpy()
    for axis, column in zip(axes.flat, columns, strict=True):
        axis.plot(moved[column], color=BLUE, lw=0.8)
        axis.axvline(change, color="black", ls="--")
        axis.set_ylabel(f"{column}\nmoved by")
    axes[0, 0].set_title(f"Before the line {(earlier != 0).sum()} of {earlier.size:,} values move")
    axes[-1, 0].set_xlabel("event (after the line the stream is another one)")
    return figure


def one_burst(z: np.ndarray, others: np.ndarray, names: Sequence[str]) -> Figure:
    """The events of one burst, axis by axis, before a background of ordinary ones."""
    far = np.linalg.norm(z, axis=1).mean()
    figure, axes = _single(
        f"{len(z)} events within {WINDOW:,} look alike, {far:.0f} units from the middle",
        "behaviour axis (thick: the burst; grey: ordinary events around it)",
        "robust z-score",
    )
    axes.plot(names, others.T, color=GREY, lw=0.3, alpha=0.3)
    axes.plot(names, z.T, color=RED, lw=1.2, alpha=0.8)
    axes.axhspan(-UNUSUAL_SD, UNUSUAL_SD, color=BLUE, alpha=0.08, lw=0)
    ordinary, beside = f"ordinary:\nwithin {UNUSUAL_SD:g}", ("axes fraction", "data")
    axes.annotate(ordinary, (1.01, 0), xycoords=beside, color=BLUE, va="center")
    return figure


def network(widths: Sequence[int]) -> Figure:
    """Layers of a network as columns of dots, each joined with the next."""
    figure, axes = _single(f"{widths[0]} numbers pass through {min(widths)}, and are rebuilt", figsize=(7, 3))
    ends = [(np.full(n, depth), np.linspace(-1, 1, n) * (n - 1) / 2) for depth, n in enumerate(widths)]
    for (x, y), (next_x, next_y) in pairwise(ends):
        for start in zip(x, y, strict=True):
            lines = [[start, end] for end in zip(next_x, next_y, strict=True)]
            axes.add_collection(LineCollection(lines, colors=GREY, linewidths=0.3))
    for depth, (x, y) in enumerate(ends):
        axes.scatter(x, y, s=40, color="black" if widths[depth] == min(widths) else BLUE, zorder=2)
    names = {0: "input", int(np.argmin(widths)): "code", len(widths) - 1: "rebuilt"}
    axes.set_xticks(list(names), list(names.values()))
    axes.set_yticks([])
    sns.despine(figure, left=True, bottom=True)
    return figure


def training_curves(histories: Mapping[str, Sequence[Sequence[float]]]) -> Figure:
    """Mean squared error an epoch, on training rows and on held-out ones; one panel a run."""
    figure, axes = plt.subplots(1, len(histories), figsize=(7.5, 3.6), sharey=True, squeeze=False)
    for axis, (name, history) in zip(axes[0], histories.items(), strict=True):
        errors = np.array(history)
        best = int(errors[:, 1].argmin())
        epochs = np.arange(1, len(errors) + 1)
        axis.plot(epochs, errors[:, 0], color=GREY, label="training rows")
        axis.plot(epochs, errors[:, 1], color=BLUE, label="held-out rows")
        axis.plot(best + 1, errors[best, 1], "o", color="black", label="lowest")
        found = f"held out {errors[best, 1]:.3f} at best, {errors[-1, 1]:.3f} last"
        axis.set(title=f"{name}:\n{found}", xlabel="epoch", yscale="log")
    axes[0, 0].set_ylabel("mean squared error\n(log scale)")
    axes[0, 0].legend()
    return figure


def label_moves(labels: pd.DataFrame) -> Figure:
    """How many events moved from which label to which; one panel a round of refinement."""
    figure, axes = plt.subplots(1, labels.shape[1] - 1, figsize=(7.5, 3.4), sharey=True, squeeze=False)
    called = {label: name for label, (name, _) in LABELS.items()}
    names, order = labels.replace(called), list(called.values())
    for axis, (before, after) in zip(axes[0], pairwise(labels), strict=True):
        table = pd.crosstab(names[before], names[after]).reindex(index=order, columns=order, fill_value=0)
        moved = (labels[before] != labels[after]).sum()
        _counts(axis, table.rename(columns=lambda name: name.replace(" ", "\n")))
        axis.tick_params(axis="x", rotation=0)
        title = f"{after}: {moved:,} labels change"
        axis.set(title=title, xlabel=f"after {after}", ylabel=f"before {after}")
    return figure


def badly_rebuilt(misfit: np.ndarray, index: pd.Index, names: Sequence[str]) -> Figure:
    """Which inputs the autoencoder rebuilt badly, one row an event."""
    share = misfit**2 / (misfit**2).sum(axis=1, keepdims=True)
    alike = np.abs(share[:, None] - share).sum(axis=2) < 0.2  # at most a tenth of the error elsewhere
    group = index[alike[alike.sum(axis=1).argmax()]]
    title = (
        f"{len(group)} of the {len(index)} largest errors are of one pattern, "
        f"within {group.max() - group.min():,} events"
    )
    figure, axes = _single(title, figsize=(8, 4.5))
    table, bar = pd.DataFrame(share, index, names).sort_index(), {"label": "share of the event's error"}
    sns.heatmap(table, ax=axes, cmap="Blues", vmin=0, vmax=1, cbar_kws=bar)
    axes.set(xlabel="input", ylabel="event")
    return figure


def suspects_found(found: Mapping[str, float]) -> Figure:
    """How many pseudo-suspicious events each detector ranks within the alert budget."""
    most = max(found.values())
    best = [DETECTORS[name][0] for name, share in found.items() if share == most]
    who = f"{best[0].capitalize()} finds" if len(best) == 1 else f"{len(best)} of {len(found)} detectors find"
    figure, axes = _single(
        f"{who} {most:.0%} of what the rules suspect, none finds more",
        "share of the rules' suspects, found within the alert budget",
        figsize=(7.5, 2.6),
    )
    _bars(axes, found)
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    return figure


def agreement(counts: pd.DataFrame) -> Figure:
    """Rules against autoencoder: how many training events in each combination."""
    said, rebuilt = [name for name, _ in LABELS.values()], ["badly rebuilt", "well rebuilt"]
    counts = counts.reindex(index=said, columns=rebuilt, fill_value=0)
    figure, axes = _single(
        f"They agree on {counts.loc['suspicious', 'badly rebuilt']:,} suspicious and "
        f"{counts.loc['presumed normal', 'well rebuilt']:,} normal events",
        figsize=(6.5, 3),
    )
    _counts(axes, counts)
    for cell in ((0, 0), (1, 2)):  # columns and rows where both agree
        axes.add_patch(Rectangle(cell, 1, 1, fill=False, color="black", lw=3, clip_on=False))
    axes.set(xlabel="the autoencoder says", ylabel="the rules say")
    return figure


def importance(judges: Mapping[str, pd.Series]) -> Figure:
    """Share of the gain of each input, one panel a judge."""
    figure, axes = plt.subplots(1, len(judges), figsize=(7.5, 4), squeeze=False)
    for axis, (name, shares) in zip(axes[0], judges.items(), strict=True):
        label, colour = DETECTORS[name]
        axis.barh(shares.index, shares, color=colour)
        axis.invert_yaxis()
        axis.xaxis.set_major_formatter(PercentFormatter(1))
        title = f"{label}:\n{shares.index[0]} decides {shares.iloc[0]:.0%}"
        axis.set(title=title, xlabel="share of the total gain")
    return figure


def one_tree(tree: DecisionTreeClassifier, names: Sequence[str]) -> Figure:
    """A small decision tree: what it asks, and how many events of each kind arrive where."""
    from sklearn.tree import plot_tree

    figure, axes = plt.subplots(figsize=(7, 3.4))
    answers = ["normal", "suspicious"]
    style = {"impurity": False, "rounded": True, "fontsize": 10}
    plot_tree(tree, feature_names=list(names), class_names=answers, ax=axes, **style)
    for text in axes.texts:
        if box := text.get_bbox_patch():
            box.set_edgecolor(GREY)
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
    figure, axes = _single(
        f"Event {event:,}: {pushes.index[0]} is the strongest reason for a risk of {risk:.3f}",
        f"log-odds: {ends.iloc[0]:.1f} before any input, {ends.iloc[-1]:.1f} in the end",
        "input and its value",
        figsize=(7.5, 3.8),
    )
    names = ["bias", *(f"{name} = {values[name]:.1f}" for name in pushes.index)]
    axes.barh(names, steps, left=ends - steps, color=np.where(steps > 0, RED, BLUE))
    axes.axvline(ends.iloc[-1], color="black", ls="--", label=f"{ends.iloc[-1]:.1f}: a risk of {risk:.3f}")
    axes.use_sticky_edges = False
    axes.margins(x=0.04)
    axes.legend(loc="lower left")
    axes.invert_yaxis()
    return figure


def copied_votes(f1: pd.Series) -> Figure:
    """How well a judge repeats each rule's vote, from its own inputs alone."""
    ordered = f1.sort_values(ascending=False, kind="stable")
    figure, axes = _single(
        f"{(f1 > 0.8).sum()} of {len(f1)} votes can be copied with an F1 above 0.8",
        "F1 on the test part, against the rule's own votes",
        figsize=(7.5, 3.2),
    )
    _f1_bars(axes, ordered.to_dict(), {rule: (rule, BLUE) for rule in ordered.index})
    axes.axvline(0.8, color="black", ls="--")
    return figure


def circularity(scores: Mapping[str, float]) -> Figure:
    """F1 of judges against the labels that they were taught; `seed_rules` is a judge of the naive rule."""
    best = max(scores.values())
    title = f"Against its own labels a judge reaches an F1 of {best:.2f}; that says nothing of fraud"
    figure, axes = _single(title, "F1 on the test part, against the labels it was taught", figsize=(7.5, 2.8))
    judges = {
        name: (label.replace("naive", "judge of the naive"), c) for name, (label, c) in DETECTORS.items()
    }
    _f1_bars(axes, scores, judges)
    return figure


def precision_recall(
    truth: np.ndarray, scores: Mapping[str, np.ndarray], budget: Mapping[str, dict | None]
) -> Figure:
    """Precision against recall of every detector, ours and the oracle strong; dots mark the alert budget,
    a cross the naive rule."""
    from sklearn.metrics import precision_recall_curve

    strong = {name: budget[name] for name in ("detector", "oracle")}
    (found, right), (possible, sure) = ((at["recall"], at["precision"]) for at in strong.values())
    figure, axes = _single(
        f"At the budget the detector finds {found:.0%} of the frauds and is right in {right:.0%} of its "
        f"alerts, the oracle {possible:.0%} and {sure:.0%}",
        "recall: share of the frauds found",
        "precision: share of alerts\nthat are fraud",
        figsize=(7.5, 5),
    )
    dots: list[tuple[float, float]] = []
    for name, score in scores.items():
        label, colour = DETECTORS[name]
        if budget[name] is None:
            flagged = score > 0
            hits = (flagged & (truth == 1)).sum()
            axes.plot(hits / truth.sum(), hits / flagged.sum(), "X", ms=10, color=colour, label=label)
            continue
        precision, recall, _ = precision_recall_curve(truth, score)
        reached = recall > 0
        style = {"lw": 2.5} if name in strong else {"lw": 1, "alpha": 0.45}
        line = "--" if name == "oracle" else "-"
        points = recall[reached], precision[reached]
        axes.step(*points, where="post", color=colour, label=label, ls=line, **style)
        dot = budget[name]["recall"], budget[name]["precision"]
        axes.plot(*dot, "o", color=colour, ms=8 - 3 * dots.count(dot), mec="white")
        dots.append(dot)  # the next one at the same place is smaller
    axes.legend(**BESIDE, fontsize="small")
    return figure


def average_precision(detectors: Mapping[str, dict]) -> Figure:
    """Average precision of every detector with its bootstrap interval."""
    ours, possible = (
        "{:.2f} (interval {:.2f} to {:.2f})".format(at["average_precision"], *at["average_precision_ci"])
        for at in (detectors["detector"], detectors["oracle"])
    )
    figure, axes = _single(
        f"The detector's average precision is {ours}, the oracle's {possible}",
        "average precision (bar: 95% interval, whole episodes drawn)",
    )
    for row, (name, values) in enumerate(detectors.items()):
        colour = DETECTORS[name][1]
        axes.hlines(row, *values["average_precision_ci"], color=colour, lw=3, alpha=0.6)
        axes.plot(values["average_precision"], row, "o", color=colour, ms=9)
    axes.set_yticks(range(len(detectors)), [DETECTORS[name][0] for name in detectors])
    axes.set_xlim(0, 1)
    axes.invert_yaxis()
    return figure


def confusion_matrices(matrices: Mapping[str, np.ndarray]) -> Figure:
    """One small confusion matrix a detector; rows are the truth, columns the alert."""
    columns = 4
    rows = -(-len(matrices) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(7.5, 2.4 * rows), squeeze=False)
    for axis in axes.flat[len(matrices) :]:
        axis.set_visible(False)
    for axis, (name, matrix) in zip(axes.flat, matrices.items(), strict=False):
        label, colour = DETECTORS[name]
        _confusion(axis, matrix, colour)
        axis.set_title(fill(label, 15), loc="center", fontsize="small")
    found = {name: matrix[1, 1] for name, matrix in matrices.items() if name not in ("oracle", "seed_rules")}
    title = (
        f"Within the budget {min(found.values())} to {max(found.values())} frauds are found without labels"
    )
    if "oracle" in matrices:
        title += f", {matrices['oracle'][1, 1]} with"
    _headed(figure, title)
    return figure


def errors_by_truth(errors: Mapping[str, np.ndarray], truth: np.ndarray) -> Figure:
    """Error histograms by truth, one panel a detector."""
    size = (7.5, 2 * len(errors) + 0.5)
    figure, axes = plt.subplots(len(errors), 1, figsize=size, sharex=True, squeeze=False)
    for axis, (name, values) in zip(axes[:, 0], errors.items(), strict=True):
        bins = _log_bins(values)
        honest, fraud = values[truth == 0], values[truth == 1]
        for part, colour, label in ((honest, BLUE, "honest"), (fraud, RED, "fraud")):
            weights = np.full(len(part), 1 / len(part))
            axis.hist(part, bins=bins, weights=weights, color=colour, alpha=0.6, label=label)
        limit = np.quantile(honest, 1 - BUDGET)
        axis.axvline(limit, color="black", ls="--", label=f"{WITHIN} of honest events")
        beyond = (fraud > limit).mean()
        title = f"{DETECTORS[name][0]}: {beyond:.0%} of frauds beyond {WITHIN} of honest events"
        axis.set_title(title, fontsize="small")
        axis.set(xscale="log", ylabel="share of events")
    axes[-1, 0].set_xlabel("score (log scale)")
    axes[0, 0].legend()
    return figure


def false_alarms(detectors: Mapping[str, dict]) -> Figure:
    """False positives of every detector at the naive rule's recall."""
    values = {name: d["at_seed_recall"]["false_positives"] for name, d in detectors.items()}
    best = min((name for name in values if name != "oracle"), key=values.__getitem__)
    figure, axes = _single(
        f"To find as many frauds, the {DETECTORS[best][0]} accuses {values[best]:,} honest events, "
        f"the naive rule {values['seed_rules']:,}",
        "false positives at the naive rule's recall",
    )
    _bars(axes, values, "{:,.0f}")
    return figure


def episodes_found(table: pd.DataFrame, names: Sequence[str]) -> Figure:
    """Which detector's alerts touch which episode of fraud, and how many frauds each holds."""
    found = table[list(names)].astype(int)
    nobody = int((found.drop(columns="oracle", errors="ignore").sum(axis=1) == 0).sum())
    figure, (sizes, axes) = plt.subplots(2, 1, figsize=(8, 5.6), sharex=True, height_ratios=(1, 4))
    title = (
        f"{nobody} of {len(table)} episodes are found by no label-free detector; "
        f"one holds {table['frauds'].max()} of {table['frauds'].sum()} frauds"
    )
    sizes.set(title=_wrapped(title), ylabel="frauds")
    sizes.margins(y=0.3)
    sizes.bar_label(sizes.bar(np.arange(len(table)) + 0.5, table["frauds"], color="black"), fontsize="small")
    shown = found.T.mul(np.arange(1, len(names) + 1), axis=0)  # 0: missed; otherwise the detector's row
    shown = shown.set_axis([DETECTORS[name][0] for name in names])
    shown.columns = [f"{first:,}" for first in table["first_event"]]
    colours = ["#f2f2f2", *(DETECTORS[name][1] for name in names)]
    sns.heatmap(shown, cmap=colours, vmin=0, vmax=len(names), cbar=False, linewidths=1.5, ax=axes)
    axes.set_xlabel("episode: its first event (filled: found)")
    return figure


def where_frauds_lie(distance: np.ndarray, truth: np.ndarray, missed: Mapping[str, np.ndarray]) -> Figure:
    """Distance from the crowds: honest events, found frauds, and missed ones by the reason why.

    Args:
        distance, truth: one value an event.
        missed: reason -> where a fraud is missed for it.
    """
    fraud = truth == 1
    lost = sum(map(np.sum, missed.values()))
    why = ", ".join(f"{reason}\u00a0{mask.sum()}" for reason, mask in missed.items())
    title = f"{lost} of {fraud.sum()} frauds are missed: {why}"
    figure, axes = _single(title, "distance from the crowds (log scale)", figsize=(7.5, 3.8))
    groups = {"honest": ~fraud, "found": fraud & ~np.any(list(missed.values()), axis=0), **missed}
    jitter = np.random.default_rng(0)
    for row, mask in enumerate(groups.values()):
        height = row + jitter.uniform(-0.3, 0.3, mask.sum())
        colour, size = ((BLUE, 4), (GREEN, 30), (RED, 30))[min(row, 2)]
        axes.scatter(distance[mask], height, color=colour, s=size, alpha=0.3 if row == 0 else 0.8, lw=0)
    axes.set_yticks(range(len(groups)), [f"{name} ({mask.sum():,})" for name, mask in groups.items()])
    axes.set_xscale("log")
    axes.invert_yaxis()
    return figure


def fraud_ranks(ranks: Mapping[str, np.ndarray]) -> Figure:
    """Frauds in order of the share of honest events that are more extreme; one line a window."""
    first, second = (f"{np.median(values):.1%}" for values in ranks.values())
    figure, axes = _single(
        f"The median fraud is outdone by {first} of the honest events in the first window, "
        f"{second} in the second",
        "share of honest events farther from the crowds (log scale)",
        "share of the frauds",
        figsize=(7.5, 3.6),
    )
    for (label, values), line in zip(ranks.items(), ("-", ":"), strict=True):
        ordered = np.maximum(np.sort(values), 1e-4)
        height = np.arange(1, len(ordered) + 1) / len(ordered)
        axes.step(ordered, height, where="post", color="black", ls=line, lw=2, label=label)
    axes.axvline(BUDGET, color=GREY, ls="--", label="the alert budget")
    axes.set(xscale="log", ylim=(0, 1))
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=2))
    axes.legend(loc="lower right")
    return figure


def ablation(table: pd.DataFrame, reference: str) -> Figure:
    """Average precision (geometric mean over the starts) and frauds found of every variant, first seed;
    beside the mean the range over the starts."""
    first = table[table["seed"] == table["seed"].min()]
    starts = first["start"].nunique()
    log_ap = first.assign(ap=np.log(first["average_precision"].clip(lower=1e-4)))
    spread = np.exp(log_ap.groupby("variant")["ap"].agg(["mean", "min", "max"])).sort_values("mean")
    found = first.groupby("variant")["found"].agg(["mean", "min", "max"]).loc[spread.index]
    fill = [DETECTORS[VARIANTS[name]][1] if name in VARIANTS else "white" for name in spread.index]
    edge = ["black" if colour == "white" else colour for colour in fill]
    figure, (left, right) = plt.subplots(1, 2, figsize=(8, 7), sharey=True)
    for axis, values, x in ((left, spread, "average precision (log scale)"), (right, found, "frauds found")):
        axis.hlines(values.index, values["min"], values["max"], color=GREY, lw=2, alpha=0.5)
        axis.scatter(values["mean"], values.index, c=fill, edgecolors=edge, zorder=3)
        axis.axvline(values.loc[reference, "mean"], color=GREEN, alpha=0.5)
        axis.set_xlabel(x)
    left.set_xscale("log")
    left.invert_yaxis()
    by_ap, by_found = (
        (table["mean"] > table.loc[reference, "mean"]).drop("oracle", errors="ignore").sum()
        for table in (spread, found)
    )
    title = (
        f"Of {len(spread) - 2} label-free variants {by_ap} are ahead of the {reference} (line) by average "
        f"precision, {by_found} by frauds found: means over {starts} starts; bars show the range"
    )
    _headed(figure, _wrapped(title))
    return figure


def rule_coverage(signal: pd.Series, threshold: float) -> Figure:
    """How many events of a block a rule accuses at every threshold of its signal, and at this one."""
    accused = (signal > threshold).mean() * BLOCK
    figure, axes = _single(
        f"{signal.name} > {threshold:g} accuses {accused:.1f} of {BLOCK:,} events; the budget is {ALERTS}",
        f"threshold of {signal.name}",
        f"accused of {BLOCK:,} events\n(log scale)",
        figsize=(7.5, 3),
    )
    values = np.sort(signal.to_numpy())
    share = (len(values) - np.searchsorted(values, values, side="right")) * BLOCK / len(values)
    share = np.where(share > 0, share, np.nan)
    axes.step(values, share, where="post", color="black", label="every threshold")
    axes.axhline(ALERTS, color="black", ls="--", lw=2, label="alert budget")
    axes.plot(threshold, accused, "o", ms=9, color=BLUE, label="this threshold", clip_on=False)
    axes.set_yscale("log")
    axes.legend()
    return figure


def budget_choice(curve: pd.DataFrame, cost: pd.Series, alerts: int, name: str, nothing: float) -> Figure:
    """What one alert budget means: its confusion matrix, its precision and recall, its cost.

    Args:
        curve: from `evaluation.budget_curve`.
        cost: euro, by budget.
        alerts: the budget to mark, in alerts a block.
        name: the detector.
        nothing: the cost of looking at no alert, in euro.
    """
    figure, panels = plt.subplot_mosaic(
        [["counts", "line"], ["euros", "euros"]], figsize=(7.5, 6.4), width_ratios=(1, 1.4)
    )
    counts, line, euros = (panels[name] for name in ("counts", "line", "euros"))
    label, colour = DETECTORS[name]
    chosen, dot = curve.loc[alerts], {"marker": "o", "ms": 9, "color": colour, "mec": "black"}
    matrix = chosen[["honest_quiet", "false_alarms", "missed", "found"]].to_numpy(int).reshape(2, 2)
    _confusion(counts, matrix, colour)
    title = f"{label}, budget {alerts}:\n{chosen['found']:.0f} frauds in {matrix[:, 1].sum():,} alerts"
    counts.set_title(title, fontsize="small")
    for name, style in (("recall", "-"), ("precision", ":")):
        line.plot(curve.index, curve[name], color=colour, ls=style, label=name)
        line.plot(alerts, chosen[name], **dot)
    line.set(ylim=(0, 1), xlabel="budget")
    line.legend(fontsize="small")
    title = f"precision {chosen['precision']:.0%}, recall {chosen['recall']:.0%}"
    line.set_title(title, fontsize="small", fontweight="normal")
    euros.plot(cost.index, cost, color=colour)
    euros.plot(alerts, cost[alerts], **dot)
    euros.axhline(nothing, color="black", ls="--", lw=1, label="looking at nothing")
    euros.set(xlabel=f"budget: alerts in {BLOCK:,} events", ylabel="cost in euro", ylim=0)
    title = f"{cost[alerts]:,.0f} euro; cheapest is a budget of {cost.idxmin()}, at {cost.min():,.0f}"
    euros.set_title(title, fontsize="small")
    euros.legend(fontsize="small", loc="lower right")
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


def wrong_reviews(found: pd.DataFrame, label_free: float) -> Figure:
    """Frauds found when a share of the reviews is wrong, with complaints and without: mean and range over
    the starts; the dashed line is the detector that listens to nobody."""
    means = found.groupby(["told", "wrong"])["found"].agg(["mean", "min", "max"])
    by_share = means["mean"].unstack("wrong")
    lost, worst = 1 - by_share.iloc[:, -1] / by_share.iloc[:, 0], by_share.columns[-1]
    figure, axes = _single(
        f"{worst:.0%} wrong reviews cost {lost['reviews']:.0%} of the finds, on honest events alone "
        f"{lost['wrong on honest events alone']:.0%}, on frauds alone {lost['wrong on frauds alone']:.0%}",
        "share of the reviews that are wrong",
        "frauds found",
        figsize=(7.5, 3.6),
    )
    reviewed, complained = (STREAM[name][1] for name in ("stream", "complaints"))
    lines = (
        ("reviews and complaints", complained, "o-"),
        ("wrong on frauds alone", reviewed, "^:"),
        ("reviews", reviewed, "o-"),
        ("wrong on honest events alone", reviewed, "v:"),
    )
    for told, colour, line in lines:
        curve = means.loc[told]
        axes.plot(curve.index, curve["mean"], line, color=colour, label=told)
        if line == "o-":
            axes.fill_between(curve.index, curve["min"], curve["max"], color=colour, alpha=0.12, lw=0)
    axes.axhline(label_free, color=STREAM["detector"][1], ls="--", label=STREAM["detector"][0])
    axes.set_xticks(found["wrong"].unique())
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.set_ylim(0)
    axes.legend(**BESIDE)
    return figure


def one_alert(delay: int, complained: int) -> Figure:
    """What happens to an event, from its arrival to a complaint; not to scale."""
    steps = {
        "arrives,\nis scored": "at once",
        "is alerted,\nlies on a desk": f"when its block\nof {BLOCK:,} ends",
        "is reviewed": f"{delay:,} events\nafter the event",
        "the learner\nis taught": "when that\nblock ends",
        "a fraud's\ncustomer complains": f"{complained:,} events\nafter the event",
    }
    figure, axes = _single("What the learner knows of an event comes in steps", figsize=(7.5, 2.4))
    places = np.arange(len(steps))
    axes.plot(places, 0 * places, color=GREY, lw=2, zorder=0)
    axes.scatter(places, 0 * places, s=160, color=[GREY, RED, GREEN, BLUE, GREEN])
    for place, (what, when) in zip(places, steps.items(), strict=True):
        axes.annotate(what, (place, 0.25), ha="center", va="bottom", weight="bold")
        axes.annotate(when, (place, -0.25), ha="center", va="top")
    axes.set(xlim=(-0.6, len(steps) - 0.4), ylim=(-1, 1), xticks=[], yticks=[])
    sns.despine(figure, left=True, bottom=True)
    return figure


def found_per_review(found: Mapping[str, np.ndarray]) -> Figure:
    """Frauds found against alerts reviewed; one line a detector, all with the same budget."""
    totals = {name: int(values.sum()) for name, values in found.items()}
    figure, axes = _single(
        f"After {max(map(len, found.values())):,} reviews the learner has found {totals['stream']} frauds, "
        f"the label-free detector {totals['detector']}",
        "alerts reviewed",
        "frauds found",
    )
    for name in sorted(totals, key=totals.__getitem__, reverse=True):
        label, colour, line = STREAM[name]
        finds, width = np.r_[0, found[name].cumsum()], 3 if name == "stream" else 1.5
        label = f"{label}: {totals[name]}"
        axes.step(np.arange(len(finds)), finds, where="post", color=colour, ls=line, lw=width, label=label)
    axes.legend(**BESIDE, fontsize="small")
    return figure


def stream_timeline(index: pd.Index, alert: np.ndarray, truth: np.ndarray) -> Figure:
    """Finds, false alarms and misses over the stream's clock."""
    fraud = truth == 1
    found, missed = fraud & alert, fraud & ~alert
    busiest = pd.Series(fraud).groupby(index // BLOCK).sum().max()
    counts = f"{found.sum()} frauds found, {missed.sum()} missed"
    title = f"{counts}; the busiest {BLOCK:,} events hold {busiest} frauds"
    figure, axes = _single(title, CLOCK, figsize=(8.5, 2.8))
    groups = (("missed", missed, RED), ("found", found, GREEN), ("false alarm", alert & ~fraud, GREY))
    for row, (_, mask, colour) in enumerate(groups):
        axes.plot(index[mask], np.full(mask.sum(), row), "|", ms=22, mew=1.2, color=colour, alpha=0.8)
    axes.set_yticks(range(3), [f"{name} ({mask.sum()})" for name, mask, _ in groups])
    axes.set_ylim(-0.6, 2.6)
    axes.xaxis.set_major_formatter(EVENTS)
    return figure


def drift_map(psi: pd.DataFrame, limits: pd.Series, chance: float) -> Figure:
    """Population stability index of every input and block, relative to what the warm-up itself varied.

    `chance` is the share of blocks that would raise an alarm if nothing drifted.
    """
    relative = (psi / limits).T
    alarms = (relative > 1).any()
    worst = relative.max(axis=1).idxmax()
    figure, axes = _single(
        f"{alarms.sum()} of {len(alarms)} blocks drift farther than the warm-up ever did, {worst} farthest; "
        f"by chance alone {len(alarms) * chance:.0f} would",
        figsize=(8.5, 3.4),
    )
    sns.heatmap(relative.clip(upper=1), ax=axes, cmap="Greys", vmin=0, vmax=3, cbar=False)
    reds, most = sns.light_palette(RED, as_cmap=True), max(2, relative.max(axis=None))
    bar = {"label": "PSI over the warm-up's\nlargest; coloured: alarm"}
    ticks = [f"{first:,}" if place % 5 == 0 else "" for place, first in enumerate(relative)]
    style = {"cmap": reds, "vmin": 0, "vmax": most, "cbar_kws": bar, "xticklabels": ticks}
    sns.heatmap(relative, mask=relative <= 1, ax=axes, **style)
    axes.tick_params(axis="x", length=0, rotation=0)
    axes.set(xlabel="first event of the block", ylabel="")
    return figure


def growth(measured: pd.DataFrame, crossover: float | None) -> Figure:
    """Seconds and peak memory of each path against the number of events, on log axes.

    Args:
        measured: one row a size and path, with events, path, work_s, total_s and peak_mb.
        crossover: the number of events from which Spark on 2 cores is done first; None for never.
    """
    figure, (time, memory) = plt.subplots(2, 1, figsize=(7.5, 6.4), sharex=True)
    largest = measured["events"].max()
    ahead = f"not ahead of one process up to {largest:,} events"
    if crossover is not None and crossover <= largest:
        ahead = f"ahead from {float(f'{crossover:.1g}'):,.0f} events"
    title = _wrapped(f"Spark on 2 cores, start-up included: {ahead}")
    time.set(title=title, ylabel="seconds (log scale)", yscale="log")
    memory.set(title="Memory at its peak", ylabel="MB")
    for (path, rows), colour in zip(measured.groupby("path", sort=False), (BLUE, ORANGE, GREEN), strict=True):
        time.plot(rows["events"], rows["work_s"], "o-", color=colour, label=path)
        time.plot(rows["events"], rows["total_s"], "x:", color=colour)
        memory.plot(rows["events"], rows["peak_mb"].astype(float), "o-", color=colour)
    time.plot([], [], "x:", color="black", label="start-up included")
    memory.set(xscale="log", xlabel="events (log scale)", ylim=0)
    figure.legend(loc="outside lower center", ncols=2)
    return figure


def forgotten(remembered: pd.Series, alone: pd.Series, batch: int) -> Figure:
    """Which share of the alerts' burst counts a worker that starts afresh forgets, along its micro-batch.

    Args:
        remembered, alone: burst counts of the same alerts, indexed by the event's turn within its key.
        batch: events of a key in a micro-batch.
    """
    place = remembered.index % batch // (batch // 10) * (batch // 10)
    kept = alone.groupby(place).sum() / remembered.groupby(place).sum()
    lost = (alone < remembered).mean()
    figure, axes = _single(
        f"Without memory {lost:.0%} of the alerts lose a part of their burst; early in a micro-batch "
        f"{1 - kept.iloc[0]:.0%} of all is forgotten, late {1 - kept.iloc[-1]:.0%}",
        "position in the micro-batch, in events of the key",
        "share of the burst count\nthat is forgotten",
        figsize=(7.5, 3.4),
    )
    axes.bar(kept.index, 1 - kept, width=0.9 * (batch // 10), align="edge", color=BLUE)
    axes.set_ylim(0, 1)
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    return figure


SESSIONS = {  # the models of notebook 9; a detector keeps its colour
    "heuristics": ("heuristics, by votes", ORANGE),
    "isolation_forest": DETECTORS["isolation_forest"],
    "autoencoder": ("autoencoder", BLUE),
    "xgboost": ("XGBoost on heuristic labels", RED),
    "xgboost_smote": ("XGBoost with SMOTE", PINK),
    "detector": ("detector", GREEN),
    "learner": ("learner, with reviews", STREAM["stream"][1]),
    "told_everything": ("learner, told everything", SKY),
    "oracle": DETECTORS["oracle"],
}


def mirror(scores: Mapping[str, Mapping[str, float]]) -> Figure:
    """F1 of every model against the labels it was taught from and against the truth."""
    table = pd.DataFrame(scores).T
    learned = table.loc["xgboost"]
    figure, axes = _single(
        f"XGBoost: F1 {learned['heuristics']:.2f} against the labels it learned from, "
        f"{learned['truth']:.2f} against the truth",
        "F1, mean over the three categories",
        figsize=(7.5, 3.6),
    )
    rows = np.arange(len(table))
    for shift, (column, colour, label) in enumerate(
        (("heuristics", GREY, "against the heuristics' labels"), ("truth", GREEN, "against the truth"))
    ):
        bars = axes.barh(rows + 0.4 * shift, table[column], 0.38, color=colour, label=label)
        axes.bar_label(bars, fmt="%.2f", padding=4, fontsize="small")
    axes.set_yticks(rows + 0.2, [SESSIONS[name][0] for name in table.index])
    axes.invert_yaxis()
    axes.legend(**BESIDE)
    return figure


def caught_by_day(caught: pd.Series, half: float) -> Figure:
    """Share of the abused account-days that a heuristic accuses, by day, and the mean of each half."""
    early, late = caught[caught.index < half], caught[caught.index >= half]
    figure, axes = _single(
        f"Heuristics accuse {early.mean():.0%} of a day's abuse in the first half, {late.mean():.0%} later",
        "day",
        "share of abused\naccount-days accused",
        figsize=(7.5, 3),
    )
    axes.bar(caught.index, caught, color=ORANGE, alpha=0.6)
    for part in (early, late):
        axes.hlines(part.mean(), part.index.min() - 0.5, part.index.max() + 0.5, color=RED, lw=2)
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    return figure


def found_in_sessions(found: Mapping[str, int], abused: int) -> Figure:
    """Abused account-days among the alerts of every model."""
    times = found["detector"] / max(found["heuristics"], 1)
    ordered = dict(sorted(found.items(), key=lambda item: -item[1]))
    figure, axes = _single(
        f"The detector finds {times:.1f} times what the heuristics find",
        f"found among the alerts, {ALERTS} of every {BLOCK:,} account-days ({abused} were abused)",
        figsize=(7.5, 3.6),
    )
    _bars(axes, ordered, "{:.0f}", SESSIONS)
    return figure


def over_worlds(found: pd.DataFrame) -> Figure:
    """What every model finds, as a multiple of what the heuristics find; one dot a world, the mean a line."""
    means = found.mean() / found["heuristics"].mean()
    ordered = means.sort_values(ascending=False).index
    figure, axes = _single(
        f"Over {len(found)} worlds the detector finds {means['detector']:.1f} times what the heuristics find",
        "abused account-days found within the alert budget, mean of the heuristics = 1",
        figsize=(7.5, 3.8),
    )
    for row, name in enumerate(ordered):
        colour = SESSIONS[name][1]
        values = found[name] / found["heuristics"].mean()
        spread = np.linspace(-0.25, 0.25, len(values))
        axes.scatter(values, row + spread, s=14, color=colour, alpha=0.7, lw=0)
        axes.vlines(means[name], row - 0.35, row + 0.35, color=colour, lw=3)
    axes.axvline(1, color=GREY, lw=1, ls=":")
    axes.set_yticks(range(len(ordered)), [SESSIONS[name][0] for name in ordered])
    axes.invert_yaxis()
    axes.set_xlim(0)
    return figure


def queue(risk: pd.Series, alerted: pd.Series) -> Figure:
    """How rare every event of a round is, and which of them are on the desk."""
    rare = (1 - risk).clip(lower=1e-6)
    least = rare[alerted].max() if alerted.any() else np.nan
    figure, axes = _single(
        f"{alerted.sum()} of {len(risk):,} events are on the desk: "
        f"of the training events at most {least:.2%} are as odd",
        CLOCK,
        "1 - risk (log scale):\nso many are as odd",
        figsize=(7.5, 3.4),
    )
    for mask, colour, size, label in ((~alerted, GREY, 6, "left alone"), (alerted, RED, 36, "alert")):
        axes.scatter(rare.index[mask], rare[mask], s=size, color=colour, label=label, lw=0)
    axes.set_yscale("log")
    axes.invert_yaxis()
    axes.yaxis.set_major_formatter(lambda share, _: f"{100 * share:g}%")
    axes.legend(**BESIDE)
    return figure
