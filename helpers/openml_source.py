"""OpenML's copy of the events: downloaded beside the lesson, checked against the snapshot, and kept."""

import contextlib
import io
import logging
import os
import re
import tempfile
import threading
from pathlib import Path
from queue import Empty, SimpleQueue

import numpy as np
import pandas as pd

from helpers.files import CourseError, plain, replace
from helpers.settings import COURSE

OPENML_ID = 1597
OPENML_TOLERANCE = 1e-6


def fetch(deadline: float, snapshot: pd.DataFrame) -> pd.DataFrame:
    """The verified snapshot and the further events of OpenML's copy, which is downloaded once, then kept.
    OSError after `deadline` seconds without an answer, ValueError where it is not what it should be."""
    folder = os.environ.get("COURSE_CACHE") or Path.home() / ".cache" / COURSE
    kept = Path(folder) / f"openml_{OPENML_ID}.parquet"
    with contextlib.suppress(Exception):  # there is none, or it is damaged: a new one replaces it
        return _agreed(pd.read_parquet(kept, page_checksum_verification=True), snapshot)
    answer: SimpleQueue = SimpleQueue()
    threading.Thread(target=_download, args=(answer,), daemon=True).start()
    try:
        found = answer.get(timeout=deadline)
    except Empty:
        raise TimeoutError(f"OpenML did not finish within {deadline:g} s") from None
    if isinstance(found, Exception):
        status = re.search(r"Status code: \d+", str(found))
        while inner := found.__cause__ or next((e for e in found.args if isinstance(e, Exception)), None):
            found = inner  # the first one says it best
        raise ConnectionError(f"OpenML could not be reached: {status[0].lower() if status else plain(found)}")
    try:
        table = pd.read_parquet(io.BytesIO(found))
    except Exception as error:  # pyarrow promises no particular errors
        raise ValueError(f"OpenML's copy is not a readable parquet file: {plain(error)}") from None
    events = _agreed(table, snapshot)
    with contextlib.suppress(OSError, CourseError):
        replace(kept, events.to_parquet(write_page_checksum=True))
    return events


def _download(answer: SimpleQueue) -> None:
    """Put the parquet file, or the error, into `answer`. OpenML's client sets no time-out, keeps files that a
    kill cut off, and pickles in `get_data()`: so it gets a folder of its own, and only the file is taken."""
    try:
        import openml

        with tempfile.TemporaryDirectory(prefix="course-openml-") as folder:
            logging.getLogger("openml").setLevel(logging.ERROR)
            openml.config.set_root_cache_directory(folder)
            openml.config.set_retry_policy("human", 1)
            dataset = openml.datasets.get_dataset(OPENML_ID, download_data=True)
            content = Path(dataset.parquet_file).read_bytes()
        answer.put(content)
    except Exception as error:
        answer.put(error)


def _agreed(table: pd.DataFrame, snapshot: pd.DataFrame) -> pd.DataFrame:
    """The table's events, checked, with the snapshot's values in front."""
    if missing := [name for name in snapshot if name not in table]:
        raise ValueError(f"OpenML's copy has no column {', '.join(missing)}")
    if len(table) < len(snapshot):
        raise ValueError(f"OpenML's copy has only {len(table):,} events")
    events = table[list(snapshot)].apply(pd.to_numeric, errors="coerce").reset_index(drop=True)
    good = np.isfinite(events.to_numpy(np.float64))
    good[: len(snapshot)] &= (events[: len(snapshot)] - snapshot).abs() <= OPENML_TOLERANCE
    good[:, -1] &= events["Class"].isin((0, 1))
    if not good.all():
        row, column = np.argwhere(~good)[0]
        raise ValueError(f"OpenML's copy is wrong in row {row:,}, column {events.columns[column]}")
    return pd.concat([snapshot, events[len(snapshot) :].astype(snapshot.dtypes)], ignore_index=True)
