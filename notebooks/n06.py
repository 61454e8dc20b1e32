"""Notebook 6, open the seal: its figures, its measures and its checkers."""

from collections.abc import Callable, Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from sklearn.metrics import average_precision_score, precision_recall_curve

from checker import as_number, as_pair, ask, checker, compare, still_right
from helpers import evaluation, plots

VARIANTS = {  # of the sweep, which the table of detectors calls otherwise
    "naive rule": "seed_rules",
    "rules only": "rules",
    "autoencoder only": "autoencoder",
    "distance only": "clusters",
    "classifier alone": "classifier",
}


def precision_recall(truth: np.ndarray, scores: Mapping[str, np.ndarray], budget: Mapping) -> Figure:
    """Precision against recall; dots mark the alert budget, a cross the naive rule."""
    title = "At the budget the detector finds {recall:.0%} of the frauds and is right in {precision:.0%}"
    title = title.format(**budget["detector"]) + " of its alerts, the fully supervised reference "
    title += "{recall:.0%} and {precision:.0%}".format(**budget["supervised"])
    x, y = "recall: share of the frauds found", "precision: share of alerts\nthat are fraud"
    figure, axes = plots.single(title, x, y, height=4.6, xlim=(0, 1), ylim=(0, 1.03))
    for name, score in scores.items():
        label, colour = plots.DETECTORS[name]
        if not budget[name]:
            hits = ((score > 0) & (truth == 1)).sum()
            at = hits / truth.sum(), hits / (score > 0).sum()
            axes.plot(*at, "X", ms=10, color=colour, label=label, clip_on=False)
            continue
        precision, recall, _ = precision_recall_curve(truth, score)
        style = {"where": "post", "lw": 2, "color": colour, "label": label}
        axes.step(recall[recall > 0], precision[recall > 0], **style)
        axes.plot(budget[name]["recall"], budget[name]["precision"], "o", color=colour, ms=10, mec="white")
    axes.legend(**plots.BESIDE, fontsize="small")
    return figure


def average_precision(detectors: Mapping[str, dict], guess: float | None = None) -> Figure:
    """Average precision of every detector with its confidence interval, the best at the bottom."""
    ordered = dict(sorted(detectors.items(), key=lambda item: item[1]["average_precision"]))
    ap, (lo, hi) = (detectors["detector"][key] for key in ("average_precision", "average_precision_ci"))
    others = [at["average_precision_ci"] for name, at in detectors.items() if name != "detector"]
    overlap = sum(low <= hi and high >= lo for low, high in others)
    title = f"The detector's average precision is {ap:.2f}, and its interval of {lo:.2f} to {hi:.2f} "
    title += f"overlaps those of {overlap} of the {len(others)} others"
    what = "average precision (bar: 95% interval, whole campaigns drawn)"
    figure, axes = plots.single(title, what, xlim=(0, 1))
    for row, (name, values) in enumerate(ordered.items()):
        colour = plots.DETECTORS[name][1]
        axes.hlines(row, *values["average_precision_ci"], color=colour, lw=3, alpha=0.6)
        axes.plot(values["average_precision"], row, "o", color=colour, ms=9)
    plots.rows(axes, [plots.DETECTORS[name][0] for name in ordered])
    plots.guessed(axes, guess)
    return figure


def frauds_found(found: Mapping[str, int], alerts: int, ceiling: int, guess: float | None = None) -> Figure:
    """Frauds that every detector finds within the alert budget, and the most that the budget allows."""
    free = [count for name, count in found.items() if name != "supervised"]
    title = f"With {alerts} reviews the detectors without labels find {min(free)} to {max(free)} frauds, "
    title += f"the fully supervised reference {found['supervised']}"
    x = f"frauds found with {alerts} reviews"
    figure, axes = plots.single(title, x, height=4.2, xlim=(0, 1.1 * ceiling))
    plots.bars(axes, dict(sorted(found.items(), key=lambda item: item[1])), "{:.0f}")
    axes.axvline(ceiling, color="black", ls="--", label=f"ceiling of the budget: {ceiling}")
    plots.guessed(axes, guess, loc="upper center", bbox_to_anchor=(0.4, -0.18), ncols=2)
    return figure


def where_frauds_lie(
    distance: np.ndarray, truth: np.ndarray, missed: Mapping[str, np.ndarray], guess: float | None = None
) -> Figure:
    """All frauds by what became of them, and the distance from the clusters at which each of them lies.

    `missed` is reason -> where a fraud is missed for it, (n,) bool.
    """
    fraud, lost = truth == 1, np.any(list(missed.values()), axis=0)
    groups = {**missed, "found": fraud & ~lost}
    why = ", ".join(f"{reason}\u00a0{mask.sum()}" for reason, mask in missed.items())
    figure, (bar, strip) = plt.subplots(2, 1, figsize=(7.5, 5), height_ratios=(1, 3))
    bar.set_title(plots.wrapped(f"{lost.sum()} of {fraud.sum()} frauds are missed: {why}"))
    bar.set(xlabel="frauds", yticks=[], ylim=(-0.4, 0.4))
    begin, jitter = 0, np.random.default_rng(0)
    strip.scatter(distance[~fraud], jitter.uniform(-0.3, 0.3, (~fraud).sum()), color=plots.BLUE, s=4, lw=0)
    colours = (plots.PINK, plots.SKY, plots.ORANGE, plots.GREEN)
    for row, (mask, colour) in enumerate(zip(groups.values(), colours[-len(groups) :], strict=True), 1):
        piece = bar.barh(0, mask.sum(), left=begin, color=colour)
        bar.bar_label(piece, [mask.sum() or ""], label_type="center")
        begin += mask.sum()
        height = row + jitter.uniform(-0.3, 0.3, mask.sum())
        strip.scatter(distance[mask], height, color=colour, s=30, lw=0, alpha=0.8)
    strip.set(xlabel="distance from the clusters (log scale)", xscale="log")
    plots.rows(strip, [f"{name} ({mask.sum():,})" for name, mask in {"legitimate": ~fraud, **groups}.items()])
    plots.guessed(bar, guess, loc="upper right", bbox_to_anchor=(1, -0.25))
    return figure


def ablation(sides: Mapping[str, pd.DataFrame], reference: str) -> Figure:
    """Average precision of every variant that both sets of windows have, in the order of the first.

    Dots are geometric means, bars the range over the windows, the line marks the reference.
    """
    fits = pd.concat(sides, names=["side"]).reset_index("side")
    log = np.log(fits["average_precision"].clip(lower=1e-4)).groupby([fits["side"], fits["variant"]])
    both = np.exp(log.agg(["mean", "min", "max"])).unstack("side").dropna()
    both = both.sort_values(("mean", next(iter(sides))))
    fills = [plots.DETECTORS.get(VARIANTS.get(name, name), ("", "white"))[1] for name in both.index]
    edges = ["black" if colour == "white" else colour for colour in fills]
    figure, panels = plt.subplots(1, len(sides), figsize=(8, 7), sharey=True)
    ahead = []
    for axis, where in zip(panels, sides, strict=True):
        ap = both.xs(where, axis=1, level="side")
        free = ap["mean"].drop("supervised")
        better = f"{(free > free[reference]).sum()} of {len(free) - 1} variants"
        ahead.append(f"{better} on {where.split(' (')[0]}")
        axis.hlines(ap.index, ap["min"], ap["max"], color=plots.GREY, lw=2, alpha=0.5)
        axis.scatter(ap["mean"], ap.index, c=fills, edgecolors=edges, zorder=3)
        axis.axvline(ap.loc[reference, "mean"], color=plots.GREEN, alpha=0.5)
        axis.set(xscale="log", xlabel="AP (log scale)")
        axis.set_title(where, fontsize="small", fontweight="normal")
    axis.invert_yaxis()
    title = f"Ahead of the {reference} (line) without labels: {', '.join(ahead)}"
    figure.suptitle(plots.wrapped(title), x=0.01, ha="left", fontweight="bold")
    return figure


def flags(truth: np.ndarray, fires: np.ndarray, rule_score: np.ndarray, start: int = 0) -> dict:
    """What a yes/no rule is worth: how many are flagged, frauds among them, precision (0 where nobody is
    flagged), recall, and within_budget: frauds among the alerts when the budget is spent on flagged events
    alone, in the order of a positive rule_score."""
    truth = truth == 1
    alerts = evaluation.choose_alerts(np.where(fires, rule_score, 0.0), start) & fires
    flagged, found = fires.sum(), (fires & truth).sum()
    shares = {"precision": found / max(flagged, 1), "recall": found / truth.sum()}
    return {"flagged": flagged, "frauds": found, **shares, "within_budget": (alerts & truth).sum()}


def coverage(truth: np.ndarray, score: np.ndarray, campaign: np.ndarray, other=None, times=300) -> tuple:
    """How often a "95 %" interval holds its value, and how often it has the wrong sign: a double bootstrap.

    The value is the average precision of `score`, or how far it is ahead of that of the `other` one.
    The events at hand play the world. We draw `times` samples from them by campaigns and give each its
    interval by the same bootstrap. Of all intervals one share holds the world's value, and one lies on a side
    of zero where the value does not.
    """

    def value(draws: np.ndarray) -> np.ndarray:
        both = {"one": score} if other is None else {"one": score, "other": other}
        ap = evaluation.bootstrap_ap(truth, both, draws)
        return (ap["one"] if other is None else ap["one"] - ap["other"]).to_numpy()

    many = int(campaign.max()) + 1
    (world,) = value(np.ones((1, len(campaign)), dtype=int))
    random, told = np.random.default_rng(0), []
    for _ in range(times):
        sample = random.integers(0, many, many)
        counts = random.multinomial(many, np.full(many, 1 / many), size=times)
        drawn = counts @ np.eye(many, dtype=int)[sample]
        lo, hi = evaluation.interval(value(drawn[:, campaign]))
        told.append((lo <= world <= hi, lo > 0 >= world or hi < 0 <= world))
    return tuple(np.mean(told, axis=0))


def differences(
    pairs: Mapping[str, tuple], truth: np.ndarray, scores: Mapping, campaign: np.ndarray, draws: np.ndarray
) -> pd.DataFrame:
    """One row for each question about two detectors: how far apart they are, the interval of the difference,
    the verdict, and how often such a verdict has the wrong sign."""
    boot = evaluation.bootstrap_ap(truth, scores, draws)
    observed = {name: average_precision_score(truth, score) for name, score in scores.items()}
    rows = {question: evaluation.compare(boot, observed, *pair) for question, pair in pairs.items()}
    for question, (one, other) in pairs.items():
        wrong = coverage(truth, scores[one], campaign, scores[other])[1]
        rows[question]["wrong sign"] = f"{wrong:.0%}"
    return pd.DataFrame.from_dict(rows, orient="index").round(3)


@checker
def check_6a(attempt: Callable, matrices: Mapping[str, np.ndarray]) -> str:
    """Precision and recall from a confusion matrix."""
    for name, matrix in {**matrices, "a made-up matrix": np.array([[90, 6], [1, 3]])}.items():
        (quiet, false), (missed, found) = np.asarray(matrix, dtype=float)
        precision, recall = found / (found + false), found / (found + missed)
        accurate = (quiet + found) / np.sum(matrix), recall
        other_row, swapped = (quiet / (quiet + missed), quiet / (quiet + false)), (recall, precision)
        slips = {
            "The two are swapped: precision is about the alerts, recall about the frauds.": swapped,
            "These are about legitimate events; frauds are the second row, alerts column two.": other_row,
            "The first is accuracy, the share of right answers, which is high for everybody here.": accurate,
        }
        pair = as_pair(ask(attempt, matrix), "precision, recall")
        compare(pair, (precision, recall), slips, f"For {name}, precision and recall:")
    return "right. Both ask about the same frauds found, out of the alerts or out of all frauds."


@checker
def check_6b(attempt: Callable, truth: np.ndarray, score: np.ndarray) -> str:
    """Average precision, walked down the ranking."""
    generator = np.random.default_rng(0)
    toy, ranked = (generator.random(40) < 0.3).astype(int), generator.permutation(40).astype(float)
    order = np.argsort(-ranked)
    places = np.flatnonzero(toy[order]) + 1
    frauds = np.arange(1, len(places) + 1)
    notes = frauds / places
    at_every_place = (toy[order].cumsum() / np.arange(1, 41)).mean()
    in_time, from_lowest = frauds / (np.flatnonzero(toy) + 1), frauds / (41 - places[::-1])
    slips = {
        "It walks through time, not down the ranking: sort by score first.": in_time.mean(),
        "It begins at the lowest score; the riskiest event comes first.": from_lowest.mean(),
        "It averages over all events; only the places where a fraud is found count.": at_every_place,
        "It divides by the number of events; divide by the number of frauds.": notes.sum() / len(toy),
        "It adds the notes up; return their mean.": notes.sum(),
        "It counts places from 0; the first place is number 1.": (frauds / (places - 1)).mean(),
    }
    compare(as_number(ask(attempt, toy, ranked)), notes.mean(), slips, "On forty made-up events")
    mine, ours = as_number(ask(attempt, truth, score)), average_precision_score(truth, score)
    still_right(mine, ours, tol=0.005)
    equal = "Where many scores are equal, as the classifier's are, scikit-learn takes equal ones together."
    return f"right. For the rule book it gives {mine:.2f}, as in the table. {equal}"
