"""What growth costs: the same events scored by one process and by Spark, each measured by itself.

Every measurement runs in a process of its own, so that its memory is its own; Spark's is that of
Python, Java and all workers together.
"""

from __future__ import annotations

import io
import json
import os
import platform
import shutil
import sys
import time
import traceback
from collections.abc import Callable, Iterable
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from helpers.scaling import ONE, TABLE, findings, table, write_resampled

from course import jobs
from helpers import plots, spark
from helpers.detector import Detector
from helpers.files import CourseError, load_json, replace, to_json

SIZES = (100_000, 1_000_000, 10_000_000)
KEYS = 100
CORES = {ONE: 0, "Spark, 1 core": 1, "Spark, 2 cores": 2}
PACKAGES = ("pyspark", "xgboost", "numpy", "pandas", "pyarrow")
LIMIT = 1_800.0  # seconds for one measurement
GROUPS = 10  # row groups on which XGBoost alone is timed


def run(folder: Path, detector: Path, events: pd.DataFrame, sizes: Iterable[int] = SIZES) -> dict[str, Any]:
    """Measure every size on every path, one after another, under one bar.

    Args:
        folder: for the made events and the scores.
        detector: the saved detector.
        events: the real events, from which `resample` makes the others.
        sizes: how many events.

    Returns:
        keys, machine, versions, and measured, one entry a size and path: events, path, start_s (until the
        first 1,000 events are scored), work_s (reading, scoring, writing), peak_mb (None where the system
        does not tell), and for one process xgboost_per_s (events a second that XGBoost alone predicts).

    Raises:
        CourseError: if a measurement fails.
    """
    from tqdm import tqdm

    sizes, measured, work = list(sizes), [], folder / "work"
    with tqdm(total=len(sizes) * len(CORES), unit="measurement") as bar:
        for size in sizes:
            shutil.rmtree(work, ignore_errors=True)
            work.mkdir(parents=True)
            bar.set_description(f"making {size:,} events")
            write_resampled(work / "events.parquet", events, size, KEYS)
            for path, cores in CORES.items():
                bar.set_description(f"{size:,} events, {path}")
                job = {"detector": str(detector), "folder": str(work), "cores": cores}
                measured.append({"events": size, "path": path} | _in_child(job))
                bar.update()
    shutil.rmtree(work, ignore_errors=True)
    machine = {"cores": os.cpu_count(), "system": f"{platform.system()} {platform.machine()}"}
    versions = {"python": platform.python_version()} | {
        name: version(name) for name in PACKAGES if find_spec(name)
    }
    return {
        "keys": KEYS,
        "machine": machine,
        "versions": versions,
        "measured": measured,
    }


def _in_child(job: dict[str, Any]) -> dict[str, Any]:
    answer = Path(job["folder"], "measured.json")
    job |= {"answer": str(answer), "started": time.time()}
    log = answer.with_suffix(".log")
    if error := jobs.run("course.growth", json.dumps(job), log=log, limit=LIMIT):
        raise CourseError(f"A measurement failed: {error.removeprefix('CourseError: ')}")
    return load_json(answer)


# In the child: one measurement


def _measure(job: dict[str, Any]) -> dict[str, Any]:
    detector, source = Path(job["detector"]), Path(job["folder"], "events.parquet")
    target = source.with_name(f"risks-{job['cores']}.parquet")
    prepare = _spark if job["cores"] else _one_process
    work = prepare(detector, source, target, job["cores"])
    start_s, begun = time.time() - job["started"], time.perf_counter()
    work()
    measured = {
        "start_s": start_s,
        "work_s": time.perf_counter() - begun,
        "peak_mb": jobs.peak_mb(family=True),
    }
    return measured if job["cores"] else measured | {"xgboost_per_s": _xgboost_alone(detector, source)}


def _one_process(path: Path, source: Path, target: Path, _: int) -> Callable[[], object]:
    detector = Detector.load(path)
    detector.score(_group(source, 0)[:1_000])
    return lambda: spark.score_file(detector, source, target)


def _spark(path: Path, source: Path, target: Path, cores: int) -> Callable[[], object]:
    session = spark.session(cores, source.parent)
    some = session.createDataFrame(_group(source, 0)[:1_000]).repartition(cores)
    spark.risks(session, path, some).collect()
    risks = spark.risks(session, path, session.read.parquet(str(source)))
    return lambda: risks.write.mode("overwrite").parquet(str(target))


def _group(source: Path, group: int) -> pd.DataFrame:
    import pyarrow.parquet as pq

    with pq.ParquetFile(source) as file:
        return file.read_row_group(group % file.num_row_groups).to_pandas()


def _xgboost_alone(path: Path, source: Path) -> float:
    """Events a second that XGBoost predicts from the matrix that the detector gives it, on one core."""
    import pyarrow.parquet as pq

    detector, events, seconds = Detector.load(path), 0, 0.0
    groups = pq.read_metadata(source).num_row_groups
    for group in np.unique(np.linspace(0, groups - 1, GROUPS).astype(int)):
        seen = detector.seen(_group(source, group))
        begun = time.perf_counter()
        detector.judge.risk(seen)
        seconds += time.perf_counter() - begun
        events += len(seen)
    return events / seconds


# What the measurements say


def pages(result: dict[str, Any]) -> dict[Path, str | bytes]:
    """What `run` gave, as results/scaling.json and results/scaling.png: path -> content."""
    png = io.BytesIO()
    figure = plots.growth(table(result), findings(result)["crossover"])
    figure.savefig(png, format="png", dpi=100, bbox_inches="tight", metadata={"Software": None})
    return {TABLE: to_json(result), TABLE.with_suffix(".png"): png.getvalue()}


if __name__ == "__main__":
    jobs.begin()
    asked = json.loads(sys.argv[1])
    try:
        replace(Path(asked["answer"]), to_json(_measure(asked)))
    except Exception as problem:
        traceback.print_exc()
        print(jobs.sentence(problem), file=sys.stderr)
        sys.exit(1)
