"""Card payments as a stream of events: where they come from, and how they are cut.

`load_events` brings the first two days of card payments of the ULB / Worldline set, verified, from
OpenML, from the course's own snapshot or from a file of yours; `split` cuts them in time; `seal`
puts the truth away until evaluation.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import itertools
import numbers
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

from helpers import COURSE

AXES = [f"V{i}" for i in range(1, 7)]
COLUMNS = ["Amount", *AXES]
WINDOW_ROWS = 50_000
TRAIN_SHARE = 0.6

ROOT = Path(__file__).resolve().parents[1]
SNAPSHOT = ROOT / "data" / "creditcard_100k.parquet"
SNAPSHOT_ROWS = 100_000
FINGERPRINTS = {
    50_000: "f0c1a15fe245272c0f7032cbe36432de308c2da408cfa70173593ae91243f7ad",
    100_000: "33998e408ddfd3b058f542372d4f4fa20dfd7942c7b3101a9bff5c991aa4c174",
}
TRUTH_FINGERPRINTS = {
    50_000: "f848eb27e0c9db3a0994f72ae2fbbd6a317d6174d9ba8aa38ab4a8c644644255",
    100_000: "5098363470c120bd415a2c4512ce8f5ef1cb93bab58642af9e5123ee2ca2745c",
}

OPENML_ID = 1597
OPENML_ROWS = 284_807
OPENML_TOLERANCE = 1e-6
OPENML_DEADLINE = 180.0
AUTO_DEADLINE = 20.0

_STALE_SECONDS = 3600


def load_events(source: str | Path = "auto", rows: int = WINDOW_ROWS, start: int = 0) -> pd.DataFrame:
    """Load consecutive events, checked, from the best source at hand.

    Args:
        source: "snapshot" (the 100,000 events that come with the course), "openml" (data set 1597,
            downloaded anew within OPENML_DEADLINE seconds), the path of a .csv, .csv.gz, .parquet
            or .arff file (relative to the working directory), or "auto": the copy kept from an
            earlier download, else OpenML within AUTO_DEADLINE seconds, else the snapshot.
        rows: how many events.
        start: the first event, counted from 0 at the beginning of the source.

    Returns:
        (rows, 7 or 8) frame, index `event` = start..start+rows-1: Amount in euros, V1..V6
        (principal components, no unit) as float64 and, where the source has it, Class as int8.
        `attrs["source"]` is "snapshot", "openml", "cache" or "file"; `attrs["note"]` is one line
        for the reader that says which source was used and why.

    Raises:
        ValueError, TypeError: an impossible argument, or a file that is damaged or wrong.
        FileNotFoundError: no such file.
        OSError: OpenML was asked for and could not be reached in time.

    A download is kept in the folder COURSE_CACHE (an environment variable; else in ~/.cache). Where
    COURSE_OFFLINE is set, "auto" is the snapshot, without a look at the network.
    """
    _check_range(rows, start)
    if source == "auto":
        return _load_auto(rows, start)
    if source == "snapshot":
        return _cut(_snapshot(), rows, start, "snapshot", "the course's snapshot")
    if source == "openml":
        snapshot = _snapshot()
        try:
            events = _openml(OPENML_DEADLINE, snapshot)
        except (OSError, ValueError) as error:
            advice = "source='snapshot' needs no network."
            raise type(error)(f"{_plain(error)}; {advice}") from None
        return _keep_and_cut(events, rows, start)
    return _load_file(_own_file(source), rows, start)


def split(events: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Cut events in time: the first 60 % to train, the last 40 % to test, no shuffling.

    Raises:
        ValueError: if there are fewer than two events or they are not in time order.
    """
    if len(events) < 2:
        raise ValueError(f"A split needs at least 2 events, not {len(events)}.")
    if not events.index.is_monotonic_increasing:
        raise ValueError("The events are not in time order: sort them by their index first.")
    border = int(TRAIN_SHARE * len(events))
    return events.iloc[:border], events.iloc[border:]


def seal(events: pd.DataFrame) -> tuple[pd.DataFrame, pd.Series | None]:
    """Take the truth off the events.

    Returns:
        The events without Class, and Class as an int8 series (None where the source has none).
    """
    if "Class" not in events:
        return events, None
    return events.drop(columns="Class"), events["Class"].astype(np.int8)


def fingerprint(events: pd.DataFrame) -> str:
    """Return the sha256, in hex, of COLUMNS as little-endian float64 in C order."""
    return hashlib.sha256(events[COLUMNS].to_numpy("<f8").tobytes(order="C")).hexdigest()


def _check_range(rows: int, start: int) -> None:
    for name, value, least in (("rows", rows, 1), ("start", start, 0)):
        if isinstance(value, bool) or not isinstance(value, numbers.Integral):
            raise TypeError(f"{name} must be a whole number, not {value!r}.")
        if value < least:
            raise ValueError(f"{name} must be at least {least}, not {value}.")


def _load_auto(rows: int, start: int) -> pd.DataFrame:
    if os.environ.get("COURSE_OFFLINE"):
        return _cut(_snapshot(), rows, start, "snapshot", "the course's snapshot (offline by choice)")
    reasons = []
    try:
        kept = _kept()
    except FileNotFoundError:
        kept = None
    except ValueError:
        reasons, kept = ["the copy kept from an earlier download is damaged"], None
    if kept is not None:
        what = f"a verified copy of OpenML's data set {OPENML_ID}, kept from an earlier download"
        return _cut(kept, rows, start, "cache", what)
    snapshot = _snapshot()
    try:
        events = _openml(AUTO_DEADLINE, snapshot)
    except (OSError, ValueError) as error:
        what = f"the course's snapshot ({'; '.join([*reasons, _plain(error)])})"
        return _cut(snapshot, rows, start, "snapshot", what)
    return _keep_and_cut(events, rows, start)


def _keep_and_cut(events: pd.DataFrame, rows: int, start: int) -> pd.DataFrame:
    what = f"OpenML, data set {OPENML_ID}, checked against the course's snapshot"
    if not _keep(events):
        what += " (no copy could be kept on this machine)"
    return _cut(events, rows, start, "openml", what)


def _cut(events: pd.DataFrame, rows: int, start: int, source: str, what: str) -> pd.DataFrame:
    owner = "The snapshot" if source == "snapshot" else "OpenML's copy"
    _check_enough(owner, len(events), rows, start)
    return _label(events.iloc[start : start + rows], start, source, what)


def _check_enough(owner: str, total: int, rows: int, start: int) -> None:
    if total < start + rows:
        more = "; source='openml' and your own file may have more" if "snapshot" in owner else ""
        raise ValueError(f"{owner} has {total:,} events, too few for rows={rows} from start={start}{more}.")


def _label(events: pd.DataFrame, start: int, source: str, what: str) -> pd.DataFrame:
    events = events.set_axis(pd.RangeIndex(start, start + len(events), name="event"))
    events.attrs = {"source": source, "note": f"Source: {what}."}
    return events


# --- the snapshot --------------------------------------------------------------------------------


def _snapshot() -> pd.DataFrame:
    try:
        events, _ = _read(SNAPSHOT, 0, SNAPSHOT_ROWS, SNAPSHOT.name)
        _verify(events)
    except (OSError, ValueError) as error:
        kind = FileNotFoundError if isinstance(error, FileNotFoundError) else ValueError
        state = "missing" if kind is FileNotFoundError else "damaged"
        raise kind(
            f"The course's snapshot data/{SNAPSHOT.name} is {state}: "
            "take this file again from the course's repository."
        ) from None
    return events


def _verify(events: pd.DataFrame) -> None:
    if "Class" not in events:
        raise ValueError("there is no column Class")
    for rows, expected in FINGERPRINTS.items():
        part = events.iloc[:rows]
        truth = hashlib.sha256(part["Class"].to_numpy(np.int8).tobytes()).hexdigest()
        if fingerprint(part) != expected or truth != TRUTH_FINGERPRINTS[rows]:
            raise ValueError(f"the first {rows:,} events do not have the pinned fingerprint")


# --- OpenML: a child process downloads, this process reads, verifies and keeps ------------------


def _openml(deadline: float, snapshot: pd.DataFrame) -> pd.DataFrame:
    """Download OpenML's copy, check it, and put the snapshot's values where both have them."""
    with tempfile.TemporaryDirectory(prefix="course-openml-") as folder:
        file = _download_in_child(folder, deadline)
        events, _ = _read(file, 0, OPENML_ROWS, "OpenML's copy")
    return _agree(events, snapshot)


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
        [sys.executable, "-m", "helpers.data", folder],
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
            child.wait()
        answer = child.stdout.read().strip().rpartition("\n")[2]
    if child.returncode != 0:
        raise ConnectionError(answer or f"the download ended with code {child.returncode}")
    return Path(answer)


def _download(folder: str) -> str:
    """Fetch the set with OpenML's client (in the child) and return the file's path.

    `get_data()` would read and write pickles, so only the file is fetched: parquet, else ARFF.
    """

    def leave_with_parent() -> None:
        os.read(sys.stdin.fileno(), 1)
        shutil.rmtree(folder, ignore_errors=True)
        os._exit(1)

    threading.Thread(target=leave_with_parent, daemon=True).start()
    import openml

    openml.config.set_retry_policy("human", 1)
    dataset = openml.datasets.get_dataset(OPENML_ID, download_data=True)
    return dataset.parquet_file or dataset.data_file


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
        return f"OpenML could not be reached: {_plain(error).lower()}"
    return f"the download from OpenML failed: {_plain(error)}"


def _plain(error: BaseException) -> str:
    """Return what an error says, on one line, without paths, numbers of errors and full stop."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(text.split())[:160].rstrip(".")


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


def _kept_file() -> Path:
    folder = os.environ.get("COURSE_CACHE") or Path.home() / ".cache" / COURSE
    return Path(folder) / f"openml_{OPENML_ID}.parquet"


def _kept() -> pd.DataFrame:
    """Read the copy of an earlier download; page checksums and fingerprints must be right."""
    events, _ = _read(_kept_file(), 0, OPENML_ROWS, "the kept copy")
    _verify(events)
    return events


def _keep(events: pd.DataFrame) -> bool:
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


# --- files ---------------------------------------------------------------------------------------


def _own_file(source: str | Path) -> Path:
    if not isinstance(source, str | Path):
        raise TypeError(f"source must be a text or a path, not {source!r}.")
    path = Path(source).expanduser()
    kinds = "a .csv, .csv.gz, .parquet or .arff file"
    if path.is_dir():
        raise ValueError(f"'{source}' is a folder: name {kinds} in it.")
    if _suffix(path) is None:
        known = "'auto', 'openml', 'snapshot'"
        raise ValueError(f"Unknown source '{source}': use {known} or the path of {kinds}.")
    if not path.exists():
        raise FileNotFoundError(f"There is no file '{source}': check the name or give a full path.")
    if path.stat().st_size == 0:
        raise ValueError(f"{path.name} is empty: copy or export it again.")
    return path


def _suffix(path: Path) -> str | None:
    return next((kind for kind in _READERS if path.name.lower().endswith(kind)), None)


def _load_file(path: Path, rows: int, start: int) -> pd.DataFrame:
    events, total = _read(path, start, start + rows, path.name)
    _check_enough(path.name, total, rows, start)
    truth = "" if "Class" in events else " (it has no column Class, so there is no truth to read)"
    return _label(events, start, "file", f"your file {path.name}{truth}")


def _read(path: Path, start: int, stop: int, owner: str) -> tuple[pd.DataFrame, int]:
    """Read events start..stop-1 and check every value.

    Returns:
        The events, fewer where the file ends before `stop`, and how many were seen on the way.
    """
    suffix = _suffix(path)
    try:
        raw, seen = _READERS[suffix](path, start, min(stop, sys.maxsize), owner)
    except (_WrongColumnsError, FileNotFoundError):
        raise
    except Exception as error:  # the readers' libraries promise no particular errors
        raise ValueError(f"{owner} is not a readable {suffix} file: {_plain(error)}.") from None
    events = pd.DataFrame({name: _numbers(raw[name], owner, start) for name in COLUMNS})
    if "Class" in raw:
        events["Class"] = _labels(raw["Class"], owner, start)
    return events, seen


class _WrongColumnsError(ValueError):
    """A table whose columns are not those that the course needs."""


def _wanted(names: list[str], owner: str) -> list[str]:
    missing = [name for name in COLUMNS if name not in names]
    if missing:
        raise _WrongColumnsError(f"{owner} has no column {', '.join(missing)}.")
    wanted = [name for name in [*COLUMNS, "Class"] if name in names]
    twice = [name for name in wanted if names.count(name) > 1]
    if twice:
        raise _WrongColumnsError(f"{owner} has more than one column {', '.join(twice)}.")
    return wanted


def _read_csv(path: Path, start: int, stop: int, owner: str) -> tuple[pd.DataFrame, int]:
    """Read whole rows: pandas notices a row with too many fields only when it reads them all."""
    opener = gzip.open if path.suffix.lower() == ".gz" else open
    with opener(path, "rt", encoding="utf-8-sig", newline="") as file:
        head = [file.readline(1 << 16) for _ in range(2)]
    separator = ";" if head[0].count(";") > head[0].count(",") else ","
    names, first = [next(csv.reader([line], delimiter=separator), []) for line in head]
    wanted = _wanted(names, owner)
    if first and len(first) != len(names):
        raise _WrongColumnsError(f"{owner} names {len(names)} columns but its first row has {len(first)}.")
    exact = {"float_precision": "round_trip", "low_memory": False, "encoding": "utf-8-sig"}
    raw = pd.read_csv(path, sep=separator, nrows=stop, **exact)
    return raw[wanted].iloc[start:], len(raw)


def _read_parquet(path: Path, start: int, stop: int, owner: str) -> tuple[pd.DataFrame, int]:
    """Read batch by batch: what the file's metadata claim is never allocated in advance."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pq.ParquetFile(path, page_checksum_verification=True) as file:
        wanted = _wanted(file.schema_arrow.names, owner)
        parts, seen = [], 0
        for batch in file.iter_batches(columns=wanted):
            parts.append(batch.slice(max(0, start - seen), max(0, stop - max(start, seen))))
            seen += len(batch)
            if seen >= stop:
                break
        schema = parts[0].schema if parts else file.schema_arrow
    return pa.Table.from_batches(parts, schema).to_pandas(ignore_metadata=True), seen


def _read_arff(path: Path, start: int, stop: int, owner: str) -> tuple[pd.DataFrame, int]:
    import arff

    with path.open(encoding="utf-8-sig") as file:
        content = arff.load(file, return_type=arff.DENSE_GEN)
        names = [name for name, _ in content["attributes"]]
        wanted = _wanted(names, owner)
        places = [names.index(name) for name in wanted]
        rows = [[row[i] for i in places] for row in itertools.islice(content["data"], stop)]
    return pd.DataFrame(rows[start:], columns=wanted), len(rows)


_READERS = {
    ".csv": _read_csv,
    ".csv.gz": _read_csv,
    ".parquet": _read_parquet,
    ".pq": _read_parquet,
    ".arff": _read_arff,
}


def _numbers(column: pd.Series, owner: str, start: int) -> np.ndarray:
    """Return a column as float64, or say where it does not hold a finite number."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.astype(object)
    if column.dtype.kind in "iuf":
        values = column.to_numpy(np.float64)
    elif column.dtype.kind == "O":
        values = pd.to_numeric(column.map(str), errors="coerce").to_numpy(np.float64)
    else:
        values = np.full(len(column), np.nan)
    _check_all(np.isfinite(values), column, owner, start, "a finite number")
    return values


def _labels(column: pd.Series, owner: str, start: int) -> np.ndarray:
    """Return Class as int8; it may come as the text '0' and '1', quoted or not."""
    text = column.astype(object).map(str).str.strip(" '\"")
    values = pd.to_numeric(text, errors="coerce").to_numpy(np.float64)
    _check_all(np.isin(values, (0, 1)), column, owner, start, "0 or 1")
    return values.astype(np.int8)


def _check_all(good: np.ndarray, column: pd.Series, owner: str, start: int, need: str) -> None:
    if not good.all():
        row = int(np.argmin(good))
        value = str(column.iloc[row])[:40]
        raise ValueError(
            f"{owner} has '{value}' in column {column.name}, row {start + row:,} (counted from 0), "
            f"where {need} is needed."
        )


if __name__ == "__main__":
    try:
        print(_download(sys.argv[1]))
    except Exception as problem:
        print(_reason(problem))
        sys.exit(1)
