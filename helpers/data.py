"""Events as a stream: the card payments of the ULB / Worldline set, verified, or a file of yours; cut in
time, and without their truth until evaluation."""

import hashlib
import os
from pathlib import Path

import numpy as np
import pandas as pd

from helpers import openml_source
from helpers.schema import CARDS, Schema
from helpers.settings import COLUMNS, ROOT, TRAIN_SHARE, WINDOW_ROWS

SNAPSHOT = ROOT / "data" / "creditcard_100k.parquet"
FINGERPRINT = "33998e408ddfd3b058f542372d4f4fa20dfd7942c7b3101a9bff5c991aa4c174"  # of its columns
TRUTH_FINGERPRINT = "5098363470c120bd415a2c4512ce8f5ef1cb93bab58642af9e5123ee2ca2745c"
OPENML_DEADLINE = 180.0
AUTO_DEADLINE = 20.0


def load_events(
    source: str | Path | pd.DataFrame = "auto",
    rows: int | None = WINDOW_ROWS,
    start: int = 0,
    schema: Schema = CARDS,
    sort: bool = False,
) -> pd.DataFrame:
    """Load consecutive events, checked, from the best source at hand.

    Args:
        source: "snapshot" (the 100,000 events that come with the course), "openml" (data set 1597, which
            must come within OPENML_DEADLINE seconds), "auto" (OpenML within AUTO_DEADLINE seconds, else the
            snapshot; where COURSE_OFFLINE is set, the snapshot at once), or a file of yours, by its path or
            as a DataFrame.
        rows, start: how many events, None for all of a file of yours, and which is the first, from 0 on.
        schema: which columns of your file are wanted; the other sources hold card payments.
        sort: put your file into the order of its time first; one that is not is refused otherwise.

    Returns:
        (rows, k), index `event` = start..start+rows-1: the schema's columns, for the cards Amount in euros
        and V1..V6 (principal components, no unit), as float64; its key and time; and, where the source has
        it, the truth as int8 under the schema's name for it, Class. `attrs["source"]` is "snapshot", "openml"
        or "file"; `attrs["note"]` says in one line which source was used and why.
    """
    if (rows is not None and rows < 1) or start < 0:
        raise ValueError(f"rows must be at least 1 and start at least 0, not {rows} and {start}.")
    if isinstance(source, pd.DataFrame) or source not in ("auto", "openml", "snapshot"):
        from helpers.readers import read_events

        return _labelled(*read_events(source, rows, start, schema, sort), start, "file")
    if rows is None or schema != CARDS:
        raise ValueError(
            f"The source '{source}' holds card payments and needs ROWS: for another schema, or for all rows, "
            "name a file."
        )
    events, used, what = _snapshot(), "snapshot", "the course's snapshot"
    if source == "auto" and os.environ.get("COURSE_OFFLINE"):
        what += " (offline by choice)"
    elif source != "snapshot":
        try:
            events = openml_source.fetch(AUTO_DEADLINE if source == "auto" else OPENML_DEADLINE, events)
            used, what = "openml", "OpenML, data set 1597, checked against the course's snapshot"
        except (OSError, ValueError) as error:
            if source == "openml":
                raise type(error)(f"{error}; source='snapshot' needs no network.") from None
            what += f" ({error})"
    if start + rows > len(events):
        raise ValueError(f"There are {len(events):,} events, too few for rows={rows} from start={start}.")
    return _labelled(events.iloc[start : start + rows], what, start, used)


def _labelled(events: pd.DataFrame, what: str, start: int, source: str) -> pd.DataFrame:
    events = events.set_axis(pd.RangeIndex(start, start + len(events), name="event"))
    events.attrs = {"source": source, "note": f"Source: {what}."}
    return events


def _snapshot() -> pd.DataFrame:
    """All that comes with the course, after a look at its fingerprints."""
    try:
        events = pd.read_parquet(SNAPSHOT)
        truth = hashlib.sha256(events["Class"].to_numpy(np.int8).tobytes()).hexdigest()
        if (fingerprint(events), truth) == (FINGERPRINT, TRUTH_FINGERPRINT):
            return events
        state = "damaged"
    except Exception as error:  # pyarrow promises no particular errors
        state = "missing" if isinstance(error, FileNotFoundError) else "damaged"
    raise ValueError(f"data/{SNAPSHOT.name} is {state}: take this file again from the course's repository.")


def split(events: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Cut events in time: the first 60 % to train, the last 40 % to test, no shuffling."""
    if len(events) < 2:
        raise ValueError(f"A split needs at least 2 events, not {len(events)}.")
    if not events.index.is_monotonic_increasing:
        raise ValueError("The events are not in time order: sort them by their index first.")
    border = int(TRAIN_SHARE * len(events))
    return events.iloc[:border], events.iloc[border:]


def seal(events: pd.DataFrame, schema: Schema = CARDS) -> tuple[pd.DataFrame, pd.Series | None]:
    """Take the truth off the events: they without it, and the truth as int8, or None where there is none."""
    if schema.label not in events:
        return events, None
    return events.drop(columns=schema.label), events[schema.label].astype(np.int8)


def fingerprint(events: pd.DataFrame, schema: Schema = CARDS) -> str:
    """Return the sha256, in hex, of the schema's columns as little-endian float64 in C order."""
    return hashlib.sha256(events[list(schema.numbers)].to_numpy("<f8").tobytes(order="C")).hexdigest()


def resample(events: pd.DataFrame, rows: int, keys: int = 100, seed: int = 0, start: int = 0) -> pd.DataFrame:
    """Make any number of events out of real ones, for measuring size and speed, not detection.

    Event i belongs to key i % keys, so the keys take turns. Each key replays the real stream from a place of
    its own, which is drawn at random, and begins again at its end; so bursts stay bursts. Nothing is added or
    changed. A stream made in parts equals one made at once.

    Returns (rows, 9): key and event (int64, event = start..start+rows-1), then COLUMNS.
    """
    event = np.arange(start, start + rows)
    first = np.random.default_rng(seed).integers(len(events), size=keys)
    made = events[COLUMNS].take((first[event % keys] + event // keys) % len(events)).reset_index(drop=True)
    made.insert(0, "key", event % keys)
    made.insert(1, "event", event)
    return made
