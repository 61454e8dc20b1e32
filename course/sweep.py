"""Many fits, four tables: seeds, windows, parts left out, the learner, worlds. Reported, never chosen by."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.ensemble import IsolationForest
from sklearn.metrics import average_precision_score

from course import jobs
from helpers import data, evaluation, headless, rules, stream
from helpers.autoencoder import Autoencoder
from helpers.detector import Detector, pool
from helpers.features import Profile, Scaling, behaviour, budget_threshold
from helpers.files import CourseError, load_json, replace
from helpers.judge import JUDGE_INPUTS, Judge, judge_inputs
from helpers.rules import NORMAL, RULES, SUSPICIOUS, UNDECIDED
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
WORLDS = tuple(range(20))
WORLDS_NOTEBOOK = "09_streaming_sessions"
FULL = "detector"  # what every other variant is compared with
TELLING = {  # shares of wrong reviews, of honest events and of frauds, and when customers complain
    "stream": (0.0, 0.0, None),
    "complaints": (0.0, 0.0, COMPLAINED),
    "told_everything": (0.0, 0.0, DELAY),
    "wrong_reviews": (0.1, 0.1, None),
    "wrong_reviews_and_complaints": (0.1, 0.1, COMPLAINED),
}
WRONG = (0.0, 0.02, 0.05, 0.1, 0.2)  # shares of the reviews
ERRING = {  # on honest events, on frauds, and when customers complain
    "reviews": (1, 1, None),
    "wrong on honest events alone": (1, 0, None),
    "wrong on frauds alone": (0, 1, None),
    "reviews and complaints": (1, 1, COMPLAINED),
}


class Study:
    """One window and one seed, and the parts that variants share."""

    def __init__(self, start: int, seed: int, rows: int = WINDOW_ROWS) -> None:
        self.seed = seed
        self.events, self.truth = data.seal(data.load_events("snapshot", rows, start))
        self.train = data.split(self.events)[0]
        self.n = len(self.train)
        self.inputs = Scaling.fit(self.train).transform(self.events)
        self.fitted = Detector.fit(self.train, seed)
        self.signals = behaviour(self.events, self.fitted.profile)
        self.distance = self.signals["distance"].to_numpy()
        self.votes = rules.apply_rules(self.signals, rules.fit_thresholds(self.signals[: self.n]))
        self.shown = self.signals.drop(columns="distance").join(self.votes.add_prefix("vote: "))
        self.refined = cache(self.refined)  # several variants ask for the same

    @cached_property
    def labels(self) -> dict[str, np.ndarray]:
        """First labels of the training part; what is suspicious is not presumed normal."""
        signals, distance, votes = (one[: self.n] for one in (self.signals, self.distance, self.votes))
        usual = rules.pseudo_labels(votes, signals, rules.fit_thresholds(signals))
        suspicious, normal = usual == SUSPICIOUS, usual == NORMAL
        organised = (votes[["burst", "repeated_attempts", "probing_amount"]] == SUSPICIOUS).any(axis=1)
        majority = (votes == SUSPICIOUS).sum(axis=1) > (votes == NORMAL).sum(axis=1)
        ways = {
            "rules": (suspicious, normal),
            "all but the extremes": (suspicious, distance <= budget_threshold(distance)),
            "all but the organised": (suspicious, ~organised),
            "by majority": (majority, normal),
            "by agreement": (rules.agreement_model(votes) > 0.5, normal),
        }
        answers = [SUSPICIOUS, NORMAL]
        return {name: np.select(way, answers, UNDECIDED).astype(np.int8) for name, way in ways.items()}

    def refined(self, first: str, rounds: int) -> tuple[np.ndarray, np.ndarray]:
        """Errors of all events and refined labels of the training part, from these first labels."""
        n, labels = self.n, self.labels[first]
        for number in range(max(rounds, 1)):
            network = Autoencoder(seed=self.seed).fit(self.inputs[:n][labels == NORMAL])
            errors = network.reconstruction_error(self.inputs)
            if number < rounds:
                limit = budget_threshold(errors[:n][labels == NORMAL])
                labels = rules.refine_labels(labels, self.votes[:n], errors[:n], limit)
        return errors, labels

    def judged(
        self, first: str = "rules", rounds: int = 2, names: Iterable[str] = JUDGE_INPUTS
    ) -> np.ndarray:
        """Risk of all events by the crowds and a judge that sees these columns, as `Detector` pools them."""
        n, names, (errors, labels) = self.n, list(names), self.refined(first, rounds)
        seen = pd.DataFrame(judge_inputs(self.inputs, errors, self.distance), self.events.index, JUDGE_INPUTS)
        seen = seen.join(self.shown)[names].to_numpy()
        judge = Judge(seed=self.seed, names=names).fit(seen[:n], labels)
        training = np.sort([judge.out_of_fold(seen[:n], labels), self.distance[:n]])
        return pool((judge.risk(seen), self.distance), training)

    def every_crowd(self, crowds: int) -> np.ndarray:
        """The distance, with every crowd in it, those that the rules accuse too."""
        profile = Profile.fit(self.train, seed=self.seed, crowds=crowds)
        return profile.distance(profile.z_scores(self.events))

    def forest(self) -> np.ndarray:
        forest = IsolationForest(random_state=self.seed).fit(self.inputs[: self.n])
        return -forest.score_samples(self.inputs)

    def without(self, rule: str) -> np.ndarray:
        """The whole detector, one rule taken out of the book."""
        book = [kept for kept in RULES if kept.name != rule]
        return Detector.fit(self.train, self.seed, rules=book).score(self.events)

    def oracle(self) -> np.ndarray:
        """The judge, taught the true labels of the training part."""
        seen = judge_inputs(self.inputs, self.refined("rules", 2)[0], self.distance)
        return Judge(seed=self.seed).fit(seen[: self.n], self.truth.to_numpy()[: self.n]).risk(seen)


VARIANTS: dict[str, Callable[[Study], np.ndarray]] = {
    FULL: lambda study: study.fitted.score(study.events),
    "judge alone": lambda study: study.fitted.judge.risk(study.fitted.seen(study.events)),
    "distance only": lambda study: study.distance,
    "distance, rings included": lambda study: study.every_crowd(CROWDS),
    "distance from one crowd": lambda study: study.every_crowd(1),
    "naive rule": lambda study: rules.naive_rule(study.events).astype(float),
    "rules only": lambda study: rules.suspicion(study.signals),
    "burst only": lambda study: ((1 + study.signals["burst"]) / (1 + study.signals["usual"])).to_numpy(),
    "autoencoder only": lambda study: study.refined("rules", 2)[0],
    "isolation forest": Study.forest,
    "without autoencoder": lambda study: study.judged(rounds=0, names=[*CARDS.columns, "distance"]),
    "judge without witnesses": lambda study: study.judged(names=CARDS.columns),
    "judge with votes": lambda study: study.judged(names=[*JUDGE_INPUTS, *study.shown]),
    "no refinement": lambda study: study.judged(rounds=0),
    "one round of refinement": lambda study: study.judged(rounds=1),
    "normal: all but the extremes": lambda study: study.judged("all but the extremes"),
    "normal: all but the organised": lambda study: study.judged("all but the organised"),
    "labels by majority": lambda study: study.judged("by majority"),
    "labels by agreement": lambda study: study.judged("by agreement"),
    **{
        f"without rule {rule.name}": lambda study, name=rule.name: study.without(name)
        for rule in RULES
        if not rule.clears
    },
    "oracle": Study.oracle,
}


def measure(start: int, seed: int, rows: int = WINDOW_ROWS) -> list[dict]:
    """All variants on one window with one seed; one row each, on the test part.

    Columns: start, seed, variant, average_precision, without_largest (episode), found (frauds among the
    alerts), and the difference to the full detector with its paired bootstrap interval over episodes.
    """
    study, here = Study(start, seed, rows), {"start": start, "seed": seed}
    n, truth = study.n, study.truth.to_numpy()[study.n :]
    scores = {name: score(study)[n:] for name, score in VARIANTS.items()}
    episode = evaluation.episodes(truth, study.fitted.profile.axes(study.events)[n:], radius=RADIUS)
    boot = evaluation.bootstrap_ap(truth, scores, evaluation.episode_draws(episode))
    observed = {name: average_precision_score(truth, score) for name, score in scores.items()}
    against = {name: evaluation.compare(boot, observed, name, FULL) for name in scores}
    rest = evaluation.without_largest(episode, truth)
    return [
        {
            **here,
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


def measure_stream(start: int, seed: int, rows: int = WINDOW_ROWS) -> tuple[list[dict], list[dict]]:
    """What the learner of notebook 07 finds from one start with one seed; a row each, of two tables.

    Columns of the first: start, seed, detector (ways of telling the learner, and its references), and of all
    events after the warm-up found (frauds among the alerts), possible (what the budget allows) and
    average_precision (pooled over the models of all blocks). Of the second, which the first seed alone has:
    start, seed, wrong (share of the reviews), told (one of ERRING), found.
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

    seen = detector.seen(events)
    logs = {name: told(*way) for name, way in TELLING.items()} | {
        "detector": by_score(detector.score(live)),
        "seed_rules": by_score(rules.naive_rule(live).astype(float)),
        "oracle_prequential": by_score(
            stream.oracle_prequential(seen, truth.to_numpy(), warm, seed=seed, start=start)
        ),
    }
    here, best = {"start": start, "seed": seed}, found(by_score(lived))
    streams = [
        {
            **here,
            "detector": name,
            "found": found(log),
            "possible": best,
            "average_precision": average_precision_score(lived, log["risk"]),
        }
        for name, log in logs.items()
    ]
    wrongs = [
        here | {"wrong": wrong, "told": channel, "found": found(told(wrong * honest, wrong * fraud, late))}
        for wrong in WRONG
        for channel, (honest, fraud, late) in ERRING.items()
        if seed == SEEDS[0]
    ]
    return streams, wrongs


def measure_world(seed: int) -> list[dict]:
    """What notebook 09 hands over of the world with this seed, a row a model and category."""
    with tempfile.TemporaryDirectory() as scratch:
        notebook = headless.source(WORLDS_NOTEBOOK, exercises=False)
        headless.execute(notebook, Path(scratch, "09.ipynb"), {"RUN": scratch, "SEED": seed})
        rows = load_json(Path(scratch, "artifacts", "worlds.json"))["rows"]
    return [{"seed": seed} | row for row in rows]


def run(folder: Path, workers: int = os.cpu_count() or 1) -> tuple[pd.DataFrame, ...]:
    """Measure all and write the tables, one of `measure`, two of `measure_stream`, one of `measure_world`; so
    many processes work at a time. A killed sweep goes on with what `folder` keeps."""
    folder.mkdir(parents=True, exist_ok=True)
    variants = _table(TABLE, _all(folder, workers, measure, PLACES))
    streams, wrongs = zip(*_all(folder, workers, measure_stream, STREAMS), strict=True)
    told = _table(STREAM_TABLE, streams), _table(WRONG_TABLE, wrongs)
    worlds = _all(folder, workers, measure_world, [(seed,) for seed in WORLDS])
    return variants, *told, _table(WORLDS_TABLE, worlds)


def _all(folder: Path, workers: int, job: Callable[..., Any], places: list[tuple]) -> list[Any]:
    """What a job gives at each place, in order. It is done anew where a source of it has changed."""
    from tqdm import tqdm

    cells = headless.source(WORLDS_NOTEBOOK, exercises=False).cells
    sources = [cell.source for cell in cells if cell.cell_type == "code"]
    known = [jobs.code("course/sweep.py", "notebooks/n09.py"), sources]
    kept = jobs.kept(folder)

    def one(place: tuple) -> Any:
        name = "-".join(map(str, (job.__name__, *place)))
        try:
            return kept(job, place, known, folder / f"{name}.log")
        except CourseError as error:
            raise CourseError(f"The sweep failed at {name}: {error}; run it again.") from None

    with ThreadPoolExecutor(workers) as pool:
        return list(tqdm(pool.map(one, places), total=len(places), unit="fits", desc=job.__name__))


def _table(path: Path, measured: Iterable[list[dict]]) -> pd.DataFrame:
    table = pd.DataFrame([row for rows in measured for row in rows])
    replace(path, table.to_csv(index=False, float_format="%.6g"))
    return table
