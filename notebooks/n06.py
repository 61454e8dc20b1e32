"""What notebook 6: open the seal alone needs: its figures and its checkers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from textwrap import fill

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from sklearn.metrics import auc, average_precision_score, precision_recall_curve, roc_auc_score

from checker import Off, as_column, as_number, as_pair, ask, checker, compare, still_right
from helpers import evaluation, plots, rules
from helpers.settings import BLOCK, BUDGET
from n02 import TOO_MANY, accused

# --- figures


def _confusion(axis: plt.Axes, matrix: np.ndarray, colour: str) -> None:
    """One confusion matrix under a bar in the detector's colour."""
    plots.counts(axis, matrix, xticklabels=["quiet", "alert"], yticklabels=["honest", "fraud"])
    axis.spines["top"].set(visible=True, color=colour, linewidth=5)


def precision_recall(
    truth: np.ndarray, scores: Mapping[str, np.ndarray], budget: Mapping[str, dict | None]
) -> Figure:
    """Precision against recall of every detector, ours and the oracle strong; dots mark the alert budget,
    a cross the naive rule."""
    from sklearn.metrics import precision_recall_curve

    strong = {name: budget[name] for name in ("detector", "oracle")}
    (found, right), (possible, sure) = ((at["recall"], at["precision"]) for at in strong.values())
    figure, axes = plots.single(
        f"At the budget the detector finds {found:.0%} of the frauds and is right in {right:.0%} of its "
        f"alerts, the oracle {possible:.0%} and {sure:.0%}",
        "recall: share of the frauds found",
        "precision: share of alerts\nthat are fraud",
        figsize=(7.5, 5),
    )
    dots: list[tuple[float, float]] = []
    for name, score in scores.items():
        label, colour = plots.DETECTORS[name]
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
    axes.legend(**plots.BESIDE, fontsize="small")
    return figure


def average_precision(detectors: Mapping[str, dict]) -> Figure:
    """Average precision of every detector with its bootstrap interval."""
    ours, possible = (
        "{:.2f} (interval {:.2f} to {:.2f})".format(at["average_precision"], *at["average_precision_ci"])
        for at in (detectors["detector"], detectors["oracle"])
    )
    figure, axes = plots.single(
        f"The detector's average precision is {ours}, the oracle's {possible}",
        "average precision (bar: 95% interval, whole episodes drawn)",
    )
    for row, (name, values) in enumerate(detectors.items()):
        colour = plots.DETECTORS[name][1]
        axes.hlines(row, *values["average_precision_ci"], color=colour, lw=3, alpha=0.6)
        axes.plot(values["average_precision"], row, "o", color=colour, ms=9)
    axes.set_yticks(range(len(detectors)), [plots.DETECTORS[name][0] for name in detectors])
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
        label, colour = plots.DETECTORS[name]
        _confusion(axis, matrix, colour)
        axis.set_title(fill(label, 15), loc="center", fontsize="small")
    found = {name: matrix[1, 1] for name, matrix in matrices.items() if name not in ("oracle", "seed_rules")}
    title = (
        f"Within the budget {min(found.values())} to {max(found.values())} frauds are found without labels"
    )
    if "oracle" in matrices:
        title += f", {matrices['oracle'][1, 1]} with"
    plots.headed(figure, title)
    return figure


def errors_by_truth(errors: Mapping[str, np.ndarray], truth: np.ndarray) -> Figure:
    """Error histograms by truth, one panel a detector."""
    size = (7.5, 2 * len(errors) + 0.5)
    figure, axes = plt.subplots(len(errors), 1, figsize=size, sharex=True, squeeze=False)
    for axis, (name, values) in zip(axes[:, 0], errors.items(), strict=True):
        bins = plots.log_bins(values)
        honest, fraud = values[truth == 0], values[truth == 1]
        for part, colour, label in ((honest, plots.BLUE, "honest"), (fraud, plots.RED, "fraud")):
            weights = np.full(len(part), 1 / len(part))
            axis.hist(part, bins=bins, weights=weights, color=colour, alpha=0.6, label=label)
        limit = np.quantile(honest, 1 - BUDGET)
        axis.axvline(limit, color="black", ls="--", label=f"{plots.WITHIN} of honest events")
        beyond = (fraud > limit).mean()
        title = f"{plots.DETECTORS[name][0]}: {beyond:.0%} of frauds beyond {plots.WITHIN} of honest events"
        axis.set_title(title, fontsize="small")
        axis.set(xscale="log", ylabel="share of events")
    axes[-1, 0].set_xlabel("score (log scale)")
    axes[0, 0].legend()
    return figure


def false_alarms(detectors: Mapping[str, dict]) -> Figure:
    """False positives of every detector at the naive rule's recall."""
    values = {name: d["at_seed_recall"]["false_positives"] for name, d in detectors.items()}
    best = min((name for name in values if name != "oracle"), key=values.__getitem__)
    figure, axes = plots.single(
        f"To find as many frauds, the {plots.DETECTORS[best][0]} accuses {values[best]:,} honest events, "
        f"the naive rule {values['seed_rules']:,}",
        "false positives at the naive rule's recall",
    )
    plots.bars(axes, values, "{:,.0f}")
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
    sizes.set(title=plots.wrapped(title), ylabel="frauds")
    sizes.margins(y=0.3)
    sizes.bar_label(sizes.bar(np.arange(len(table)) + 0.5, table["frauds"], color="black"), fontsize="small")
    shown = found.T.mul(np.arange(1, len(names) + 1), axis=0)  # 0: missed; otherwise the detector's row
    shown = shown.set_axis([plots.DETECTORS[name][0] for name in names])
    shown.columns = [f"{first:,}" for first in table["first_event"]]
    colours = ["#f2f2f2", *(plots.DETECTORS[name][1] for name in names)]
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
    figure, axes = plots.single(title, "distance from the crowds (log scale)", figsize=(7.5, 3.8))
    groups = {"honest": ~fraud, "found": fraud & ~np.any(list(missed.values()), axis=0), **missed}
    jitter = np.random.default_rng(0)
    for row, mask in enumerate(groups.values()):
        height = row + jitter.uniform(-0.3, 0.3, mask.sum())
        colour, size = ((plots.BLUE, 4), (plots.GREEN, 30), (plots.RED, 30))[min(row, 2)]
        axes.scatter(distance[mask], height, color=colour, s=size, alpha=0.3 if row == 0 else 0.8, lw=0)
    axes.set_yticks(range(len(groups)), [f"{name} ({mask.sum():,})" for name, mask in groups.items()])
    axes.set_xscale("log")
    axes.invert_yaxis()
    return figure


def fraud_ranks(ranks: Mapping[str, np.ndarray]) -> Figure:
    """Frauds in order of the share of honest events that are more extreme; one line a window."""
    first, second = (f"{np.median(values):.1%}" for values in ranks.values())
    figure, axes = plots.single(
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
    axes.axvline(BUDGET, color=plots.GREY, ls="--", label="the alert budget")
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
    fill = [
        plots.DETECTORS[plots.VARIANTS[name]][1] if name in plots.VARIANTS else "white"
        for name in spread.index
    ]
    edge = ["black" if colour == "white" else colour for colour in fill]
    figure, (left, right) = plt.subplots(1, 2, figsize=(8, 7), sharey=True)
    for axis, values, x in ((left, spread, "average precision (log scale)"), (right, found, "frauds found")):
        axis.hlines(values.index, values["min"], values["max"], color=plots.GREY, lw=2, alpha=0.5)
        axis.scatter(values["mean"], values.index, c=fill, edgecolors=edge, zorder=3)
        axis.axvline(values.loc[reference, "mean"], color=plots.GREEN, alpha=0.5)
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
    plots.headed(figure, plots.wrapped(title))
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
    label, colour = plots.DETECTORS[name]
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


# --- checkers


@checker
def check_6a(attempt: Callable, matrices: Mapping[str, np.ndarray]) -> str:
    """Precision and recall from a confusion matrix."""
    for name, matrix in {**matrices, "a made-up matrix": np.array([[90, 6], [1, 3]])}.items():
        (quiet_honest, false), (missed, found) = np.asarray(matrix, dtype=float)
        pair = as_pair(ask(attempt, matrix), "precision, recall")
        precision, recall = found / (found + false), found / (found + missed)
        slips = {
            "The two are swapped: precision is about the alerts, recall about the frauds.": (
                recall,
                precision,
            ),
            "These are about the honest events; frauds are the second row, alerts the second column.": (
                quiet_honest / (quiet_honest + missed),
                quiet_honest / (quiet_honest + false),
            ),
            "The first is accuracy, the share of right answers, which is high for everybody here.": (
                (quiet_honest + found) / np.sum(matrix),
                recall,
            ),
        }
        compare(pair, (precision, recall), slips, f"For {name}, precision and recall:")
    return "right. Both ask about the same frauds found, out of the alerts or out of all frauds."


@checker
def check_6b(attempt: Callable, truth: np.ndarray, score: np.ndarray) -> str:
    """Average precision, walked down the ranking."""
    generator = np.random.default_rng(0)
    toy, ranked = (generator.random(40) < 0.3).astype(int), generator.permutation(40).astype(float)
    order = np.argsort(-ranked)
    hits = toy[order]
    precision = hits.cumsum() / np.arange(1, len(hits) + 1)
    unsorted = toy.cumsum() / np.arange(1, len(toy) + 1)
    upside_down = toy[order[::-1]].cumsum() / np.arange(1, len(toy) + 1)
    from_zero = hits.cumsum()[1:] / np.arange(1, len(hits))
    curve = precision_recall_curve(toy, ranked)
    slips = {
        "It walks through time, not down the ranking: sort by score first.": unsorted[toy == 1].mean(),
        "It begins at the lowest score; the riskiest event comes first.": upside_down[
            toy[order[::-1]] == 1
        ].mean(),
        "It averages over all events; only the places where a fraud is found count.": precision.mean(),
        "It divides by the number of events; divide by the number of frauds.": precision[hits == 1].sum()
        / len(toy),
        "It adds the notes up; return their mean.": precision[hits == 1].sum(),
        "It counts places from 0; the first place is number 1.": from_zero[hits[1:] == 1].sum() / hits.sum(),
        "It notes the precision before each fraud; count that fraud, too.": (
            (hits.cumsum() - 1) / np.arange(1, len(hits) + 1)
        )[hits == 1].mean(),
        "The order of `argsort` says which event comes first, not which place an event has.": (
            toy.cumsum() / (order + 1)
        )[toy == 1].mean(),
        "This is the area under the precision-recall curve with straight lines drawn between its points; "
        "take the mean of the notes.": auc(curve[1], curve[0]),
        "This is the area under the ROC curve.": roc_auc_score(toy, ranked),
        "This is the share of frauds, which is what chance reaches.": toy.mean(),
    }
    compare(
        as_number(ask(attempt, toy, ranked)), precision[hits == 1].mean(), slips, "On forty made-up events"
    )
    mine, ours = as_number(ask(attempt, truth, score)), average_precision_score(truth, score)
    still_right(mine, ours, tol=0.005)
    return (
        f"right. For the rule book it gives {mine:.2f}, as in the table. Where many scores are equal, as "
        "the judge's are, scikit-learn takes equal ones together."
    )


@checker
def check_6c(attempt: Callable, episode: np.ndarray) -> str:
    """One draw of a bootstrap over episodes."""
    small = np.array([0, 0, 1, 2, 2, 2, 3])
    draws = _draws(attempt, small, 200)
    if (draws != _draws(attempt, small, 200)).any():
        raise Off("The same generator gives another draw: let `generator` draw, not `np.random`.")
    each = draws[:, [0, 2, 3, 6]]
    if (draws != each[:, small]).any():
        raise Off(
            "Frauds of one episode are torn apart: draw episodes, and give each fraud its episode's count."
        )
    if (draws == draws[0]).all():
        raise Off("Every draw is the same; let the generator choose.")
    if each.max() == 1:
        raise Off("No episode comes twice: draw with replacement.")
    if (each.sum(axis=1) != 4).any():
        raise Off(
            "A draw holds as many episodes as there are, 4 here; some of them twice, others not at all."
        )
    if not each.any(axis=0).all():
        raise Off("One episode is never drawn. Up to which number does `integers` go?")
    if np.abs(each.mean(axis=0) - 1).max() > 0.25:
        raise Off("Some episodes are drawn more often than others; each should be as likely.")
    together = np.corrcoef(each.T)[~np.eye(4, dtype=bool)]  # -1/3 where each of four is drawn anew
    if np.abs(each.var(axis=0) - 0.75).max() > 0.3 or np.abs(together + 1 / 3).max() > 0.3:
        raise Off("The episodes of one draw hang together: draw anew for each of them.")
    draws = _draws(attempt, episode, 200)
    first = np.unique(episode, return_index=True)[1]
    if (draws[:, first].sum(axis=1) != len(first)).any():
        raise Off(f"It is right for 4 episodes, but not for the {len(first)} of the test part: count them.")
    low, high = np.quantile(draws.sum(axis=1), [0.025, 0.975])
    return f"right. The test part has {len(episode)} frauds; such draws hold {low:.0f} to {high:.0f} of them."


def _draws(attempt: Callable, episode: np.ndarray, count: int) -> np.ndarray:
    """(count, frauds) from so many calls, each with a generator of its own."""
    answers = [ask(attempt, episode, np.random.default_rng(draw)) for draw in range(count)]
    for answer in answers:
        if np.shape(answer) != episode.shape:
            raise Off(
                f"For {len(episode)} frauds it should say {len(episode)} times how often each is drawn, but "
                f"gives the shape {np.shape(answer)}."
            )
    return np.array([as_column(answer, len(episode)) for answer in answers])


@checker
def check_6d(
    attempt: Callable, signals: pd.DataFrame, thresholds: dict[str, float], truth: np.ndarray
) -> str:
    """The learner's own rule, measured on the test part."""
    fires = accused(attempt, signals, thresholds, most=4 * TOO_MANY)
    start = int(signals.index[0])
    found = evaluation.accusations(truth, fires, rules.suspicion(signals), start)
    book = evaluation.budget_report(truth, rules.suspicion(signals), start)
    return (
        f"measured. Of {found['accused']} accused events {found['frauds']} are frauds: a precision of "
        f"{found['precision']:.0%} and a recall of {found['recall']:.0%}. Within the budget it finds "
        f"{found['within_budget']} frauds, the whole rule book {book['true_positives']}."
    )
