"""OpenML's copy of the events: downloaded beside the lesson, checked against the snapshot, and kept."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
import threading
from pathlib import Path
from queue import Empty, SimpleQueue

import numpy as np
import pandas as pd

from helpers.files import replace
from helpers.readers import plain, read_events
from helpers.settings import COURSE

OPENML_ID = 1597
OPENML_ROWS = 284_807
OPENML_TOLERANCE = 1e-6


def fetch(deadline: float, snapshot: pd.DataFrame) -> pd.DataFrame:
    """Download OpenML's copy, check it, and put the snapshot's values where both have them.

    Args:
        deadline: seconds, after which the download is left to itself.
        snapshot: (n, 8) the first n events, verified.

    Raises:
        OSError: OpenML could not be reached in time.
        ValueError: what came is damaged, or is not what the snapshot holds.
    """
    answer: SimpleQueue = SimpleQueue()
    threading.Thread(target=_download, args=(answer,), daemon=True).start()
    try:
        found = answer.get(timeout=deadline)
    except Empty:
        raise TimeoutError(f"OpenML did not finish within {deadline:g} s") from None
    if isinstance(found, ValueError):
        raise found
    if isinstance(found, Exception):
        raise ConnectionError(_reason(found))
    return _agree(found, snapshot)


def _download(answer: SimpleQueue) -> None:
    """Put the events, or the error, into `answer`. OpenML's client sets no time-out, keeps files that a kill
    cut off, and pickles in `get_data()`: so a folder of its own, and only the parquet file is read."""
    try:
        import openml

        with tempfile.TemporaryDirectory(prefix="course-openml-") as folder:
            openml.config.set_root_cache_directory(folder)
            openml.config.set_retry_policy("human", 1)
            dataset = openml.datasets.get_dataset(OPENML_ID, download_data=True)
            file = Path(dataset.parquet_file or dataset.data_file)
            answer.put(read_events(file, 0, OPENML_ROWS, "OpenML's copy")[0])
    except Exception as error:
        answer.put(error)


def _agree(events: pd.DataFrame, snapshot: pd.DataFrame) -> pd.DataFrame:
    if len(events) < len(snapshot):
        raise ValueError(f"OpenML's copy has only {len(events):,} of the {OPENML_ROWS:,} events")
    if "Class" not in events:
        raise ValueError("OpenML's copy has no column Class")
    both = events.iloc[: len(snapshot)]
    differs = np.abs(both.to_numpy() - snapshot.to_numpy()) > OPENML_TOLERANCE
    if differs.any():
        row, column = (int(place[0]) for place in np.nonzero(differs))
        raise ValueError(
            f"OpenML's copy differs from the snapshot in row {row:,}, column {snapshot.columns[column]}"
        )
    return pd.concat([snapshot, events.iloc[len(snapshot) :]], ignore_index=True)


def _kept_file() -> Path:
    folder = os.environ.get("COURSE_CACHE") or Path.home() / ".cache" / COURSE
    return Path(folder) / f"openml_{OPENML_ID}.parquet"


def kept() -> pd.DataFrame:
    """The copy of an earlier download; who uses it must verify it.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is damaged.
    """
    return read_events(_kept_file(), 0, OPENML_ROWS, "the kept copy")[0]


def keep(events: pd.DataFrame) -> None:
    """Keep a verified download where that is possible."""
    with contextlib.suppress(OSError):
        replace(_kept_file(), events.to_parquet(write_page_checksum=True))


def _reason(error: Exception) -> str:
    """Say in a few words why the download failed."""
    if status := re.search(r"Status code: (\d+)", str(error)):
        return f"OpenML answered: status {status[1]}"
    return f"OpenML could not be reached: {plain(error)}"
