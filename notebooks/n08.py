"""Notebook 8, past one machine: what the measurements say, figures, serving until a kill, checkers."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from checker import as_number, ask, checker, compare, off_if
from helpers import plots, spark
from helpers.classifier import Classifier
from helpers.files import CourseError, load_json
from helpers.settings import BUDGET, RESULTS, ROOT

TABLE = RESULTS / "scaling.json"
ONE, SPARK = "one process", "Spark, 2 cores"


def read() -> dict[str, Any]:
    """What `make scale` measured last."""
    return load_json(TABLE)


def table(result: dict[str, Any]) -> pd.DataFrame:
    """The measurements, one row each, with events_per_s and total_s, start-up included."""
    rows = pd.DataFrame(result["measured"])
    rows["events_per_s"] = rows["events"] / rows["work_s"]
    return rows.assign(total_s=rows["start_s"] + rows["work_s"])


def findings(result: dict[str, Any]) -> dict[str, float | None]:
    """What the largest size says: peak_mb of one process; speed_kept and of_xgboost, its events a second
    against those of the size before and XGBoost's own; spark_against_one, the seconds of Spark's work on 2
    cores against those of one process; crossover, the number of events from which Spark on 2 cores is done
    first, on straight lines through both sizes, raised by each path's median start-up (None: never)."""
    rows = table(result).set_index(["path", "events"]).sort_index()
    one, two = rows.loc[ONE], rows.loc[SPARK]
    (start_one, slope_one), (start_two, slope_two) = _line(one), _line(two)
    crossing = float((start_two - start_one) / (slope_one - slope_two)) if slope_one > slope_two else None
    before, last = one.iloc[-2], one.iloc[-1]
    found = {
        "peak_mb": last["peak_mb"],
        "speed_kept": last["events_per_s"] / before["events_per_s"],
        "of_xgboost": last["events_per_s"] / last["xgboost_per_s"],
        "spark_against_one": two["work_s"].iloc[-1] / last["work_s"],
    }
    return {name: float(value) for name, value in found.items()} | {"crossover": crossing}


def _line(path: pd.DataFrame) -> tuple[float, float]:
    """Seconds at no event, start-up included, and seconds an event, by the two largest sizes."""
    (before, largest), (less, more) = path.index[-2:], path["work_s"].iloc[-2:]
    slope = (more - less) / (largest - before)
    return path["start_s"].median() + more - slope * largest, slope


def cluster(result: dict[str, Any], events: int, cores: Sequence[int]) -> pd.DataFrame:
    """Hours for many events by arithmetic, from the largest size measured.

    Assumes that the cluster's cores are like this machine's, that storage feeds them all, that start-up
    takes what it took here, and that the share of the work which more cores do not help is what 1 and 2
    cores showed (Amdahl's law). One row a path: hours, hours_if_all_spread (every core helps as much as the
    first) and share_waiting, the share of the paid core-hours that does nothing.
    """
    rows = table(result)
    last = rows[rows["events"] == rows["events"].max()].set_index("path")
    work = last["work_s"] / last["events"] * events
    alone, one, two = work[ONE], work["Spark, 1 core"], work[SPARK]
    serial = min(max(2 * two / one - 1, 0.0), 1.0)
    start, hours = last["start_s"][SPARK], {ONE: (alone / 3_600, alone / 3_600, 0.0)}
    for count in cores:
        seconds, spread = start + one * (serial + (1 - serial) / count), start + one / count
        hours[f"Spark, {count} cores"] = seconds / 3_600, spread / 3_600, 1 - one / (seconds * count)
    return pd.DataFrame.from_dict(hours, "index", columns=["hours", "hours_if_all_spread", "share_waiting"])


def growth(measured: pd.DataFrame, crossover: float | None) -> Figure:
    """Seconds and peak memory of each path against the number of events, on log axes.

    Spark on 2 cores is done first from `crossover` events (None: never).
    """
    figure, (time, memory) = plt.subplots(2, 1, figsize=(7.5, 6.4), sharex=True)
    largest = measured["events"].max()
    ahead = f"not ahead of one process up to {largest:,} events"
    if crossover is not None and crossover <= largest:
        ahead = f"ahead from {float(f'{crossover:.1g}'):,.0f} events"
    title = plots.wrapped(f"Spark on 2 cores, start-up included: {ahead}")
    time.set(title=title, ylabel="seconds (log scale)", yscale="log")
    memory.set(title="Memory at its peak", ylabel="MB")
    paths, colours = measured.groupby("path", sort=False), (plots.BLUE, plots.ORANGE, plots.GREEN)
    for (path, rows), colour in zip(paths, colours, strict=True):
        time.plot(rows["events"], rows["work_s"], "o-", color=colour, label=path)
        time.plot(rows["events"], rows["total_s"], "x:", color=colour)
        memory.plot(rows["events"], rows["peak_mb"].astype(float), "o-", color=colour)
    time.plot([], [], "x:", color="black", label="start-up included")
    memory.set(xscale="log", xlabel="events (log scale)", ylim=0)
    figure.legend(loc="outside lower center", ncols=2)
    return figure


def forgotten(remembered: pd.Series, alone: pd.Series, batch: int) -> Figure:
    """Which share of the alerts' burst counts a worker that starts afresh forgets, along its micro-batch.

    Counts are indexed by the event's turn within its key; a micro-batch holds `batch` events of a key.
    """
    tenth = batch // 10
    place = remembered.index % batch // tenth * tenth
    lost = 1 - alone.groupby(place).sum() / remembered.groupby(place).sum()
    title = f"Without memory {(alone < remembered).mean():.0%} of the alerts lose a part of their burst; "
    title += f"early in a micro-batch {lost.iloc[0]:.0%} of all is forgotten, late {lost.iloc[-1]:.0%}"
    x, y = "position in the micro-batch, in events of the key", "share of the burst count\nthat is forgotten"
    figure, axes = plots.single(title, x, y, height=3.4, ylim=(0, 1))
    axes.bar(lost.index, lost, width=0.9 * tenth, align="edge", color=plots.BLUE)
    plots.percent(axes.yaxis)
    return figure


def serve_and_kill(detector: Path, folder: Path, batches: int, seconds: float = 0.0, **options: Any) -> int:
    """Serve, with the `options` of `serve`, in a process of its own and kill it, Java and all, so long after
    so many micro-batches; gives how many were finished."""
    job = json.dumps({"detector": str(detector), "folder": str(folder), "options": options})
    command = [sys.executable, "-c", "from helpers import runs; import n08; n08._serve_job()", job]
    finished = folder / "checkpoint" / "commits"
    with (folder / "killed.log").open("wb") as log:
        streams = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log}
        child = subprocess.Popen(command, cwd=ROOT, start_new_session=True, **streams)
        try:
            while child.poll() is None and not (finished / str(batches - 1)).exists():
                time.sleep(0.02)
            time.sleep(seconds)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
    if child.wait(timeout=60) > 0:
        last = (folder / "killed.log").read_text().strip().splitlines()[-1]
        raise CourseError(last.removeprefix("helpers.files.CourseError: "))
    return sum(path.name.isdigit() for path in finished.iterdir())


def _serve_job() -> None:
    job = json.loads(sys.argv[1])
    folder = Path(job["folder"])
    spark.serve(spark.session(2, folder), Path(job["detector"]), folder, **job["options"])


def train_classifier(
    session: Any, seen: np.ndarray, labels: np.ndarray, classifier: Classifier, workers: int
) -> Classifier:
    """Train a classifier with these settings by XGBoost on Spark: each worker holds a part of the rows,
    (n, k + 2), and of their labels, (n,), 1 or 0, and they agree on trees."""
    from xgboost.spark import SparkXGBClassifier

    for name in ("XGBoost-PySpark", "SparkXGBClassifier"):
        logging.getLogger(name).setLevel(logging.WARNING)
    table = pd.DataFrame(seen, columns=classifier.names).assign(label=labels.astype(int))
    rows = session.createDataFrame(table.rename_axis("row").reset_index())
    parts = rows.repartitionByRange(workers, "row").sortWithinPartitions("row")
    settings = {
        "n_estimators": classifier.trees,
        "max_depth": classifier.depth,
        "learning_rate": classifier.learning_rate,
    }
    settings |= {
        "subsample": classifier.subsample,
        "colsample_bytree": classifier.columns,
        "random_state": classifier.seed,
    }
    settings |= {"features_col": classifier.names, "label_col": "label", "num_workers": workers}
    model = SparkXGBClassifier(**settings, tree_method="hist", verbose=False).fit(parts)
    return Classifier(names=classifier.names, model=model.get_booster())


def agreement(one: np.ndarray, other: np.ndarray) -> dict[str, Any]:
    """How alike two classifiers' (n,) scores of the same events are: same_bits, rank_correlation
    (Spearman's), and same_alerts, the share of the budget's riskiest events that both name."""
    count = max(1, round(BUDGET * len(one)))
    top = [set(np.argsort(-risk, kind="stable")[:count].tolist()) for risk in (one, other)]
    alike = float(pd.Series(one).corr(pd.Series(other), method="spearman"))
    same = {"same_bits": bool((one == other).all()), "rank_correlation": alike}
    return same | {"same_alerts": len(top[0] & top[1]) / count}


@checker
def check_8a(attempt: Callable) -> str:
    """From how many events on the faster starter is overtaken."""
    for start, slow, fast in ((10.0, 100_000, 250_000), (30.0, 50_000, 80_000)):
        slips = {
            "This is a time; multiply by a speed to get events.": start / (1 - slow / fast),
            "By then one process has done so many; Spark still has all of them to do.": start * slow,
            "This is as if one process handled nothing while Spark starts.": start * fast,
            "Compare the seconds for one event, not the events in one second.": start * (fast - slow),
        }
        where = f"For {start:g} s, {slow:,} and {fast:,} events a second:"
        compare(as_number(ask(attempt, start, slow, fast)), start / (1 / slow - 1 / fast), slips, where)
    never = "If Spark is not faster it never catches up, not even where both are as fast: give np.inf."
    for fast in (100_000, 200_000):
        answer = ask(attempt, 10.0, 200_000, fast)
        off_if(np.ndim(answer) or answer != np.inf, never)
    return "right. Below that number the start-up is all that one notices."


@checker
def check_8b(attempt: Callable) -> str:
    """Amdahl's law."""
    for share, cores in ((0.9, 2), (0.9, 64), (0.5, 1_000), (1.0, 8)):
        rest = 1 - share
        time, more = rest + share / cores, rest + share * cores
        slips = {
            "This is as if all of the work could be spread.": float(cores),
            "This is the share of the time that is left; one divided by it is the speed-up.": time,
            "The two are swapped: `share` can be spread, 1 - share cannot.": 1 / (share + rest / cores),
            "This is how much more work gets done in the same time; the work here stays the same.": more,
            "This is Amdahl's limit, of any number of cores.": 1 / rest if rest else np.inf,
            "The work that is spread over the cores is divided by them.": share * cores,
            "The part that cannot be spread still takes its time: 1 - share.": cores / share,
        }
        where = f"With a share of {share:g} and {cores:,} cores:"
        compare(as_number(ask(attempt, share, cores)), 1 / time, slips, where)
    return "right. With a share of 0.9, no number of cores is ten times as fast."
