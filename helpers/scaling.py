"""What growth costs, for notebook 08: more events out of real ones, and what `make scale` has measured."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from helpers.data import check_range
from helpers.files import CourseError, load_json
from helpers.settings import COLUMNS, RESULTS

TABLE = RESULTS / "scaling.json"
ONE = "one process"
RUN_ROWS = 1_000  # consecutive real events that a resampled key replays before it jumps elsewhere
GROUP_ROWS = 100_000  # events that are held at once while a file is written


def resample(events: pd.DataFrame, rows: int, keys: int = 100, seed: int = 0, start: int = 0) -> pd.DataFrame:
    """Make any number of events out of real ones, for measuring size and speed, not detection.

    The recipe: event i belongs to key i % keys, so the keys take turns. Each key replays the real
    stream in runs of 1,000 consecutive events, so that bursts stay bursts; where run r begins is drawn
    for all keys at once by numpy's default_rng([seed, r]), and past the last real event a run goes on
    at the first. Nothing is added or changed: it is more of the same, and repeats are exact.

    Args:
        events: the real events, with COLUMNS.
        rows: how many events to make.
        keys: how many keys, one for each market.
        seed: of the draws.
        start: the first event; a stream made in parts equals one made at once.

    Returns:
        (rows, 9) key and event (int64, event = start..start+rows-1), then COLUMNS.
    """
    check_range(rows, start)
    if keys < 1:
        raise ValueError(f"keys must be at least 1, not {keys}.")
    event = np.arange(start, start + rows)
    turn, key = event // keys, event % keys
    run, first = turn // RUN_ROWS, turn[0] // RUN_ROWS
    starts = [
        np.random.default_rng([seed, r]).integers(len(events), size=keys) for r in range(first, run[-1] + 1)
    ]
    real = (np.array(starts)[run - first, key] + turn % RUN_ROWS) % len(events)
    values = events[COLUMNS].to_numpy(np.float64)[real]
    return pd.DataFrame({"key": key, "event": event, **dict(zip(COLUMNS, values.T, strict=True))})


def write_resampled(
    path: Path, events: pd.DataFrame, rows: int, keys: int = 100, seed: int = 0, start: int = 0
) -> None:
    """Write what `resample` makes as parquet, one row group after another, in bounded memory.

    The file appears under its name when it is whole; a reader that waits for files sees no half one.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    types = dict.fromkeys(("key", "event"), pa.int64()) | dict.fromkeys(COLUMNS, pa.float64())
    schema, part, stop = pa.schema(types), path.with_name(f".{path.name}.tmp"), start + rows
    try:
        with pq.ParquetWriter(part, schema) as writer:
            for begin in range(start, stop, GROUP_ROWS):
                made = resample(events, min(GROUP_ROWS, stop - begin), keys, seed, begin)
                writer.write_table(pa.Table.from_pandas(made, schema, preserve_index=False))
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


# What the measurements say


def read() -> dict[str, Any]:
    """What `make scale` measured last.

    Raises:
        CourseError: if there is no measurement yet.
    """
    if not TABLE.is_file():
        raise CourseError("results/scaling.json is missing: run `make scale`.")
    return load_json(TABLE)


def table(result: dict[str, Any]) -> pd.DataFrame:
    """The measurements, one row each, with events_per_s and total_s, start-up included."""
    measured = pd.DataFrame(result["measured"])
    return measured.assign(
        events_per_s=measured["events"] / measured["work_s"],
        total_s=measured["start_s"] + measured["work_s"],
    )


def findings(result: dict[str, Any]) -> dict[str, float | None]:
    """What the largest size says.

    Returns:
        peak_mb of one process; speed_kept, its events a second against those of the size before;
        of_xgboost, its events a second against XGBoost's own; spark_against_one, the seconds of Spark's
        work on 2 cores against those of one process; crossover, the number of events from which Spark on 2
        cores is done first, on straight lines through the work of both sizes, raised by each path's median
        start-up (None: never).
    """
    rows = table(result).set_index(["path", "events"]).sort_index()
    one, two = (rows.loc[path] for path in (ONE, "Spark, 2 cores"))
    before, largest = one.index[-2:]
    lines = [_line(path["work_s"], path["start_s"].median(), before, largest) for path in (one, two)]
    (start_one, slope_one), (start_two, slope_two) = lines
    crossing = (start_two - start_one) / (slope_one - slope_two) if slope_one > slope_two else None
    found = {
        "peak_mb": one["peak_mb"][largest],
        "speed_kept": one["events_per_s"][largest] / one["events_per_s"][before],
        "of_xgboost": one["events_per_s"][largest] / one["xgboost_per_s"][largest],
        "spark_against_one": two["work_s"][largest] / one["work_s"][largest],
        "crossover": crossing,
    }
    return {name: None if value is None else float(value) for name, value in found.items()}


def _line(work: pd.Series, start: float, before: int, largest: int) -> tuple[float, float]:
    """Height at no event, in seconds, and seconds an event."""
    slope = (work[largest] - work[before]) / (largest - before)
    return start + work[largest] - slope * largest, slope


def cluster(result: dict[str, Any], events: int, cores: Sequence[int]) -> pd.DataFrame:
    """Hours for many events by arithmetic, from the largest size measured.

    Assumes that the cluster's cores are like this machine's, that storage feeds them all, that start-up
    takes what it took here, and that the share of the work which more cores do not help is what 1 and 2
    cores showed (Amdahl's law).

    Returns:
        Index: "one process" and "Spark, N cores"; columns hours, hours_if_all_spread (every core helps as
        much as the first) and share_waiting, the share of the paid core-hours that does nothing.
    """
    rows = table(result)
    last = rows[rows["events"] == rows["events"].max()].set_index("path")
    size = last["events"].iloc[0]
    one, two = (last["work_s"][path] / size * events for path in ("Spark, 1 core", "Spark, 2 cores"))
    serial = min(max(2 * two / one - 1, 0.0), 1.0)
    start = last["start_s"]["Spark, 2 cores"]
    hours = {ONE: last["work_s"][ONE] / size * events / 3_600}
    spread, waiting = dict(hours), {ONE: 0.0}
    for count in cores:
        name = f"Spark, {count} cores"
        seconds = start + one * (serial + (1 - serial) / count)
        hours[name], waiting[name] = seconds / 3_600, 1 - one / (seconds * count)
        spread[name] = (start + one / count) / 3_600
    return pd.DataFrame({"hours": hours, "hours_if_all_spread": spread, "share_waiting": waiting})
