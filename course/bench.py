"""Our detector beside what a practitioner would pick instead: same events, inputs, split and machine.

Every peer runs alone, in a process of its own that ends at a time limit or with its parent. Finished
peers are kept, so a bench that was killed goes on where it stopped.
"""

from __future__ import annotations

import importlib
import io
import json
import os
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pandas as pd
from sklearn.metrics import average_precision_score

from course import jobs, results
from helpers import data, evaluation
from helpers.features import Profile, Scaling
from helpers.files import CourseError
from helpers.settings import BUDGET_IN_WORDS, COLUMNS, RADIUS, WINDOW_ROWS, WINDOWS

OURS, NAIVE = "ours", "naive rule"
PACKAGES = ("numpy", "scipy", "scikit-learn", "torch", "xgboost", "pyod", "river")
INSTALL = "pip install -c constraints.txt -r requirements-bench.txt"


@dataclass(frozen=True)
class Peer:
    """How a detector is made: its package's defaults but for `settings`.

    Attributes:
        path: "module:name" of a class, or of a function where `kind` is "rule".
        kind: "inputs" (fit and decision_function on the scaled inputs), "stream" (score_one, then
            learn_one, event by event), "events" (fit and score from raw events), or "rule" (yes/no).
        settings: arguments of the class.
        sign: -1 where its decision_function is high for normal events.
        imports: modules that it would otherwise import while its clock runs.
    """

    path: str
    kind: str = "inputs"
    settings: Mapping[str, Any] = field(default_factory=dict)
    sign: int = 1
    imports: tuple[str, ...] = ()


SEED = {"random_state": 0}
PEERS = {
    NAIVE: Peer("helpers.rules:naive_rule", "rule"),
    OURS: Peer("helpers.detector:Detector", "events", {"seed": 0}, imports=("torch", "xgboost")),
    "ECOD": Peer("pyod.models.ecod:ECOD"),
    "COPOD": Peer("pyod.models.copod:COPOD"),
    "HBOS": Peer("pyod.models.hbos:HBOS"),
    "PCA": Peer("pyod.models.pca:PCA", settings=SEED),
    "MCD": Peer("pyod.models.mcd:MCD", settings=SEED),
    "IForest": Peer("pyod.models.iforest:IForest", settings=SEED),
    "IsolationForest": Peer("sklearn.ensemble:IsolationForest", settings=SEED, sign=-1),
    "OneClassSVM": Peer("sklearn.svm:OneClassSVM", sign=-1),
    "KNN": Peer("pyod.models.knn:KNN"),
    "LOF": Peer("pyod.models.lof:LOF"),
    "HalfSpaceTrees": Peer("river.anomaly:HalfSpaceTrees", "stream", {"seed": 0}),
    "AutoEncoder": Peer("pyod.models.auto_encoder:AutoEncoder", settings=SEED),
    "VAE": Peer("pyod.models.vae:VAE", settings=SEED),
    "DeepSVDD": Peer("pyod.models.deep_svdd:DeepSVDD", settings=SEED | {"n_features": len(COLUMNS)}),
}


def run(
    folder: Path,
    limit: float,
    fresh: bool = False,
    peers: Mapping[str, Peer] = PEERS,
    starts: tuple[int, ...] = WINDOWS,
    rows: int = WINDOW_ROWS,
) -> dict[str, Any]:
    """Fit and score every peer on every window of the snapshot, one after another, under one bar.

    Args:
        folder: where finished peers and what they printed are kept; `fresh` runs them again.
        limit: seconds that a peer may take for one window, imports included.
        peers: name -> how it is made.
        starts, rows: first event and size of the windows.

    Returns:
        rows, limit_s, machine, versions, and windows: first event -> sha256, frauds_test, and peers: name
        -> `_figures`, fit_s, events_per_s, peak_mb, start_mb (resident memory), or error, a sentence.
    """
    from tqdm import tqdm

    if fresh:
        shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    versions, windows, kept = results.versions(PACKAGES), {}, jobs.kept(folder)
    # small networks are slower on more threads
    with (
        tqdm(total=len(starts) * len(peers), unit="peer") as bar,
        patch.dict(os.environ, OMP_NUM_THREADS="1"),
    ):
        for start in starts:
            events, truth = data.seal(data.load_events("snapshot", rows, start))
            sha256, test, found = data.fingerprint(events), data.split(truth)[1], {}
            for name, peer in peers.items():
                bar.set_description(f"{name}, from event {start:,}")
                known = [sha256, versions, jobs.code() if peer.path.startswith("helpers.") else ""]
                log = folder / f"{name.replace(' ', '-')}-{start}.log"
                try:
                    found[name] = dict(kept(_measure, (peer, rows, start), known, log, limit))
                except CourseError as error:
                    found[name] = {"error": str(error)}
                bar.update()
            train, later = data.split(events)
            axes = Profile.fit(train, crowds=1).axes(later)
            figures = _figures(found, test, evaluation.episodes(test, axes, radius=RADIUS))
            windows[str(start)] = {"sha256": sha256, "frauds_test": int(test.sum()), "peers": figures}
    machine = results.machine()
    return {"rows": rows, "limit_s": limit, "machine": machine, "versions": versions, "windows": windows}


def _figures(
    measured: dict[str, dict[str, Any]], test: pd.Series, episode: np.ndarray
) -> dict[str, dict[str, Any]]:
    """Replace each peer's scores by what they are worth on the test part."""
    truth = test.to_numpy()
    scores = {name: row.pop("scores") for name, row in measured.items() if "scores" in row}
    boot = evaluation.bootstrap_ap(truth, scores, evaluation.episode_draws(episode))
    observed = {name: average_precision_score(truth, score) for name, score in scores.items()}
    for name, score in scores.items():
        budget = evaluation.budget_report(truth, score, int(test.index[0])) if score.dtype != bool else None
        comparable = name != OURS and OURS in scores
        measured[name] |= {
            "average_precision": observed[name],
            "average_precision_ci": list(evaluation.interval(boot[name])),
            "budget_precision": budget and budget["precision"],
            "against_ours": evaluation.compare(boot, observed, name, OURS) if comparable else None,
        }
    return measured


# In the child: one peer, timed from raw events

Score = Callable[[pd.DataFrame], np.ndarray]


def _fit_inputs(target: Any, peer: Peer, train: pd.DataFrame) -> Score:
    scaling, model = Scaling.fit(train), target(**peer.settings)
    model.fit(scaling.transform(train))
    return lambda events: peer.sign * model.decision_function(scaling.transform(events))


def _fit_stream(target: Any, peer: Peer, train: pd.DataFrame) -> Score:
    """Score every event before learning it, the training part's first; River wants inputs in [0, 1]."""
    from river import preprocessing

    scaling, model = Scaling.fit(train), preprocessing.MinMaxScaler() | target(**peer.settings)

    def score(events: pd.DataFrame) -> np.ndarray:
        scores = []
        for row in scaling.transform(events).tolist():
            event = dict(zip(COLUMNS, row, strict=True))
            scores.append(model.score_one(event))
            model.learn_one(event)
        return np.array(scores)

    score(train)
    return score


FITS: dict[str, Callable[[Any, Peer, pd.DataFrame], Score]] = {
    "inputs": _fit_inputs,
    "stream": _fit_stream,
    "events": lambda target, peer, train: target.fit(train, **peer.settings).score,
    "rule": lambda target, peer, train: target,
}


def _measure(peer: Peer, rows: int, start: int) -> dict[str, Any]:
    """Fit one peer on the training part and score the test part; its scores and figures."""
    train, test = data.split(data.seal(data.load_events("snapshot", rows, start))[0])
    module, _, name = peer.path.partition(":")
    try:
        for needed in ("sklearn.preprocessing", *peer.imports):
            importlib.import_module(needed)
        target = getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as error:
        raise CourseError(f"{error.name} is not installed: run {INSTALL}") from error
    start_mb, started = jobs.peak_mb(), time.perf_counter()
    score = FITS[peer.kind](target, peer, train)
    fit_s = time.perf_counter() - started
    scores, seconds = _timed(score, test)
    if scores.shape != (len(test),) or not np.isfinite(scores).all():
        raise ValueError("it did not give every event a finite score")
    speed, peak_mb = len(test) / seconds, jobs.peak_mb()
    return dict(scores=scores, fit_s=fit_s, events_per_s=speed, peak_mb=peak_mb, start_mb=start_mb)


def _timed(score: Score, events: pd.DataFrame) -> tuple[np.ndarray, float]:
    """The scores of the first pass, and the median seconds of up to five passes within one second."""
    seconds, passes = [], []
    while not seconds or (len(seconds) < 5 and sum(seconds) < 1):
        started = time.perf_counter()
        passes.append(score(events))
        seconds.append(time.perf_counter() - started)
    return passes[0], float(np.median(seconds))


# What is published


def pages(result: dict[str, Any]) -> dict[str, str | bytes]:
    """What `run` gave as benchmark.json, benchmark.md and benchmark.png: name -> content."""
    text = json.dumps(result, indent=2, allow_nan=False) + "\n"
    return {"benchmark.json": text, "benchmark.md": _markdown(result), "benchmark.png": _png(result)}


PREFACE = """# Bench

Every detector fits on the first 60 % of a window and scores the last 40 %; none sees a label. Each runs
alone in a process of its own on {cores} cores ({system}), with its package's defaults, seed 0 and one
OpenMP thread (on which small networks train fastest) where it does not set its own, within {limit:g} s,
and is timed from raw events: scaling included, imports not. IsolationForest and OneClassSVM are
scikit-learn's; HalfSpaceTrees is River's, and scores each event of the window before it learns it; the
other peers are PyOD's.
AP is average precision with an interval from a bootstrap over episodes; "cannot tell" means that the
interval of the difference to ours spans zero. The budget is {budget}. Peak memory is the whole process's; in
brackets what libraries and data had taken before the fit.

![Average precision with its interval, and seconds to fit, one panel a window](benchmark.png)
"""


def _ranked(peers: dict[str, dict[str, Any]]) -> list[tuple[str, dict[str, Any]]]:
    """Names and figures, best first; what failed stands last."""
    return sorted(peers.items(), key=lambda item: -item[1].get("average_precision", -1))


def _markdown(result: dict[str, Any]) -> str:
    parts = [PREFACE.format(limit=result["limit_s"], budget=BUDGET_IN_WORDS, **result["machine"])]
    for start, window in result["windows"].items():
        first, last = int(start), int(start) + result["rows"] - 1
        parts.append(f"## Events {first:,} to {last:,}: {window['frauds_test']} frauds to find\n")
        table = pd.DataFrame({name: _cells(row) for name, row in _ranked(window["peers"])}).T
        parts.append(results.markdown_table(table.rename_axis("detector").fillna("-")) + "\n")
    versions = ", ".join(f"{name} {number or '-'}" for name, number in result["versions"].items())
    return "\n".join([*parts, f"Versions: {versions}.", ""])


def _cells(row: dict[str, Any]) -> dict[str, str | None]:
    if "error" in row:
        return {"AP": row["error"].replace("|", "/")}
    low, high = row["average_precision_ci"]
    budget, peak_mb = row["budget_precision"], row["peak_mb"]
    return {
        "AP": f"{row['average_precision']:.3f}",
        "95 % interval": f"{low:.3f} to {high:.3f}",
        "against ours": row["against_ours"] and row["against_ours"]["verdict"],
        "precision at the budget": None if budget is None else f"{budget:.3f}",
        "fit, s": f"{row['fit_s']:.2f}",
        "events/s": f"{float(format(row['events_per_s'], '.2g')):,.0f}",
        "peak memory, MB": None if peak_mb is None else f"{peak_mb:,.0f} ({row['start_mb']:,.0f})",
    }


def _png(result: dict[str, Any]) -> bytes:
    """One panel a window: average precision and its interval, ours in green, with the seconds of the fit."""
    from helpers import plots

    windows, png = result["windows"], io.BytesIO()
    figure, axes = plots.plt.subplots(1, len(windows), figsize=(7.5 * len(windows), 6), squeeze=False)
    for axis, (start, window) in zip(axes[0], windows.items(), strict=True):
        drawn = [(name, row) for name, row in _ranked(window["peers"])[::-1] if "error" not in row]
        for place, (name, row) in enumerate(drawn):
            colour = plots.GREEN if name == OURS else plots.GREY
            axis.plot(row["average_precision_ci"], [place, place], color=colour, lw=2)
            axis.plot(row["average_precision"], place, "o", color=colour)
        axis.set(xscale="log", xlabel="average precision (log scale)")
        axis.set_yticks(range(len(drawn)), [f"{name} ({row['fit_s']:.2f} s to fit)" for name, row in drawn])
        axis.set_title(_finding(int(start), dict(drawn)))
    figure.savefig(png, format="png", dpi=100, bbox_inches="tight", metadata={"Software": None})
    plots.plt.close(figure)
    return png.getvalue()


def _finding(start: int, drawn: dict[str, dict[str, Any]]) -> str:
    ranks = {name: row for name, row in drawn.items() if name not in (OURS, NAIVE)}
    if OURS not in drawn or not ranks:
        return f"From event {start:,}"
    best = max(ranks, key=lambda name: ranks[name]["average_precision"])
    chance = "within" if ranks[best]["against_ours"]["verdict"] == "cannot tell" else "beyond"
    return (
        f"From event {start:,}: ours {drawn[OURS]['average_precision']:.3f}, best peer "
        f"{ranks[best]['average_precision']:.3f} ({best})\nThe difference is {chance} chance"
    )
