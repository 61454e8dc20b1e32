"""Notebook 3, describe behaviour: its figures and its checkers."""

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse

from checker import Off, as_column, as_number, ask, checker, compare, off_if
from helpers import plots
from helpers.settings import BUDGET, CONTAMINATED, RADIUS, UNUSUAL_SD, WINDOW


def odd_combinations(
    calm: pd.DataFrame, before: pd.Series, after: pd.Series, guess: float | None = None
) -> Figure:
    """The two inputs of typical events that go together most, with their covariance as an ellipse and two
    points equally far out; and the distances of these events as they are, and with random signs."""
    figure, (cloud, axes) = plt.subplots(1, 2, figsize=(9.5, 4.2))
    together = calm.corr().fillna(0).to_numpy() - np.eye(calm.shape[1])
    pair = calm.iloc[:, list(np.unravel_index(np.abs(together).argmax(), together.shape))]
    covariance, tilt = pair.cov().to_numpy(), np.sign(together.flat[np.abs(together).argmax()])
    points = np.array([[2, 2 * tilt], [2, -2 * tilt]])
    ways = points - pair.mean().to_numpy()
    along, across = np.sqrt((ways @ np.linalg.inv(covariance) * ways).sum(axis=1))
    title = f"Equally far out on both inputs;\nMahalanobis distance: blue {along:.1f}, red {across:.1f}"
    _cloud(cloud, pair[::10], title)
    _ellipse(cloud, pair.mean(), covariance, color="black")
    cloud.scatter(*points.T, s=120, color=[plots.BLUE, plots.RED], zorder=3)
    for values, colour, name in ((before, plots.BLUE, "as they are"), (after, plots.RED, "random signs")):
        axes.hist(values, np.linspace(0, 12, 61), color=colour, alpha=0.6, label=name)
    medians = f"median {before.median():.1f} to {after.median():.1f}"
    moved = f"{(after > before).mean():.0%} of {len(calm):,} move away,\n{medians}"
    axes.set(title=moved, xlabel="distance from the clusters", ylabel="typical events")
    plots.guessed(axes, guess)
    return figure


def _cloud(axes: plt.Axes, z: pd.DataFrame, title: str) -> None:
    """Events on two inputs."""
    axes.scatter(*z.to_numpy().T, s=4, color=plots.GREY, alpha=0.25, lw=0)
    across, up = (f"{name} (robust z-score)" for name in z)
    axes.set(title=title, xlabel=across, ylabel=up)


def _ellipse(axes: plt.Axes, mean: pd.Series, spread: np.ndarray, **style) -> None:
    """Two standard deviations around a mean, (2,), of a covariance, (2, 2)."""
    (small, large), vectors = np.linalg.eigh(spread)
    style |= {"angle": np.degrees(np.arctan2(*vectors[::-1, 1])), "fill": False, "lw": 2}
    axes.add_patch(Ellipse(mean.to_numpy(), 4 * large**0.5, 4 * small**0.5, **style))


def clusters(z: pd.DataFrame, cluster: np.ndarray, flagged: pd.Series, distance: np.ndarray) -> Figure:
    """Clusters as ellipses of two standard deviations, on inputs on which one stands apart and the one that
    the rules flag most is far out; and on inputs on which an event stands in a gap between clusters."""
    groups = z.groupby(cluster)
    large = flagged.index[groups.size() >= BUDGET * len(z)]
    means, worst = groups.mean().loc[large], flagged[large].idxmax()
    apart, up = (means.abs() - 2 * groups.std()).stack().idxmax()
    from_median = np.linalg.norm(z, axis=1)
    place = np.where(distance > np.quantile(distance, 0.98), from_median, np.inf).argmin()
    gap, near = z.iloc[place], (z - z.iloc[place]).abs() < 0.5
    empty = min(combinations(z, 2), key=lambda two: near[[*two]].all(axis=1).sum())
    planes = [[means.loc[worst].abs().drop(up).idxmax(), up], [*empty]]
    struck, share = flagged[worst] >= CONTAMINATED, f"{flagged[worst]:.0%}"
    flag = f"flag {share} of the pink one" if struck else f"flag at most {share} of any"
    farther = [f"{(values > values[place]).sum():,}" for values in (from_median, distance)]
    titles = [
        f"One cluster stands apart;\nthe rules {flag}",
        f"Event {gap.name}: {farther[0]} events are farther\nfrom the median, {farther[1]} from the clusters",
    ]
    figure, panels = plt.subplots(1, 2, figsize=(11, 5))
    for axes, pair, title in zip(panels, planes, titles, strict=True):
        _cloud(axes, z[pair], title)
        for name in large:
            colour = plots.PINK if struck and name == worst else plots.BLUE
            _ellipse(axes, means.loc[name, pair], groups.get_group(name)[pair].cov(), color=colour)
        low, high = np.quantile(z[pair], [0.001, 0.999], axis=0)
        axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1] + 2))
    said = {"apart": (0, means.loc[apart], (0.4, 0.9), plots.BLUE)}
    said["in a gap"] = 1, gap, (0.05, 0.1), plots.RED
    if struck:
        said["contaminated"] = 0, means.loc[worst], (0.05, 0.65), plots.PINK
    for words, (panel, middle, at, colour) in said.items():
        style = {"color": colour, "fontweight": "bold", "textcoords": "axes fraction"}
        style["arrowprops"] = {"arrowstyle": "->", "color": colour, "lw": 2}
        panels[panel].annotate(words, middle[planes[panel]], at, **style)
    panels[1].plot(*gap[planes[1]], "*", color=plots.RED, ms=14)
    return figure


def look_alikes(points: np.ndarray, unusual: np.ndarray, window: int) -> Figure:
    """A few numbered events on two axes, and the circle around the last one in which its look-alikes lie."""
    *before, last = points
    reach = RADIUS * np.linalg.norm(last)
    inside = unusual[:-1] & (np.linalg.norm(before - last, axis=1) <= reach)
    recent = np.arange(len(before)) >= len(before) - window
    colours = np.select([inside & recent, inside], [plots.BLUE, plots.ORANGE], plots.GREY)
    counted = f"{(inside & recent).sum()} look-alikes among the last {window} events (blue)"
    title = f"Event {len(before)} has {counted}; {(inside & ~recent).sum()} are too long ago (orange)"
    figure, axes = plots.single(title, "axis a (robust z-score)", "axis b", height=4.2)
    axes.scatter(*points.T, s=50, color=[*colours, "black"])
    for number, point in enumerate(points):
        axes.annotate(f"{number}", point, (5, 5), textcoords="offset points")
    axes.add_patch(plt.Circle(last, reach, fill=False, ec="black", lw=2))
    axes.plot(*np.transpose([(0, 0), last]), ":", color="black")
    how = f"radius {reach:.1f}: a quarter of {reach / RADIUS:.1f},\nthe distance from the median"
    axes.annotate(how, last + reach, (0, 12), textcoords="offset points", ha="right")
    axes.set(aspect="equal", ylim=(-1, 6.5))
    return figure


def one_burst(z: pd.DataFrame, unusual: np.ndarray, last: int) -> Figure:
    """The events of one burst, axis by axis, before every tenth of the ordinary ones around it."""
    recent = slice(max(last - WINDOW, 0), last + 1)  # what the count looked at
    near, odd = z.to_numpy()[recent], unusual[recent]
    alike = odd & (np.linalg.norm(near - near[-1], axis=1) <= RADIUS * np.linalg.norm(near[-1]))
    far = f"{np.linalg.norm(near[alike], axis=1).mean():.0f} robust standard deviations from the median"
    title = f"{alike.sum()} events within {WINDOW:,} look alike, about {far}"
    figure, axes = plots.single(title, "behaviour axis", "robust z-score")
    grey = axes.plot(z.columns, near[~odd][::10].T, color=plots.GREY, lw=0.4, alpha=0.4)
    red = axes.plot(z.columns, near[alike].T, color=plots.RED, lw=1.2, alpha=0.8)
    band = axes.axhspan(-UNUSUAL_SD, UNUSUAL_SD, color=plots.BLUE, alpha=0.08, lw=0)
    names = ["the burst", "ordinary events", f"within {UNUSUAL_SD:g}"]
    axes.legend([red[0], *grey[:1], band], names, **plots.BESIDE)
    return figure


def past_only(
    original: pd.DataFrame, shuffled: pd.DataFrame, change: int, guess: float | None = None
) -> Figure:
    """By how much a shuffled future moves each signal, before the line and after it."""
    n = original.shape[1]
    figure, axes = plt.subplots(n, 1, figsize=(7.5, 1.6 * n + 0.6), sharex=True)
    for axis, (column, moved) in zip(axes, (shuffled - original).items(), strict=True):
        earlier = moved[moved.index < change]
        axis.plot(moved, color=plots.BLUE, lw=0.8)
        axis.axvline(change, color="black", ls="--")
        told = f"{(earlier != 0).sum()} of {len(earlier):,} values before the line move"
        axis.set(title=f"{column}: {told}", ylabel="moved by")
    plots.guessed(axes[-1], guess)
    axes[-1].set_xlabel("event (shuffled after the line)")
    return figure


@checker
def check_3a(attempt: Sequence[str], candidates: Mapping[str, Callable], events: pd.DataFrame) -> str:
    """Which candidate features see the future."""
    off_if(not isinstance(attempt, set | list | tuple), 'Give the names in a set: {"change", "rank"}.')
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
def check_3b(attempt: Callable, z: np.ndarray) -> str:
    """The Mahalanobis distance of rows from a mean, under a covariance."""
    mean, cov, z = z.mean(axis=0) + 0.5, np.cov(z[500:], rowvar=False), z[:500]
    answer, inverse = ask(attempt, z, mean, cov), np.linalg.inv(cov)
    if np.shape(answer) == (len(z), len(z)):
        alone = "only the table's diagonal is about one row alone. Multiply value by value instead and add up"
        raise Off(f"This multiplies every row with every other; {alone} along the rows (axis=1).")

    def by(weights: np.ndarray, mean: np.ndarray = mean) -> np.ndarray:
        return np.sqrt(np.einsum("ni,ij,nj->n", z - mean, weights, z - mean))

    straight, apart = np.eye(len(mean)), np.diag(1 / np.diag(cov))
    slips = {
        "This is the distance squared; the root is missing.": by(inverse) ** 2,
        "This is the straight distance, as if the inputs had nothing to do with one another.": by(straight),
        "This divides each input by its own spread, but leaves out how the inputs move together.": by(apart),
        "The covariance must be inverted: directions in which events vary much count little.": by(cov),
        "Subtract the mean first.": by(inverse, 0 * mean),
    }
    compare(as_column(answer, len(z)), by(inverse), slips)
    return "right. If ordinary events were one cluster, this would be the signal `distance`."


@checker
def check_3c(attempt: Callable, z: np.ndarray) -> str:
    """How many clusters, chosen by what can be measured."""
    generator, sizes, chosen = np.random.default_rng(0), (2, 5, 10), {}
    for groups in sizes:  # far apart, so that their number is beyond doubt
        middles = np.repeat(30 * generator.normal(size=(groups, 3)), 100, axis=0)
        rows, held_out = (middles + generator.normal(size=middles.shape) for _ in range(2))
        chosen[groups] = as_number(ask(attempt, rows, held_out, sizes))
        one = f"It should choose one of {sizes}, but gives {chosen[groups]:g}."
        off_if(chosen[groups] not in sizes, one)
    rises = "the density of the rows that a mixture was fitted to rises with every cluster"
    off_if(set(chosen.values()) == {10}, f"It always chooses 10, because {rises}. Measure on others.")
    turned = "It chooses the worst: of log densities the highest is best, of BIC the lowest."
    off_if(chosen[2] == 10 and chosen[10] == 2, turned)
    for groups, size in chosen.items():
        off_if(size != groups, f"In {groups} clusters that lie far apart it finds {size:g}.")
    return f"right. For every tenth event of this run it chooses {ask(attempt, z[::10], z[5::10], sizes)}."
