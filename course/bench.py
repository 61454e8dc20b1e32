"""Our detector beside what a practitioner would pick instead: same events, inputs, split and machine.

Every peer runs alone, in a process of its own that ends at a time limit or with its parent. Finished
peers are kept under the fingerprint of the data and the versions of the packages, so a bench that was
killed goes on where it stopped.
"""

from __future__ import annotations

import hashlib
import importlib
import io
import json
import os
import platform
import re
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import average_precision_score

from course import jobs
from helpers import data, evaluation
from helpers.features import Profile, Scaling
from helpers.files import replace
from helpers.settings import BUDGET_IN_WORDS, COLUMNS, RADIUS, ROOT, WINDOW_ROWS, WINDOWS

OURS, NAIVE = "ours", "naive rule"
PACKAGES = ("numpy", "scipy", "scikit-learn", "torch", "xgboost", "pyod", "river")
METHOD = ("settings", "data", "crowds", "features", "rules", "autoencoder", "judge", "detector")
MACHINE = {"cores": os.cpu_count(), "system": f"{platform.system()} {platform.machine()}"}
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

    Raises:
        ValueError: if a window is not in the snapshot, or its test part has no fraud.
    """
    from tqdm import tqdm

    folder.mkdir(parents=True, exist_ok=True)
    versions, windows = _versions(), {}
    with tqdm(total=len(starts) * len(peers), unit="peer") as bar:
        for start in starts:
            events, truth = data.seal(data.load_events("snapshot", rows, start))
            sha256, test, found = data.fingerprint(events), data.split(truth)[1], {}
            for name, peer in peers.items():
                bar.set_description(f"{name}, from event {start:,}")
                job = {"peer": asdict(peer), "rows": rows, "start": start}
                stem = re.sub(r"\W+", "-", f"{name} {start} {_key(job, sha256, versions)}")
                found[name] = _measured(job, folder / stem, limit, fresh)
                bar.update()
            train, later = data.split(events)
            axes = Profile.fit(train, crowds=1).axes(later)
            figures = _figures(found, test, evaluation.episodes(test, axes, radius=RADIUS))
            windows[str(start)] = {"sha256": sha256, "frauds_test": int(test.sum()), "peers": figures}
    return {"rows": rows, "limit_s": limit, "machine": MACHINE, "versions": versions, "windows": windows}


def _versions() -> dict[str, str | None]:
    installed = {package.name.lower(): package.version for package in distributions()}
    return {"python": platform.python_version()} | {name: installed.get(name) for name in PACKAGES}


def _key(job: dict[str, Any], sha256: str, versions: dict[str, str | None]) -> str:
    own = METHOD if job["peer"]["path"].startswith("helpers.") else ()
    code = [(ROOT / "helpers" / f"{name}.py").read_text(encoding="utf-8") for name in own]
    return hashlib.sha256(json.dumps([job, sha256, versions, code]).encode()).hexdigest()[:16]


def _measured(job: dict[str, Any], kept: Path, limit: float, fresh: bool) -> dict[str, Any]:
    """What the child measured, its scores included, or the error; `kept` lacks its suffix."""
    done = kept.with_suffix(".json")
    if fresh:
        done.unlink(missing_ok=True)
    if not done.is_file():
        arguments = (json.dumps(job), str(kept))
        log = kept.with_suffix(".log")
        # small networks are slower on more threads
        if error := jobs.run("course.bench", *arguments, log=log, limit=limit, OMP_NUM_THREADS="1"):
            return {"error": error}
    scores = np.load(kept.with_suffix(".npy"), allow_pickle=False)
    return json.loads(done.read_text(encoding="utf-8")) | {"scores": scores}


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


def _measure(job: dict[str, Any], kept: Path) -> None:
    """Fit one peer on the training part, score the test part, and keep scores and figures."""
    peer = Peer(**job["peer"])
    train, test = data.split(data.seal(data.load_events("snapshot", job["rows"], job["start"]))[0])
    module, _, name = peer.path.partition(":")
    for needed in ("sklearn.preprocessing", *peer.imports):
        importlib.import_module(needed)
    target = getattr(importlib.import_module(module), name)
    start_mb, started = jobs.peak_mb(), time.perf_counter()
    score = FITS[peer.kind](target, peer, train)
    fit_s = time.perf_counter() - started
    scores, seconds = _timed(score, test)
    if scores.shape != (len(test),) or not np.isfinite(scores).all():
        raise ValueError("it did not give every event a finite score")
    measured = {"fit_s": fit_s, "events_per_s": len(test) / seconds, "peak_mb": jobs.peak_mb()}
    np.save(kept.with_suffix(".npy"), scores, allow_pickle=False)
    replace(kept.with_suffix(".json"), json.dumps(measured | {"start_mb": start_mb}))


def _timed(score: Score, events: pd.DataFrame) -> tuple[np.ndarray, float]:
    """The scores of the first pass, and the median seconds of up to five passes within one second."""
    seconds, passes = [], []
    while not seconds or (len(seconds) < 5 and sum(seconds) < 1):
        started = time.perf_counter()
        passes.append(score(events))
        seconds.append(time.perf_counter() - started)
    return passes[0], float(np.median(seconds))


def _sentence(error: Exception) -> str:
    if isinstance(error, ModuleNotFoundError):
        return f"{error.name} is not installed: run {INSTALL}"
    return jobs.sentence(error)


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

![Average precision against fit time, one panel a window](benchmark.png)
"""
HEADINGS = "detector | AP | 95 % interval | against ours | precision at the budget | fit, s | events/s"


def _markdown(result: dict[str, Any]) -> str:
    parts = [PREFACE.format(limit=result["limit_s"], budget=BUDGET_IN_WORDS, **result["machine"])]
    for start, window in result["windows"].items():
        first, last = int(start), int(start) + result["rows"] - 1
        parts.append(f"## Events {first:,} to {last:,}: {window['frauds_test']} frauds to find\n")
        ranked = sorted(window["peers"].items(), key=lambda item: -item[1].get("average_precision", -1))
        rows = [_cells(name, row) for name, row in ranked]
        parts += [f"| {HEADINGS} | peak memory, MB |", "| --- " * 8 + "|", *rows, ""]
    versions = ", ".join(f"{name} {number or '-'}" for name, number in result["versions"].items())
    return "\n".join([*parts, f"Versions: {versions}.", ""])


def _cells(name: str, row: dict[str, Any]) -> str:
    if "error" in row:
        cells = [name, row["error"].replace("|", "/"), *["-"] * 6]
    else:
        low, high = row["average_precision_ci"]
        cells = [
            name,
            f"{row['average_precision']:.3f}",
            f"{low:.3f} to {high:.3f}",
            row["against_ours"]["verdict"] if row["against_ours"] else "-",
            "-" if row["budget_precision"] is None else f"{row['budget_precision']:.3f}",
            f"{row['fit_s']:.2f}",
            f"{float(format(row['events_per_s'], '.2g')):,.0f}",
            "-" if row["peak_mb"] is None else f"{row['peak_mb']:,.0f} ({row['start_mb']:,.0f})",
        ]
    return f"| {' | '.join(cells)} |"


def _png(result: dict[str, Any]) -> bytes:
    from helpers import plots

    windows = result["windows"]
    options = {"layout": "constrained", "squeeze": False, "sharex": True, "sharey": True}
    figure, axes = plots.plt.subplots(1, len(windows), figsize=(7.5 * len(windows), 6), **options)
    for axis, (start, window) in zip(axes[0], windows.items(), strict=True):
        _panel(axis, int(start), window["peers"], plots)
    axes[0, 0].set_ylabel("average precision (log scale)")
    figure.draw_without_rendering()
    for axis in axes[0]:
        _place_labels(axis)
    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=100, metadata={"Software": None})
    plots.plt.close(figure)
    return png.getvalue()


def _panel(axis: Any, start: int, peers: dict[str, dict[str, Any]], plots: Any) -> None:
    """One window: ours in green, peers in grey; the naive rule, which has no fit, is a line."""
    axis.set(xscale="log", yscale="log", xlabel="seconds to fit (log scale)")
    axis.margins(0.15)
    drawn = {name: row for name, row in peers.items() if "error" not in row}
    for name, row in drawn.items():
        x, y, size = row["fit_s"], row["average_precision"], 14 if name == OURS else 7
        if name == NAIVE:
            axis.axhline(y, color=plots.GREY, ls="--", label=f"{name}, which has no fit")
        else:
            axis.plot(x, y, "o", ms=size, color=plots.GREEN if name == OURS else plots.GREY)
            line = {"arrowstyle": "-", "color": plots.GREY, "lw": 0.6, "shrinkA": 0, "shrinkB": 0}
            axis.annotate(name, (x, y), (0, 0), textcoords="offset points", size="small", arrowprops=line)
    if missing := [name for name in peers if name not in drawn]:
        axis.plot([], [], " ", label=f"no result: {', '.join(missing)}")
    axis.legend(frameon=False, loc="upper left", fontsize="small")
    axis.set_title(_finding(start, drawn), loc="left", fontweight="bold")


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


def _place_labels(axis: Any) -> None:
    """Give each label the nearest place where it covers neither a point nor another label."""
    from matplotlib.text import Text
    from matplotlib.transforms import Bbox

    points = [axis.transData.transform(label.xy) for label in axis.texts]
    taken = [Bbox.from_extents(x - 8, y - 8, x + 8, y + 8) for x, y in points]
    taken += [axis.get_legend().get_window_extent()]
    circle = np.exp(2j * np.pi * np.arange(16) / 16)
    for label in axis.texts:
        for place in np.outer(np.arange(10, 100, 4), circle).ravel():
            label.set_position((place.real, place.imag))
            label.set(ha="left" if place.real > 0 else "right", va="center")
            box = Text.get_window_extent(label).padded(3)
            if axis.bbox.x0 < box.x0 and box.x1 < axis.bbox.x1 and not any(map(box.overlaps, taken)):
                break
        taken.append(box)


if __name__ == "__main__":
    jobs.begin()
    try:
        _measure(json.loads(sys.argv[1]), Path(sys.argv[2]))
    except Exception as problem:
        traceback.print_exc()
        print(_sentence(problem), file=sys.stderr)
        sys.exit(1)
