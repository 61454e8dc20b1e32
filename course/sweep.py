"""Many fits, two tables: seeds, windows, parts left out, the learner. Reported, never chosen by."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pandas as pd
from sklearn.ensemble import IsolationForest
from sklearn.metrics import average_precision_score

from course.notebooks import notebook_path
from helpers import data, evaluation, headless, stream
from helpers.autoencoder import Autoencoder
from helpers.detector import Detector
from helpers.features import Profile, Scaling, behaviour
from helpers.files import CourseError, load_json, replace
from helpers.judge import JUDGE_INPUTS, Judge, judge_inputs, pool
from helpers.rules import (
    NORMAL,
    RULES,
    SUSPICIOUS,
    UNDECIDED,
    agreement_model,
    apply_rules,
    budget_threshold,
    fit_thresholds,
    naive_rule,
    pseudo_labels,
    refine_labels,
    suspicion,
)
from helpers.schema import CARDS
from helpers.settings import COMPLAINED, CROWDS, DELAY, RADIUS, RESULTS, ROOT, WARM_UP, WINDOW_ROWS, WINDOWS

TABLE = RESULTS / "sweep.csv"
STREAM_TABLE = RESULTS / "stream.csv"
WRONG_TABLE = RESULTS / "wrong.csv"
WORLDS_TABLE = RESULTS / "worlds.csv"
SEEDS = tuple(range(5))
STARTS = tuple(range(0, 60_000, 10_000))  # of overlapping windows; the two that do not overlap get all seeds
PLACES = [(start, seed) for start in STARTS for seed in (SEEDS if start in WINDOWS else SEEDS[:1])]
STREAMS = [(start, seed) for start, seed in PLACES if seed < 2]
WRONG = (0.0, 0.02, 0.05, 0.1, 0.2)  # shares of the reviews
WORLDS = tuple(range(20))
WORLDS_NOTEBOOK = "09_streaming_sessions"
FULL = "detector"  # what every other variant is compared with


@dataclass
class Study:
    """One window and one seed, and the parts that variants share."""

    start: int
    seed: int
    rows: int = WINDOW_ROWS

    @cached_property
    def stream(self) -> pd.DataFrame:
        """The window with its truth; `Class` is read by `measure` and `oracle` alone."""
        return data.load_events("snapshot", self.rows, self.start)

    @cached_property
    def events(self) -> pd.DataFrame:
        return data.seal(self.stream)[0]

    @cached_property
    def train(self) -> pd.DataFrame:
        return data.split(self.events)[0]

    @cached_property
    def signals(self) -> pd.DataFrame:
        return behaviour(self.events, self.fitted.profile)

    @cached_property
    def votes(self) -> pd.DataFrame:
        thresholds = fit_thresholds(self.signals[: len(self.train)])
        return apply_rules(self.signals, thresholds)

    @cached_property
    def labels(self) -> np.ndarray:
        signals = self.signals[: len(self.train)]
        return pseudo_labels(self.votes[: len(self.train)], signals, fit_thresholds(signals))

    @cached_property
    def inputs(self) -> np.ndarray:
        return Scaling.fit(self.train).transform(self.events)

    def refined(self, labels: np.ndarray, rounds: int = 2) -> tuple[np.ndarray, np.ndarray]:
        """Errors of all events and refined labels of the training part, from other first labels."""
        n, votes = len(self.train), self.votes[: len(self.train)]
        for number in range(max(rounds, 1)):
            network = Autoencoder(seed=self.seed).fit(self.inputs[:n][labels == NORMAL])
            errors = network.reconstruction_error(self.inputs)
            if number < rounds:
                limit = budget_threshold(errors[:n][labels == NORMAL])
                labels = refine_labels(labels, votes, errors[:n], limit)
        return errors, labels

    def judged(self, labels: np.ndarray, rounds: int = 2, extra: pd.DataFrame | None = None) -> np.ndarray:
        """Risk of all events by a judge of such labels; `extra` columns are shown to it too."""
        errors, refined = self.refined(labels, rounds)
        seen, names = self.seen(errors), list(JUDGE_INPUTS)
        if extra is not None:
            seen, names = np.column_stack([seen, extra]), [*names, *extra]
        return self.pooled(Judge(seed=self.seed, names=names), seen, refined)

    def seen(self, errors: np.ndarray) -> np.ndarray:
        return judge_inputs(self.inputs, errors, self.distance_only())

    def pooled(self, judge: Judge, seen: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Risk of all events by judge and crowds, as `Detector` pools them."""
        n, distance = len(self.train), self.distance_only()
        risk = judge.fit(seen[:n], labels).risk(seen)
        training = np.sort([judge.out_of_fold(seen[:n], labels), distance[:n]])
        return pool((risk, distance), training)

    @cached_property
    def fitted(self) -> Detector:
        return Detector.fit(self.train, self.seed)

    def detector(self) -> np.ndarray:
        return self.fitted.score(self.events)

    def judge_alone(self) -> np.ndarray:
        return self.fitted.judge.risk(self.fitted.seen(self.events))

    def one_crowd(self) -> np.ndarray:
        return self.with_rings(crowds=1)

    def naive(self) -> np.ndarray:
        return naive_rule(self.events).astype(float)

    def rules_only(self) -> np.ndarray:
        return suspicion(self.signals)

    def distance_only(self) -> np.ndarray:
        return self.signals["distance"].to_numpy()

    def burst_only(self) -> np.ndarray:
        return ((1 + self.signals["burst"]) / (1 + self.signals["usual"])).to_numpy()

    def forest_only(self) -> np.ndarray:
        forest = IsolationForest(random_state=self.seed).fit(self.inputs[: len(self.train)])
        return -forest.score_samples(self.inputs)

    def with_rings(self, crowds: int = CROWDS) -> np.ndarray:
        """The distance, with every crowd in it, those that the rules accuse too."""
        profile = Profile.fit(self.train, seed=self.seed, crowds=crowds)
        return profile.distance(profile.z_scores(self.events))

    def autoencoder_only(self) -> np.ndarray:
        return self.refined(self.labels)[0]

    def with_votes(self) -> np.ndarray:
        signals = self.signals.drop(columns="distance")
        return self.judged(self.labels, extra=signals.join(self.votes.add_prefix("vote: ")))

    def without_witnesses(self) -> np.ndarray:
        judge = Judge(seed=self.seed, names=list(CARDS.columns))
        return self.pooled(judge, self.inputs, self.refined(self.labels)[1])

    def no_refinement(self) -> np.ndarray:
        return self.judged(self.labels, rounds=0)

    def one_round(self) -> np.ndarray:
        return self.judged(self.labels, rounds=1)

    def presumed(self, normal: np.ndarray) -> np.ndarray:
        """The detector, with another notion of what is presumed normal."""
        rest = np.where(self.labels == SUSPICIOUS, SUSPICIOUS, UNDECIDED)
        return self.judged(np.where((self.labels != SUSPICIOUS) & normal, NORMAL, rest).astype(np.int8))

    def voted(self, suspicious: np.ndarray) -> np.ndarray:
        """The detector, with another way from votes to suspicious labels."""
        rest = np.where(self.labels == NORMAL, NORMAL, UNDECIDED)
        return self.judged(np.where(suspicious, SUSPICIOUS, rest).astype(np.int8))

    def without_autoencoder(self) -> np.ndarray:
        """A judge of the rule book's labels that sees no reconstruction error."""
        seen = np.column_stack([self.inputs, self.distance_only()])
        return self.pooled(Judge(seed=self.seed, names=[*CARDS.columns, "distance"]), seen, self.labels)

    def normal_but_organised(self) -> np.ndarray:
        """Presumed normal: training events that no rule about sequences or probing accuses."""
        organised = self.votes[["burst", "repeated_attempts", "probing_amount"]] == SUSPICIOUS
        return self.presumed(~organised.any(axis=1).to_numpy()[: len(self.train)])

    def normal_but_extremes(self) -> np.ndarray:
        """Presumed normal: training events that are nearer than the budget's share of the farthest."""
        distance = self.signals["distance"].to_numpy()[: len(self.train)]
        return self.presumed(distance <= budget_threshold(distance))

    def labels_by_majority(self) -> np.ndarray:
        votes = self.votes[: len(self.train)]
        return self.voted(((votes == SUSPICIOUS).sum(axis=1) > (votes == NORMAL).sum(axis=1)).to_numpy())

    def labels_by_agreement(self) -> np.ndarray:
        return self.voted(agreement_model(self.votes[: len(self.train)]) > 0.5)

    def oracle(self) -> np.ndarray:
        """The judge, taught the true labels of the training part."""
        seen = self.seen(self.refined(self.labels)[0])
        n = len(self.train)
        return Judge(seed=self.seed).fit(seen[:n], self.stream["Class"].to_numpy()[:n]).risk(seen)


def _without(rule: str) -> Callable[[Study], np.ndarray]:
    """The whole detector, one rule taken out of the book."""

    def without_rule(study: Study) -> np.ndarray:
        book = [kept for kept in RULES if kept.name != rule]
        return Detector.fit(study.train, study.seed, rules=book).score(study.events)

    return without_rule


VARIANTS: dict[str, Callable[[Study], np.ndarray]] = {
    FULL: Study.detector,
    "judge alone": Study.judge_alone,
    "distance only": Study.distance_only,
    "distance, rings included": Study.with_rings,
    "distance from one crowd": Study.one_crowd,
    "naive rule": Study.naive,
    "rules only": Study.rules_only,
    "burst only": Study.burst_only,
    "autoencoder only": Study.autoencoder_only,
    "isolation forest": Study.forest_only,
    "without autoencoder": Study.without_autoencoder,
    "judge without witnesses": Study.without_witnesses,
    "judge with votes": Study.with_votes,
    "no refinement": Study.no_refinement,
    "one round of refinement": Study.one_round,
    "normal: all but the extremes": Study.normal_but_extremes,
    "normal: all but the organised": Study.normal_but_organised,
    "labels by majority": Study.labels_by_majority,
    "labels by agreement": Study.labels_by_agreement,
    **{f"without rule {rule.name}": _without(rule.name) for rule in RULES if not rule.clears},
    "oracle": Study.oracle,
}


def measure(start: int, seed: int, rows: int = WINDOW_ROWS) -> list[dict]:
    """All variants on one window with one seed; one row each, on the test part.

    Columns: start, seed, variant, average_precision, found (frauds among the alerts), and the
    difference to the full detector with its paired bootstrap interval over episodes.
    """
    study = Study(start, seed, rows)
    n = len(study.train)
    truth = study.stream["Class"].to_numpy()[n:]
    scores = {name: score(study)[n:] for name, score in VARIANTS.items()}
    episode = evaluation.episodes(truth, study.fitted.profile.axes(study.events)[n:], radius=RADIUS)
    boot = evaluation.bootstrap_ap(truth, scores, evaluation.episode_draws(episode))
    observed = {name: average_precision_score(truth, score) for name, score in scores.items()}
    rest = evaluation.without_largest(episode, truth)
    rows = []
    for name, score in scores.items():
        against = evaluation.compare(boot, observed, name, FULL)
        rows.append(
            {
                "start": start,
                "seed": seed,
                "variant": name,
                "average_precision": observed[name],
                "without_largest": average_precision_score(truth[rest], score[rest]),
                "found": int(truth[evaluation.choose_alerts(score, start=start + n)].sum()),
                "difference": against["difference"],
                "low": against["lo"],
                "high": against["hi"],
                "verdict": "reference" if name == FULL else against["verdict"],
            }
        )
    return rows


def measure_stream(start: int, seed: int, rows: int = WINDOW_ROWS) -> list[dict]:
    """What the learner of notebook 07 and its references find from one start with one seed; a row each.

    Columns: start, seed, detector, and of all events after the warm-up found (frauds among the alerts),
    possible (what the budget allows) and average_precision (pooled over the models of all blocks).
    """
    events, truth, warm, detector = _cold_start(start, seed, rows)
    live, lived = events[warm:], truth.to_numpy()[warm:]
    ways = {
        "stream": {},
        "complaints": {"complained": COMPLAINED},
        "told_everything": {"complained": DELAY},
        "wrong_reviews": {"wrong": 0.1},
        "wrong_reviews_and_complaints": {"wrong": 0.1, "complained": COMPLAINED},
    }
    scores, alerts = {}, {}
    for name, way in ways.items():
        log = _replayed(detector, events, truth, warm, seed, **way)
        scores[name], alerts[name] = log["risk"].to_numpy(), (log["alert"] == 1).to_numpy()
    seen, first = detector.seen(events), start + warm
    scores["detector"] = detector.score(live)
    scores["seed_rules"] = naive_rule(live).astype(float)
    scores["oracle_prequential"] = stream.oracle_prequential(
        seen, truth.to_numpy(), warm, seed=seed, start=start
    )
    best = int(lived[evaluation.choose_alerts(lived, first)].sum())
    return [
        {
            "start": start,
            "seed": seed,
            "detector": name,
            "found": int(lived[alerts.get(name, evaluation.choose_alerts(score, first))].sum()),
            "possible": best,
            "average_precision": average_precision_score(lived, score),
        }
        for name, score in scores.items()
    ]


def _cold_start(start: int, seed: int, rows: int) -> tuple[pd.DataFrame, pd.Series, int, Detector]:
    """Events and truth from one start, the size of the warm-up, and the detector that learned from it."""
    events, truth = data.seal(data.load_events("snapshot", rows, start))
    warm = min(WARM_UP, len(data.split(events)[0]))
    return events, truth, warm, Detector.fit(events[:warm], seed)


def _replayed(
    detector: Detector, events: pd.DataFrame, truth: pd.Series, warm: int, seed: int, **way: Any
) -> pd.DataFrame:
    """Risk and alert of every event after the warm-up, by a learner that is told in this way."""
    learner = stream.Learner.start(detector, events[:warm], seed=seed)
    return pd.concat([*stream.replay(learner, events[warm:], truth, **way), learner.close()])


def measure_wrong(start: int, seed: int, rows: int = WINDOW_ROWS) -> list[dict]:
    """What the learner finds from one start when a share of its reviews is wrong; a row each.

    Columns: start, seed, wrong, told (by reviews that err on all events, on honest ones or on frauds alone,
    or by reviews and complaints), found (frauds among the alerts).
    """
    events, truth, warm, detector = _cold_start(start, seed, rows)
    told = {
        "reviews": ((1, 1), {}),
        "wrong on honest events alone": ((1, 0), {}),
        "wrong on frauds alone": ((0, 1), {}),
        "reviews and complaints": ((1, 1), {"complained": COMPLAINED}),
    }
    found = []
    for wrong in WRONG:
        for channel, ((honest, fraud), way) in told.items():
            shares = honest * wrong, fraud * wrong
            log = _replayed(detector, events, truth, warm, seed, wrong=shares, **way)
            frauds = int(truth[log.index[log["alert"] == 1]].sum())
            found.append({"start": start, "seed": seed, "wrong": wrong, "told": channel, "found": frauds})
    return found


def _recipe() -> str:
    """What finished rows depend on: the method's sources and the data's fingerprint."""
    method = (
        "settings",
        "schema",
        "crowds",
        "features",
        "rules",
        "autoencoder",
        "judge",
        "detector",
        "stream",
        "evaluation",
        "worlds",
    )
    digest = hashlib.sha256(data.FINGERPRINTS[data.SNAPSHOT_ROWS].encode())
    for path in (Path(__file__), *(ROOT / "helpers" / f"{name}.py" for name in method)):
        digest.update(path.read_bytes())
    for cell in nbformat.read(notebook_path(WORLDS_NOTEBOOK), as_version=4).cells:
        digest.update(cell.source.encode() if cell.cell_type == "code" else b"")
    return digest.hexdigest()[:16]


def run(folder: Path, workers: int = os.cpu_count() or 1) -> tuple[pd.DataFrame, ...]:
    """Measure all windows, seeds and worlds, in parallel, and write the tables; a killed sweep goes on.

    Args:
        folder: where finished fits are kept.
        workers: processes at a time.

    Returns:
        The rows of `measure`, of `measure_stream`, of `measure_wrong` and of `measure_world`.

    Raises:
        CourseError: if one of the fits fails.
    """
    worlds = [(seed,) for seed in WORLDS]
    return (
        _table(folder, measure, PLACES, TABLE, workers),
        _table(folder, measure_stream, STREAMS, STREAM_TABLE, workers),
        _table(folder, measure_wrong, [(start, SEEDS[0]) for start in STARTS], WRONG_TABLE, workers),
        _table(folder, measure_world, worlds, WORLDS_TABLE, workers),
    )


def measure_world(seed: int) -> list[dict]:
    """What notebook 09 hands over of the world with this seed, a row a model and category."""
    with tempfile.TemporaryDirectory() as scratch:
        notebook = headless.source(WORLDS_NOTEBOOK, exercises=False)
        headless.execute(notebook, Path(scratch, "09.ipynb"), {"RUN": scratch, "SEED": seed})
        rows = load_json(Path(scratch, "artifacts", "worlds.json"))["rows"]
    return [{"seed": seed} | row for row in rows]


def _table(
    folder: Path, job: Callable[..., list[dict]], places: list[tuple], path: Path, workers: int
) -> pd.DataFrame:
    from joblib import Memory, Parallel, delayed, parallel_config
    from tqdm import tqdm

    kept = Memory(folder / _recipe(), verbose=0).cache(_fit)
    with parallel_config("loky", n_jobs=workers, inner_max_num_threads=1):
        done = Parallel(return_as="generator")(delayed(kept)(job.__name__, *place) for place in places)
        rows = [row for rows in tqdm(done, total=len(places), unit="fits", desc=job.__name__) for row in rows]
    table = pd.DataFrame(rows)
    replace(path, table.to_csv(index=False, float_format="%.6g"))
    return table


def _fit(job: str, *place: int) -> list[dict]:
    """One window and seed, or one world, in a worker process."""
    jobs = (measure, measure_stream, measure_wrong, measure_world)
    try:
        return {one.__name__: one for one in jobs}[job](*place)
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        where = ", ".join(
            f"{name} {value}" for name, value in zip(("seed", "start"), place[::-1], strict=False)
        )
        raise CourseError(f"The sweep failed at {where}: {reason}; run it again.") from None
