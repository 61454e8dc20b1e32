"""OpenML's copy of the events: a child process downloads, this process reads, checks and keeps."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import pandas as pd

from helpers.readers import plain, read_events
from helpers.settings import COURSE, ROOT

OPENML_ID = 1597
OPENML_ROWS = 284_807
OPENML_TOLERANCE = 1e-6
_STALE_SECONDS = 3600


def fetch(deadline: float, snapshot: pd.DataFrame) -> pd.DataFrame:
    """Download OpenML's copy, check it, and put the snapshot's values where both have them.

    Args:
        deadline: seconds, after which the download is ended.
        snapshot: (n, 8) the first n events, verified.

    Raises:
        OSError: OpenML could not be reached in time.
        ValueError: what came is damaged, or is not what the snapshot holds.
    """
    with tempfile.TemporaryDirectory(prefix="course-openml-") as folder:
        file = _download_in_child(folder, deadline)
        events, *_ = read_events(file, 0, OPENML_ROWS, "OpenML's copy")
    return _agree(events, snapshot)


def _agree(events: pd.DataFrame, snapshot: pd.DataFrame) -> pd.DataFrame:
    if len(events) < len(snapshot):
        raise ValueError(f"OpenML's copy has only {len(events):,} of the {OPENML_ROWS:,} events")
    if "Class" not in events:
        raise ValueError("OpenML's copy has no column Class")
    both = events.iloc[: len(snapshot)]
    differs = np.abs(both.to_numpy() - snapshot.to_numpy()) > OPENML_TOLERANCE
    if differs.any():
        row = int(np.flatnonzero(differs.any(axis=1))[0])
        column = snapshot.columns[int(np.flatnonzero(differs[row])[0])]
        raise ValueError(f"OpenML's copy differs from the snapshot in row {row:,}, column {column}")
    return pd.concat([snapshot, events.iloc[len(snapshot) :]], ignore_index=True)


def _download_in_child(folder: str, deadline: float) -> Path:
    """Run OpenML's client in a child process and end it at the deadline.

    The client sets no time-out and starts no process of its own. The child also watches its
    standard input, a pipe that closes when this process ends in whatever way: it then removes
    `folder` and leaves.
    """
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    settings = {
        "OPENML_CACHE_DIR": folder,
        "PYTHONPATH": os.pathsep.join(paths),
        "PYTHONUTF8": "1",
    }
    child = subprocess.Popen(
        [sys.executable, "-m", "helpers.openml_source", folder],
        env=os.environ | settings,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        encoding="utf-8",
        start_new_session=True,
    )
    with child:
        try:
            child.wait(deadline)
        except subprocess.TimeoutExpired:
            raise TimeoutError(f"OpenML did not finish within {deadline:g} s") from None
        finally:
            child.kill()
            child.wait(timeout=60)
        answer = child.stdout.read().strip().rpartition("\n")[2]
    if child.returncode != 0:
        raise ConnectionError(answer or f"the download ended with code {child.returncode}")
    return Path(answer)


def _kept_file() -> Path:
    folder = os.environ.get("COURSE_CACHE") or Path.home() / ".cache" / COURSE
    return Path(folder) / f"openml_{OPENML_ID}.parquet"


def kept() -> pd.DataFrame:
    """Read the copy of an earlier download, page checksums included; who uses it must verify it.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is damaged.
    """
    events, *_ = read_events(_kept_file(), 0, OPENML_ROWS, "the kept copy")
    return events


def keep(events: pd.DataFrame) -> bool:
    """Keep a verified download; say whether that was possible."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = _kept_file()
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        for left in file.parent.glob("part-*"):
            if time.time() - left.stat().st_mtime > _STALE_SECONDS:
                shutil.rmtree(left, ignore_errors=True)
        with tempfile.TemporaryDirectory(prefix="part-", dir=file.parent) as folder:
            table = pa.Table.from_pandas(events, preserve_index=False)
            pq.write_table(table, part := Path(folder) / file.name, write_page_checksum=True)
            os.replace(part, file)
    except OSError:
        return False
    return True


# The child process


def _download(folder: str) -> str:
    """Fetch the set with OpenML's client (in the child) and return the file's path.

    `get_data()` would read and write pickles, so only the file is fetched: parquet, else ARFF, which
    takes so long to read that it is read here, within the deadline.
    """

    def leave_with_parent() -> None:
        os.read(sys.stdin.fileno(), 1)
        shutil.rmtree(folder, ignore_errors=True)
        os._exit(1)

    threading.Thread(target=leave_with_parent, daemon=True).start()
    import openml

    openml.config.set_retry_policy("human", 1)
    dataset = openml.datasets.get_dataset(OPENML_ID, download_data=True)
    if dataset.parquet_file:
        return dataset.parquet_file
    events, *_ = read_events(Path(dataset.data_file), 0, OPENML_ROWS, "OpenML's copy")
    events.to_parquet(file := Path(folder) / "from_arff.parquet", index=False)
    return str(file)


def _reason(error: BaseException) -> str:
    """Say in a few words why the download failed."""
    if status := re.search(r"Status code: (\d+)", str(error)):
        return f"OpenML answered: status {status[1]}"
    if message := getattr(error, "message", None):
        return f"OpenML answered: {message}"
    cause: BaseException | None = error
    while cause is not None:
        error = cause
        links = [*error.args, getattr(error, "reason", None), error.__cause__]
        cause = next((link for link in links if isinstance(link, BaseException)), None)
    if isinstance(error, ConnectionError | TimeoutError | socket.gaierror):
        return f"OpenML could not be reached: {plain(error).lower()}"
    return f"the download from OpenML failed: {plain(error)}"


if __name__ == "__main__":
    try:
        print(_download(sys.argv[1]))
    except Exception as problem:
        print(_reason(problem))
        sys.exit(1)
