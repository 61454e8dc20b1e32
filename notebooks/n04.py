"""Notebook 4, rebuild ordinary events: its figures and its checkers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise, product
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from checker import Off, as_column, ask, checker, compare, off_if, only_if_no_slip, still_right
from helpers import plots, rules
from helpers.autoencoder import Autoencoder


def errors_by_label(errors: np.ndarray, labels: np.ndarray, threshold: float) -> Figure:
    """Reconstruction errors on a log axis, split by pseudo-label, and the threshold."""
    worse = f"rebuilt worse than {plots.WITHIN} of the presumed normals"
    beyond = (errors > threshold)[labels == 1]
    title = f"{beyond.sum()} of the {len(beyond)} suspicious events are {worse}"
    return plots.by_label(title, "reconstruction error (log scale)", errors, labels, threshold)


def network(widths: Sequence[int]) -> Figure:
    """Layers of a network as columns of dots, each joined with the next."""
    code = min(widths)
    title = f"{widths[0]} numbers pass through {code}, and are rebuilt"
    figure, axes = plots.single(title, height=3, width=7, yticks=[])
    heights = [np.linspace(-1, 1, n) * (n - 1) / 2 for n in widths]
    for depth, (here, there) in enumerate(pairwise(heights)):
        lines = [[(depth, start), (depth + 1, end)] for start in here for end in there]
        axes.add_collection(LineCollection(lines, colors=plots.GREY, linewidths=0.3))
    for depth, height in enumerate(heights):
        colour = "black" if len(height) == code else plots.BLUE
        axes.scatter(np.full(len(height), depth), height, s=40, color=colour, zorder=2)
    names = {0: "input", widths.index(code): "code", len(widths) - 1: "rebuilt"}
    axes.set_xticks(list(names), list(names.values()))
    axes.spines[["left", "bottom"]].set_visible(False)
    return figure


def training_curves(histories: Mapping[str, Sequence[Sequence[float]]]) -> Figure:
    """Mean squared error an epoch, on training rows and on held-out ones; one panel a run."""
    figure, axes = plt.subplots(1, len(histories), figsize=(7.5, 3.6), sharey=True, squeeze=False)
    for axis, (name, history) in zip(axes[0], histories.items(), strict=True):
        errors = pd.DataFrame(history, range(1, len(history) + 1), ["training rows", "held-out rows"])
        for (rows, curve), colour in zip(errors.items(), (plots.GREY, plots.BLUE), strict=True):
            axis.plot(curve, color=colour, label=rows)
        axis.plot(curve.idxmin(), curve.min(), "o", color="black", label="lowest")
        found = f"lowest {curve.min():.3f}, last {curve.iloc[-1]:.3f}"
        axis.set(title=f"{name}:\n{found}", xlabel="epoch", yscale="log")
    axes[0, 0].set_ylabel("mean squared error\n(log scale)")
    axes[0, 0].legend()
    return figure


def label_moves(labels: pd.DataFrame) -> Figure:
    """How many training events the correction moved from which label to which."""
    called = {label: name for label, (name, _) in plots.LABELS.items()}
    names, order = [labels[column].map(called) for column in labels], list(called.values())
    table = pd.crosstab(*names).reindex(index=order, columns=order, fill_value=0)
    suspects, kept = table.loc[order[0]].sum(), table.loc[order[0], order[0]]
    title = f"Lost: {suspects - kept:,} of {suspects:,} suspects; cleared: {table.iloc[1, 2]:,} events"
    figure, axes = plots.single(title, height=3, width=6.5)
    plots.counts(axes, table)
    axes.set(xlabel="after the correction", ylabel="the rules say")
    return figure


def badly_rebuilt(misfit: np.ndarray, index: pd.Index, names: Sequence[str]) -> Figure:
    """Which inputs the autoencoder rebuilt badly, one row an event."""
    import seaborn as sns

    share = misfit**2 / (misfit**2).sum(axis=1, keepdims=True)
    alike = np.abs(share[:, None] - share).sum(axis=2) < 0.2  # at most a tenth of the error elsewhere
    group = index[alike[alike.sum(axis=1).argmax()]]
    title = f"{len(group)} of the {len(index)} largest errors are of one pattern"
    within = f"within {group.max() - group.min():,} events"
    figure, axes = plots.single(f"{title}, {within}", height=4.5, width=8)
    table, bar = pd.DataFrame(share, index, names).sort_index(), {"label": "share of the event's error"}
    sns.heatmap(table, ax=axes, cmap="Blues", vmin=0, vmax=1, cbar_kws=bar)
    axes.set(xlabel="input", ylabel="event")
    return figure


def suspects_found(found: Mapping[str, float]) -> Figure:
    """How many pseudo-suspicious events each detector ranks within the alert budget."""
    most = max(found.values())
    best = [plots.DETECTORS[name][0] for name, share in found.items() if share == most]
    who = f"{best[0].capitalize()} finds" if len(best) == 1 else f"{len(best)} of {len(found)} detectors find"
    title = f"{who} {most:.0%} of what the rules suspect, none finds more"
    what = "share of the rules' suspects, found within the alert budget"
    figure, axes = plots.single(title, what, height=2.6)
    plots.bars(axes, found)
    plots.percent(axes.xaxis)
    return figure


@checker
def check_4a(attempt: Callable, x: np.ndarray, autoencoder: Autoencoder) -> str:
    """The reconstruction error of each row."""
    rebuilt = autoencoder.reconstruct(x)
    away, squared = x - rebuilt, (x - rebuilt) ** 2
    an_input, plain, size = squared.mean(axis=0), away.mean(axis=1), np.abs(away).mean(axis=1)
    comparable = "the mean can be compared between detectors with more or fewer inputs."
    slips = {
        "This is one number for all events; an analyst needs one for each.": squared.mean(),
        "This is one number an input; average over the inputs, along the rows (axis=1).": an_input,
        f"This adds the inputs up; {comparable}": squared.sum(axis=1),
        "This averages the differences themselves; too high and too low cancel out, so square them.": plain,
        "This averages absolute differences; squared ones punish one large miss more.": size,
        "This is the root of the error.": np.sqrt(squared.mean(axis=1)),
    }
    answer = ask(attempt, x, rebuilt)
    only_if_no_slip(answer, slips)
    compare(as_column(answer, len(x)), squared.mean(axis=1), {}, tol=1e-4)
    others = as_column(ask(attempt, x[::-1], 0 * rebuilt), len(x))
    still_right(others, (x[::-1] ** 2).mean(axis=1), tol=1e-4)
    return "right. This is what the network was trained to make small, event by event."


@checker
def check_4b(attempt: Callable, x: np.ndarray, autoencoder: Autoencoder, names: Sequence[str]) -> str:
    """The name of the worst rebuilt input of each row."""
    both = np.vstack([np.eye(len(names)), -np.eye(len(names))])  # every input is the worst, too high or low
    order = np.array(names)
    for rows, rebuilt, named in ((x, autoencoder.reconstruct(x), order), (both, 0 * both, order[::-1])):
        answer = _names(ask(attempt, rows, rebuilt, named.tolist()), len(rows), named)
        away, far = rows - rebuilt, np.abs(rows - rebuilt)
        worst, largest = far.argmax(axis=1), named[np.abs(rows).argmax(axis=1)]
        off = np.flatnonzero(answer != named[worst])
        mind = "take the sign away before you look for the largest."
        slips = {
            f"Too low is as bad as too high: {mind}": named[away.argmax(axis=1)],
            f"Too high is as bad as too low: {mind}": named[away.argmin(axis=1)],
            "These are the inputs that were rebuilt best.": named[far.argmin(axis=1)],
            "These are the largest inputs; the question is which one was rebuilt worst.": largest,
            "With the columns in another order its names are off: take them from `names`.": order[worst],
        }
        for sentence, slip in slips.items():
            off_if(off.size and (answer == slip).all(), sentence)
        for row in off:
            raise Off(f"For row {row} it says {answer[row]}, but another input was rebuilt worse.")
    return "right. A reason for every alert, without another model."


def _names(answer: Any, n: int, names: np.ndarray) -> np.ndarray:
    found = np.asarray(answer)
    gives = {0: "one for all", 1: found.size}.get(found.ndim, f"a table of shape {found.shape}")
    count = f"It should give one name an event, {n} here, but gives {gives}."
    off_if(found.shape != (n,), f"{count} Does it work with what it is given?")
    off_if(found.dtype.kind in "iu", "These are positions; an analyst reads names.")
    for name in found:
        off_if(name not in names, f"There is no input called {name}; take the names from `names`.")
    return found


@checker
def check_4c(attempt: Callable) -> str:
    """How rules and network correct each other, one event at a time."""
    said = {label: name for label, (name, _) in plots.LABELS.items()}
    cases = list(product(said, (True, False), (True, False)))
    label, bad, flagged = np.array(cases).T
    votes = pd.DataFrame({"rule": np.where(flagged, rules.SUSPICIOUS, rules.ABSTAIN)})
    for case, right in zip(cases, rules.refine_labels(label, votes, bad, 0.5), strict=True):
        answer = ask(attempt, *case)
        known = answer in said and not isinstance(answer, bool)
        off_if(not known, f"It should give 1, 0 or -1, but gives {answer!r}.")
        label, bad, flagged = case
        rule = "a rule" if flagged else "no rule"
        event = f"{said[label]}, {'badly' if bad else 'well'} rebuilt"
        sentence = f"An event that is {event} and flagged by {rule} should not become {said[int(answer)]};"
        off_if(answer != right, f"{sentence} read the three sentences above again.")
    return "right. All twelve cases."
