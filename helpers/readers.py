"""Events from files as people have them, .csv or .parquet: columns found, values checked."""

from __future__ import annotations

import csv
import gzip
import io
import re
from decimal import Decimal
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from helpers.files import plain
from helpers.schema import CARDS, Schema

LARGEST = 1e100  # sums of squares of larger numbers overflow
SUFFIXES = (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".txt", ".parquet", ".pq")
_FOREIGN = {  # how files begin that are no table of ours
    b"PK\x03\x04": "a zip or Excel file",
    b"\xd0\xcf\x11\xe0": "an Excel file of the old kind",
    b"version https://git-lfs": "a pointer of Git LFS, not the file that it points to",
}
_TRUTH = dict.fromkeys(("1", "true", "t", "yes", "y", "wahr"), 1)
_TRUTH |= dict.fromkeys(("0", "false", "f", "no", "n", "falsch"), 0)
_USUAL_LABELS = re.compile(  # without signs between the words
    "class|label|target|truth|groundtruth|anomaly|outlier|abuse|fraud(label|flag|bool)?|fraudulent|txfraud"
    "|is(fraud|fraudulent|anomaly|outlier|abuse)"
)
_USUAL_TIMES = re.compile("time|timestamp|date(time)?|day|step|eventtime|txdatetime|transactiontime")


class _WrongError(ValueError):
    """What is wrong with a file: the end of a sentence that begins with its name."""


def read_events(
    source: str | Path, rows: int | None, start: int = 0, schema: Schema = CARDS, sort: bool = False
) -> tuple[pd.DataFrame, str]:
    """Read events start..start+rows-1 of a file, all from `start` on for None, and check every value; `sort`
    puts the rows into the order of their time first. Gives the events, and in words whose they are and what a
    reader should know of them."""
    path, kinds = Path(source).expanduser(), "a .csv, .csv.gz or .parquet file"
    if path.is_dir():
        raise ValueError(f"'{source}' is a folder: name {kinds} in it.")
    if not path.name.lower().endswith(SUFFIXES):
        known = "'auto', 'openml', 'snapshot'"
        raise ValueError(f"Unknown source '{source}': use {known} or the path of {kinds}.")
    if not path.exists():
        raise FileNotFoundError(f"There is no file '{source}': check the name or give a full path.")
    stop = None if rows is None else min(start + rows, 2**31 - 1)  # which is as far as pandas counts
    try:
        raw, notes = _read(path, None if sort else stop, schema)
        if len(raw) < start + (rows or 1):
            needed = f"rows={rows} from start={start}"
            raise ValueError(f"{path.name} has {len(raw):,} events, too few for {needed}.")
        raw = _in_time(raw if sort else raw[start:], schema, sort, notes)
        raw = raw[start:stop] if sort else raw
        events = _numbers(raw[list(schema.columns)])
        for name in filter(None, (schema.key, schema.time)):
            events[name] = raw[name]
        if schema.label in raw:
            events[schema.label] = _labels(raw[schema.label])
        elif schema.label:
            notes.append(f"it has no column {schema.label}, so there is no truth to read")
    except _WrongError as wrong:
        raise ValueError(f"{path.name} {wrong}; repair the file or export it again.") from None
    for name in schema.amounts:
        if refunds := int((events[name] < 0).sum()):
            notes.append(f"{refunds:,} of {name} below zero, which count as refunds")
    return events, f"your file {path.name}" + (f" ({'; '.join(notes)})" if notes else "")


def read_reviews(path: Path) -> pd.Series:
    """What a person wrote beside alerts, in a spreadsheet or not, in the columns `event` and `review`: event
    (int64) -> review, 1 or 0 (int8). Rows without a review are left out."""
    try:
        raw, _ = _read(path, None, Schema(counts=("event",), label="review"))
        if "review" not in raw:
            raise _WrongError("has no column review (1 or 0, yes or no) beside the alerts")
        told = raw[~raw["review"].map(lambda value: _bare(str(value))).isin(("", "nan", "none"))]
        events = _numbers(told[["event"]])["event"]
        _check_all(events % 1 == 0, told["event"], "a whole number")
        reviews = pd.Series(_labels(told["review"]), events.astype(np.int64), name="review")
        both = reviews.groupby(level=0).nunique()
        if (both > 1).any():
            raise _WrongError(f"has two reviews of event {both.idxmax()} that differ")
        return reviews[~reviews.index.duplicated()]
    except _WrongError as wrong:
        raise ValueError(f"{path.name} {wrong}.") from None


# --- files ---------------------------------------------------------------------------------------


def _read(path: Path, rows: int | None, schema: Schema) -> tuple[pd.DataFrame, list[str]]:
    """The wanted columns of a file of any kind, as they are written there; its beginning tells the kind."""
    try:
        content = path.read_bytes()
        if content.startswith(b"\x1f\x8b"):
            content = gzip.decompress(content)
        for begin, what in _FOREIGN.items():
            if content.startswith(begin):
                raise _WrongError(f"is {what}: export it as CSV, or unpack it first")
        if content.startswith(b"PAR1"):
            raw = pd.read_parquet(io.BytesIO(content), engine="pyarrow")[:rows].reset_index(drop=True)
            places, notes = _wanted(list(raw), schema)
        else:
            names, begin, options = _layout(content, {_bare(name) for name in schema.carried})
            places, notes = _wanted(names, schema, begin)
            as_written = dict.fromkeys(places.values(), str)
            options |= {"header": None, "names": range(len(names)), "low_memory": False}
            raw = pd.read_csv(io.BytesIO(content), dtype=as_written, na_filter=False, nrows=rows, **options)
    except (_WrongError, FileNotFoundError):
        raise
    except Exception as error:  # the readers' libraries promise no particular errors
        raise _WrongError(f"is not a readable {path.suffix} file: {plain(error)}") from None
    return raw.iloc[:, list(places.values())].set_axis(list(places), axis=1), notes


def _layout(content: bytes, wanted: set[str]) -> tuple[list[str], str, dict[str, Any]]:
    """The names of a text file's columns, its first line, and how pandas is to read what follows."""
    encoding = "utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        content.decode(encoding)
    except UnicodeDecodeError:
        encoding = "cp1252"  # Windows' own for the West
    lines = content[: 1 << 16].decode(encoding, "replace").splitlines() or [""]
    skipped = next((i for i, line in enumerate(lines) if line.strip()), 0)
    marks = ",;\t|"
    if told := re.fullmatch(r"\"?sep=(.)\"?", lines[skipped]):  # as Excel writes it
        marks, skipped = told[1], skipped + 1
    split = {mark: list(csv.reader(lines[skipped : skipped + 2], delimiter=mark)) or [[]] for mark in marks}
    found = {mark: wanted & {_bare(name) for name in split[mark][0]} for mark in marks}
    mark = max(marks, key=lambda mark: len(found[mark]))
    names, *first = split[mark]
    if found[mark] and first and len(first[0]) != len(names):
        raise _WrongError(f"names {len(names)} columns but its first row has {len(first[0])}")
    options = {"sep": mark, "skiprows": skipped + 1, "encoding": encoding, "encoding_errors": "replace"}
    return names, "".join(lines[skipped : skipped + 1]), options


def _bare(name: str) -> str:
    return name.strip(" \t'\"\ufeff").casefold()


def _is_usual(names: re.Pattern[str], name: str) -> bool:
    return bool(names.fullmatch(re.sub(r"[\W_]", "", name.casefold())))


def _wanted(names: list[str], schema: Schema, begin: str = "") -> tuple[dict[str, int], list[str]]:
    """The place of every wanted column, whatever its case, padding, quotes, and what is to be said of it."""
    places, notes = {}, []
    named = [*schema.carried, *filter(None, [schema.label])]
    times = [name for name in names if _is_usual(_USUAL_TIMES, name) and _bare(name) not in named]
    for name in [*named, *(times if len(times) == 1 and not schema.time else [])]:
        found = [i for i, other in enumerate(names) if other == name]
        found = found or [i for i, other in enumerate(names) if _bare(other) == _bare(name)]
        if len(found) > 1:
            raise _WrongError(f"has more than one column {name}")
        if found:
            places[name] = found[0]
    if missing := [name for name in schema.carried if name not in places]:
        needed = ", ".join(schema.carried)
        if len(missing) < len(schema.carried):
            raise _WrongError(f"has no column {', '.join(missing)} ({needed} are needed)")
        begin = "".join(c for c in begin if c.isprintable())[:60].replace(". ", ": ").strip(" .")
        raise _WrongError(f"has no column {needed}" + (f"; it begins with '{begin}'" if begin else ""))
    if schema.label and schema.label not in places:
        usual = [i for i, name in enumerate(names) if _is_usual(_USUAL_LABELS, name)]
        usual = [i for i in usual if i not in places.values()]
        several = ", ".join(names[i].strip() for i in usual)
        if len(usual) > 1:
            wrong = f"has several columns that may be the truth ({several})"
            raise _WrongError(f"{wrong}: call one {schema.label}")
        if usual:
            places[schema.label] = usual[0]
            notes.append(f"its column {several} is taken as the truth, {schema.label}")
    return places, notes


# --- values --------------------------------------------------------------------------------------

_GROUP = " '\u2019\u00a0\u2009\u202f"  # between thousands, beside comma and point
_READINGS = {  # a number, by its decimal mark
    mark: re.compile(
        rf"(?=.*\d)[+-]?(?:[1-9]\d{{0,2}}([{other}{_GROUP}])\d{{3}}(?:\1\d{{3}})*|\d*)"
        rf"(?:[{mark}]\d*)?(?:[eE][+-]?\d+)?"
    )
    for mark, other in ((".", ","), (",", "."))
}


def _numbers(table: pd.DataFrame) -> pd.DataFrame:
    """Columns as float64, or say where one does not hold a finite number. Text is read by `float`, exactly,
    once it is clear which of comma and point is the decimal mark."""
    texts = {name: [_text(v) for v in table[name]] for name in table if table[name].dtype.kind not in "iuf"}
    sure = {name: _evidence(values) for name, values in texts.items()}
    columns = {}
    for name in table:
        values = _spelt(texts[name], sure, name) if name in texts else table[name].to_numpy(np.float64)
        _check_all(np.isfinite(values), table[name], "a finite number")
        _check_all(np.abs(values) < LARGEST, table[name], f"a number below {LARGEST:g}")
        columns[name] = values
    return pd.DataFrame(columns, index=table.index)


def _text(value: Any) -> str | float:
    """A text ready to be read, or the number that it is already."""
    if isinstance(value, str):
        return value.strip(" \t'\"").replace("\u2212", "-")
    return float(value) if isinstance(value, Real | Decimal) and not isinstance(value, bool) else np.nan


def _marks(text: str) -> list[str]:
    """The decimal marks with which this text is a number: one, none, or both where nothing tells."""
    return [mark for mark, reading in _READINGS.items() if reading.fullmatch(text)]


def _evidence(texts: list[str | float]) -> set[str]:
    """The decimal marks that these texts leave no doubt of."""
    known = (_marks(text) for text in set(texts) if isinstance(text, str))
    return {marks[0] for marks in known if len(marks) == 1}


def _spelt(texts: list[str | float], sure: dict[str, set[str]], name: str) -> np.ndarray:
    """Numbers as a spreadsheet spells them, which this column tells, or the others; NaN where one is none."""
    own, others = sure[name], set().union(*(marks for other, marks in sure.items() if other != name))

    def number(text: str) -> float:
        marks = _marks(text)
        if len(marks) == 2 and ("." in text or "," in text):
            marks = list(own or others - set(text))  # another column's decimal mark may be no mark here
            if len(own or others) != 1 or not marks:
                raise _WrongError(
                    f"has '{text}' in column {name}, which may be {text.replace(',', '.')} or "
                    f"{re.sub('[.,]', '', text)}: write it without a mark between thousands"
                )
        return float(re.sub(rf"[^\d{marks[0]}eE+-]", "", text).replace(marks[0], ".")) if marks else np.nan

    read = {text: number(text) for text in dict.fromkeys(texts) if isinstance(text, str)}
    return np.array([read.get(text, text) for text in texts], dtype=np.float64)


def _labels(column: pd.Series) -> np.ndarray:
    """The truth as int8, from 0 and 1 or from truth values in their usual spellings, quoted or not."""
    text = column.astype(object).map(lambda value: _bare(str(value)).removesuffix(".0"))
    values = text.map(_TRUTH).to_numpy(np.float64)
    _check_all(np.isin(values, (0, 1)), column, "0 or 1")
    return values.astype(np.int8)


def _in_time(raw: pd.DataFrame, schema: Schema, sort: bool, notes: list[str]) -> pd.DataFrame:
    """Rows in the order of their time, which the schema or a usual name tells."""
    known = {*schema.columns, schema.key, schema.label}
    when = schema.time or next((name for name in raw if name not in known), None)
    moments = None if when is None else _moments(raw[when])
    if moments is None or (schema.time is None and moments.isna().any()):
        if sort or schema.time:
            raise _WrongError("has no column of times to sort by, as numbers or as 2026-12-31")
        return raw
    _check_all(moments.notna(), raw[when], "a number or a date such as 2026-12-31")
    raw = raw.assign(**{when: moments}) if schema.time else raw
    if sort:
        notes.append(f"sorted by {when}")
        return raw.iloc[np.argsort(moments.to_numpy(), kind="stable")]
    falls = np.flatnonzero(moments.to_numpy()[1:] < moments.to_numpy()[:-1])
    if len(falls):
        raise _WrongError(
            f"is not in time order: {when} falls at row {raw.index[falls[0] + 1]:,} (counted from 0); "
            "use SORT (sort=True, --sort), or rename that column"
        )
    return raw


def _moments(column: pd.Series) -> pd.Series | None:
    """Times as numbers or as dates; None where the column as a whole is neither."""
    if pd.api.types.is_datetime64_any_dtype(column):
        return column
    numbers = pd.to_numeric(column, errors="coerce")
    dates = pd.to_datetime(column, errors="coerce", format="ISO8601") if numbers.isna().all() else numbers
    return dates if dates.notna().any() else None


def _check_all(good: np.ndarray | pd.Series, column: pd.Series, need: str) -> None:
    """Name the first value that is not good, with its row in the file."""
    if not good.all():
        row = int(np.argmin(good))
        raise _WrongError(
            f"has '{str(column.iloc[row])[:40]}' in column {column.name}, row {column.index[row]:,} "
            f"(counted from 0), where {need} is needed"
        )
