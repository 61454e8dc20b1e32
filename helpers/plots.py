"""Every figure of the course: data in, figure out. Titles that state a finding are computed.

Colours are Okabe and Ito's, which colour-blind readers can tell apart (the grey is darker and the yellow
greener, to show on white); a detector keeps its colour in every figure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter, StrMethodFormatter

GREY, ORANGE, SKY, GREEN, BLUE, RED, PINK, YELLOW = (
    "#666666",
    "#e69f00",
    "#56b4e9",
    "#009e73",
    "#0072b2",
    "#d55e00",
    "#cc79a7",
    "#c6d045",
)
DETECTORS = {
    "seed_rules": ("naive rule", GREY),
    "rules": ("rule book", ORANGE),
    "isolation_forest": ("isolation forest", YELLOW),
    "pca": ("PCA reconstruction", PINK),
    "autoencoder_all_rows": ("autoencoder, all events", SKY),
    "autoencoder": ("autoencoder, presumed normals", BLUE),
    "judge_circular": ("judge that sees the rules", RED),
    "judge": ("judge", GREEN),
    "oracle": ("oracle (true labels)", "#000000"),
}
VARIANTS = {  # of the sweep, where they are detectors of the table
    "naive rule": "seed_rules",
    "rules only": "rules",
    "autoencoder only": "autoencoder",
    "judge with votes": "judge_circular",
    "judge": "judge",
    "oracle": "oracle",
}
LABELS = {1: ("suspicious", RED), -1: ("undecided", GREY), 0: ("presumed normal", BLUE)}
sns.set_theme(
    style="ticks",
    context="notebook",
    rc={"axes.spines.top": False, "axes.spines.right": False, "figure.figsize": (9, 4)},
)


def _axes(rows: int = 1, columns: int = 1, **options) -> tuple[Figure, np.ndarray]:
    figure, axes = plt.subplots(rows, columns, layout="constrained", squeeze=False, **options)
    return figure, axes


def _single(title: str, x: str, y: str, **options) -> tuple[Figure, plt.Axes]:
    figure, axes = _axes(**options)
    axes[0, 0].set(xlabel=x, ylabel=y)
    axes[0, 0].set_title(title, loc="left", fontweight="bold")
    return figure, axes[0, 0]


def _colours(names: Sequence[str]) -> list[str]:
    return [DETECTORS[name][1] for name in names]


def _log_bins(values: np.ndarray, bins: int = 60) -> np.ndarray:
    positive = values[values > 0]
    low, high = (positive.min(), positive.max()) if len(positive) else (1, 1)
    return np.geomspace(low, high if high > low else 2 * low, bins)


def amounts(amount: pd.Series) -> Figure:
    """Histogram of charges on a log axis, with the median; charges of zero are counted in the title."""
    median, largest, zero = amount.median(), amount.max(), (amount == 0).mean()
    figure, axes = _single(
        f"Half of all charges are below {median:,.0f} euro, the largest is {largest:,.0f}",
        f"amount in euro (log scale; {zero:.1%} are zero and not drawn)",
        "events",
    )
    axes.hist(amount[amount > 0], bins=_log_bins(amount.to_numpy()), color=BLUE)
    axes.axvline(median, color=RED, label=f"median {median:,.0f} euro")
    axes.set_xscale("log")
    axes.legend(frameon=False)
    return figure


def axes_overview(axes_values: pd.DataFrame) -> Figure:
    """Where the middle half, 99 % and everything of each behaviour axis lies."""
    middle = axes_values.quantile(0.75) - axes_values.quantile(0.25)
    reach = ((axes_values.max() - axes_values.min()) / middle).min()
    figure, axes = _single(
        f"Every axis reaches at least {reach:.0f} times as far as its middle half",
        "value of the axis (no unit; log scale on both sides of 0)",
        "",
        figsize=(9, 3.6),
    )
    levels = ((0, 1, 1.5, "all events"), (0.005, 0.995, 5, "99 %"), (0.25, 0.75, 12, "middle half"))
    for (low, high, width, label), colour in zip(levels, (GREY, SKY, BLUE), strict=True):
        lower, upper = axes_values.quantile(low), axes_values.quantile(high)
        axes.hlines(axes_values.columns, lower, upper, lw=width, color=colour, label=label)
    axes.invert_yaxis()
    axes.set_xscale("symlog", linthresh=1)
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def chronological_split(events: pd.DataFrame, n_train: int, block: int = 1_000) -> Figure:
    """Median amount per block of events over the stream's clock, training and test part shaded."""
    figure, axes = _single(
        f"The first {n_train:,} events teach, the last {len(events) - n_train:,} test",
        "event (the stream's clock)",
        f"median amount of {block:,}\nevents, in euro",
        figsize=(9, 3),
    )
    clock = events.index.to_numpy() // block * block
    medians = events["Amount"].groupby(clock).median()
    axes.step(medians.index, medians, where="post", color="black", lw=1)
    border = events.index[0] + n_train
    for left, right, colour, label in (
        (events.index[0], border, BLUE, "training part"),
        (border, events.index[-1] + 1, ORANGE, "test part"),
    ):
        axes.axvspan(left, right, color=colour, alpha=0.15, lw=0)
        axes.annotate(label, ((left + right) / 2, 0.92), xycoords=("data", "axes fraction"), ha="center")
    axes.set_ylim(0)
    return figure


def alerts_against_budget(
    flagged: np.ndarray, index: pd.Index, budget: int = 5, block: int = 1_000
) -> Figure:
    """Alerts of a yes/no rule per 1,000 events beside what analysts can look at."""
    counts = pd.Series(flagged).groupby(np.asarray(index) // block * block).sum()
    figure, axes = _single(
        f"The naive rule raises {counts.mean():.0f} alerts in {block:,} events; the budget is {budget}",
        "event",
        f"alerts per {block:,} events",
        figsize=(9, 3),
    )
    axes.step(counts.index, counts, where="post", color=GREY, lw=2, label="naive rule")
    axes.axhline(budget, color=RED, lw=2, label="alert budget")
    axes.set_ylim(0)
    axes.legend(frameon=False)
    return figure


def profile_map(events: pd.DataFrame, unusual: np.ndarray, x: str = "V1", y: str = "V3") -> Figure:
    """Ordinary and unusual events on two of the six axes."""
    figure, axes = _single(
        f"{unusual.mean():.1%} of the events lie outside the profile on two axes or more",
        f"{x} (no unit; the other four axes are not drawn)",
        f"{y} (no unit)",
        figsize=(7, 4.5),
    )
    for mask, colour, label in ((~unusual, BLUE, "ordinary"), (unusual, ORANGE, "unusual")):
        axes.scatter(
            events.loc[mask, x],
            events.loc[mask, y],
            s=6,
            color=colour,
            alpha=0.4,
            label=label,
            lw=0,
        )
    limits = events[[x, y]].quantile([0.0005, 0.9995])
    axes.set(xlim=limits[x], ylim=limits[y])
    axes.legend(frameon=False, markerscale=4)
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
    figure, axes = _single(
        f"Each suspicious or forgiving rule speaks of at most {rare.max():.1%} of the events",
        "share of events it votes on (the widest bar is cut off)",
        "",
    )
    left = np.zeros(len(ordered))
    for (label, width), colour in zip(parts.items(), (SKY, GREEN, RED), strict=True):
        axes.barh(ordered.index, width, left=left, color=colour, label=label)
        left += width.to_numpy()
    axes.set_xlim(0, rare.max() * 1.15)
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=1))
    axes.legend(frameon=False, title="votes cast", loc="lower right")
    return figure


def signal_timeline(signal: pd.Series, threshold: float, what: str) -> Figure:
    """One behaviour signal over the stream; events above the rule's threshold stand out."""
    above = signal > threshold
    clusters = 1 + (np.diff(signal.index[above]) > 1_000).sum() if above.any() else 0
    figure, axes = _single(
        f"{what}: {above.sum():,} events exceed the threshold, in {clusters} clusters",
        "event",
        f"{signal.name} (count)",
        figsize=(9, 3),
    )
    axes.vlines(signal.index[~above], 0, signal[~above], color=GREY, lw=0.6)
    axes.vlines(signal.index[above], 0, signal[above], color=RED, lw=0.8, label="rule fires")
    axes.axhline(threshold, color="black", lw=1, ls="--", label=f"threshold {threshold:g}")
    axes.legend(frameon=False)
    return figure


def suspicion_by_label(suspicion: np.ndarray, labels: np.ndarray, threshold: float) -> Figure:
    """Suspicion on a log axis, split by pseudo-label, and the budget's threshold."""
    return _histogram_by_label(
        suspicion,
        labels,
        threshold,
        f"{(labels == 1).sum():,} suspicious, {(labels == -1).sum():,} undecided, "
        f"{(labels == 0).sum():,} presumed normal",
        "suspicion (log scale)",
    )


def errors_by_label(errors: np.ndarray, labels: np.ndarray, threshold: float) -> Figure:
    """Reconstruction errors on a log axis, split by pseudo-label, and the threshold."""
    caught = (errors[labels == 1] > threshold).mean()
    return _histogram_by_label(
        errors,
        labels,
        threshold,
        f"{caught:.0%} of the suspicious events are rebuilt worse than 99.5 % of the presumed normals",
        "reconstruction error (log scale)",
    )


def _histogram_by_label(values, labels, threshold, title, x) -> Figure:
    figure, axes = _single(title, x, "events (log scale)")
    bins = _log_bins(values)
    for label in (0, -1, 1):
        name, colour = LABELS[label]
        axes.hist(values[labels == label], bins=bins, color=colour, alpha=0.6, label=name)
    axes.axvline(threshold, color="black", ls="--", label=f"threshold {threshold:.3g}")
    axes.set(xscale="log", yscale="log")
    axes.legend(frameon=False)
    return figure


def before_and_after_scaling(raw: np.ndarray, scaled: np.ndarray, names: Sequence[str]) -> Figure:
    """Spread of each input before and after scaling; boxes hold the middle half of the events."""
    figure, axes = _axes(1, 2, figsize=(9, 3.4))
    before, after = raw.std(axis=0), scaled.std(axis=0)
    for axis, values, title in (
        (axes[0, 0], raw, f"before: standard deviations\nfrom {before.min():.1f} to {before.max():.0f}"),
        (axes[0, 1], scaled, f"after: standard deviations\nfrom {after.min():.1f} to {after.max():.1f}"),
    ):
        sns.boxplot(pd.DataFrame(values, columns=names), orient="h", ax=axis, color=SKY, showfliers=False)
        axis.set_title(title, loc="left", fontweight="bold")
        axis.set_xlabel("value (outliers not drawn)")
    return figure


def past_only(original: pd.DataFrame, scrambled: pd.DataFrame, change: int, columns: Sequence[str]) -> Figure:
    """Signals of the real stream and of one whose future was scrambled: they part at `change`, not before."""
    figure, axes = _axes(len(columns), 1, figsize=(9, 1.7 * len(columns) + 0.6), sharex=True)
    before = original.index < change
    changed = (original.loc[before, list(columns)] != scrambled.loc[before, list(columns)]).to_numpy().sum()
    for axis, column in zip(axes[:, 0], columns, strict=True):
        axis.plot(scrambled[column], color=ORANGE, lw=1.2, label="future scrambled")
        axis.plot(original[column], color=BLUE, lw=0.6, label="real stream")
        axis.axvline(change, color="black", ls="--")
        axis.set_ylabel(column)
    axes[0, 0].set_title(
        f"The future changes at the line: {changed} of {before.sum() * len(columns):,} earlier values do",
        loc="left",
        fontweight="bold",
    )
    axes[0, 0].legend(frameon=False, loc="upper left", ncols=2)
    axes[-1, 0].set_xlabel("event")
    return figure


def one_burst(z: np.ndarray, others: np.ndarray, names: Sequence[str]) -> Figure:
    """The events of one burst, axis by axis, before a background of ordinary ones."""
    spread = z.std(axis=0).max()
    figure, axes = _single(
        f"{len(z)} events of one burst: their standard deviation is at most {spread:.1f} on any axis",
        "behaviour axis (red: the burst; grey: ordinary events around it)",
        "robust z-score",
    )
    axes.plot(names, others.T, color=GREY, lw=0.3, alpha=0.3)
    axes.plot(names, z.T, color=RED, lw=1.2, alpha=0.8)
    axes.axhspan(-3, 3, color=BLUE, alpha=0.08, lw=0)
    axes.annotate(
        "ordinary:\nwithin 3", (1.01, 0), xycoords=("axes fraction", "data"), color=BLUE, va="center"
    )
    return figure


def training_curves(history: Sequence[tuple[float, float]]) -> Figure:
    """Mean squared error an epoch, on training rows and on held-out ones."""
    errors = np.array(history)
    best = int(errors[:, 1].argmin())
    figure, axes = _single(
        f"Training stops after {len(errors)} passes: the held-out error fell "
        f"from {errors[0, 1]:.2f} to {errors[best, 1]:.2f}",
        "epoch",
        "mean squared error\n(log scale)",
        figsize=(9, 3.4),
    )
    epochs = np.arange(1, len(errors) + 1)
    axes.plot(epochs, errors[:, 0], color=GREY, label="training rows")
    axes.plot(epochs, errors[:, 1], color=BLUE, label="held-out rows")
    axes.plot(best + 1, errors[best, 1], "o", color=RED, label="kept")
    axes.set_yscale("log")
    axes.legend(frameon=False)
    return figure


def label_moves(labels: pd.DataFrame) -> Figure:
    """How many events moved from which label to which; one panel a round of refinement."""
    figure, axes = _axes(1, labels.shape[1] - 1, figsize=(10, 3.2), sharey=True)
    order = [LABELS[label][0] for label in (1, -1, 0)]
    names = labels.replace({label: name for label, (name, _) in LABELS.items()})
    for axis, (before, after) in zip(axes[0], pairwise(labels), strict=True):
        table = pd.crosstab(names[before], names[after]).reindex(index=order, columns=order, fill_value=0)
        moved = (labels[before] != labels[after]).sum()
        sns.heatmap(
            np.log10(table + 1), annot=table, fmt=",d", cmap="Blues", cbar=False, ax=axis, linewidths=2
        )
        axis.set_title(f"{after}: {moved:,} labels change", loc="left", fontweight="bold")
        axis.set(xlabel=f"after {after}", ylabel=f"before {after}")
    return figure


def badly_rebuilt(misfit: np.ndarray, index: pd.Index, names: Sequence[str]) -> Figure:
    """Which inputs the autoencoder rebuilt badly, one row an event."""
    share = misfit**2 / (misfit**2).sum(axis=1, keepdims=True)
    commonest = names[np.bincount(share.argmax(axis=1), minlength=len(names)).argmax()]
    figure, axes = _single(
        f"{commonest} is most often the worst rebuilt input of the {len(index)} largest errors",
        "input",
        "event",
        figsize=(8, 4.5),
    )
    table = pd.DataFrame(share, index=index, columns=names)
    sns.heatmap(
        table,
        ax=axes,
        cmap="Blues",
        vmin=0,
        vmax=1,
        cbar_kws={"label": "share of the event's error"},
    )
    axes.set(xlabel="input", ylabel="event (largest error first)")
    return figure


def suspicious_share_found(found: Mapping[str, float]) -> Figure:
    """How many pseudo-suspicious events each reconstruction ranks among its worst 0.5 %."""
    most = max(found.values())
    best = [DETECTORS[name][0] for name, share in found.items() if share == most]
    who = f"{best[0].capitalize()} finds" if len(best) == 1 else f"{len(best)} of {len(found)} detectors find"
    figure, axes = _single(
        f"{who} {most:.0%} of what the rules suspect, none finds more",
        "share of the suspicious pseudo-labels among the detector's 0.5 % most anomalous events",
        "",
        figsize=(9, 2.6),
    )
    names = list(found)
    axes.barh([DETECTORS[name][0] for name in names], list(found.values()), color=_colours(names))
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    axes.invert_yaxis()
    return figure


def agreement(counts: pd.DataFrame) -> Figure:
    """Rules against autoencoder: how many training events in each combination."""
    counts = counts.reindex(
        index=["suspicious", "undecided", "presumed normal"],
        columns=["badly rebuilt", "well rebuilt"],
        fill_value=0,
    )
    figure, axes = _single(
        f"They agree on {counts.loc['suspicious', 'badly rebuilt']:,} suspicious and "
        f"{counts.loc['presumed normal', 'well rebuilt']:,} normal events",
        "",
        "",
        figsize=(6.5, 3),
    )
    sns.heatmap(
        np.log10(counts + 1),
        annot=counts,
        fmt=",d",
        cmap="Blues",
        cbar=False,
        ax=axes,
        linewidths=2,
    )
    axes.set(xlabel="the autoencoder says", ylabel="the rules say")
    return figure


def importances(importance: Mapping[str, pd.Series]) -> Figure:
    """Share of the gain of each input, one panel a judge."""
    figure, axes = _axes(1, len(importance), figsize=(9, 4))
    for axis, (name, shares) in zip(axes[0], importance.items(), strict=True):
        label, colour = DETECTORS[name]
        axis.barh(shares.index, shares, color=colour)
        axis.invert_yaxis()
        axis.xaxis.set_major_formatter(PercentFormatter(1))
        axis.set_xlabel("share of the total gain")
        axis.set_title(
            f"{label}:\n{shares.index[0]} decides {shares.iloc[0]:.0%}",
            loc="left",
            fontweight="bold",
        )
    return figure


def reasons(contributions: pd.Series, values: pd.Series, risk: float, event: int) -> Figure:
    """What pushed one event's risk up or down, in log-odds."""
    ordered = contributions.drop("bias").sort_values(key=np.abs)
    figure, axes = _single(
        f"Event {event:,}: {ordered.index[-1]} is the strongest reason for a risk of {risk:.2f}",
        "contribution to the log-odds (SHAP; left lowers the risk, right raises it)",
        "input and its value",
        figsize=(9, 3.6),
    )
    names = [f"{name} = {values[name]:.1f}" for name in ordered.index]
    axes.barh(names, ordered, color=np.where(ordered > 0, RED, BLUE))
    axes.axvline(0, color="black", lw=1)
    return figure


def circularity(scores: Mapping[str, float]) -> Figure:
    """F1 of judges against the labels that they were taught; `seed_rules` is a judge of the naive rule."""
    best = max(scores.values())
    figure, axes = _single(
        f"Against its own labels a judge reaches an F1 of {best:.2f}; that says nothing of fraud",
        "F1 on the test part, against the labels it was taught",
        "",
        figsize=(9, 2.8),
    )
    labels = [DETECTORS[name][0].replace("naive", "judge of the naive") for name in scores]
    axes.barh(labels, list(scores.values()), color=_colours(list(scores)))
    for row, value in enumerate(scores.values()):
        axes.annotate(f"{value:.2f}", (value, row), xytext=(4, 0), textcoords="offset points", va="center")
    axes.set_xlim(0, 1.1)
    axes.invert_yaxis()
    return figure


def precision_recall(
    truth: np.ndarray, scores: Mapping[str, np.ndarray], budget: Mapping[str, dict | None]
) -> Figure:
    """Precision against recall of every detector; dots mark the alert budget, a cross the naive rule."""
    from sklearn.metrics import precision_recall_curve

    best = max(
        (name for name in budget if budget[name] and name != "oracle"),
        key=lambda n: budget[n]["recall"],
    )
    figure, axes = _single(
        f"At the budget the {DETECTORS[best][0]} finds {budget[best]['recall']:.0%} of the frauds "
        f"with a precision of {budget[best]['precision']:.0%}",
        "recall: share of the frauds found",
        "precision: share of alerts\nthat are fraud",
        figsize=(9, 5),
    )
    for name, score in scores.items():
        label, colour = DETECTORS[name]
        if budget[name] is None:
            flagged = score > 0
            hits = (flagged & (truth == 1)).sum()
            axes.plot(hits / truth.sum(), hits / flagged.sum(), "X", ms=10, color=colour, label=label)
            continue
        precision, recall, _ = precision_recall_curve(truth, score)
        axes.step(
            recall,
            precision,
            where="post",
            color=colour,
            lw=1.8,
            label=label,
            ls="--" if name == "oracle" else "-",
        )
        axes.plot(budget[name]["recall"], budget[name]["precision"], "o", color=colour, ms=7, mec="white")
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5), fontsize="small")
    return figure


def precision_with_intervals(detectors: Mapping[str, dict]) -> Figure:
    """Average precision of every detector with its block-bootstrap interval."""
    label_free = [name for name in detectors if name != "oracle"]
    best = max(label_free, key=lambda name: detectors[name]["average_precision"])
    value = detectors[best]["average_precision"]
    reach = sum(detectors[name]["average_precision_ci"][1] >= value for name in label_free if name != best)
    figure, axes = _single(
        f"Without labels the {DETECTORS[best][0]} comes first at {value:.2f}; "
        f"the intervals of {reach} others reach as far",
        "average precision (bar: 95 % block-bootstrap interval)",
        "",
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
    columns = (len(matrices) + 1) // 2
    figure, axes = _axes(2, columns, figsize=(11, 5))
    for axis in axes.flat[len(matrices) :]:
        axis.set_visible(False)
    for axis, (name, matrix) in zip(axes.flat, matrices.items(), strict=False):
        label, colour = DETECTORS[name]
        _confusion(axis, matrix, colour)
        axis.set_title(label.replace(", ", ",\n"), fontsize="small", fontweight="bold")
    return figure


def _confusion(axis: plt.Axes, matrix: np.ndarray, colour: str) -> None:
    """One confusion matrix under a bar in the detector's colour; the shades are logarithmic."""
    sns.heatmap(
        np.log10(np.asarray(matrix) + 1),
        annot=matrix,
        fmt=",d",
        cmap="Blues",
        cbar=False,
        ax=axis,
        linewidths=2,
        xticklabels=["quiet", "alert"],
        yticklabels=["honest", "fraud"],
    )
    axis.spines["top"].set(visible=True, color=colour, linewidth=5)


def errors_by_truth(errors: Mapping[str, np.ndarray], truth: np.ndarray) -> Figure:
    """Error histograms by truth, one panel a detector."""
    figure, axes = _axes(1, len(errors), figsize=(11, 3.6), sharey=True)
    for axis, (name, values) in zip(axes[0], errors.items(), strict=True):
        bins = _log_bins(values)
        honest, fraud = values[truth == 0], values[truth == 1]
        for part, colour, label in ((honest, BLUE, "honest"), (fraud, RED, "fraud")):
            axis.hist(
                part,
                bins=bins,
                weights=np.full(len(part), 1 / len(part)),
                color=colour,
                alpha=0.6,
                label=label,
            )
        beyond = (fraud > np.quantile(honest, 0.995)).mean()
        axis.set_title(
            f"{DETECTORS[name][0]}:\n{beyond:.0%} of frauds beyond\n99.5 % of honest events",
            loc="left",
            fontsize="small",
        )
        axis.set(xscale="log", xlabel="score (log scale)")
    axes[0, 0].set_ylabel("share of events")
    axes[0, 0].legend(frameon=False)
    return figure


def false_alarms(detectors: Mapping[str, dict]) -> Figure:
    """False positives of every detector at the naive rule's recall."""
    values = {name: d["at_seed_recall"]["false_positives"] for name, d in detectors.items()}
    best = min((name for name in values if name != "oracle"), key=values.__getitem__)
    figure, axes = _single(
        f"To find as many frauds, the {DETECTORS[best][0]} disturbs {values[best]:,} honest customers, "
        f"the naive rule {values['seed_rules']:,}",
        "false positives at the naive rule's recall",
        "",
    )
    axes.barh([DETECTORS[name][0] for name in values], list(values.values()), color=_colours(list(values)))
    for row, value in enumerate(values.values()):
        axes.annotate(f"{value:,}", (value, row), xytext=(4, 0), textcoords="offset points", va="center")
    axes.invert_yaxis()
    return figure


def episodes_found(table: pd.DataFrame, names: Sequence[str]) -> Figure:
    """Which detector's alerts touch which episode of fraud."""
    found = table[list(names)].astype(int)
    nobody = int((found.drop(columns="oracle", errors="ignore").sum(axis=1) == 0).sum())
    figure, axes = _single(
        f"{nobody} of {len(table)} episodes are found by no label-free detector (filled: found)",
        "",
        "",
        figsize=(10, 5),
    )
    shown = found.T.mul(np.arange(1, len(names) + 1), axis=0)  # 0: missed; otherwise the detector's row
    shown = shown.set_axis([DETECTORS[name][0] for name in names])
    shown.columns = [
        f"{first:,} ({frauds})" for first, frauds in zip(table["first_event"], table["frauds"], strict=True)
    ]
    colours = ["#f2f2f2", *_colours(names)]
    sns.heatmap(shown, cmap=colours, vmin=0, vmax=len(names), cbar=False, linewidths=1.5, ax=axes)
    axes.set_xlabel("episode: first event (number of frauds)")
    return figure


def where_frauds_lie(distance: np.ndarray, truth: np.ndarray, found: np.ndarray) -> Figure:
    """Distance from the profile: honest events, found frauds, missed frauds."""
    fraud = truth == 1
    missed = fraud & ~found
    typical = (distance[missed] < np.quantile(distance[~fraud], 0.99)).mean() if missed.any() else 0.0
    figure, axes = _single(
        f"{missed.sum()} frauds are missed by every label-free detector; "
        f"{typical:.0%} of these lie within 99 % of honest events",
        "distance from the profile (log scale)",
        "",
        figsize=(9, 3.2),
    )
    groups = (
        ("honest", ~fraud, BLUE),
        ("fraud, found", fraud & found, GREEN),
        ("fraud, missed", missed, RED),
    )
    jitter = np.random.default_rng(0)
    for row, (_, mask, colour) in enumerate(groups):
        height = row + jitter.uniform(-0.3, 0.3, mask.sum())
        axes.scatter(
            distance[mask],
            height,
            s=4 if row == 0 else 30,
            color=colour,
            alpha=0.3 if row == 0 else 0.8,
            lw=0,
        )
    axes.set_yticks(range(3), [f"{name} ({mask.sum():,})" for name, mask, _ in groups])
    axes.set_xscale("log")
    axes.invert_yaxis()
    return figure


def fraud_ranks(ranks: Mapping[str, np.ndarray]) -> Figure:
    """Frauds in order of the share of honest events that are more extreme; one line a window."""
    middle = [np.median(values) for values in ranks.values()]
    figure, axes = _single(
        "The median fraud is outdone by "
        + " and by ".join(f"{value:.1%}" for value in middle)
        + " of the honest events",
        "share of honest events farther from the profile (log scale)",
        "share of the frauds",
        figsize=(9, 3.6),
    )
    for (label, values), colour in zip(ranks.items(), (BLUE, RED), strict=True):
        ordered = np.maximum(np.sort(values), 1e-4)
        height = np.arange(1, len(ordered) + 1) / len(ordered)
        axes.step(ordered, height, where="post", color=colour, lw=2, label=label)
    axes.axvline(0.005, color="black", ls="--", label="the alert budget")
    axes.set(xscale="log", ylim=(0, 1))
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=2))
    axes.legend(frameon=False, loc="lower right")
    return figure


def ablation(table: pd.DataFrame, reference: str) -> Figure:
    """Average precision of every variant, mean and range over seeds; one panel a window."""
    spread = table.groupby(["start", "variant"])["average_precision"].agg(["mean", "min", "max"])
    first, *_ = starts = sorted(table["start"].unique())
    order = spread.loc[first]["mean"].sort_values().index
    figure, axes = _axes(1, len(starts), figsize=(11, 6), sharey=True)
    for axis, start in zip(axes[0], starts, strict=True):
        window = spread.loc[start].loc[order]
        full = window.loc[reference]
        axis.axvspan(full["min"], full["max"], color=GREEN, alpha=0.15, lw=0)
        axis.hlines(window.index, window["min"], window["max"], color=GREY, lw=3, alpha=0.7)
        fill = [DETECTORS[VARIANTS[name]][1] if name in VARIANTS else "white" for name in window.index]
        edge = ["black" if colour == "white" else colour for colour in fill]
        axis.scatter(window["mean"], window.index, c=fill, edgecolors=edge, zorder=3)
        axis.set_title(
            f"From {start:,}: {reference} {full['mean']:.2f}, oracle {window['mean']['oracle']:.2f}",
            loc="left",
            fontweight="bold",
            fontsize="medium",
        )
        axis.set_xlabel(
            "average precision (log scale; bar: range\nover seeds; green band: that of the judge)"
        )
        axis.set_xscale("log")
    return figure


def rule_coverage(signal: pd.Series, threshold: float, budget: float = 5) -> Figure:
    """How many of 1,000 events a rule accuses at every threshold of its signal, and at this one."""
    accused = (signal > threshold).mean() * 1_000
    figure, axes = _single(
        f"{signal.name} > {threshold:g} accuses {accused:.1f} of 1,000 events; the budget is {budget:g}",
        f"threshold of {signal.name}",
        "accused of 1,000 events\n(log scale)",
        figsize=(9, 3),
    )
    values = np.sort(signal.to_numpy())
    share = (len(values) - np.searchsorted(values, values, side="right")) * 1_000 / len(values)
    axes.step(
        values, np.where(share > 0, share, np.nan), where="post", color="black", label="every threshold"
    )
    axes.axhline(budget, color=RED, lw=2, label="alert budget")
    axes.plot(threshold, accused, "o", ms=9, color=BLUE, label="this threshold", clip_on=False)
    axes.set_yscale("log")
    axes.legend(frameon=False)
    return figure


def budget_choice(curve: pd.DataFrame, cost: pd.Series, per: int, name: str, nothing: float) -> Figure:
    """What one alert budget means: its confusion matrix, its precision and recall, its cost.

    Args:
        curve: from `evaluation.budget_curve`.
        cost: euro, by budget.
        per: the budget to mark, alerts in 1,000 events.
        name: the detector.
        nothing: the cost of looking at no alert, in euro.
    """
    figure, axes = _axes(1, 3, figsize=(11, 3.6), width_ratios=(1, 1.2, 1.5))
    label, colour = DETECTORS[name]
    chosen = curve.loc[per]
    matrix = chosen[["honest_quiet", "false_alarms", "missed", "found"]].to_numpy(int).reshape(2, 2)
    _confusion(axes[0, 0], matrix, colour)
    axes[0, 0].set_title(
        f"{label}, budget {per}:\n{chosen['found']:.0f} frauds in {matrix[:, 1].sum():,} alerts",
        loc="left",
        fontsize="small",
        fontweight="bold",
    )
    axes[0, 1].plot(curve["recall"], curve["precision"], color=colour)
    axes[0, 1].plot(chosen["recall"], chosen["precision"], "o", ms=9, color=colour, mec="black")
    axes[0, 1].set(xlim=(0, 1), ylim=(0, 1), xlabel="recall", ylabel="precision")
    axes[0, 1].set_title(
        f"precision {chosen['precision']:.0%}, recall {chosen['recall']:.0%}", loc="left", fontsize="small"
    )
    axes[0, 2].plot(cost.index, cost, color=colour)
    axes[0, 2].plot(per, cost[per], "o", ms=9, color=colour, mec="black")
    axes[0, 2].axhline(nothing, color="black", ls="--", lw=1, label="looking at nothing")
    axes[0, 2].set(xlabel="budget: alerts in 1,000 events", ylabel="cost in euro", ylim=0)
    axes[0, 2].set_title(
        f"{cost[per]:,.0f} euro; cheapest at {cost.idxmin()}: {cost.min():,.0f}", loc="left", fontsize="small"
    )
    axes[0, 2].legend(frameon=False, fontsize="small", loc="lower right")
    return figure


STREAM = {  # label, colour, line; the wine and the olive are Paul Tol's
    "stream": ("learns from its reviews", "#882255", "-"),
    "judge": ("label-free judge", DETECTORS["judge"][1], "-"),
    "seed_rules": ("naive rule", DETECTORS["seed_rules"][1], "-"),
    "oracle": ("oracle, trained once", DETECTORS["oracle"][1], "-"),
    "oracle_prequential": ("oracle, told every older label", DETECTORS["oracle"][1], "--"),
    "perfect": ("perfect ranking", DETECTORS["oracle"][1], ":"),
}
EVENTS = StrMethodFormatter("{x:,.0f}")


def found_per_review(found: Mapping[str, np.ndarray]) -> Figure:
    """Frauds found against alerts reviewed; one line a detector, all with the same budget."""
    totals = {name: int(values.sum()) for name, values in found.items()}
    figure, axes = _single(
        f"After {max(map(len, found.values())):,} reviews the learner has found {totals['stream']} frauds, "
        f"the label-free judge {totals['judge']}",
        "alerts reviewed",
        "frauds found",
    )
    for name in sorted(totals, key=totals.__getitem__, reverse=True):
        label, colour, line = STREAM[name]
        axes.step(
            np.arange(len(found[name]) + 1),
            np.r_[0, found[name].cumsum()],
            where="post",
            color=colour,
            ls=line,
            lw=3 if name == "stream" else 1.5,
            label=f"{label}: {totals[name]}",
        )
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5), fontsize="small")
    return figure


def stream_timeline(index: pd.Index, alert: np.ndarray, truth: np.ndarray, per: int = 1_000) -> Figure:
    """Finds, false alarms and misses over the stream's clock."""
    fraud = truth == 1
    hits, misses = int((alert & fraud).sum()), int((fraud & ~alert).sum())
    crowd = pd.Series(fraud).groupby(index // per).sum().max()
    figure, axes = _single(
        f"{hits} frauds found, {misses} missed; the busiest {per:,} events hold {crowd} frauds",
        "event (the stream's clock)",
        "",
        figsize=(10, 2.8),
    )
    groups = (
        ("missed", fraud & ~alert, RED),
        ("found", fraud & alert, GREEN),
        ("false alarm", alert & ~fraud, GREY),
    )
    for row, (_, mask, colour) in enumerate(groups):
        axes.plot(index[mask], np.full(mask.sum(), row), "|", ms=22, mew=1.2, color=colour, alpha=0.8)
    axes.set_yticks(range(3), [f"{name} ({mask.sum()})" for name, mask, _ in groups])
    axes.set_ylim(-0.6, 2.6)
    axes.xaxis.set_major_formatter(EVENTS)
    return figure


def precision_and_recall_so_far(
    index: pd.Index, alerts: Mapping[str, np.ndarray], truth: np.ndarray
) -> Figure:
    """Share of alerts that were fraud, and of frauds that were found, from the start of the stream."""
    figure, axes = _axes(1, 2, figsize=(11, 3.8), sharey=True)
    for name, alert in alerts.items():
        label, colour, line = STREAM[name]
        hits = (alert & (truth == 1)).cumsum()
        for axis, total in zip(axes[0], (alert.cumsum(), (truth == 1).cumsum()), strict=True):
            axis.plot(index, hits / np.maximum(total, 1), color=colour, ls=line, label=label)
    ours = alerts["stream"] & (truth == 1)
    axes[0, 0].set_title(
        f"Precision so far: {ours.sum() / alerts['stream'].sum():.0%} at the end",
        loc="left",
        fontweight="bold",
    )
    axes[0, 1].set_title(
        f"Recall so far: {ours.sum() / (truth == 1).sum():.0%} at the end", loc="left", fontweight="bold"
    )
    for axis in axes[0]:
        axis.set(xlabel="event (the stream's clock)", ylim=(0, 1))
        axis.yaxis.set_major_formatter(PercentFormatter(1))
        axis.xaxis.set_major_formatter(EVENTS)
        axis.xaxis.set_major_locator(MaxNLocator(5))
    axes[0, 0].legend(frameon=False, fontsize="small")
    return figure


def drift_map(psi: pd.DataFrame, limits: pd.Series) -> Figure:
    """Population stability index of every input and block, relative to what the warm-up itself varied."""
    relative = (psi / limits).T
    alarms = (relative > 1).any()
    worst = relative.max(axis=1).idxmax()
    figure, axes = _single(
        f"{alarms.sum()} of {len(alarms)} blocks drift farther than the warm-up ever did, {worst} farthest",
        "",
        "",
        figsize=(10, 3.4),
    )
    sns.heatmap(relative.clip(upper=1), ax=axes, cmap="Greys", vmin=0, vmax=3, cbar=False)
    sns.heatmap(
        relative,
        mask=relative <= 1,
        ax=axes,
        cmap=sns.light_palette(RED, as_cmap=True),
        vmin=0,
        vmax=max(2, relative.max(axis=None)),
        cbar_kws={"label": "PSI over its largest in the\nwarm-up; coloured: alarm"},
        xticklabels=[f"{first:,}" if place % 5 == 0 else "" for place, first in enumerate(relative)],
    )
    axes.tick_params(axis="x", length=0, rotation=0)
    axes.set(xlabel="first event of the block", ylabel="")
    return figure


def growth(measured: pd.DataFrame, crossover: float | None) -> Figure:
    """Seconds and peak memory of each path against the number of events, on log axes.

    Args:
        measured: one row a size and path, with events, path, work_s, total_s and peak_mb.
        crossover: the number of events from which Spark on 2 cores is done first; None for never.
    """
    figure, (axes,) = _axes(1, 2, figsize=(11, 4.2))
    ahead = "never ahead" if crossover is None else f"ahead from {float(f'{crossover:.1g}'):,.0f} events"
    titles = (f"Spark on 2 cores: {ahead}", "Memory at its peak")
    for axis, title, y in zip(axes, titles, ("seconds (log scale)", "MB"), strict=True):
        axis.set_title(title, loc="left", fontweight="bold")
        axis.set(xscale="log", xlabel="events (log scale)", ylabel=y)
    for (path, rows), colour in zip(measured.groupby("path", sort=False), (BLUE, ORANGE, GREEN), strict=True):
        axes[0].plot(rows["events"], rows["work_s"], "o-", color=colour, label=path)
        axes[0].plot(rows["events"], rows["total_s"], "x:", color=colour)
        axes[1].plot(rows["events"], rows["peak_mb"].astype(float), "o-", color=colour, label=path)
    axes[0].plot([], [], "x:", color="black", label="start-up included")
    axes[0].set_yscale("log")
    axes[1].set_ylim(bottom=0)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False)
    return figure


def forgotten(remembered: pd.Series, alone: pd.Series, batch: int) -> Figure:
    """Burst counts of alerts with the key's memory against those of a worker that starts afresh.

    Args:
        remembered, alone: burst counts of the same alerts, indexed by the event's turn within its key.
        batch: events of a key in a micro-batch.
    """
    lost = (alone < remembered).mean()
    figure, axes = _single(
        f"Without memory {lost:.0%} of the alerts lose a part of their burst",
        "position in the micro-batch, in events of the key",
        "similar unusual events before it",
    )
    position = remembered.index % batch
    axes.vlines(position, alone, remembered, color=GREY, lw=0.8, alpha=0.6)
    axes.scatter(
        position, remembered, color=BLUE, s=14, label="seen with the key's last 1,000 events", zorder=3
    )
    axes.scatter(position, alone, color=RED, s=8, label="seen in the micro-batch alone", zorder=3)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(frameon=False)
    return figure
