"""Events from files: .csv, .csv.gz, .parquet and .arff, every value checked."""

from __future__ import annotations

import csv
import gzip
import itertools
import sys
from pathlib import Path

import numpy as np
import pandas as pd

from helpers.settings import COLUMNS

LARGEST = 1e100  # sums of squares of larger numbers overflow


def suffix_of(path: Path) -> str | None:
    """The suffix of a file that can be read, None of any other."""
    return next((kind for kind in _READERS if path.name.lower().endswith(kind)), None)


def read_events(path: Path, start: int, stop: int, owner: str) -> tuple[pd.DataFrame, int]:
    """Read events start..stop-1 and check every value.

    Args:
        owner: how an error names the file.

    Returns:
        The events, fewer where the file ends before `stop`, and how many were seen on the way.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is damaged, lacks a column, or a value is not what it should be.
    """
    suffix = suffix_of(path)
    try:
        raw, seen = _READERS[suffix](path, start, min(stop, sys.maxsize), owner)
    except FileNotFoundError:
        raise
    except _WrongColumnsError as error:
        raise ValueError(str(error)) from None
    except Exception as error:  # the readers' libraries promise no particular errors
        reason = plain(error).replace(". ", ": ")
        raise ValueError(f"{owner} is not a readable {suffix} file: {reason}.") from None
    events = pd.DataFrame({name: _numbers(raw[name], owner, start) for name in COLUMNS})
    if "Class" in raw:
        events["Class"] = _labels(raw["Class"], owner, start)
    return events, seen


class _WrongColumnsError(ValueError):
    """A table whose columns are not those that the course needs."""


def _wanted(names: list[str], owner: str) -> list[str]:
    missing = [name for name in COLUMNS if name not in names]
    if missing:
        needed = "Amount and V1 to V6 are needed"
        raise _WrongColumnsError(f"{owner} has no column {', '.join(missing)} ({needed}).")
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
    numbers = [value for name, value in zip(names, first, strict=False) if name in wanted]
    decimal = "," if any("," in value for value in numbers) else "."
    exact = {"float_precision": "round_trip", "low_memory": False, "encoding": "utf-8-sig"}
    raw = pd.read_csv(path, sep=separator, decimal=decimal, nrows=stop, **exact)
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
    _check_all(np.abs(values) < LARGEST, column, owner, start, f"a number below {LARGEST:g}")
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


def plain(error: BaseException) -> str:
    """Return what an error says, on one line, without paths, numbers of errors and full stop."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(text.split())[:160].rstrip(".")
