"""Notebook 6, open the seal: its figures, its measures and its checkers."""

from collections.abc import Callable, Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from sklearn.metrics import average_precision_score, precision_recall_curve

from checker import as_column, as_number, as_pair, ask, checker, compare, off_if, still_right
from helpers import evaluation, plots
from helpers.settings import ALERTS, BLOCK, BUDGET

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


def errors_by_truth(errors: Mapping[str, np.ndarray], truth: np.ndarray) -> Figure:
    """Histograms of a score by truth, one panel per detector, and how many lie beyond the dashed line."""
    size = (7.5, 2 * len(errors) + 0.5)
    figure, axes = plt.subplots(len(errors), 1, figsize=size, sharex=True, squeeze=False)
    for axis, (name, values) in zip(axes[:, 0], errors.items(), strict=True):
        limit = np.quantile(values[truth == 0], 1 - BUDGET)
        for fraud, colour, label in ((0, plots.BLUE, "legitimate"), (1, plots.RED, "fraud")):
            part = values[truth == fraud]
            label = f"{label} ({(part > limit).sum():,} beyond the line)"
            style = {"bins": plots.log_bins(values), "weights": np.full(len(part), 1 / len(part))}
            axis.hist(part, **style, color=colour, alpha=0.6, label=label)
        axis.axvline(limit, color="black", ls="--")
        title = f"{plots.DETECTORS[name][0]}: {(values[truth == 1] > limit).mean():.0%} of frauds beyond"
        axis.set_title(f"{title} {plots.WITHIN} of legitimate events", fontsize="small")
        axis.set(xscale="log", ylabel="share of\neach group")
        axis.legend(fontsize="small", loc="upper left")
    axes[-1, 0].set_xlabel("score (log scale)")
    return figure


def campaigns_found(table: pd.DataFrame, names: Sequence[str]) -> Figure:
    """Which detector's alerts touch which campaign of fraud, and how many frauds each holds."""
    import seaborn as sns

    found = table[list(names)].astype(int)
    free = found.drop(columns="supervised")
    figure, (sizes, axes) = plt.subplots(2, 1, figsize=(8, 5.6), sharex=True, height_ratios=(1, 4))
    finds, alone = found["detector"].sum(), found["clusters"].sum()
    title = f"The detector finds {finds} of {len(table)} campaigns, the distance alone {alone}; "
    title += f"{(free.sum(axis=1) == 0).sum()} are found by no detector without labels"
    sizes.set(title=plots.wrapped(title), ylabel="frauds")
    sizes.margins(y=0.3)
    sizes.bar_label(sizes.bar(np.arange(len(table)) + 0.5, table["frauds"], color="black"), fontsize="small")
    shown = found.T.mul(np.arange(1, len(names) + 1), axis=0)  # 0: missed; otherwise the detector's row
    labels, colours = zip(*(plots.DETECTORS[name] for name in names), strict=True)
    style = {"yticklabels": labels, "xticklabels": [f"{first:,}" for first in table["first_event"]]}
    style |= {"cmap": ["#f2f2f2", *colours], "vmin": 0, "vmax": len(names)}
    sns.heatmap(shown, cbar=False, linewidths=1.5, ax=axes, **style)
    axes.set(xlabel="campaign: its first event (filled: at least one alert)", ylabel="")
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


def fraud_ranks(ranks: Mapping[str, np.ndarray]) -> Figure:
    """Frauds in order of the share of legitimate events that are more extreme; one line a window."""
    first, second = (f"{np.median(values):.1%}" for values in ranks.values())
    title = f"{first} of the legitimate events lie farther out than the median fraud of the first window"
    title += f", {second} in the second window"
    x = "share of legitimate events farther from the clusters (log scale)"
    figure, axes = plots.single(title, x, "share of the frauds", height=3.6)
    for (label, values), line in zip(ranks.items(), ("-", ":"), strict=True):
        ordered = np.maximum(np.sort(values), 1e-4)
        height = np.arange(1, len(ordered) + 1) / len(ordered)
        axes.step(ordered, height, where="post", color="black", ls=line, lw=2, label=label)
    axes.axvline(BUDGET, color=plots.GREY, ls="--", label="the alert budget")
    axes.set(xscale="log", ylim=(0, 1))
    plots.percent(axes.xaxis, 2)
    axes.legend(loc="lower right")
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
    plots.headed(figure, plots.wrapped(title))
    return figure


def budget_choice(curve: pd.DataFrame, cost: pd.Series, alerts: int, nothing: float) -> Figure:
    """Precision and recall of the detector at every alert budget, and what each budget costs.

    The dots are at `alerts` per block; `nothing` is the cost of no reviews, in euro.
    """
    figure, (line, euros) = plt.subplots(1, 2, figsize=(7.5, 3.8))
    colour = plots.DETECTORS["detector"][1]
    dot = {"marker": "o", "ms": 9, "color": colour, "mec": "black"}
    for share, style in (("recall", "-"), ("precision", ":")):
        line.plot(curve.index, curve[share], color=colour, ls=style, label=share)
        line.plot(alerts, curve.loc[alerts, share], **dot)
    line.set(ylim=(0, 1), xlabel=f"alerts per {BLOCK:,} events")
    line.legend()
    euros.plot(cost.index, cost, color=colour)
    euros.plot(alerts, cost[alerts], **dot)
    euros.axhline(nothing, color="black", ls="--", lw=1, label="no reviews")
    euros.set(xlabel=f"alerts per {BLOCK:,} events", ylabel="cost in euro", ylim=0)
    euros.legend(loc="lower right")
    near = cost.index[cost <= 1.05 * cost.min()]
    flat = f"budgets between {near.min()} and {near.max()} alerts come within 5% of it"
    plots.headed(figure, plots.wrapped(f"The lowest cost is flat: {flat}"))
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


@checker
def check_6c(attempt: Callable, campaign: np.ndarray) -> str:
    """One draw of a bootstrap over campaigns."""
    small = np.array([0, 0, 1, 2, 2, 2, 3])
    draws, again = _draws(attempt, small), _draws(attempt, small)
    each = draws[:, [0, 2, 3, 6]]
    torn = "Frauds of one campaign are torn apart: draw campaigns, and give each fraud its campaign's count."
    size = "A draw holds as many campaigns as there are, 4 here; some of them twice, others not at all."
    mine = "The same generator gives another draw: let `generator` draw, not `np.random`."
    off_if((draws != again).any(), mine)
    off_if((draws != each[:, small]).any(), torn)
    off_if(each.max() == 1, "No campaign comes twice: draw with replacement.")
    off_if((each.sum(axis=1) != 4).any(), size)
    often = np.abs(each.mean(axis=0) - 1).max() > 0.25
    off_if(often, "Each campaign should be as likely. Up to which number does `integers` go?")
    low, high = np.quantile(_draws(attempt, campaign).sum(axis=1), [0.025, 0.975])
    return f"right. The test set has {len(campaign)} frauds; such draws hold {low:.0f} to {high:.0f} of them."


def _draws(attempt: Callable, campaign: np.ndarray) -> np.ndarray:
    """(200, frauds) from so many calls, each with a generator of its own."""
    answers = [ask(attempt, campaign, np.random.default_rng(draw)) for draw in range(200)]
    for answer in answers:
        off_if(np.shape(answer) != campaign.shape, "It should say of each fraud how often it is drawn.")
    return np.array([as_column(answer, len(campaign)) for answer in answers])
