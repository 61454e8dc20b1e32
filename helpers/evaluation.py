"""How good is a score? Metrics, the alert budget, intervals and episodes: arrays in, numbers out.

Knows no stage of the course. Everywhere `truth` is (n,) of 0 and 1 (1 = fraud), `score` (n,) finite
numbers, higher = more suspicious, both in time order; `start` is the number of the first event.
Bad input, and a metric that does not exist for these events, raise ValueError with one sentence.
"""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Integral

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial.distance import cdist
from sklearn.metrics import average_precision_score, confusion_matrix, roc_auc_score, roc_curve

from helpers.settings import ALERTS, BLOCK, WINDOW_ROWS, WINDOWS


def choose_alerts(score: ArrayLike, start: int = 0, per: int = ALERTS, of: int = BLOCK) -> np.ndarray:
    """Spend the alert budget: the `per` riskiest of every `of` consecutive events.

    Blocks follow the stream's clock: event e belongs to block e // of, wherever the scores begin.
    A block seen in part, at either end, gets its proportional share, rounded down: half a block of
    5 alerts gets 2. The budget is never exceeded.

    Returns:
        (n,) bool; among equal scores of a block the earlier event is chosen.

    Raises:
        ValueError: if a score is not finite or a setting is not a whole number in range.
    """
    score = _score(score)
    for name, value, least in (("start", start, 0), ("per", per, 1), ("of", of, 1)):
        _whole(name, value, least)
    block = (start + np.arange(len(score))) // of - start // of
    size = np.bincount(block)
    order = np.lexsort((-score, block))
    rank = np.arange(len(score)) - (np.cumsum(size) - size)[block]
    alerts = np.zeros(len(score), dtype=bool)
    alerts[order[rank < (per * size // of)[block]]] = True
    return alerts


def budget_report(truth: ArrayLike, score: ArrayLike, start: int = 0) -> dict[str, int | float]:
    """What analysts get for their alert budget (see `choose_alerts`).

    Returns:
        alerts, true_positives, precision, recall, f1, and best_recall: what a perfect score would
        reach, since a block with more frauds than alerts cannot be cleared.

    Raises:
        ValueError: as `choose_alerts`; if there is no fraud, or too few events for one alert.
    """
    truth, score = _pair(truth, score)
    _need("Recall at the alert budget", truth)
    alerts = choose_alerts(score, start)
    if not alerts.any():
        raise ValueError(
            f"Precision at the alert budget does not exist: {len(score):,} events from event "
            f"{start:,} on are too few for an alert, take more rows."
        )
    (_, false_positives), (missed, found) = confusion_matrix(truth, alerts, labels=[False, True]).tolist()
    return {
        "alerts": found + false_positives,
        "true_positives": found,
        "precision": found / (found + false_positives),
        "recall": found / (found + missed),
        "f1": 2 * found / (2 * found + false_positives + missed),
        "best_recall": int((choose_alerts(truth, start) & truth).sum()) / (found + missed),
    }


def check_parts(truth: ArrayLike, n_train: int) -> None:
    """Before any work: both parts hold frauds and honest events.

    Raises:
        ValueError: naming the class and the part.
    """
    truth = _binary("truth", truth)
    for part, name in ((truth[:n_train], "training"), (truth[n_train:], "test")):
        for found, what in ((part, "a fraud"), (~part, "honest")):
            if not found.any():
                raise ValueError(
                    f"None of the {len(part):,} events of the {name} part is {what}, so nothing can be "
                    "compared: choose another window, or more rows."
                )


def accusations(
    truth: ArrayLike, fires: ArrayLike, suspicion: ArrayLike, start: int = 0
) -> dict[str, int | float]:
    """What a yes/no rule is worth, with its alerts in the order of a suspicion that ranks them.

    Args:
        truth: (n,) of 0 and 1.
        fires: (n,) yes/no, where the rule accuses.
        suspicion: (n,) positive numbers, higher = more suspicious.
        start: number of the first event.

    Returns:
        accused, frauds (among the accused), precision, recall, and within_budget: frauds among the
        alerts when the budget is spent on accused events alone. A rule that accuses nobody has a
        precision of 0.
    """
    truth, fires = _pair(truth, _binary("fires", fires))
    _need("A rule's recall", truth)
    fires = fires > 0
    alerts = choose_alerts(np.where(fires, _score(suspicion), 0.0), start) & fires
    found = int((fires & truth).sum())
    return {
        "accused": int(fires.sum()),
        "frauds": found,
        "precision": found / max(int(fires.sum()), 1),
        "recall": found / int(truth.sum()),
        "within_budget": int((alerts & truth).sum()),
    }


def budget_curve(truth: ArrayLike, score: ArrayLike, start: int = 0, most: int = 10 * ALERTS) -> pd.DataFrame:
    """What every alert budget from 1 to `most` of a block's events gives (see `choose_alerts`).

    Returns:
        One row a budget, its number the index `per`: honest_quiet, false_alarms, missed, found,
        precision (NaN where no alert was raised) and recall.
    """
    truth, score = _pair(truth, score)
    _need("Recall at a budget", truth)
    cells = ["honest_quiet", "false_alarms", "missed", "found"]
    alerts = (choose_alerts(score, start, per) for per in range(1, most + 1))
    counts = [np.bincount(2 * truth + flagged, minlength=4) for flagged in alerts]
    table = pd.DataFrame(counts, pd.RangeIndex(1, most + 1, name="per"), cells)
    return table.assign(
        precision=table["found"] / (table["found"] + table["false_alarms"]),
        recall=table["found"] / (table["found"] + table["missed"]),
    )


def budget_cost(curve: pd.DataFrame, review: float, missed: float) -> pd.Series:
    """Cost of every budget in euro, from `budget_curve`: looking at each alert, and each missed fraud."""
    return (curve["found"] + curve["false_alarms"]) * review + curve["missed"] * missed


def at_recall(truth: ArrayLike, score: ArrayLike, recall: float) -> dict[str, int | float]:
    """False positives at the highest threshold that reaches at least this recall (0 to 1).

    Events with tied scores are taken all together, so the recall reached may be larger.

    Returns:
        recall: the one reached; false_positives: legitimate events at or above the threshold.
    """
    truth, score = _pair(truth, score)
    _need("The number of false positives at a recall", truth, both=True)
    if not 0 <= recall <= 1:
        raise ValueError(f"recall must lie between 0 and 1, not {recall}.")
    false_rate, reached, _ = roc_curve(truth, score, drop_intermediate=False)
    point = np.searchsorted(reached, recall)
    false_positives = round(float(false_rate[point]) * int((~truth).sum()))
    return {"recall": float(reached[point]), "false_positives": false_positives}


def episode_draws(episode: np.ndarray, draws: int = 1_000, seed: int = 0) -> np.ndarray:
    """Draw the resamples of a bootstrap (Efron, 1979) over episodes.

    The frauds of an episode are one trick, not independent evidence, so whole episodes are drawn with
    replacement, as many as there are. Honest events are so many that they are taken as they are.

    Args:
        episode: (number of frauds,) int, from `episodes`.
        draws: how many.
        seed: of the draws.

    Returns:
        (draws, number of frauds) int: how often each fraud is drawn.

    Raises:
        ValueError: if there is no fraud, or a setting is not in range.
    """
    for name, value, least in (("draws", draws, 1), ("seed", seed, 0)):
        _whole(name, value, least)
    if not len(episode):
        raise ValueError("There is nothing to draw from: no event is a fraud, take more rows.")
    many = int(np.max(episode)) + 1
    return np.random.default_rng(seed).multinomial(many, np.full(many, 1 / many), size=draws)[:, episode]


def bootstrap_ap(truth: ArrayLike, scores: Mapping[str, ArrayLike], draws: np.ndarray) -> pd.DataFrame:
    """Average precision of every detector on the same resamples.

    Args:
        truth: (n,) of 0 and 1.
        scores: detector -> (n,) score.
        draws: (draws, number of frauds) int, from `episode_draws`.

    Returns:
        One row per draw, one column per detector.

    Raises:
        ValueError: if there is no fraud, or the draws were made for other frauds.
    """
    truth = _binary("truth", truth)
    _need("Average precision", truth)
    if draws.shape[1] != truth.sum():
        raise ValueError(
            f"The draws are of {draws.shape[1]} frauds, but there are {truth.sum()}: make them with "
            "episode_draws for these events."
        )
    return pd.DataFrame({name: _resampled_ap(*_pair(truth, score), draws) for name, score in scores.items()})


def coverage(
    truth: ArrayLike,
    score: ArrayLike,
    episode: np.ndarray,
    other: ArrayLike | None = None,
    times: int = 300,
    seed: int = 0,
) -> float:
    """How often a "95 %" interval holds the value it is meant to hold, by a double bootstrap.

    The value is the average precision of `score`, or how far it is ahead of that of the `other` one.

    The events at hand play the world. `times` samples are drawn from them by episodes, each gets its interval
    by the same bootstrap, and the share of intervals that hold the world's average precision is counted.
    """
    both = [_pair(truth, values)[1] for values in (score, other) if values is not None]
    truth = _binary("truth", truth)

    def value(draws: np.ndarray) -> np.ndarray:
        ap, *less = (_resampled_ap(truth, values, draws) for values in both)
        return ap - sum(less)

    many = int(np.max(episode)) + 1
    (world,) = value(np.ones((1, len(episode)), dtype=int))
    random, held = np.random.default_rng(seed), 0
    for _ in range(times):
        sample = random.integers(0, many, many)
        counts = random.multinomial(many, np.full(many, 1 / many), size=times)
        drawn = np.zeros((times, many), dtype=int)
        np.add.at(drawn.T, sample, counts.T)
        lo, hi = interval(value(drawn[:, episode]))
        held += lo <= world <= hi
    return held / times


def without_largest(episode: np.ndarray, truth: ArrayLike) -> np.ndarray:
    """(n,) bool: all events but the frauds of the largest episode."""
    keep = np.ones(len(truth), dtype=bool)
    keep[_binary("truth", truth)] = episode != np.bincount(episode).argmax()
    return keep


def interval(values: ArrayLike, level: float = 0.95) -> tuple[float, float]:
    """Percentile interval (lo, hi) of bootstrapped values, leaving out NaN (no fraud drawn)."""
    values = np.asarray(values, dtype=float)
    values = values[~np.isnan(values)]
    if not len(values):
        raise ValueError("There is no interval: no draw contains a fraud, take more draws or rows.")
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, not {level}.")
    lo, hi = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(lo), float(hi)


def compare(
    boot: pd.DataFrame, observed: Mapping[str, float], a: str, b: str, level: float = 0.95
) -> dict[str, float | str]:
    """Is detector `a` better than `b`?

    Args:
        boot: from `bootstrap_ap`.
        observed: detector -> its average precision on the events themselves.
        a, b: two of the detectors.
        level: of the interval.

    Returns:
        difference: that of the observed values; lo, hi: its interval over the draws; verdict: "better",
        "worse", or "cannot tell" when zero is inside.
    """
    for name in (a, b):
        if name not in boot:
            raise ValueError(f"{name!r} was not bootstrapped: choose from {', '.join(boot)}.")
    lo, hi = interval(boot[a] - boot[b], level)
    verdict = "better" if lo > 0 else "worse" if hi < 0 else "cannot tell"
    return {"difference": observed[a] - observed[b], "lo": lo, "hi": hi, "verdict": verdict}


def episodes(truth: ArrayLike, axes: ArrayLike, window: int = 1_000, *, radius: float) -> np.ndarray:
    """Group frauds into episodes: runs of similar frauds close in time.

    Two frauds are linked when at most `window` events apart and no farther from each other than
    `radius` times the later one's own length, the similarity of `features.burst_count`.
    An episode is everything that links connect.

    Args:
        truth: (n,) of 0 and 1.
        axes: (n, k) robust z-scores of the behaviour axes, in time order.
        window: how far back a link may reach, in events.
        radius: largest distance, relative to the later event's own length.

    Returns:
        (number of frauds,) int: the episode of each fraud, numbered from 0 by first event.

    Raises:
        ValueError: if the lengths differ, a value is not finite, or a setting is not in range.
    """
    truth, axes = _binary("truth", truth), np.asarray(axes, dtype=float)
    _whole("window", window, 1)
    if not radius >= 0:
        raise ValueError(f"radius must be 0 or more, not {radius}.")
    if axes.ndim != 2 or len(axes) != len(truth) or not np.isfinite(axes).all():
        raise ValueError(f"axes must be finite, with one row for each of {len(truth):,} events.")
    events, axes = np.flatnonzero(truth), axes[truth]
    gap = events - events[:, None]
    similar = cdist(axes, axes) <= radius * np.linalg.norm(axes, axis=1)
    linked = (gap > 0) & (gap <= window) & similar
    return connected_components(csr_array(linked), directed=False)[1]


def episode_table(
    truth: ArrayLike, labels: np.ndarray, flagged: Mapping[str, ArrayLike], start: int = 0
) -> pd.DataFrame:
    """One row per episode: how large, when, and who found it.

    Args:
        truth: (n,) of 0 and 1.
        labels: (number of frauds,) int, from `episodes`.
        flagged: detector -> (n,) yes/no, the events it alerts on.
        start: number of the first event.

    Returns:
        Columns frauds, first_event, last_event, and one per detector: True when it alerted on at
        least one fraud of the episode.
    """
    truth = _binary("truth", truth)
    if len(labels) != truth.sum():
        raise ValueError(f"There are {truth.sum()} frauds but {len(labels)} episode labels.")
    found = {n: _pair(truth, _binary(n, flags))[1][truth] > 0 for n, flags in flagged.items()}
    by = pd.Index(labels, name="episode")
    when = pd.Series(np.flatnonzero(truth) + start, index=by).groupby(level=0)
    table = when.agg(frauds="size", first_event="min", last_event="max")
    return table.join(pd.DataFrame(found, index=by).groupby(level=0).any())


def evaluate(
    truth: ArrayLike,
    scores: Mapping[str, ArrayLike],
    episode: np.ndarray,
    start: int = 0,
    seed_name: str = "seed_rules",
    seed: int = 0,
) -> dict[str, dict]:
    """Measure every detector: the `detectors` of summary.json, plain unrounded numbers.

    Args:
        truth: (n,) of 0 and 1.
        scores: detector -> (n,) score, or (n,) bool for one that only says yes or no.
        episode: (number of frauds,) int, from `episodes`.
        start: number of the first event.
        seed_name: the yes/no detector whose recall the others are held to.
        seed: of the bootstrap.

    Returns:
        detector -> average_precision, average_precision_ci [lo, hi], without_largest (average precision
        without the largest episode; None if there is no other), roc_auc, budget (None for a yes/no
        detector, which ranks nothing), at_seed_recall.

    Raises:
        ValueError: if the seed is missing or not bool, or where a metric does not exist.
    """
    truth = _binary("truth", truth)
    if seed_name not in scores or np.asarray(scores[seed_name]).dtype != bool:
        raise ValueError(f"scores must contain {seed_name!r} as a yes/no array of dtype bool.")
    _need("Average precision", truth)
    boot = bootstrap_ap(truth, scores, episode_draws(episode, seed=seed))
    rest = without_largest(episode, truth)
    _need("ROC-AUC", truth, both=True)
    seed_recall = float(np.asarray(scores[seed_name])[truth].mean())
    return {
        name: {
            "average_precision": float(average_precision_score(truth, _score(score))),
            "average_precision_ci": list(interval(boot[name])),
            "without_largest": float(average_precision_score(truth[rest], _score(score)[rest]))
            if truth[rest].any()
            else None,
            "roc_auc": float(roc_auc_score(truth, _score(score))),
            "budget": _budget_entry(truth, score, start),
            "at_seed_recall": at_recall(truth, score, seed_recall),
        }
        for name, score in scores.items()
    }


def results_table(detectors: Mapping[str, dict]) -> pd.DataFrame:
    """The result of `evaluate` as rounded text for display, best last, "-" where there is no value."""
    rows = {}
    for name, entry in sorted(detectors.items(), key=lambda item: item[1]["average_precision"]):
        low, high = entry["average_precision_ci"]
        budget, rest = entry["budget"], entry["without_largest"]
        rows[name] = {
            "AP": f"{entry['average_precision']:.3f}",
            "95 % interval": f"{low:.3f} to {high:.3f}",
            "AP without the largest episode": "-" if rest is None else f"{rest:.3f}",
            "ROC-AUC": f"{entry['roc_auc']:.3f}",
            "precision at the budget": f"{budget['precision']:.3f}" if budget else "-",
            "recall at the budget": f"{budget['recall']:.3f}" if budget else "-",
            "false positives at the naive rule's recall": f"{entry['at_seed_recall']['false_positives']:,}",
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("detector")


def over_windows(table: pd.DataFrame, by: str, column: str) -> pd.DataFrame:
    """A column of results/sweep.csv or results/stream.csv, window beside window as text.

    Returns:
        One row each of `by`, best last: for the two windows that do not overlap mean (lowest to highest)
        over the seeds; then the mean over all starts of the first seed, of average precision the geometric
        one, and on how many starts each is no worse than the detector that never learns.
    """
    ratio = column == "average_precision"
    digits, style = (3, ".3f") if ratio else (1, ".0f")
    grouped = table.groupby(["start", by])[column].agg(["mean", "min", "max"])
    text = grouped.apply(
        lambda r: f"{r['mean']:.{digits}f} ({r['min']:{style}} to {r['max']:{style}})", axis=1
    )
    first = table[table["seed"] == table["seed"].min()]
    each = first.groupby([by, "start"])[column].mean().unstack()
    middle = np.exp(np.log(each.clip(lower=1e-9)).mean(axis=1)) if ratio else each.mean(axis=1)
    order = middle.sort_values(kind="stable").index
    sides = {f"events {s:,} to {s + WINDOW_ROWS - 1:,}": text.loc[s].loc[order] for s in WINDOWS}
    starts = f"{'geometric mean' if ratio else 'mean'} over {each.shape[1]} starts"
    ahead = (each >= each.loc["detector"]).sum(axis=1)[order]
    sides[starts] = middle[order].map(f"{{:.{digits}f}}".format)
    sides["not behind the detector"] = [f"{count} of {each.shape[1]}" for count in ahead]
    return pd.DataFrame(sides, index=order)


def found_over_windows(table: pd.DataFrame) -> pd.DataFrame:
    """Frauds found by the detectors of results/stream.csv, and what a perfect score would find."""
    possible = table[table["seed"] == table["seed"].min()].assign(detector="perfect", found=table["possible"])
    return over_windows(pd.concat([table, possible]), "detector", "found")


def _budget_entry(truth: np.ndarray, score: ArrayLike, start: int) -> dict | None:
    if np.asarray(score).dtype == bool:
        return None
    report = budget_report(truth, score, start)
    del report["best_recall"]
    return report


def _resampled_ap(truth: np.ndarray, score: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """Average precision of every draw, without building one: at a fraud's score lie so many drawn frauds and
    honest events, those of the same score included."""
    honest, order = np.sort(score[~truth]), np.argsort(-score[truth], kind="stable")
    fraud, drawn = score[truth][order], draws[:, order]
    ties_end = np.searchsorted(-fraud, -fraud, side="right") - 1
    above = drawn.cumsum(axis=1)[:, ties_end]
    alerted = above + len(honest) - np.searchsorted(honest, fraud)
    return (drawn * above / np.maximum(alerted, 1)).sum(axis=1) / drawn.sum(axis=1)


def _pair(truth: ArrayLike, score: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    truth, score = _binary("truth", truth), _score(score)
    if len(truth) != len(score):
        raise ValueError(
            f"truth has {len(truth):,} events but the detector scored {len(score):,}: pass both "
            "for the same events."
        )
    return truth, score


def _binary(name: str, values: ArrayLike) -> np.ndarray:
    values = np.asarray(values)
    if values.ndim != 1 or not np.isin(values, (0, 1)).all():
        raise ValueError(f"{name} must be one column of 0 and 1.")
    return values.astype(bool)


def _score(values: ArrayLike) -> np.ndarray:
    try:
        values = np.asarray(values, dtype=float)
    except (TypeError, ValueError):
        raise ValueError("A score must be one column of numbers.") from None
    if values.ndim != 1:
        raise ValueError(f"A score must be one column of numbers, not of shape {values.shape}.")
    if not np.isfinite(values).all():
        bad = int(np.argmin(np.isfinite(values)))
        raise ValueError(f"The score at position {bad:,} is {values[bad]}: score every event.")
    return values


def _need(metric: str, truth: np.ndarray, both: bool = False) -> None:
    if truth.any() and not (both and truth.all()):
        return
    lacking = "legitimate" if truth.any() else "a fraud"
    raise ValueError(
        f"{metric} does not exist: none of the {len(truth):,} events is {lacking}, take more rows."
    )


def _whole(name: str, value: int, least: int) -> None:
    if not isinstance(value, Integral) or value < least:
        raise ValueError(f"{name} must be a whole number of {least} or more, not {value!r}.")
