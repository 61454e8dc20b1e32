"""Our detector beside what a practitioner would pick instead: same events, inputs, split and machine.

Every peer runs alone, in a process of its own that ends at a time limit or with its parent. Finished
peers are kept, so a bench that was killed goes on where it stopped.
"""

import importlib
import os
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pandas as pd
from sklearn.metrics import average_precision_score

from course import jobs, results
from helpers import data, evaluation
from helpers.detector import Detector
from helpers.features import Profile, Scaling
from helpers.files import CourseError
from helpers.rules import naive_rule
from helpers.settings import BUDGET_IN_WORDS, COLUMNS, RADIUS, RESULTS, WINDOW_ROWS, WINDOWS

OURS, NAIVE = "ours", "naive rule"
TABLE = RESULTS / "benchmark.csv"
METHOD = "scaled inputs, as of 1.7.0"  # what the peers' kept scores depend on; change it with them
LIMIT = 900.0  # seconds that a peer may take for one window, imports and both rounds included
PACKAGES = ("numpy", "scipy", "scikit-learn", "torch", "xgboost", "pyod", "river")

# A peer is fitted on the training set and gives the scores of the test set.
Peer = Callable[[pd.DataFrame, pd.DataFrame], np.ndarray]


def _ours(train: pd.DataFrame, test: pd.DataFrame) -> np.ndarray:
    return Detector.fit(train).score(test)


def _naive(train: pd.DataFrame, test: pd.DataFrame) -> np.ndarray:
    return naive_rule(test)


def _scaled(
    path: str, settings: Mapping[str, Any], sign: int, train: pd.DataFrame, test: pd.DataFrame
) -> np.ndarray:
    """A class "module:name" with fit and decision_function, on the scaled inputs."""
    module, _, name = path.partition(":")
    scaling, model = Scaling.fit(train), getattr(importlib.import_module(module), name)(**settings)
    model.fit(scaling.transform(train))
    return sign * model.decision_function(scaling.transform(test))


def _half_space_trees(train: pd.DataFrame, test: pd.DataFrame) -> np.ndarray:
    """Every event is scored before it is learned; River wants inputs in [0, 1]."""
    from river import anomaly, preprocessing

    model, scores = preprocessing.MinMaxScaler() | anomaly.HalfSpaceTrees(seed=0), []
    for row in Scaling.fit(train).transform(pd.concat([train, test])).tolist():
        event = dict(zip(COLUMNS, row, strict=True))
        scores.append(model.score_one(event))
        model.learn_one(event)
    return np.array(scores[len(train) :])


def peer(path: str, sign: int = 1, **settings: Any) -> Peer:
    """A detector with its package's defaults but for `settings`; sign -1 where high means normal."""
    return partial(_scaled, path, settings, sign)


PEERS: dict[str, Peer] = {
    NAIVE: _naive,
    OURS: _ours,
    "ECOD": peer("pyod.models.ecod:ECOD"),
    "COPOD": peer("pyod.models.copod:COPOD"),
    "HBOS": peer("pyod.models.hbos:HBOS"),
    "PCA": peer("pyod.models.pca:PCA", random_state=0),
    "MCD": peer("pyod.models.mcd:MCD", random_state=0),
    "IForest": peer("pyod.models.iforest:IForest", random_state=0),
    "IsolationForest": peer("sklearn.ensemble:IsolationForest", -1, random_state=0),
    "OneClassSVM": peer("sklearn.svm:OneClassSVM", -1),
    "KNN": peer("pyod.models.knn:KNN"),
    "LOF": peer("pyod.models.lof:LOF"),
    "HalfSpaceTrees": _half_space_trees,
    "AutoEncoder": peer("pyod.models.auto_encoder:AutoEncoder", random_state=0),
    "VAE": peer("pyod.models.vae:VAE", random_state=0),
    "DeepSVDD": peer("pyod.models.deep_svdd:DeepSVDD", random_state=0, n_features=len(COLUMNS)),
}


def run(folder: Path) -> pd.DataFrame:
    """Fit and score every peer on every window of the snapshot, one after another; `folder` keeps finished
    peers and what they printed.

    Returns:
        One row a window and peer, best first: start, frauds (to find), detector, average_precision with its
        interval (low, high), verdict (against ours), precision (at the budget), seconds (to fit and score),
        and error, which says why the others are missing.
    """
    from tqdm import tqdm

    versions, kept, tables = results.versions(PACKAGES), jobs.kept(folder), []
    bar = tqdm(total=len(WINDOWS) * len(PEERS), unit="peer")
    with bar, patch.dict(os.environ, OMP_NUM_THREADS="1"):  # small networks are slower on more threads
        for start in WINDOWS:
            events, truth = data.seal(data.load_events("snapshot", WINDOW_ROWS, start))
            known, found = [data.fingerprint(events), versions], {}
            for name, one in PEERS.items():
                bar.set_description(f"{name}, from event {start:,}")
                method = jobs.code("course/bench.py") if name in (OURS, NAIVE) else METHOD
                log = folder / f"{name.replace(' ', '-')}-{start}.log"
                try:
                    found[name] = kept(_measure, (one, WINDOW_ROWS, start), [*known, method], log, LIMIT)
                except CourseError as error:
                    found[name] = {"error": str(error)}
                bar.update()
            (train, later), (_, truth) = data.split(events), data.split(truth)
            axes = Profile.fit(train, clusters=1).axes(later)
            table = _figures(found, truth, evaluation.campaigns(truth, axes, radius=RADIUS))
            tables.append(table.assign(start=start, frauds=truth.sum()))
    return pd.concat(tables, ignore_index=True)


def _figures(found: dict[str, dict[str, Any]], truth: pd.Series, campaign: np.ndarray) -> pd.DataFrame:
    """What each peer's scores are worth on the test set, a row each."""
    scores = {name: one["scores"] for name, one in found.items() if "scores" in one}
    boot = evaluation.bootstrap_ap(truth, scores, evaluation.campaign_draws(campaign))
    observed = {name: average_precision_score(truth, score) for name, score in scores.items()}
    rows = []
    for name, one in found.items():
        row = {"detector": name} | {key: value for key, value in one.items() if key != "scores"}
        if name in scores:
            low, high = evaluation.interval(boot[name])
            row |= {"average_precision": observed[name], "low": low, "high": high}
            if name != OURS and OURS in scores:
                row["verdict"] = evaluation.compare(boot, observed, name, OURS)["verdict"]
            if scores[name].dtype != bool:  # a yes or no has no order in which to spend a budget
                budget = evaluation.budget_report(truth, scores[name], int(truth.index[0]))
                row["precision"] = budget["precision"]
        rows.append(row)
    columns = ["start", "frauds", "detector", "average_precision", "low", "high", "verdict", "precision"]
    table = pd.DataFrame(rows, columns=[*columns, "seconds", "error"])
    return table.sort_values("average_precision", ascending=False, kind="stable")


def _measure(one: Peer, rows: int, start: int) -> dict[str, Any]:
    """In the child: the scores of the test set, and the seconds from raw events to them."""
    train, test = data.split(data.seal(data.load_events("snapshot", rows, start))[0])
    for _ in range(2):  # the first round, with its imports and compilers, does not count
        started = time.perf_counter()
        scores = one(train, test)
        seconds = time.perf_counter() - started
    if scores.shape != (len(test),) or not np.isfinite(scores).all():
        raise ValueError("it did not give every event a finite score")
    return {"scores": scores, "seconds": seconds}


SHOWN = {"average_precision": "AP", "verdict": "against ours", "precision": "precision at the budget"}
PREFACE = f"""# Benchmark

Every detector fits on the first 60 % of a window and scores the last 40 %; none sees a label. Each runs
alone in a process of its own, one thread a kernel (ours fits its mixtures side by side), with its package's
defaults and seed 0, in the versions that requirements-bench.txt and constraints.txt pin, and is timed from
raw events to scores, imports not counted.
IsolationForest and OneClassSVM are scikit-learn's; HalfSpaceTrees is River's, and scores each event of the
window before it learns it; the other peers are PyOD's.
AP is average precision with an interval from a bootstrap over campaigns; "cannot tell" means that the
interval of the difference to ours spans zero. The budget is {BUDGET_IN_WORDS}.
"""


def page(table: pd.DataFrame) -> str:
    """What `run` gave as benchmark.md."""

    def cell(value: Any) -> str:
        return "-" if pd.isna(value) else value if isinstance(value, str) else f"{value:.3f}"

    parts = [PREFACE]
    for (start, frauds), window in table.groupby(["start", "frauds"]):
        parts.append(f"## Events {start:,} to {start + WINDOW_ROWS - 1:,}: {frauds} frauds to find\n")
        shown = window.set_index("detector").drop(columns=["start", "frauds"]).dropna(axis=1, how="all")
        parts.append(results.markdown_table(shown.map(cell).rename(columns=SHOWN)) + "\n")
    return "\n".join(parts)
