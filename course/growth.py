"""What growth costs: the same events scored by one process and by Spark, each measured by itself. Spark's
memory is that of Python, Java and all workers together."""

import shutil
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pyarrow.parquet import ParquetFile

from course import jobs
from helpers import spark
from helpers.data import resample
from helpers.detector import Detector, score_file
from helpers.files import CourseError
from helpers.settings import RESULTS

TABLE = RESULTS / "scaling.json"  # what notebook 8 reads
SIZES = (100_000, 1_000_000, 10_000_000)
CORES = {"one process": 0, "Spark, 1 core": 1, "Spark, 2 cores": 2}
LIMIT = 1_800.0  # seconds for one measurement
GROUP = 100_000  # events that one process holds at once
GROUPS = 10  # row groups on which XGBoost alone is timed


def run(folder: Path, detector: Path, events: pd.DataFrame, sizes: Collection[int] = SIZES) -> dict[str, Any]:
    """Measure every size on every path, with events that `resample` makes of the real ones.

    Returns:
        measured, one entry a size and path: events, path, start_s (until the first 1,000 events are scored),
        work_s (reading, scoring, writing), peak_mb (None where the system does not tell), and for one
        process xgboost_per_s (events a second that XGBoost alone predicts).
    """
    from tqdm import tqdm

    measured, work = [], folder / "work"
    with tqdm(total=len(sizes) * len(CORES), unit="measurement") as bar:
        for size in sizes:
            shutil.rmtree(work, ignore_errors=True)
            work.mkdir(parents=True)
            bar.set_description(f"making {size:,} events")
            resample(events, size).to_parquet(work / "events.parquet", row_group_size=GROUP)
            for path, cores in CORES.items():
                bar.set_description(f"{size:,} events, {path}")
                try:
                    given = (detector, work, cores, time.time())
                    found = jobs.run(_measure, given, work / "measured.log", LIMIT)
                except CourseError as error:
                    raise CourseError(f"A measurement failed: {error}") from None
                measured.append({"events": size, "path": path} | found)
                bar.update()
    shutil.rmtree(work, ignore_errors=True)
    return {"measured": measured}


# In the child: one measurement


def _measure(detector: Path, folder: Path, cores: int, started: float) -> dict[str, Any]:
    source, target = folder / "events.parquet", folder / f"risks-{cores}.parquet"
    work = (_spark if cores else _one_process)(detector, source, target, cores)
    start_s, begun = time.time() - started, time.perf_counter()
    work()
    work_s, peak_mb = time.perf_counter() - begun, jobs.peak_mb(family=True)
    alone = {} if cores else {"xgboost_per_s": _xgboost_alone(detector, source)}
    return {"start_s": start_s, "work_s": work_s, "peak_mb": peak_mb} | alone


def _one_process(path: Path, source: Path, target: Path, _: int) -> Callable[[], object]:
    detector = Detector.load(path)
    detector.score(_group(source, 0)[:1_000])
    return lambda: score_file(detector, source, target)


def _spark(path: Path, source: Path, target: Path, cores: int) -> Callable[[], object]:
    session = spark.session(cores, source.parent)
    some = session.createDataFrame(_group(source, 0)[:1_000]).repartition(cores)
    spark.risks(session, path, some).collect()
    risks = spark.risks(session, path, session.read.parquet(str(source)))
    return lambda: risks.write.mode("overwrite").parquet(str(target))


def _group(source: Path, group: int) -> pd.DataFrame:
    return ParquetFile(source).read_row_group(group).to_pandas()


def _xgboost_alone(path: Path, source: Path) -> float:
    """Events a second that XGBoost predicts from the matrix that the detector gives it, on one core."""
    detector, events, seconds = Detector.load(path), 0, 0.0
    last = ParquetFile(source).num_row_groups - 1
    for group in np.unique(np.linspace(0, last, GROUPS).astype(int)):
        seen = detector.seen(_group(source, group))
        begun = time.perf_counter()
        detector.classifier.probability(seen)
        seconds += time.perf_counter() - begun
        events += len(seen)
    return events / seconds
