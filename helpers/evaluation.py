"""How good is a score? Metrics, the alert budget, intervals and campaigns; last, tables to show.

`truth` is (n,) of 0 and 1 (1 = fraud), `score` (n,) finite numbers, higher = more suspicious, both in time
order; `start` is the number of the first event. What cannot be measured raises ValueError with one sentence.
"""

from collections.abc import Mapping
from fractions import Fraction

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial.distance import cdist
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from helpers.settings import ALERTS, BLOCK

VERDICTS = ["worse", "cannot tell", "better"]  # than the detector


def capacity(events: int, per: float = ALERTS, of: int = BLOCK) -> int:
    """Alerts that the budget of `per`, whole or not, of every `of` events allows after so many events."""
    return int(Fraction(str(per)) * int(events) // of)


def choose_alerts(score: ArrayLike, start: int = 0, per: float = ALERTS, of: int = BLOCK) -> np.ndarray:
    """Spend the alert budget: the `per` riskiest of every `of` consecutive events; (n,) bool.

    Blocks follow the stream's clock: event e belongs to block e // of, wherever the scores begin.
    A block seen in part, at either end, gets its proportional share, rounded down: half a block of
    5 alerts gets 2. What a broken rate such as 0.5 leaves over goes to the next block. Among equal scores of
    a block the earlier event is chosen.
    """
    score = _score(score)
    block = (start + np.arange(len(score))) // of - start // of
    size, whole = np.bincount(block), per == int(per)
    spent = np.array([capacity(events, per, of) for events in (size if whole else size.cumsum())])
    share = spent if whole else np.diff(spent, prepend=0)
    rank = pd.Series(-score).groupby(block).rank(method="first")
    return (rank <= share[block]).to_numpy()


def budget_report(truth: ArrayLike, score: ArrayLike, start: int = 0) -> dict[str, int | float]:
    """What analysts get for their alert budget: alerts, true_positives, precision and recall."""
    truth, score = _pair(truth, score)
    alerts = choose_alerts(score, start)
    if not (truth.any() and alerts.any()):
        lacking = "too few for an alert" if truth.any() else "all legitimate"
        raise ValueError(
            f"There is no precision and recall at the alert budget, because the {len(score):,} events from "
            f"event {start:,} on are {lacking}: take more rows."
        )
    raised, frauds, found = int(alerts.sum()), int(truth.sum()), int((alerts & truth).sum())
    return {"alerts": raised, "true_positives": found, "precision": found / raised, "recall": found / frauds}


def check_parts(truth: ArrayLike, n_train: int) -> None:
    """Both sets hold frauds and legitimate events; otherwise a ValueError names what is missing."""
    truth = _binary(truth)
    for part, name in ((truth[:n_train], "training"), (truth[n_train:], "test")):
        for found, what in ((part, "a fraud"), (~part, "legitimate")):
            if not found.any():
                raise ValueError(
                    f"None of the {len(part):,} events of the {name} set is {what}, so nothing can be "
                    "compared: choose another window, or more rows."
                )


def at_recall(truth: ArrayLike, score: ArrayLike, recall: float) -> dict[str, int | float]:
    """Legitimate events (false_positives) at or above the highest threshold that reaches at least this recall
    (0 to 1). Events with tied scores are taken all together, so the recall reached may be larger."""
    truth, score = _pair(truth, score)
    false_rate, reached, _ = roc_curve(truth, score, drop_intermediate=False)
    point = np.searchsorted(reached, recall)
    return {
        "recall": float(reached[point]),
        "false_positives": round(float(false_rate[point]) * int((~truth).sum())),
    }


def campaign_draws(campaign: np.ndarray, draws: int = 1_000, seed: int = 0) -> np.ndarray:
    """Draw the resamples of a bootstrap (Efron, 1979) over what `campaigns` gives, (frauds,) int.

    The frauds of a campaign are one trick, not independent evidence, so whole campaigns are drawn with
    replacement, as many as there are. Legitimate events are so many that they are taken as they are. Gives
    (draws, frauds) int: how often each fraud is drawn.
    """
    many = int(campaign.max()) + 1
    return np.random.default_rng(seed).multinomial(many, np.full(many, 1 / many), size=draws)[:, campaign]


def bootstrap_ap(truth: ArrayLike, scores: Mapping[str, ArrayLike], draws: np.ndarray) -> pd.DataFrame:
    """Average precision of every detector on the same resamples, (draws, detectors); `scores` are detector ->
    (n,) score, and `draws` (draws, frauds) int come from `campaign_draws`."""
    frauds = _binary(truth).sum()
    if draws.shape[1] != frauds:
        raise ValueError(
            f"The draws are of {draws.shape[1]} frauds, but there are {frauds}: make them with "
            "campaign_draws for these events."
        )
    return pd.DataFrame({name: _resampled_ap(*_pair(truth, score), draws) for name, score in scores.items()})


def _resampled_ap(truth: np.ndarray, score: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """Average precision of every draw, without building one: at a fraud's score lie so many drawn frauds and
    legitimate events, those of the same score included."""
    legitimate, order = np.sort(score[~truth]), np.argsort(-score[truth], kind="stable")
    fraud, drawn = score[truth][order], draws[:, order]
    ties_end = np.searchsorted(-fraud, -fraud, side="right") - 1
    above = drawn.cumsum(axis=1)[:, ties_end]
    alerted = above + len(legitimate) - np.searchsorted(legitimate, fraud)
    return (drawn * above / np.maximum(alerted, 1)).sum(axis=1) / drawn.sum(axis=1)


def without_largest(campaign: np.ndarray, truth: ArrayLike) -> np.ndarray:
    """(n,) bool: all events but the frauds of the largest campaign."""
    keep = np.ones(len(truth), dtype=bool)
    keep[_binary(truth)] = campaign != np.bincount(campaign).argmax()
    return keep


def interval(values: ArrayLike) -> tuple[float, float]:
    """The 95 % percentile interval (lo, hi) of bootstrapped values."""
    lo, hi = np.quantile(values, [(1 - 0.95) / 2, (1 + 0.95) / 2])
    return float(lo), float(hi)


def compare(boot: pd.DataFrame, observed: Mapping[str, float], a: str, b: str) -> dict[str, float | str]:
    """Is detector `a` better than `b`? `boot` is from `bootstrap_ap`; `observed` are the average precisions
    on the events themselves. Gives the observed difference, its interval over the draws (lo, hi), and the
    verdict: "better", "worse", or "cannot tell" when zero is inside."""
    lo, hi = interval(boot[a] - boot[b])
    verdict = "better" if lo > 0 else "worse" if hi < 0 else "cannot tell"
    return {"difference": observed[a] - observed[b], "lo": lo, "hi": hi, "verdict": verdict}


def campaigns(truth: ArrayLike, axes: ArrayLike, window: int = 1_000, *, radius: float) -> np.ndarray:
    """Group frauds into campaigns: runs of similar frauds close in time.

    Two frauds are linked when at most `window` events apart and, by their robust z-scores `axes` (n, k), no
    farther from each other than `radius` times the later one's own length, as in `features.burst_count`. A
    campaign is everything that links connect. Gives (frauds,) int, numbered from 0 by first event.
    """
    truth = _binary(truth)
    events, axes = np.flatnonzero(truth), np.asarray(axes)[truth]
    gap = events - events[:, None]
    similar = cdist(axes, axes) <= radius * np.linalg.norm(axes, axis=1)
    linked = (gap > 0) & (gap <= window) & similar
    return connected_components(csr_array(linked), directed=False)[1]


def evaluate(
    truth: ArrayLike, scores: Mapping[str, ArrayLike], campaign: np.ndarray, start: int = 0, seed: int = 0
) -> dict[str, dict]:
    """Measure every detector: the `detectors` of summary.json, plain unrounded numbers.

    `scores` are detector -> (n,) score, or (n,) bool for one that only says yes or no, as `seed_rules` does,
    to whose recall the others are held; `campaign` is (frauds,) int, from `campaigns`; `seed` the draws'.

    Gives detector -> average_precision, average_precision_ci [lo, hi], without_largest (campaign; None if
    there is no other), roc_auc, budget (None for yes or no, which ranks nothing), at_seed_recall.
    """
    truth = _binary(truth)
    if truth.all() or not truth.any():
        raise ValueError(f"Nothing can be measured, because all {len(truth):,} events are of one class.")
    boot = bootstrap_ap(truth, scores, campaign_draws(campaign, seed=seed))
    rest = without_largest(campaign, truth)
    others = truth[rest].any()
    seed_recall = float(np.asarray(scores["seed_rules"])[truth].mean())

    measured = {}
    for name, score in scores.items():
        says, score = np.asarray(score).dtype == bool, _score(score)
        measured[name] = {
            "average_precision": float(average_precision_score(truth, score)),
            "average_precision_ci": list(interval(boot[name])),
            "without_largest": float(average_precision_score(truth[rest], score[rest])) if others else None,
            "roc_auc": float(roc_auc_score(truth, score)),
            "budget": None if says else budget_report(truth, score, start),
            "at_seed_recall": at_recall(truth, score, seed_recall),
        }
    return measured


def results_table(detectors: Mapping[str, dict]) -> pd.DataFrame:
    """The result of `evaluate` as rounded text for display, best last, "-" where there is no value."""
    rows = {}
    for name, entry in sorted(detectors.items(), key=lambda item: item[1]["average_precision"]):
        low, high = entry["average_precision_ci"]
        budget, rest = entry["budget"], entry["without_largest"]
        rows[name] = {
            "AP": f"{entry['average_precision']:.3f}",
            "95 % interval": f"{low:.3f} to {high:.3f}",
            "AP without the largest campaign": "-" if rest is None else f"{rest:.3f}",
            "ROC-AUC": f"{entry['roc_auc']:.3f}",
            "precision at the budget": f"{budget['precision']:.3f}" if budget else "-",
            "recall at the budget": f"{budget['recall']:.3f}" if budget else "-",
            "false positives at the naive rule's recall": f"{entry['at_seed_recall']['false_positives']:,}",
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("detector")


def verdicts(table: pd.DataFrame) -> pd.DataFrame:
    """What results/sweep.csv or results/unseen.csv says of each variant, as text, best last: average
    precision (geometric mean over the starts), frauds found, and how many starts give its difference to the
    detector which verdict."""
    log, variant = np.log(table["average_precision"].clip(lower=1e-4)), table["variant"]
    ap, found = np.exp(log.groupby(variant).mean()), table["found"].groupby(variant).sum()
    counts = pd.crosstab(variant, table["verdict"]).reindex(columns=VERDICTS, fill_value=0)
    shown = pd.DataFrame({"AP": ap.map("{:.3f}".format), "frauds found": found}).join(counts)
    return shown.astype(str).loc[ap.sort_values().index]


def found_over_starts(table: pd.DataFrame) -> pd.DataFrame:
    """Frauds that each detector of results/stream.csv (of one seed) or results/unseen.csv finds from every
    start and in all, as text, and which share of the full-feedback reference's that is; the fewest first."""
    table = table.dropna(subset="possible")
    found = table.pivot(index="detector", columns="start", values="found")
    found.loc["perfect"] = table.groupby("start")["possible"].first()
    found.columns = [f"{start:,}" for start in found]
    found["all"] = found.sum(axis=1)
    share = (found["all"] / found.loc["full_feedback", "all"]).map("{:.0%}".format)
    order = found["all"].sort_values(kind="stable").index
    return found.map("{:.0f}".format).assign(**{"of the reference": share}).loc[order]


def _pair(truth: ArrayLike, score: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    truth, score = _binary(truth), _score(score)
    if len(truth) != len(score):
        raise ValueError(f"truth has {len(truth):,} events but the detector scored {len(score):,}.")
    return truth, score


def _binary(truth: ArrayLike) -> np.ndarray:
    truth = np.asarray(truth)
    if truth.ndim != 1 or not ((truth == 0) | (truth == 1)).all():
        raise ValueError("truth must be one column of 0 and 1.")
    return truth.astype(bool)


def _score(score: ArrayLike) -> np.ndarray:
    score = np.asarray(score, dtype=float)
    if not np.isfinite(score).all():
        bad = int(np.argmin(np.isfinite(score)))
        raise ValueError(f"The score at position {bad:,} is {score[bad]}: score every event.")
    return score
