"""Events from files as people have them: .csv, .parquet and .arff, every name found, every value checked."""

from __future__ import annotations

import codecs
import csv
import gzip
import itertools
import re
import sys
from collections.abc import Callable, Iterable
from decimal import Decimal
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from helpers.schema import CARDS, Schema

LARGEST = 1e100  # sums of squares of larger numbers overflow
SUFFIXES = (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".txt", ".parquet", ".pq", ".arff")
_SEPARATORS = ",;\t|"
_FOREIGN = {  # how files begin that are no table of ours
    b"PK\x03\x04": "a zip or Excel file",
    b"\xd0\xcf\x11\xe0": "an Excel file of the old kind",
    b"BZh": "a bzip2 file",
    b"\xfd7zXZ": "an xz file",
    b"\x28\xb5\x2f\xfd": "a zstd file",
    b"version https://git-lfs": "a pointer of Git LFS, not the file that it points to",
}
_TRUTH = dict.fromkeys(("1", "true", "t", "yes", "y", "wahr"), 1)
_TRUTH |= dict.fromkeys(("0", "false", "f", "no", "n", "falsch"), 0)
_USUAL_LABELS = {  # without signs between the words
    *("class", "label", "target", "truth", "groundtruth", "anomaly", "outlier", "abuse"),
    *("fraud", "fraudlabel", "fraudflag", "fraudbool", "fraudulent", "txfraud"),
    *("isfraud", "isfraudulent", "isanomaly", "isoutlier", "isabuse"),
}
_USUAL_TIMES = {
    *("time", "timestamp", "datetime", "date", "day", "step"),
    *("eventtime", "txdatetime", "transactiontime"),
}


def suffix_of(path: Path) -> str | None:
    """The suffix of a file that can be read, None of any other."""
    return next((kind for kind in SUFFIXES if path.name.lower().endswith(kind)), None)


def read_events(
    path: Path, start: int, stop: int, owner: str, schema: Schema = CARDS, sort: bool = False
) -> tuple[pd.DataFrame, int, list[str]]:
    """Read events start..stop-1 and check every value.

    Args:
        owner: how an error names the file.
        schema: which columns are wanted, and as what.
        sort: put the rows into the order of their time first.

    Returns:
        The events, fewer where the file ends before `stop`; how many were seen on the way; and what a reader
        should know of them, a clause each.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is damaged, lacks a column, its time falls, or a value is not what it should be.
    """
    raw, seen, notes = _read(path, 0 if sort else min(stop, sys.maxsize), owner, schema)
    first = 0 if sort else start
    raw = raw.iloc[first:]
    raw, when = _in_time(raw, owner, schema, sort, first)
    if sort:
        raw, notes = raw.iloc[start:stop], [*notes, f"sorted by {when}"]
    events = _numbers(raw[list(schema.columns)], owner, first)
    if schema.key:
        events[schema.key] = raw[schema.key]
    if schema.time:
        events[schema.time] = raw[schema.time]
    if schema.label in raw:
        events[schema.label] = _labels(raw[schema.label], owner, first)
    for name in schema.amounts:
        if refunds := int((events[name] < 0).sum()):
            notes.append(f"{refunds:,} of {name} below zero, which count as refunds")
    return events, seen, notes


def read_reviews(path: Path) -> pd.Series:
    """What a person wrote beside alerts, in a spreadsheet or not.

    Needs the columns `event` and `review`, in any order, among any others; a review is 1 or 0, yes or no,
    true or false. Rows without a review are left out.

    Returns:
        event (int64) -> review, 1 or 0 (int8).

    Raises:
        FileNotFoundError: no such file.
        ValueError: a column is missing, an event is no whole number, a review is neither, or two reviews of
            one event contradict each other.
    """
    schema = Schema(counts=("event",), label="review")
    raw, *_ = _read(path, 0, path.name, schema)
    if "review" not in raw:
        raise _WrongTableError(f"{path.name} has no column review (1 or 0, yes or no) beside the alerts.")
    told = raw[raw["review"].map(lambda value: _bare(str(value)) not in ("", "nan", "none"))]
    events = _numbers(told[["event"]], path.name, 0)["event"]
    _check_all((events % 1 == 0).to_numpy(), told["event"], path.name, 0, "a whole number")
    reviews = pd.Series(_labels(told["review"], path.name, 0), events.astype(np.int64), name="review")
    both = reviews.groupby(level=0).nunique()
    if (both > 1).any():
        raise _WrongTableError(f"{path.name} has two reviews of event {both.idxmax()} that differ.")
    return reviews[~reviews.index.duplicated()]


def _read(path: Path, stop: int, owner: str, schema: Schema) -> tuple[pd.DataFrame, int, list[str]]:
    """The wanted columns of a file of any kind, as they are written there."""
    kind = suffix_of(path)
    try:
        reader, kind = _reader(path)
        return reader(path, stop, owner, schema)
    except (FileNotFoundError, _WrongTableError):
        raise
    except Exception as error:  # the readers' libraries promise no particular errors
        reason = plain(error).replace(". ", ": ")
        raise ValueError(f"{owner} is not a readable {kind} file: {reason}.") from None


class _WrongTableError(ValueError):
    """A file that can be read but is not the table that the course needs."""


# --- which columns -------------------------------------------------------------------------------


def _bare(name: str) -> str:
    return name.strip(" \t'\"\ufeff").casefold()


def _wanted(
    names: list[str], owner: str, schema: Schema, begin: str = ""
) -> tuple[dict[str, int], list[str]]:
    """The place of every wanted column in the file, and what is to be said of it.

    Names may differ in case, padding and quotes; the truth may have another usual name.
    """
    places, notes = {}, []
    named = [*schema.carried, *filter(None, [schema.label])]
    times = [name for name in names if _squeezed(name) in _USUAL_TIMES - {_squeezed(name) for name in named}]
    for name in [*named, *(times if len(times) == 1 and not schema.time else [])]:
        found = [i for i, other in enumerate(names) if other == name]
        found = found or [i for i, other in enumerate(names) if _bare(other) == _bare(name)]
        if len(found) > 1:
            raise _WrongTableError(f"{owner} has more than one column {name}.")
        if found:
            places[name] = found[0]
    missing = [name for name in schema.carried if name not in places]
    if missing:
        needed = "Amount and V1 to V6 are" if schema == CARDS else f"{', '.join(schema.carried)} are"
        shown = (
            f"; it begins with '{_printable(begin)}'" if len(missing) == len(schema.carried) and begin else ""
        )
        raise _WrongTableError(f"{owner} has no column {', '.join(missing)} ({needed} needed){shown}.")
    if schema.label and schema.label not in places:
        usual = [
            i for i, name in enumerate(names) if _squeezed(name) in _USUAL_LABELS and i not in places.values()
        ]
        if len(usual) == 1:
            places[schema.label] = usual[0]
            notes.append(f"its column {names[usual[0]].strip()} is taken as the truth, {schema.label}")
        elif usual:
            several = ", ".join(names[i].strip() for i in usual)
            raise _WrongTableError(
                f"{owner} has several columns that may be the truth ({several}): call one {schema.label}."
            )
    return places, notes


def _squeezed(name: str) -> str:
    return re.sub(r"[\W_]", "", name.casefold())


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text)[:60].replace(". ", ": ").strip().rstrip(".")


# --- which file ----------------------------------------------------------------------------------


def _reader(path: Path) -> tuple[Callable, str]:
    """Who reads this file: what it begins with decides, not its name."""
    kind = suffix_of(path)
    with path.open("rb") as file:
        head = file.read(64)
    if head.startswith(b"PAR1"):
        return _read_parquet, ".parquet"
    for begin, what in _FOREIGN.items():
        if head.startswith(begin):
            raise _WrongTableError(f"{path.name} is {what}: export it as CSV, or unpack or fetch it first.")
    if kind in (".parquet", ".pq"):
        raise _WrongTableError(f"{path.name} is not a readable .parquet file: it does not begin as one.")
    return _read_text, kind or ".csv"


def _opened(path: Path) -> Callable:
    with path.open("rb") as file:
        return gzip.open if file.read(2) == b"\x1f\x8b" else open


def _encoding(path: Path) -> str:
    """UTF-8 where every byte is; UTF-16 where a mark or the zeros say so; else Windows' own for the West."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    with _opened(path)(path, "rb") as file:
        head = file.read(1 << 12)
        if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            return "utf-16"
        if head.count(0) > len(head) / 4:
            return "utf-16-le" if head[1] == 0 else "utf-16-be"
        try:
            for chunk in itertools.chain([head], iter(lambda: file.read(1 << 20), b"")):
                decoder.decode(chunk)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return "cp1252"
    return "utf-8-sig"


def _read_text(path: Path, stop: int, owner: str, schema: Schema) -> tuple[pd.DataFrame, int, list[str]]:
    options = {"encoding": _encoding(path), "errors": "replace"}
    with _opened(path)(path, "rt", newline="", **options) as file:
        head = [file.readline(1 << 16) for _ in range(20)]
    skipped = next((i for i, line in enumerate(head) if line.strip()), 0)
    if head[skipped].lstrip().startswith(("@", "%")):
        return _read_arff(path, stop, owner, schema, options)
    separators = _SEPARATORS
    if told := re.fullmatch(r"\"?sep=(.)\"?", head[skipped].strip("\r\n")):  # as Excel writes it
        separators, skipped = told[1], skipped + 1
    return _read_csv(path, stop, owner, schema, options, head[skipped : skipped + 2], skipped, separators)


def _read_csv(
    path: Path,
    stop: int,
    owner: str,
    schema: Schema,
    options: dict[str, str],
    head: list[str],
    skipped: int,
    separators: str,
) -> tuple[pd.DataFrame, int, list[str]]:
    """Read whole rows: pandas notices a row with too many fields only when it reads them all."""
    wanted = {_bare(name) for name in schema.carried}
    split = {mark: [next(csv.reader([line], delimiter=mark), []) for line in head] for mark in separators}
    mark = max(split, key=lambda mark: len(wanted & {_bare(name) for name in split[mark][0]}))
    names, first = split[mark]
    places, notes = _wanted(names, owner, schema, head[0])
    if first and len(first) != len(names):
        raise _WrongTableError(f"{owner} names {len(names)} columns but its first row has {len(first)}.")
    raw = pd.read_csv(
        path,
        sep=mark,
        header=None,
        names=range(len(names)),
        skiprows=skipped + 1,
        nrows=stop or None,
        dtype=dict.fromkeys(places.values(), str),
        na_filter=False,
        low_memory=False,
        compression="gzip" if _opened(path) is gzip.open else None,
        encoding=options["encoding"],
        encoding_errors="replace",
    )
    return _named(raw, places), len(raw), notes


def _read_parquet(path: Path, stop: int, owner: str, schema: Schema) -> tuple[pd.DataFrame, int, list[str]]:
    """Read batch by batch: what the file's metadata claim is never allocated in advance."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pq.ParquetFile(path, page_checksum_verification=True) as file:
        names = file.schema_arrow.names
        places, notes = _wanted(names, owner, schema)
        parts, seen = [], 0
        for batch in file.iter_batches(columns=[names[i] for i in places.values()]):
            parts.append(batch.slice(0, stop - seen) if stop else batch)
            seen += len(batch)
            if stop and seen >= stop:
                break
        arrow = parts[0].schema if parts else file.schema_arrow
    raw = pa.Table.from_batches(parts, arrow).to_pandas(ignore_metadata=True)
    return raw.rename(columns={names[i]: name for name, i in places.items()}), seen, notes


def _read_arff(
    path: Path, stop: int, owner: str, schema: Schema, options: dict[str, str]
) -> tuple[pd.DataFrame, int, list[str]]:
    import arff

    with _opened(path)(path, "rt", **options) as file:
        content = arff.load(file, return_type=arff.DENSE_GEN)
        places, notes = _wanted([name for name, _ in content["attributes"]], owner, schema)
        rows = list(itertools.islice(content["data"], stop or None))
    raw = pd.DataFrame(rows, columns=range(len(content["attributes"])))
    return _named(raw, places), len(rows), notes


def _named(raw: pd.DataFrame, places: dict[str, int]) -> pd.DataFrame:
    return raw[list(places.values())].set_axis(list(places), axis=1)


# --- what the values are -------------------------------------------------------------------------

_GROUP = " '\u2019\u00a0\u2009\u202f"  # between thousands, beside comma and point
_EITHER = re.compile(r"[+-]?[1-9]\d{0,2}([.,])\d{3}")  # 1.299 or 1299?
_DECIMAL = re.compile(
    rf"(?=.*\d)[+-]?(?:\d{{1,3}}(?:([.,{_GROUP}])\d{{3}})+|\d*)(?!\1)([.,])\d*(?:[eE][+-]?\d+)?"
)
_THOUSANDS = re.compile(r"[+-]?\d{1,3}(?:([.,])\d{3})(?:\1\d{3})+")
_PARTED = {  # a number with its thousands apart, by its decimal mark
    mark: re.compile(rf"[+-]?\d{{1,3}}([{other}{_GROUP}])\d{{3}}(?:\1\d{{3}})*(?:[{mark}]\d*)?")
    for mark, other in ((".", ","), (",", "."))
}


def _numbers(table: pd.DataFrame, owner: str, start: int) -> pd.DataFrame:
    """Columns as float64, or say where one does not hold a finite number.

    Text is read by `float`, exactly, once it is clear which of comma and point is the decimal mark.
    """
    texts = {name: _texts(table[name]) for name in table if table[name].dtype.kind not in "iuf"}
    said = {name: _evidence(values) for name, values in texts.items()}
    columns = {}
    for name in table:
        if name in texts:
            others = set().union(*(marks for other, (marks, _) in said.items() if other != name))
            values = _spelt(texts[name], *said[name], others, owner, name)
        else:
            values = table[name].to_numpy(np.float64)
        _check_all(np.isfinite(values), table[name], owner, start, "a finite number")
        _check_all(np.abs(values) < LARGEST, table[name], owner, start, f"a number below {LARGEST:g}")
        columns[name] = values
    return pd.DataFrame(columns, index=table.index)


def _texts(column: pd.Series) -> list[str]:
    """Values as text, those that are numbers beyond doubt with an exponent; '' for what is neither."""
    if column.dtype.kind in "bMm":
        return [""] * len(column)
    return [_text(value) for value in column]


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value.strip(" \t'\"").replace("\u2212", "-")
    if isinstance(value, Real | Decimal) and not isinstance(value, bool):
        text = repr(float(value))
        return text if "e" in text else text + "e0"
    return ""


def _evidence(texts: Iterable[str]) -> tuple[set[str], dict[str, str]]:
    """Which marks are decimal beyond doubt, and for a mark that may be either, the first such text."""
    decimals, either = set(), {}
    for text in texts:
        if found := _EITHER.fullmatch(text):
            either.setdefault(found[1], text)
        elif found := _THOUSANDS.fullmatch(text):
            decimals.add("." if found[1] == "," else ",")
        elif found := _DECIMAL.fullmatch(text):
            decimals.add(found[2])
    return decimals, either


def _spelt(
    texts: list[str], own: set[str], either: dict[str, str], others: set[str], owner: str, name: str
) -> np.ndarray:
    """Numbers as a spreadsheet spells them; NaN where one is none."""
    decimals = own or (others if others and not (others & either.keys()) else set())
    if either and len(decimals) != 1:
        text = next(iter(either.values()))
        raise _WrongTableError(
            f"{owner} has '{text}' in column {name}, which may be {text.replace(',', '.')} or "
            f"{re.sub('[.,]', '', text)}: write it without a mark between thousands."
        )
    marks = decimals or {"."}
    return np.array([_number(text, marks) for text in texts])


def _number(text: str, marks: set[str]) -> float:
    mark = next(iter(marks)) if len(marks) == 1 else next((m for m in ".," if m in text), ".")
    other = "." if mark == "," else ","
    if any(sign in text for sign in other + _GROUP):
        if not _PARTED[mark].fullmatch(text):
            return np.nan
        text = re.sub(f"[{other}{_GROUP}]", "", text)
    try:
        return np.nan if "_" in text else float(text.replace(mark, "."))
    except ValueError:
        return np.nan


def _labels(column: pd.Series, owner: str, start: int) -> np.ndarray:
    """The truth as int8, from 0 and 1 or from truth values in their usual spellings, quoted or not."""
    text = column.astype(object).map(lambda value: _bare(str(value)).removesuffix(".0"))
    values = text.map(_TRUTH).to_numpy(np.float64)
    _check_all(np.isin(values, (0, 1)), column, owner, start, "0 or 1")
    return values.astype(np.int8)


def _in_time(
    raw: pd.DataFrame, owner: str, schema: Schema, sort: bool, start: int
) -> tuple[pd.DataFrame, str | None]:
    """Rows in the order of their time, which the schema or a usual name tells."""
    known = {*schema.columns, schema.key, schema.label}
    when = schema.time or next((name for name in raw if name not in known), None)
    moments = None if when is None else _moments(raw[when])
    if moments is None or (schema.time is None and moments.isna().any()):
        if sort or schema.time:
            raise _WrongTableError(f"{owner} has no column of times to sort by, as numbers or as 2026-12-31.")
        return raw, None
    _check_all(moments.notna().to_numpy(), raw[when], owner, start, "a number or a date such as 2026-12-31")
    if schema.time:
        raw = raw.assign(**{when: moments})
    if sort:
        return raw.iloc[np.argsort(moments.to_numpy(), kind="stable")], when
    falls = np.flatnonzero(moments.to_numpy()[1:] < moments.to_numpy()[:-1])
    if len(falls):
        raise _WrongTableError(
            f"{owner} is not in time order: {when} falls at row {start + falls[0] + 1:,} (counted from 0); "
            "use SORT (sort=True, --sort), or rename that column."
        )
    return raw, when


def _moments(column: pd.Series) -> pd.Series | None:
    """Times as numbers or as dates; None where the column as a whole is neither."""
    if pd.api.types.is_datetime64_any_dtype(column):
        return column
    if pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column):
        return column.astype(np.float64)
    numbers = pd.to_numeric(column, errors="coerce")
    if numbers.notna().any():
        return numbers.astype(np.float64)
    dates = pd.to_datetime(column, errors="coerce", format="ISO8601")
    return dates if dates.notna().any() else None


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
