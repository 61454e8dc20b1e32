"""Many fits, four tables: seeds, windows, parts left out, the learner, worlds. Reported, never chosen by."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any
from unittest.mock import patch

import nbformat
import numpy as np
import pandas as pd
from sklearn.ensemble import IsolationForest
from sklearn.metrics import average_precision_score

from course import jobs
from course.notebooks import notebook_path
from helpers import data, evaluation, headless, stream
from helpers.autoencoder import Autoencoder
from helpers.detector import Detector, pool
from helpers.features import Profile, Scaling, behaviour, budget_threshold
from helpers.files import CourseError, load_json, replace
from helpers.judge import JUDGE_INPUTS, Judge, judge_inputs
from helpers.rules import (
    NORMAL,
    RULES,
    SUSPICIOUS,
    UNDECIDED,
    agreement_model,
    apply_rules,
    fit_thresholds,
    naive_rule,
    pseudo_labels,
    refine_labels,
    suspicion,
)
from helpers.schema import CARDS
from helpers.settings import COMPLAINED, CROWDS, DELAY, RADIUS, RESULTS, WARM_UP, WINDOW_ROWS, WINDOWS

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
WORLDS_NOTEBOOK = notebook_path("09_streaming_sessions")
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
    def fitted(self) -> Detector:
        return Detector.fit(self.train, self.seed)

    @cached_property
    def signals(self) -> pd.DataFrame:
        return behaviour(self.events, self.fitted.profile)

    @cached_property
    def votes(self) -> pd.DataFrame:
        return apply_rules(self.signals, fit_thresholds(self.signals[: len(self.train)]))

    @cached_property
    def labels(self) -> np.ndarray:
        signals = self.signals[: len(self.train)]
        return pseudo_labels(self.votes[: len(self.train)], signals, fit_thresholds(signals))

    @cached_property
    def inputs(self) -> np.ndarray:
        return Scaling.fit(self.train).transform(self.events)

    @property
    def distance(self) -> np.ndarray:
        return self.signals["distance"].to_numpy()

    def every_crowd(self, crowds: int) -> np.ndarray:
        """The distance, with every crowd in it, those that the rules accuse too."""
        profile = Profile.fit(self.train, seed=self.seed, crowds=crowds)
        return profile.distance(profile.z_scores(self.events))

    def forest(self) -> np.ndarray:
        forest = IsolationForest(random_state=self.seed).fit(self.inputs[: len(self.train)])
        return -forest.score_samples(self.inputs)

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

    def seen(self, errors: np.ndarray) -> np.ndarray:
        return judge_inputs(self.inputs, errors, self.distance)

    def pooled(self, names: list[str], seen: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Risk of all events by a judge of such inputs and crowds, as `Detector` pools them."""
        n, judge = len(self.train), Judge(seed=self.seed, names=names)
        risk = judge.fit(seen[:n], labels).risk(seen)
        training = np.sort([judge.out_of_fold(seen[:n], labels), self.distance[:n]])
        return pool((risk, self.distance), training)

    def judged(self, labels: np.ndarray, rounds: int = 2) -> np.ndarray:
        """Risk of all events by a judge of such labels."""
        errors, refined = self.refined(labels, rounds)
        return self.pooled(list(JUDGE_INPUTS), self.seen(errors), refined)

    def with_votes(self) -> np.ndarray:
        errors, refined = self.refined(self.labels)
        shown = self.signals.drop(columns="distance").join(self.votes.add_prefix("vote: "))
        return self.pooled([*JUDGE_INPUTS, *shown], np.column_stack([self.seen(errors), shown]), refined)

    def without_witnesses(self) -> np.ndarray:
        return self.pooled(list(CARDS.columns), self.inputs, self.refined(self.labels)[1])

    def without_autoencoder(self) -> np.ndarray:
        """A judge of the rule book's labels that sees no reconstruction error."""
        seen = np.column_stack([self.inputs, self.distance])
        return self.pooled([*CARDS.columns, "distance"], seen, self.labels)

    def presumed(self, normal: np.ndarray) -> np.ndarray:
        """The detector, with another notion of what is presumed normal."""
        rest = np.where(self.labels == SUSPICIOUS, SUSPICIOUS, UNDECIDED)
        return self.judged(np.where((self.labels != SUSPICIOUS) & normal, NORMAL, rest).astype(np.int8))

    def normal_but_organised(self) -> np.ndarray:
        """Presumed normal: training events that no rule about sequences or probing accuses."""
        organised = self.votes[["burst", "repeated_attempts", "probing_amount"]] == SUSPICIOUS
        return self.presumed(~organised.any(axis=1).to_numpy()[: len(self.train)])

    def normal_but_extremes(self) -> np.ndarray:
        """Presumed normal: training events that are nearer than the budget's share of the farthest."""
        distance = self.distance[: len(self.train)]
        return self.presumed(distance <= budget_threshold(distance))

    def voted(self, suspicious: np.ndarray) -> np.ndarray:
        """The detector, with another way from votes to suspicious labels."""
        rest = np.where(self.labels == NORMAL, NORMAL, UNDECIDED)
        return self.judged(np.where(suspicious, SUSPICIOUS, rest).astype(np.int8))

    def labels_by_majority(self) -> np.ndarray:
        votes = self.votes[: len(self.train)]
        return self.voted(((votes == SUSPICIOUS).sum(axis=1) > (votes == NORMAL).sum(axis=1)).to_numpy())

    def labels_by_agreement(self) -> np.ndarray:
        return self.voted(agreement_model(self.votes[: len(self.train)]) > 0.5)

    def without(self, rule: str) -> np.ndarray:
        """The whole detector, one rule taken out of the book."""
        book = [kept for kept in RULES if kept.name != rule]
        return Detector.fit(self.train, self.seed, rules=book).score(self.events)

    def oracle(self) -> np.ndarray:
        """The judge, taught the true labels of the training part."""
        seen, n = self.seen(self.refined(self.labels)[0]), len(self.train)
        return Judge(seed=self.seed).fit(seen[:n], self.stream["Class"].to_numpy()[:n]).risk(seen)


VARIANTS: dict[str, Callable[[Study], np.ndarray]] = {
    FULL: lambda study: study.fitted.score(study.events),
    "judge alone": lambda study: study.fitted.judge.risk(study.fitted.seen(study.events)),
    "distance only": lambda study: study.distance,
    "distance, rings included": lambda study: study.every_crowd(CROWDS),
    "distance from one crowd": lambda study: study.every_crowd(1),
    "naive rule": lambda study: naive_rule(study.events).astype(float),
    "rules only": lambda study: suspicion(study.signals),
    "burst only": lambda study: ((1 + study.signals["burst"]) / (1 + study.signals["usual"])).to_numpy(),
    "autoencoder only": lambda study: study.refined(study.labels)[0],
    "isolation forest": Study.forest,
    "without autoencoder": Study.without_autoencoder,
    "judge without witnesses": Study.without_witnesses,
    "judge with votes": Study.with_votes,
    "no refinement": lambda study: study.judged(study.labels, rounds=0),
    "one round of refinement": lambda study: study.judged(study.labels, rounds=1),
    "normal: all but the extremes": Study.normal_but_extremes,
    "normal: all but the organised": Study.normal_but_organised,
    "labels by majority": Study.labels_by_majority,
    "labels by agreement": Study.labels_by_agreement,
    **{
        f"without rule {rule.name}": lambda study, name=rule.name: study.without(name)
        for rule in RULES
        if not rule.clears
    },
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


def measure_stream(start: int, seed: int, rows: int = WINDOW_ROWS) -> tuple[list[dict], list[dict]]:
    """What the learner of notebook 07 finds from one start with one seed; a row each, of two tables.

    Columns of the first: start, seed, detector (ways of telling the learner, and its references), and of all
    events after the warm-up found (frauds among the alerts), possible (what the budget allows) and
    average_precision (pooled over the models of all blocks). Of the second, which the first seed alone has:
    start, seed, wrong (share of the reviews), told (by reviews that err on all events, on honest ones or on
    frauds alone, or by reviews and complaints), found.
    """
    events, truth = data.seal(data.load_events("snapshot", rows, start))
    warm = min(WARM_UP, len(data.split(events)[0]))
    detector, live, lived = Detector.fit(events[:warm], seed), events[warm:], truth.to_numpy()[warm:]

    @cache
    def told(honest: float, fraud: float, complained: int | None) -> pd.DataFrame:
        """Risk and alert of every live event by a learner; these shares of its reviews are wrong."""
        learner = stream.Learner.start(detector, events[:warm], seed=seed)
        decided = stream.replay(learner, live, truth, wrong=(honest, fraud), complained=complained)
        return pd.concat([*decided, learner.close()])

    def found(log: pd.DataFrame) -> int:
        return int(lived[(log["alert"] == 1).to_numpy()].sum())

    def by_score(score: np.ndarray) -> pd.DataFrame:
        return pd.DataFrame({"risk": score, "alert": evaluation.choose_alerts(score, start + warm)})

    prequential = stream.oracle_prequential(
        detector.seen(events), truth.to_numpy(), warm, seed=seed, start=start
    )
    logs = {
        "stream": told(0.0, 0.0, None),
        "complaints": told(0.0, 0.0, COMPLAINED),
        "told_everything": told(0.0, 0.0, DELAY),
        "wrong_reviews": told(0.1, 0.1, None),
        "wrong_reviews_and_complaints": told(0.1, 0.1, COMPLAINED),
        "detector": by_score(detector.score(live)),
        "seed_rules": by_score(naive_rule(live).astype(float)),
        "oracle_prequential": by_score(prequential),
    }
    here, best = {"start": start, "seed": seed}, found(by_score(lived))
    streams = [
        here
        | {
            "detector": name,
            "found": found(log),
            "possible": best,
            "average_precision": average_precision_score(lived, log["risk"]),
        }
        for name, log in logs.items()
    ]
    wrongs = [
        here | {"wrong": wrong, "told": channel, "found": found(told(honest, fraud, complained))}
        for wrong in WRONG
        for channel, honest, fraud, complained in (
            ("reviews", wrong, wrong, None),
            ("wrong on honest events alone", wrong, 0.0, None),
            ("wrong on frauds alone", 0.0, wrong, None),
            ("reviews and complaints", wrong, wrong, COMPLAINED),
        )
        if seed == SEEDS[0]
    ]
    return streams, wrongs


def measure_world(seed: int) -> list[dict]:
    """What notebook 09 hands over of the world with this seed, a row a model and category."""
    with tempfile.TemporaryDirectory() as scratch:
        notebook = headless.source(WORLDS_NOTEBOOK.stem, exercises=False)
        headless.execute(notebook, Path(scratch, "09.ipynb"), {"RUN": scratch, "SEED": seed})
        rows = load_json(Path(scratch, "artifacts", "worlds.json"))["rows"]
    return [{"seed": seed} | row for row in rows]


def run(folder: Path, workers: int = os.cpu_count() or 1) -> tuple[pd.DataFrame, ...]:
    """Measure all windows, seeds and worlds, in parallel, and write the tables; a killed sweep goes on.

    Args:
        folder: where finished fits are kept.
        workers: processes at a time.

    Returns:
        The rows of `measure`, of `measure_stream` (two tables) and of `measure_world`.
    """
    variants = _table(TABLE, _all(folder, workers, measure, PLACES))
    streams, wrongs = zip(*_all(folder, workers, measure_stream, STREAMS), strict=True)
    told = _table(STREAM_TABLE, streams), _table(WRONG_TABLE, wrongs)
    worlds = _all(folder, workers, measure_world, [(seed,) for seed in WORLDS])
    return variants, *told, _table(WORLDS_TABLE, worlds)


def _all(folder: Path, workers: int, job: Callable[..., Any], places: list[tuple]) -> list[Any]:
    """What a job gives at each place, in order. It is done anew where a source of it has changed."""
    from tqdm import tqdm

    folder.mkdir(parents=True, exist_ok=True)
    cells = nbformat.read(WORLDS_NOTEBOOK, as_version=4).cells
    sources = [cell.source for cell in cells if cell.cell_type == "code"]
    known = [jobs.code(Path(__file__), WORLDS_NOTEBOOK.with_name("n09.py")), sources]
    kept = jobs.kept(folder)

    def one(place: tuple) -> Any:
        name = "-".join(map(str, (job.__name__, *place)))
        try:
            return kept(job, place, known, folder / f"{name}.log")
        except CourseError as error:
            raise CourseError(f"The sweep failed at {name}: {error}; run it again.") from None

    with patch.dict(os.environ, OMP_NUM_THREADS="1"), ThreadPoolExecutor(workers) as pool:
        return list(tqdm(pool.map(one, places), total=len(places), unit="fits", desc=job.__name__))


def _table(path: Path, measured: Iterable[list[dict]]) -> pd.DataFrame:
    table = pd.DataFrame([row for rows in measured for row in rows])
    replace(path, table.to_csv(index=False, float_format="%.6g"))
    return table
