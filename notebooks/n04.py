"""Notebook 4, rebuild ordinary events: its figures and its checkers."""

from collections.abc import Callable, Mapping, Sequence
from itertools import product

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from checker import Off, as_column, ask, checker, off_if
from helpers import plots, rules
from helpers.autoencoder import Autoencoder
from helpers.settings import BUDGET

WITHIN = f"{100 * (1 - BUDGET):g}%"  # what the alert budget leaves


def training_curves(histories: Mapping[int, Sequence[Sequence[float]]], guess: float | None = None) -> Figure:
    """Mean squared error on training rows and on validation rows, step by step; one panel per run."""
    figure, panels = plt.subplots(1, len(histories), figsize=(9, 3.8), sharey=True)
    for axes, (examples, history) in zip(panels, histories.items(), strict=True):
        step, training, validation = np.transpose(history)
        best = validation.argmin()
        axes.plot(step, training, color=plots.GREY)
        axes.plot(step, validation, color=plots.BLUE)
        axes.plot(step[best], validation[best], "o", color="black")
        found = f"lowest {validation[best]:.3f}, last {validation[-1]:.3f}"
        axes.set(title=f"{examples:,} examples: validation\n{found}", xlabel="gradient step", yscale="log")
    ticks = {"major_locator": LogLocator(subs=(1, 2, 5)), "minor_locator": NullLocator()}
    panels[0].yaxis.set(major_formatter="{x:g}", **ticks)
    panels[0].set_ylabel("mean squared error\n(log scale)")
    panels[0].legend(["training rows", "validation rows", "lowest"])
    plots.guessed(panels[-1], guess)
    return figure


def errors_by_label(errors: np.ndarray, labels: np.ndarray, threshold: float) -> Figure:
    """Reconstruction errors on a log axis, split by pseudo-label, and the threshold."""
    worse = f"rebuilt worse than {WITHIN} of the presumed normals"
    suspects = errors[labels == 1]
    well = suspects[suspects <= threshold]
    title = f"{len(suspects) - len(well)} of the {len(suspects)} suspicious events are {worse}"
    x, y = "reconstruction error (log scale)", "events (log scale)"
    figure, axes = plots.single(title, x, y, xscale="log", yscale="log")
    for label in (0, -1, 1):
        name, colour = plots.LABELS[label]
        style = {"alpha": 0.5} if label == 0 else {"histtype": "step", "lw": 2.5}
        axes.hist(errors[labels == label], bins=plots.log_bins(errors), color=colour, label=name, **style)
    axes.axvline(threshold, color="black", ls="--", label=f"threshold {threshold:.3g}")
    axes.legend()
    if len(well):
        words = f"{len(well)} suspects,\nrebuilt well"
        style = {"color": plots.RED, "fontweight": "bold", "textcoords": "axes fraction"}
        style["arrowprops"] = {"arrowstyle": "->", "color": plots.RED, "lw": 2}
        axes.annotate(words, (np.median(well), 8), (0.02, 0.86), **style)
    return figure


def badly_rebuilt(misfit: np.ndarray, index: pd.Index, names: Sequence[str]) -> Figure:
    """Which inputs the autoencoder rebuilt badly, one row per event."""
    import seaborn as sns

    share = misfit**2 / (misfit**2).sum(axis=1, keepdims=True)
    alike = np.abs(share[:, None] - share).sum(axis=2) < 0.2  # at most a tenth of the error elsewhere
    group = index[alike[alike.sum(axis=1).argmax()]]
    title = f"{len(group)} of the {len(index)} largest errors are of one pattern"
    within = f"within {group.max() - group.min():,} events"
    figure, axes = plots.single(f"{title}, {within}", height=4.5, width=8)
    table, bar = pd.DataFrame(share, index, names).sort_index(), {"label": "share of the event's error"}
    sns.heatmap(table, ax=axes, cmap="Blues", vmin=0, cbar_kws=bar)
    axes.set(xlabel="input", ylabel="event")
    return figure


def suspects_found(found: Mapping[str, float], guess: float | None = None) -> Figure:
    """Which share of the rules' suspects each detector ranks within the alert budget."""
    normals, everything = (f"{found[name]:.0%}" for name in ("autoencoder", "autoencoder_all_rows"))
    title = f"The network finds {normals} of the suspects if trained on presumed normals, {everything} on all"
    what = "share of the rules' suspects, found within the alert budget"
    figure, axes = plots.single(f"{title} events", what, height=2.8)
    plots.bars(axes, found, "{:.0%}")
    plots.percent(axes.xaxis)
    plots.guessed(axes, guess)
    return figure


@checker
def check_4a(attempt: Callable, x: np.ndarray, autoencoder: Autoencoder, names: Sequence[str]) -> str:
    """The name of the worst rebuilt input of each row."""
    step, order = np.vstack([np.eye(len(names)), -np.eye(len(names))]), np.array(names)
    rebuilt, named = np.resize(autoencoder.reconstruct(x), step.shape), order[::-1]
    rows = rebuilt + step  # every input is the worst one once too high, and once too low
    answer = np.asarray(ask(attempt, rows, rebuilt, named.tolist()))
    count = f"It should give one name per event, {len(rows)} here, not an array of shape {answer.shape}."
    off_if(answer.shape != (len(rows),), f"{count} Does it work with what it is given?")
    off_if(answer.dtype.kind in "iu", "These are positions; an analyst reads names.")
    for name in sorted(set(answer) - set(names)):
        raise Off(f"There is no input called {name}; take the names from `names`.")
    away, worst = rows - rebuilt, np.abs(step).argmax(axis=1)
    mind = "take the sign away before you look for the largest."
    slips = {
        f"Too low is as bad as too high: {mind}": named[away.argmax(axis=1)],
        f"Too high is as bad as too low: {mind}": named[away.argmin(axis=1)],
        "With the columns in another order its names are off: take them from `names`.": order[worst],
    }
    off = np.flatnonzero(answer != named[worst])
    for sentence, slip in slips.items():
        off_if(off.size and (answer == slip).all(), sentence)
    for row in off:
        raise Off(f"For row {row} it says {answer[row]}, but another input was rebuilt worse.")
    return "right. A reason for every alert, without another model."


@checker
def check_4b(attempt: Callable) -> str:
    """How the network corrects the rules' labels."""
    said = {label: name for label, (name, _) in plots.LABELS.items()}
    labels, bad, flagged = np.array(list(product(said, (True, False), (True, False)))).T
    votes = pd.DataFrame({"rule": np.where(flagged, rules.SUSPICIOUS, rules.ABSTAIN)})
    some, none = bad == 1, (bad == 1) & (labels != 1)  # suspects that are badly rebuilt
    for bad in (some, none):
        answer = ask(attempt, labels, bad, flagged == 1)
        column = as_column(answer, len(labels))
        known = np.isin(column, list(said)).all() and np.asarray(answer).dtype != bool
        off_if(not known, "It should give 1, 0 or -1 for each event.")
        off = np.flatnonzero(column != rules.refine_labels(labels, votes, bad, 0.5))
        every = "Where every suspect is well rebuilt the correction would clear them all, so it clears none."
        off_if(off.size and bad is none and (labels[off] == 1).all(), every)
        for row in off:
            event = f"{said[labels[row]]}, {'badly' if bad[row] else 'well'} rebuilt"
            flag = "a rule" if flagged[row] else "no rule"
            wrong = f"An event that is {event} and flagged by {flag} should not become {said[column[row]]};"
            raise Off(f"{wrong} read the three steps above again.")
    return "right. All twelve cases, and the exception."
