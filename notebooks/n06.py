"""Notebook 6, open the seal: its figures, its measures and its checkers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from textwrap import fill

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from sklearn.metrics import auc, average_precision_score, precision_recall_curve, roc_auc_score

from checker import Off, as_column, as_number, as_pair, ask, checker, compare, off_if, still_right
from helpers import evaluation, plots, rules
from helpers.settings import ALERTS, BLOCK, BUDGET
from n02 import TOO_MANY, flagged

VARIANTS = {  # of the sweep, which the table of detectors calls otherwise
    "naive rule": "seed_rules",
    "rules only": "rules",
    "autoencoder only": "autoencoder",
    "distance only": "clusters",
    "classifier alone": "classifier",
}


def _confusion(axes: plt.Axes, matrix: np.ndarray, colour: str) -> None:
    plots.counts(axes, matrix, xticklabels=["quiet", "alert"], yticklabels=["legitimate", "fraud"])
    axes.spines["top"].set(visible=True, color=colour, linewidth=5)


def precision_recall(truth: np.ndarray, scores: Mapping[str, np.ndarray], budget: Mapping) -> Figure:
    """Precision against recall; dots mark the alert budget, a cross the naive rule."""
    strong = ("detector", "supervised")
    dots = {name: (at["recall"], at["precision"]) for name, at in budget.items() if at}
    (found, right), (possible, sure) = (dots[name] for name in strong)
    title = f"At the budget the detector finds {found:.0%} of the frauds and is right in {right:.0%}"
    title += f" of its alerts, the fully supervised reference {possible:.0%} and {sure:.0%}"
    x, y = "recall: share of the frauds found", "precision: share of alerts\nthat are fraud"
    figure, axes = plots.single(title, x, y, height=5)
    drawn: list[tuple[float, float]] = []
    for name, score in scores.items():
        label, colour = plots.DETECTORS[name]
        if name not in dots:
            hits = ((score > 0) & (truth == 1)).sum()
            axes.plot(hits / truth.sum(), hits / (score > 0).sum(), "X", ms=10, color=colour, label=label)
            continue
        precision, recall, _ = precision_recall_curve(truth, score)
        reached = recall > 0
        style = {"lw": 2.5} if name in strong else {"lw": 1, "alpha": 0.45}
        style |= {"color": colour, "label": label, "ls": "--" if name == "supervised" else "-"}
        axes.step(recall[reached], precision[reached], where="post", **style)
        axes.plot(*dots[name], "o", color=colour, ms=8 - 3 * drawn.count(dots[name]), mec="white")
        drawn.append(dots[name])  # the next one at the same place is smaller
    axes.legend(**plots.BESIDE, fontsize="small")
    return figure


def average_precision(detectors: Mapping[str, dict]) -> Figure:
    """Average precision of every detector with its bootstrap interval."""
    words, strong = "{:.2f} (interval {:.2f} to {:.2f})", (detectors["detector"], detectors["supervised"])
    said = [words.format(at["average_precision"], *at["average_precision_ci"]) for at in strong]
    title = "The detector's average precision is {}, the fully supervised reference's {}".format(*said)
    what = "average precision (bar: 95% interval, whole campaigns drawn)"
    figure, axes = plots.single(title, what, xlim=(0, 1))
    for row, (name, values) in enumerate(detectors.items()):
        colour = plots.DETECTORS[name][1]
        axes.hlines(row, *values["average_precision_ci"], color=colour, lw=3, alpha=0.6)
        axes.plot(values["average_precision"], row, "o", color=colour, ms=9)
    plots.rows(axes, [plots.DETECTORS[name][0] for name in detectors])
    return figure


def confusion_matrices(matrices: Mapping[str, np.ndarray]) -> Figure:
    """One small confusion matrix a detector; rows are the truth, columns the alert."""
    rows = -(-len(matrices) // 4)
    figure, axes = plt.subplots(rows, 4, figsize=(7.5, 2.4 * rows), squeeze=False)
    for axis in axes.flat[len(matrices) :]:
        axis.set_visible(False)
    for axis, (name, matrix) in zip(axes.flat, matrices.items(), strict=False):
        label, colour = plots.DETECTORS[name]
        _confusion(axis, matrix, colour)
        axis.set_title(fill(label, 15), loc="center", fontsize="small")
    found = [matrix[1, 1] for name, matrix in matrices.items() if name not in ("supervised", "seed_rules")]
    known = (
        f"{min(found)} to {max(found)} frauds are found without labels, {matrices['supervised'][1, 1]} with"
    )
    plots.headed(figure, f"Within the budget {known}")
    return figure


def errors_by_truth(errors: Mapping[str, np.ndarray], truth: np.ndarray) -> Figure:
    """Error histograms by truth, one panel a detector."""
    size = (7.5, 2 * len(errors) + 0.5)
    figure, axes = plt.subplots(len(errors), 1, figsize=size, sharex=True, squeeze=False)
    for axis, (name, values) in zip(axes[:, 0], errors.items(), strict=True):
        honest, fraud = values[truth == 0], values[truth == 1]
        for part, colour, label in ((honest, plots.BLUE, "legitimate"), (fraud, plots.RED, "fraud")):
            style = {"bins": plots.log_bins(values), "weights": np.full(len(part), 1 / len(part))}
            axis.hist(part, **style, color=colour, alpha=0.6, label=label)
        limit = np.quantile(honest, 1 - BUDGET)
        axis.axvline(limit, color="black", ls="--", label=f"{plots.WITHIN} of legitimate events")
        beyond = (fraud > limit).mean()
        title = (
            f"{plots.DETECTORS[name][0]}: {beyond:.0%} of frauds beyond {plots.WITHIN} of legitimate events"
        )
        axis.set_title(title, fontsize="small")
        axis.set(xscale="log", ylabel="share of events")
    axes[-1, 0].set_xlabel("score (log scale)")
    axes[0, 0].legend()
    return figure


def campaigns_found(table: pd.DataFrame, names: Sequence[str]) -> Figure:
    """Which detector's alerts touch which campaign of fraud, and how many frauds each holds."""
    import seaborn as sns

    found = table[list(names)].astype(int)
    nobody = (found.drop(columns="supervised").sum(axis=1) == 0).sum()
    figure, (sizes, axes) = plt.subplots(2, 1, figsize=(8, 5.6), sharex=True, height_ratios=(1, 4))
    title = f"{nobody} of {len(table)} campaigns are found by no label-free detector"
    largest = f"one holds {table['frauds'].max()} of {table['frauds'].sum()} frauds"
    sizes.set(title=plots.wrapped(f"{title}; {largest}"), ylabel="frauds")
    sizes.margins(y=0.3)
    sizes.bar_label(sizes.bar(np.arange(len(table)) + 0.5, table["frauds"], color="black"), fontsize="small")
    shown = found.T.mul(np.arange(1, len(names) + 1), axis=0)  # 0: missed; otherwise the detector's row
    labels, colours = zip(*(plots.DETECTORS[name] for name in names), strict=True)
    style = {"yticklabels": labels, "xticklabels": [f"{first:,}" for first in table["first_event"]]}
    style |= {"cmap": ["#f2f2f2", *colours], "vmin": 0, "vmax": len(names)}
    sns.heatmap(shown, cbar=False, linewidths=1.5, ax=axes, **style)
    axes.set(xlabel="campaign: its first event (filled: found)", ylabel="")
    return figure


def where_frauds_lie(distance: np.ndarray, truth: np.ndarray, missed: Mapping[str, np.ndarray]) -> Figure:
    """Distance from the clusters: legitimate events, found frauds, and missed ones by the reason why.

    `missed` is reason -> where a fraud is missed for it, (n,) bool.
    """
    fraud, lost = truth == 1, np.any(list(missed.values()), axis=0)
    why = ", ".join(f"{reason}\u00a0{mask.sum()}" for reason, mask in missed.items())
    title = f"{lost.sum()} of {fraud.sum()} frauds are missed: {why}"
    figure, axes = plots.single(title, "distance from the clusters (log scale)", height=3.8, xscale="log")
    groups = {"legitimate": ~fraud, "found": fraud & ~lost, **missed}
    jitter = np.random.default_rng(0)
    for row, mask in enumerate(groups.values()):
        height = row + jitter.uniform(-0.3, 0.3, mask.sum())
        colour, size = ((plots.BLUE, 4), (plots.GREEN, 30), (plots.RED, 30))[min(row, 2)]
        axes.scatter(distance[mask], height, color=colour, s=size, alpha=0.3 if row == 0 else 0.8, lw=0)
    plots.rows(axes, [f"{name} ({mask.sum():,})" for name, mask in groups.items()])
    return figure


def fraud_ranks(ranks: Mapping[str, np.ndarray]) -> Figure:
    """Frauds in order of the share of legitimate events that are more extreme; one line a window."""
    first, second = (f"{np.median(values):.1%}" for values in ranks.values())
    title = f"The median fraud is outdone by {first} of the legitimate events in the first window"
    x = "share of legitimate events farther from the clusters (log scale)"
    figure, axes = plots.single(f"{title}, {second} in the second", x, "share of the frauds", height=3.6)
    for (label, values), line in zip(ranks.items(), ("-", ":"), strict=True):
        ordered = np.maximum(np.sort(values), 1e-4)
        height = np.arange(1, len(ordered) + 1) / len(ordered)
        axes.step(ordered, height, where="post", color="black", ls=line, lw=2, label=label)
    axes.axvline(BUDGET, color=plots.GREY, ls="--", label="the alert budget")
    axes.set(xscale="log", ylim=(0, 1))
    plots.percent(axes.xaxis, 2)
    axes.legend(loc="lower right")
    return figure


def ablation(table: pd.DataFrame, reference: str) -> Figure:
    """Average precision (geometric mean) and frauds found of every variant; bars show the range over the
    starts, whose labels were in view while the method was chosen."""
    table = table.assign(ap=np.log(table["average_precision"].clip(lower=1e-4)))
    ap, found = (table.groupby("variant")[name].agg(["mean", "min", "max"]) for name in ("ap", "found"))
    ap = np.exp(ap).sort_values("mean")
    found = found.loc[ap.index]
    fills = [plots.DETECTORS.get(VARIANTS.get(name, name), ("", "white"))[1] for name in ap.index]
    edges = ["black" if colour == "white" else colour for colour in fills]
    figure, (left, right) = plt.subplots(1, 2, figsize=(8, 7), sharey=True)
    for axis, values, x in ((left, ap, "average precision (log scale)"), (right, found, "frauds found")):
        axis.hlines(values.index, values["min"], values["max"], color=plots.GREY, lw=2, alpha=0.5)
        axis.scatter(values["mean"], values.index, c=fills, edgecolors=edges, zorder=3)
        axis.axvline(values.loc[reference, "mean"], color=plots.GREEN, alpha=0.5)
        axis.set_xlabel(x)
    left.set_xscale("log")
    left.invert_yaxis()
    free = [values["mean"].drop("supervised") for values in (ap, found)]
    by_ap, by_found = ((means > means[reference]).sum() for means in free)
    title = f"{by_ap} of {len(ap) - 2} label-free variants beat the {reference} (line) by average precision, "
    title += f"{by_found} by frauds found: {table['start'].nunique()}\u00a0starts, all seen while choosing"
    plots.headed(figure, plots.wrapped(title))
    return figure


def budget_choice(curve: pd.DataFrame, cost: pd.Series, alerts: int, name: str, nothing: float) -> Figure:
    """What one alert budget means: its confusion matrix, its precision and recall, its cost.

    The budget is so many `alerts` a block, of the detector `name`; `nothing` is the cost of none, in euro.
    """
    figure, panels = plt.subplot_mosaic("AB;CC", figsize=(7.5, 6.4), width_ratios=(1, 1.4))
    counts, line, euros = panels.values()
    label, colour = plots.DETECTORS[name]
    chosen, dot = curve.loc[alerts], {"marker": "o", "ms": 9, "color": colour, "mec": "black"}
    matrix = chosen[["legitimate_quiet", "false_alarms", "missed", "found"]].to_numpy(int).reshape(2, 2)
    _confusion(counts, matrix, colour)
    title = f"{label}, budget {alerts}:\n{chosen['found']:.0f} frauds in {matrix[:, 1].sum():,} alerts"
    counts.set_title(title, fontsize="small")
    for share, style in (("recall", "-"), ("precision", ":")):
        line.plot(curve.index, curve[share], color=colour, ls=style, label=share)
        line.plot(alerts, chosen[share], **dot)
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


def flags(truth: np.ndarray, fires: np.ndarray, rule_score: np.ndarray, start: int = 0) -> dict:
    """What a yes/no rule is worth: how many are flagged, frauds among them, precision (0 where nobody is
    flagged), recall, and within_budget: frauds among the alerts when the budget is spent on flagged events
    alone, in the order of a positive rule_score."""
    truth = truth == 1
    alerts = evaluation.choose_alerts(np.where(fires, rule_score, 0.0), start) & fires
    flagged, found = fires.sum(), (fires & truth).sum()
    shares = {"precision": found / max(flagged, 1), "recall": found / truth.sum()}
    return {"flagged": flagged, "frauds": found, **shares, "within_budget": (alerts & truth).sum()}


def budget_curve(truth: np.ndarray, score: np.ndarray, start=0, most=10 * ALERTS) -> pd.DataFrame:
    """One row for each alert budget from 1 to `most` of a block's events, the index `per`: legitimate_quiet,
    false_alarms, missed, found, precision (NaN where no alert was raised) and recall."""
    alerts = (evaluation.choose_alerts(score, start, per) for per in range(1, most + 1))
    counts = [np.bincount(2 * (truth == 1) + flagged, minlength=4) for flagged in alerts]
    cells = ["legitimate_quiet", "false_alarms", "missed", "found"]
    table = pd.DataFrame(counts, pd.RangeIndex(1, most + 1, name="per"), cells)
    alerts, frauds = (table["found"] + table[others] for others in ("false_alarms", "missed"))
    return table.assign(precision=table["found"] / alerts, recall=table["found"] / frauds)


def budget_cost(curve: pd.DataFrame, review: float, missed: float) -> pd.Series:
    """Cost of every budget in euro, from `budget_curve`: looking at each alert, and each missed fraud."""
    return (curve["found"] + curve["false_alarms"]) * review + curve["missed"] * missed


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


def campaign_table(truth: np.ndarray, campaign: np.ndarray, flagged: Mapping, start=0) -> pd.DataFrame:
    """One row per campaign: its frauds, first_event and last_event, and for each detector of `flagged` (which
    events it alerts on) whether it alerted on at least one of the frauds."""
    fraud = np.flatnonzero(truth)
    alerted = {name: flags[fraud] for name, flags in flagged.items()}
    by = pd.DataFrame({"campaign": campaign, "event": fraud + start} | alerted).groupby("campaign")
    when = by["event"].agg(frauds="size", first_event="min", last_event="max")
    return when.join(by[list(flagged)].any())


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
    straight = "This is the area under the precision-recall curve with straight lines"
    generator = np.random.default_rng(0)
    toy, ranked = (generator.random(40) < 0.3).astype(int), generator.permutation(40).astype(float)
    order = np.argsort(-ranked)
    places = np.flatnonzero(toy[order]) + 1
    frauds = np.arange(1, len(places) + 1)
    notes = frauds / places
    at_every_place = (toy[order].cumsum() / np.arange(1, 41)).mean()
    in_time, from_lowest = frauds / (np.flatnonzero(toy) + 1), frauds / (41 - places[::-1])
    by_order = (toy.cumsum() / (order + 1))[toy == 1].mean()
    recall_precision = precision_recall_curve(toy, ranked)[1::-1]
    slips = {
        "It walks through time, not down the ranking: sort by score first.": in_time.mean(),
        "It begins at the lowest score; the riskiest event comes first.": from_lowest.mean(),
        "It averages over all events; only the places where a fraud is found count.": at_every_place,
        "It divides by the number of events; divide by the number of frauds.": notes.sum() / len(toy),
        "It adds the notes up; return their mean.": notes.sum(),
        "It counts places from 0; the first place is number 1.": (frauds / (places - 1)).mean(),
        "It notes the precision before each fraud; count that fraud, too.": ((frauds - 1) / places).mean(),
        "The order of `argsort` says which event comes first, not which place an event has.": by_order,
        f"{straight} drawn between its points; take the mean of the notes.": auc(*recall_precision),
        "This is the area under the ROC curve.": roc_auc_score(toy, ranked),
        "This is the share of frauds, which is what chance reaches.": toy.mean(),
    }
    compare(as_number(ask(attempt, toy, ranked)), notes.mean(), slips, "On forty made-up events")
    mine, ours = as_number(ask(attempt, truth, score)), average_precision_score(truth, score)
    still_right(mine, ours, tol=0.005)
    equal = "Where many scores are equal, as the classifier's are, scikit-learn takes equal ones together."
    return f"right. For the rule book it gives {mine:.2f}, as in the table. {equal}"


@checker
def check_6c(attempt: Callable, campaign: np.ndarray) -> str:
    """One draw of a bootstrap over campaigns."""
    small = np.array([0, 0, 1, 2, 2, 2, 3])
    draws, again = _draws(attempt, small), _draws(attempt, small)
    each = draws[:, [0, 2, 3, 6]]
    torn = "Frauds of one campaign are torn apart: draw campaigns, and give each fraud its campaign's count."
    size = "A draw holds as many campaigns as there are, 4 here; some of them twice, others not at all."
    far = np.abs(each.mean(axis=0) - 1).max() > 0.25
    mine = "The same generator gives another draw: let `generator` draw, not `np.random`."
    off_if((draws != again).any(), mine)
    off_if((draws != each[:, small]).any(), torn)
    off_if((draws == draws[0]).all(), "Every draw is the same; let the generator choose.")
    off_if(each.max() == 1, "No campaign comes twice: draw with replacement.")
    off_if((each.sum(axis=1) != 4).any(), size)
    off_if(not each.any(axis=0).all(), "One campaign is never drawn. Up to which number does `integers` go?")
    off_if(far, "Some campaigns are drawn more often than others; each should be as likely.")
    together = np.corrcoef(each.T)[~np.eye(4, dtype=bool)]  # -1/3 where each of four is drawn anew
    if np.abs(each.var(axis=0) - 0.75).max() > 0.3 or np.abs(together + 1 / 3).max() > 0.3:
        raise Off("The campaigns of one draw hang together: draw anew for each of them.")
    draws = _draws(attempt, campaign)
    _, first = np.unique(campaign, return_index=True)
    if (draws[:, first].sum(axis=1) != len(first)).any():
        raise Off(f"It is right for 4 campaigns, but not for the {len(first)} of the test set: count them.")
    low, high = np.quantile(draws.sum(axis=1), [0.025, 0.975])
    return f"right. The test set has {len(campaign)} frauds; such draws hold {low:.0f} to {high:.0f} of them."


def _draws(attempt: Callable, campaign: np.ndarray) -> np.ndarray:
    """(200, frauds) from so many calls, each with a generator of its own."""
    answers = [ask(attempt, campaign, np.random.default_rng(draw)) for draw in range(200)]
    for answer in answers:
        often = (
            f"For {len(campaign)} frauds it should say {len(campaign)} times how often each is drawn, but "
        )
        off_if(np.shape(answer) != campaign.shape, f"{often}gives the shape {np.shape(answer)}.")
    return np.array([as_column(answer, len(campaign)) for answer in answers])


@checker
def check_6d(attempt: Callable, signals: pd.DataFrame, thresholds: Mapping, truth: np.ndarray) -> str:
    """The learner's own rule, measured on the test set."""
    fires = flagged(attempt, signals, thresholds, most=4 * TOO_MANY)
    start, rule_score = int(signals.index[0]), rules.rule_score(signals)
    found = flags(truth, fires, rule_score, start)
    book = evaluation.budget_report(truth, rule_score, start)
    worth = f"a precision of {found['precision']:.0%} and a recall of {found['recall']:.0%}"
    within = f"{found['within_budget']} frauds, the whole rule book {book['true_positives']}"
    counted = f"Of {found['flagged']} flagged events {found['frauds']} are frauds: {worth}"
    return f"measured. {counted}. Within the budget it finds {within}."
