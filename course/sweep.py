"""Many fits, five tables: seeds, starts, parts left out, the learner, worlds, the unseen. Never chosen by."""

import os
import tempfile
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.ensemble import IsolationForest
from sklearn.metrics import average_precision_score
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import NearestNeighbors

from course import jobs, results
from helpers import data, evaluation, headless, plots, rules, stream
from helpers.classifier import CLASSIFIER_INPUTS, Classifier
from helpers.detector import Detector, combine, tail
from helpers.features import Profile, behaviour
from helpers.files import CourseError, load_json
from helpers.rules import NORMAL, RULES, SUSPICIOUS, UNDECIDED
from helpers.schema import CARDS
from helpers.settings import (
    BLOCK,
    DELAY,
    DOUBT,
    KEEP,
    RADIUS,
    REPORTED,
    RESULTS,
    WARM_UP,
    WINDOW_ROWS,
    WINDOWS,
)

TABLE = RESULTS / "sweep.csv"
STREAM_TABLE = RESULTS / "stream.csv"
WRONG_TABLE = RESULTS / "wrong.csv"
WORLDS_TABLE = RESULTS / "worlds.csv"
SEEDS = tuple(range(3))
STARTS = tuple(range(0, 60_000, 10_000))  # of overlapping windows; the two that do not overlap get all seeds
PLACES = [(start, seed) for start in STARTS for seed in (SEEDS if start in WINDOWS else SEEDS[:1])]
STREAMS = [(start, seed) for start, seed in PLACES if seed < 2]
WORLDS = tuple(range(20))
WORLDS_NOTEBOOK = "09_streaming_sessions"
WORLDS_SOURCES = ("notebooks/n09.py", f"notebooks/{WORLDS_NOTEBOOK}.ipynb")
FULL = "detector"  # what every other variant is compared with
WRONG = 0.1  # share of the reviews
TELLING = {  # when customers report what nobody reviewed
    "stream": None,
    "reports": REPORTED,
    "reports_20000": 20_000,
    "reports_30000": 30_000,
    "every_label": DELAY,
}
SLIPS = tuple(range(10))  # seeds of the wrong reviews
ERRING = {  # when customers report, and shares of wrong reviews, of legitimate events and of frauds
    "wrong_reviews": (None, (WRONG, WRONG)),
    "wrong on legitimate events alone": (None, (WRONG, 0.0)),
    "wrong on frauds alone": (None, (0.0, WRONG)),
    "wrong_reviews_and_reports": (REPORTED, (WRONG, WRONG)),
}
UNSEEN = RESULTS / "unseen.csv"
UNSEEN_STARTS = tuple(range(70_000, 231_000, 20_000))  # of windows whose test sets nobody had looked at
WORKERS = os.cpu_count() or 1  # processes at a time


class Study:
    """One window and one seed, and the parts that variants share."""

    def __init__(self, start: int, seed: int, source: str = "snapshot") -> None:
        self.seed = seed
        self.events, self.truth = data.seal(data.load_events(source, WINDOW_ROWS, start))
        self.train = data.split(self.events)[0]
        self.n = len(self.train)
        self.profile = Profile.fit(self.train, seed=seed)
        self.fitted = Detector.fit(self.train, seed, profile=self.profile)
        self.signals = behaviour(self.events, self.fitted.profile)
        self.votes = rules.apply_rules(self.signals, self.fitted.thresholds)
        self.seen = self.fitted.seen(self.events)
        self.inputs, self.errors, self.distance = self.seen[:, :-2], self.seen[:, -2], self.seen[:, -1]
        shown = pd.DataFrame(self.seen, self.events.index, CLASSIFIER_INPUTS)
        shown = shown.join(self.signals.drop(columns="distance"))
        self.shown = shown.join(self.votes.add_prefix("vote: "))
        self.known = self.votes[: self.n]

    @cached_property
    def labels(self) -> np.ndarray:
        """The rule book's labels of the training set."""
        return rules.pseudo_labels(self.known, self.signals[: self.n], self.fitted.thresholds)

    @cached_property
    def refined(self) -> np.ndarray:
        """The same, corrected by the detector's autoencoder."""
        return self.relabelled(self.labels == SUSPICIOUS)

    def relabelled(self, suspicious: np.ndarray) -> np.ndarray:
        """The rule book's labels with these suspects, corrected."""
        others = np.where(self.labels == NORMAL, NORMAL, UNDECIDED)
        labels = np.where(suspicious, SUSPICIOUS, others).astype(np.int8)
        errors = self.errors[: self.n]
        return rules.refine_labels(labels, self.known, errors, self.fitted.error_threshold)

    def by_classifier(
        self,
        labels: np.ndarray,
        names: Iterable[str] = CLASSIFIER_INPUTS,
        doubt: float = DOUBT,
    ) -> np.ndarray:
        """Scores of a classifier that sees these columns, combined with the distance as in `Detector`."""
        seen, suspicious = self.shown[list(names)].to_numpy(), labels == SUSPICIOUS
        weights = np.where(labels == UNDECIDED, doubt, 1)
        classifier = Classifier(seed=self.seed, names=list(names)).fit(seen[: self.n], suspicious, weights)
        known = classifier.out_of_fold(seen[: self.n], suspicious, weights), self.distance[: self.n]
        return combine((classifier.probability(seen), self.distance), [tail(score) for score in known])

    def one_cluster(self) -> np.ndarray:
        profile = Profile.fit(self.train, seed=self.seed, clusters=1)
        return profile.distance(profile.z_scores(self.events))

    def forest(self) -> np.ndarray:
        forest = IsolationForest(random_state=self.seed).fit(self.inputs[: self.n])
        return -forest.score_samples(self.inputs)

    def neighbours(self) -> np.ndarray:
        """The mean distance from the five nearest training events."""
        nearest = NearestNeighbors(n_neighbors=5).fit(self.inputs[: self.n])
        return nearest.kneighbors(self.inputs)[0].mean(axis=1)

    def mixture(self) -> np.ndarray:
        """A plain mixture of ten Gaussians, five seeds averaged."""
        known, seeds = self.inputs[: self.n], range(5 * self.seed, 5 * self.seed + 5)
        fits = [GaussianMixture(10, random_state=seed).fit(known) for seed in seeds]
        return -np.mean([fit.score_samples(self.inputs) for fit in fits], axis=0)

    def without(self, rule: str) -> np.ndarray:
        """The whole detector, one rule taken out of the book."""
        book = [kept for kept in RULES if kept.name != rule]
        return Detector.fit(self.train, self.seed, rules=book, profile=self.profile).score(self.events)

    def supervised(self) -> np.ndarray:
        """The classifier, taught the true labels of the training set."""
        known, labels = self.seen[: self.n], self.truth.to_numpy()[: self.n]
        return Classifier(seed=self.seed).fit(known, labels).probability(self.seen)

    def majority(self) -> np.ndarray:
        """The classifier, taught what more rules call suspicious than normal."""
        suspicious, normal = ((self.known == vote).sum(axis=1).to_numpy() for vote in (SUSPICIOUS, NORMAL))
        return self.by_classifier(self.relabelled(suspicious > normal))


VARIANTS: dict[str, Callable[[Study], np.ndarray]] = {
    FULL: lambda study: study.fitted.score(study.events),
    "classifier alone": lambda study: study.fitted.classifier.probability(study.seen),
    "distance only": lambda study: study.distance,
    "distance, contaminated clusters included": lambda study: study.profile.distance(
        study.profile.z_scores(study.events)
    ),
    "distance from one cluster": Study.one_cluster,
    "mixture of 10 Gaussians": Study.mixture,
    "kNN, 5 neighbours": Study.neighbours,
    "isolation forest": Study.forest,
    "naive rule": lambda study: rules.naive_rule(study.events).astype(float),
    "rules only": lambda study: rules.rule_score(study.signals),
    "burst only": lambda study: (
        (1 + study.signals["burst"]) / (1 + study.signals["background_rate"])
    ).to_numpy(),
    "autoencoder only": lambda study: study.errors,
    "without autoencoder": lambda study: study.by_classifier(study.labels, [*CARDS.columns, "distance"]),
    "no refinement": lambda study: study.by_classifier(study.labels),
    "undecided left out": lambda study: study.by_classifier(study.refined, doubt=0),
    "undecided counts as normal": lambda study: study.by_classifier(study.refined, doubt=1),
    "classifier without score features": lambda study: study.by_classifier(study.refined, CARDS.columns),
    "classifier with votes": lambda study: study.by_classifier(study.refined, study.shown),
    "labels by majority": Study.majority,
    **{
        f"without rule {rule.name}": lambda study, name=rule.name: study.without(name)
        for rule in RULES
        if not rule.clears
    },
    "supervised": Study.supervised,
}


def measure(start: int, seed: int, source: str = "snapshot") -> list[dict]:
    """All variants on one window with one seed; one row each, on the test set.

    Columns: start, seed, variant, average_precision, without_largest (campaign), found (frauds among the
    alerts), and the difference to the full detector with its paired bootstrap interval and verdict.
    """
    study = Study(start, seed, source)
    n, truth = study.n, study.truth.to_numpy()[study.n :]
    scores = {name: score(study)[n:] for name, score in VARIANTS.items()}
    campaign = evaluation.campaigns(truth, study.fitted.profile.axes(study.events)[n:], radius=RADIUS)
    boot = evaluation.bootstrap_ap(truth, scores, evaluation.campaign_draws(campaign))
    observed = {name: average_precision_score(truth, score) for name, score in scores.items()}
    against = {name: evaluation.compare(boot, observed, name, FULL) for name in scores}
    rest = evaluation.without_largest(campaign, truth)
    return [
        {
            "start": start,
            "seed": seed,
            "variant": name,
            "average_precision": observed[name],
            "without_largest": average_precision_score(truth[rest], score[rest]),
            "found": int(truth[evaluation.choose_alerts(score, start=start + n)].sum()),
            "difference": against[name]["difference"],
            "low": against[name]["lo"],
            "high": against[name]["hi"],
            "verdict": "reference" if name == FULL else against[name]["verdict"],
        }
        for name, score in scores.items()
    ]


class Stream:
    """One start and one seed: a detector that has learned from the warm-up, and the events that follow."""

    def __init__(self, start: int, seed: int, source: str = "snapshot") -> None:
        self.start, self.seed = start, seed
        self.events, self.truth = data.seal(data.load_events(source, WINDOW_ROWS, start))
        self.warm = min(WARM_UP, len(data.split(self.events)[0]))
        self.detector = Detector.fit(self.events[: self.warm], seed)
        self.live, self.lived = self.events[self.warm :], self.truth.to_numpy()[self.warm :]

    def told(self, reported: int | None, wrong: stream.Wrong = 0.0, slip: int = 0) -> pd.DataFrame:
        """Risk and alert of every live event by a learner; `slip` is the seed of its wrong reviews."""
        keep = max(KEEP, (reported or 0) + 2 * BLOCK)
        learner = stream.Learner.start(self.detector, self.events[: self.warm], seed=self.seed, keep=keep)
        decided = stream.replay(learner, self.live, self.truth, wrong=wrong, reported=reported, seed=slip)
        return pd.concat([*decided, learner.close()])

    def by_score(self, score: np.ndarray) -> pd.DataFrame:
        alert = evaluation.choose_alerts(score, self.start + self.warm)
        return pd.DataFrame({"risk": score, "alert": alert.astype(int)}, self.live.index)

    def found(self, log: pd.DataFrame) -> int:
        return int(self.lived[log["alert"] == 1].sum())


def measure_stream(start: int, seed: int, source: str = "snapshot") -> list[dict]:
    """What the learner of notebook 07 finds from one start with one seed; a row each.

    Columns: start, seed, detector (ways of telling the learner, and its references), and of all events after
    the warm-up found (frauds among the alerts), possible (what the budget allows) and average_precision
    (pooled over the models of all blocks).
    """
    one = Stream(start, seed, source)
    seen, truth = one.detector.seen(one.events), one.truth.to_numpy()
    reference = stream.full_feedback(seen, truth, one.warm, seed=seed, start=start)
    logs = {name: one.told(reported) for name, reported in TELLING.items()} | {
        "detector": one.by_score(one.detector.score(one.live)),
        "seed_rules": one.by_score(rules.naive_rule(one.live).astype(float)),
        "full_feedback": one.by_score(reference),
    }
    best = one.found(one.by_score(one.lived.astype(float)))
    return [
        {
            "start": start,
            "seed": seed,
            "detector": name,
            "found": one.found(log),
            "possible": best,
            "average_precision": average_precision_score(one.lived, log["risk"]),
        }
        for name, log in logs.items()
    ]


def measure_wrong(start: int, slip: int) -> list[dict]:
    """What wrong reviews cost the learner from one start; `slip` is the seed of the slips.

    Columns: start, slip, wrong (share of the reviews), detector (one of ERRING), found (frauds among the
    alerts) and stopped (those of them that the reviews did not wave through).
    """
    one, found = Stream(start, SEEDS[0]), []
    for name, (reported, shares) in ERRING.items():
        log = one.told(reported, shares, slip)
        alerted = log.index[(log["alert"] == 1) & (one.lived == 1)]
        said = stream.review(one.truth, alerted, one.live.index[-1], 0, shares, slip)
        row = {"start": start, "slip": slip, "wrong": WRONG, "detector": name}
        found.append(row | {"found": len(alerted), "stopped": int(said.sum())})
    return found


def measure_world(seed: int) -> list[dict]:
    """What notebook 09 hands over of the world with this seed, a row per model and category."""
    with tempfile.TemporaryDirectory() as scratch:
        notebook = headless.source(WORLDS_NOTEBOOK, exercises=False)
        headless.execute(notebook, Path(scratch, "09.ipynb"), {"RUN": scratch, "SEED": seed})
        rows = load_json(Path(scratch, "artifacts", "worlds.json"))["rows"]
    return [{"seed": seed} | row for row in rows]


def run(folder: Path) -> tuple[pd.DataFrame, ...]:
    """Measure all and write the tables, one each of `measure`, `measure_stream`, `measure_wrong` and
    `measure_world`. A killed sweep goes on with what `folder` keeps."""
    everything = (
        (TABLE, measure, PLACES),
        (STREAM_TABLE, measure_stream, STREAMS),
        (WRONG_TABLE, measure_wrong, [(start, slip) for start in STARTS for slip in SLIPS]),
        (WORLDS_TABLE, measure_world, [(seed,) for seed in WORLDS]),
    )
    return tuple(results.write_table(path, _all(folder, job, places)) for path, job, places in everything)


def run_unseen(folder: Path, source: str, version: str) -> pd.DataFrame:
    """Measure this version where nobody had looked, and write results/unseen.csv; restartable as `run`.

    Columns: version, start, detector, average_precision, found, and of those without labels the verdict
    against the detector; those of the learner have `possible`, what the budget allows.
    """
    data.load_events(source, WINDOW_ROWS, max(UNSEEN_STARTS))  # which fails early, and once
    places = [(start, SEEDS[0], source) for start in UNSEEN_STARTS]
    free = _all(folder, measure, places).rename(columns={"variant": "detector"})
    table = pd.concat([free, _all(folder, measure_stream, places)]).assign(version=version)
    columns = ["version", "start", "detector", "average_precision", "found", "verdict", "possible"]
    return results.write_table(UNSEEN, table[columns])


def tables(variants: pd.DataFrame, streamed: pd.DataFrame, wrong: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The second and third table of results/README.md, by the first seed: detectors without labels, and the
    learner; where reviews are wrong, the mean of all slips."""
    variants, streamed = (table[table["seed"] == SEEDS[0]] for table in (variants, streamed))
    slips = wrong[wrong["detector"].isin(plots.STREAM)].groupby(["start", "detector"])["found"].mean()
    slips = slips.reset_index().merge(streamed[["start", "possible"]].drop_duplicates())
    free = evaluation.verdicts(variants).rename_axis("without a label, 6 starts")
    return {"windows": free, "stream": _learners(pd.concat([streamed, slips]))}


def _learners(streamed: pd.DataFrame) -> pd.DataFrame:
    found = evaluation.found_over_starts(streamed).rename(index=lambda name: plots.STREAM[name][0])
    return found.rename_axis("frauds found from event")


def unseen_block(table: pd.DataFrame) -> str:
    """What results/unseen.csv comes to, as two tables: detectors without labels, and the learner."""
    free = table[table["possible"].isna()].rename(columns={"detector": "variant"})
    named = f"without a label, version {table['version'].iloc[0]}, {table['start'].nunique()} starts"
    shown = evaluation.verdicts(free).rename_axis(named), _learners(table)
    return "\n\n".join(map(results.markdown_table, shown))


def _all(folder: Path, job: Callable[..., Any], places: list[tuple]) -> pd.DataFrame:
    """The rows that a job gives at each place, in order. It is done anew where a source of it has changed."""
    from tqdm import tqdm

    known = jobs.code("course/sweep.py", *(WORLDS_SOURCES if job is measure_world else ()))
    kept = jobs.kept(folder)

    def one(place: tuple) -> list[dict]:
        name = "-".join(map(str, (job.__name__, *place[:2])))
        try:
            return kept(job, place, known, folder / f"{name}.log")
        except CourseError as error:
            raise CourseError(f"The sweep failed at {name}: {error}; run it again.") from None

    with ThreadPoolExecutor(WORKERS) as pool:
        measured = tqdm(pool.map(one, places), total=len(places), unit="fits", desc=job.__name__)
        return pd.DataFrame([row for rows in measured for row in rows])
