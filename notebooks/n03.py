"""Notebook 3, describe behaviour: its figures and its checkers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse

from checker import Off, as_column, ask, checker, compare, off_if, only_if_no_slip, still_right
from helpers import plots
from helpers.settings import ALERTS, BLOCK, BUDGET, UNUSUAL_SD, WINDOW


def clusters(z: pd.DataFrame, means: np.ndarray, covariances: np.ndarray, distance: np.ndarray) -> Figure:
    """Clusters, and one cluster for all, as ellipses of two standard deviations, on the two inputs that
    separate the clusters most."""
    pair = np.sort(np.argsort(means.var(axis=0))[-2:])
    far, out = (values > np.quantile(values, 1 - BUDGET) for values in (distance, np.linalg.norm(z, axis=1)))
    title = "of the events farthest from all clusters are not among those farthest out"
    names = (f"{name} (robust standard deviations)" for name in z.columns[pair])
    figure, axes = plots.single(f"{1 - out[far].mean():.0%} {title}", *names, height=5, width=8)
    both = z.iloc[:, pair].to_numpy()
    axes.scatter(*both.T, s=4, color=plots.GREY, alpha=0.25, lw=0)
    farthest = f"the {ALERTS} of {BLOCK:,} farthest from all"
    axes.scatter(*both[far].T, s=14, color=plots.RED, alpha=0.8, lw=0, label=farthest)
    for mean, spread in zip(means[:, pair], covariances[:, pair][:, :, pair], strict=True):
        _ellipse(axes, mean, spread, color=plots.BLUE)
    _ellipse(axes, both.mean(axis=0), np.cov(both, rowvar=False), color="black", ls="--")
    axes.patches[0].set_label("a cluster")
    axes.patches[-1].set_label("one cluster for all")
    everyday, rare = np.quantile(both, [0.002, 0.998], axis=0), np.quantile(both[far], [0.05, 0.95], axis=0)
    low, high = np.minimum(everyday[0], rare[0]), np.maximum(everyday[1], rare[1])
    axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]))
    axes.legend(loc="upper left", fontsize="small", frameon=True)
    return figure


def _ellipse(axes: plt.Axes, mean: np.ndarray, spread: np.ndarray, **style) -> None:
    """Two standard deviations around a mean, (2,), of a covariance, (2, 2)."""
    (small, large), vectors = np.linalg.eigh(spread)
    angle = np.degrees(np.arctan2(*vectors[::-1, 1]))
    axes.add_patch(Ellipse(mean, 4 * large**0.5, 4 * small**0.5, angle=angle, fill=False, lw=2, **style))


def before_and_after_scaling(raw: np.ndarray, scaled: np.ndarray, names: Sequence[str]) -> Figure:
    """Spread of each input before and after scaling; boxes hold the middle half of the events."""
    import seaborn as sns

    figure, axes = plt.subplots(1, 2, figsize=(7.5, 3.4))
    titles = ["before: no input has a box", "after"]
    boxes = [np.subtract(*np.quantile(values, [0.75, 0.25], axis=0)) for values in (raw, scaled)]
    if (boxes[0] > 0).any():
        before, after = (box.max() / box[box > 0].min() for box in boxes)
        titles = [f"before: the widest box is\n{before:.0f} times the narrowest", f"after: {after:.1f} times"]
    for axis, values, title in zip(axes, (raw, scaled), titles, strict=True):
        style = {"orient": "h", "color": plots.SKY, "linecolor": "#494949", "showfliers": False}
        sns.boxplot(pd.DataFrame(values, columns=names), ax=axis, **style)
        axis.set(title=title, xlabel="value (outliers not drawn)")
    return figure


def past_only(original: pd.DataFrame, scrambled: pd.DataFrame, change: int, columns: Sequence[str]) -> Figure:
    """By how much a scrambled future moves each signal: not at all before `change`, and much after it."""
    size = (7.5, 1.5 * len(columns) + 0.6)
    figure, axes = plt.subplots(len(columns), 1, figsize=size, sharex=True, squeeze=False)
    moved = scrambled[list(columns)] - original[list(columns)]
    earlier = moved[moved.index < change].to_numpy()
    for axis, column in zip(axes.flat, columns, strict=True):
        axis.plot(moved[column], color=plots.BLUE, lw=0.8)
        axis.axvline(change, color="black", ls="--")
        axis.set_ylabel(f"{column}\nmoved by")
    axes[0, 0].set_title(f"Before the line {(earlier != 0).sum()} of {earlier.size:,} values move")
    axes[-1, 0].set_xlabel("event (after the line the stream is another one)")
    return figure


def one_burst(z: np.ndarray, others: np.ndarray, names: Sequence[str]) -> Figure:
    """The events of one burst, axis by axis, before a background of ordinary ones."""
    far = f"{np.linalg.norm(z, axis=1).mean():.0f} units from the middle"
    title, what = f"{len(z)} events within {WINDOW:,} look alike, {far}", "ordinary events around it"
    figure, axes = plots.single(title, f"behaviour axis (thick: the burst; grey: {what})", "robust z-score")
    axes.plot(names, others.T, color=plots.GREY, lw=0.3, alpha=0.3)
    axes.plot(names, z.T, color=plots.RED, lw=1.2, alpha=0.8)
    axes.axhspan(-UNUSUAL_SD, UNUSUAL_SD, color=plots.BLUE, alpha=0.08, lw=0)
    ordinary, beside = f"ordinary:\nwithin {UNUSUAL_SD:g}", ("axes fraction", "data")
    axes.annotate(ordinary, (1.01, 0), xycoords=beside, color=plots.BLUE, va="center")
    return figure


@checker
def check_3a(attempt: Sequence[str], candidates: Mapping[str, Callable], events: pd.DataFrame) -> str:
    """Which candidate features see the future."""
    several = np.iterable(attempt) and not isinstance(attempt, str | Mapping)
    names = several and all(isinstance(name, str) for name in attempt)
    off_if(not names, 'Give the names in a set, such as {"change", "rank"}.')
    for name in sorted(set(attempt) - set(candidates)):
        raise Off(f"There is no candidate called {name}.")
    half = len(events) // 2
    past = {name: feature(events)[:half] for name, feature in candidates.items()}
    leaking = {name for name, values in past.items() if not values.equals(candidates[name](events[:half]))}
    for name in sorted(set(attempt) - leaking):
        raise Off(f"`{name}` is the same without the later events: it looks back only.")
    if missed := len(leaking - set(attempt)):
        compared = "Compare each candidate on all events with the same candidate on the first half alone."
        raise Off(f"{missed} more {'sees' if missed == 1 else 'see'} the future. {compared}")
    shuffled = pd.concat([events[:half], events[half:].sample(frac=1, random_state=0)])
    hidden = sum(past[name].equals(candidates[name](shuffled)[:half]) for name in leaking)
    missed = f"{hidden} of these {len(leaking)}: it moves the largest value, but keeps it."
    return f"right. Shuffling the later events would have missed {missed}"


@checker
def check_3b(attempt: Callable) -> str:
    """How many of the `window` events before each one are flagged."""
    flags, window = np.random.default_rng(0).random(200) < 0.3, 7
    other = flags ^ (np.arange(200) >= 100)
    here = pd.Series(flags).astype(float)
    before = here.shift(1, fill_value=0)
    right, share, ever = _sum(before, window), before.rolling(window, min_periods=1).mean(), before.cumsum()
    slips = {
        "Each event counts itself; only the events before it should count.": _sum(here, window),
        "It counts the event itself, besides the `window` events before it.": _sum(here, window + 1),
        "This is the share that is flagged; the question is how many.": share,
        "This is yes or no; the question is how many.": (right > 0).astype(int),
        "It counts everything since the beginning; only the last `window` events are recent.": ever,
        "It reaches back one event too far.": _sum(before, window + 1),
        "It reaches back one event too little.": _sum(before, window - 1),
    }
    answer, changed = ask(attempt, flags, window), ask(attempt, other, window)
    found, later = (np.ravel(np.asarray(each, dtype=float)) for each in (answer, changed))
    if len(found) >= 100 and not np.array_equal(found[:100], later[:100], equal_nan=True):
        raise Off("When later events change, the counts before them change: it sees the future.")
    if len(found) == len(flags) and np.isnan(found[: window + 1]).any():
        full = slice(window + 1, None)
        only_if_no_slip(found[full], {sentence: slip[full] for sentence, slip in slips.items()})
        fewer = "The first events have fewer than `window` events before them: count those that exist; "
        raise Off(f"{fewer}before the very first there are 0.")
    compare(as_column(answer, len(flags)), right, slips)
    before = pd.Series(other).astype(float).shift(1, fill_value=0)
    still_right(as_column(ask(attempt, other, 3), len(other)), _sum(before, 3))
    same = "event by event it is what `burst` counts before asking for likeness."
    return f"right. It looks back only, and {same}"


def _sum(flags: pd.Series, window: int) -> pd.Series:
    return flags.rolling(window, min_periods=1).sum()


@checker
def check_3c(attempt: Callable, z: np.ndarray) -> str:
    """The Mahalanobis distance of rows from a mean, under a covariance."""
    mean, cov, z = z.mean(axis=0) + 0.5, np.cov(z[500:], rowvar=False), z[:500]
    answer, inverse = ask(attempt, z, mean, cov), np.linalg.inv(cov)
    if np.shape(answer) == (len(z), len(z)):
        alone = "only the table's diagonal is about one row alone. Multiply value by value instead and add up"
        raise Off(f"This multiplies every row with every other; {alone} along the rows (axis=1).")

    def by(weights: np.ndarray, mean: np.ndarray = mean) -> np.ndarray:
        return np.sqrt(np.einsum("ni,ij,nj->n", z - mean, weights, z - mean))

    straight, apart, own = np.eye(len(mean)), np.diag(1 / np.diag(cov)), np.cov(z, rowvar=False)
    slips = {
        "This is the distance squared; the root is missing.": by(inverse) ** 2,
        "This is the straight distance, as if the inputs had nothing to do with one another.": by(straight),
        "This divides each input by its own spread, but leaves out how the inputs move together.": by(apart),
        "The covariance must be inverted: directions in which events vary much count little.": by(cov),
        "Subtract the mean first.": by(inverse, 0 * mean),
        "Subtract the mean that is given; this is the rows' own.": by(inverse, z.mean(axis=0)),
        "Take the covariance that is given; this is the rows' own.": by(np.linalg.inv(own)),
    }
    compare(as_column(answer, len(z)), by(inverse), slips)
    return "right. If ordinary events were one cluster, this would be the signal `distance`."
