"""Events from files as people have them, .csv, .parquet or .arff: columns found, values checked."""

from __future__ import annotations

import csv
import gzip
import re
from decimal import Decimal
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from helpers.schema import CARDS, Schema

LARGEST = 1e100  # sums of squares of larger numbers overflow
SUFFIXES = (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".txt", ".parquet", ".pq", ".arff")
_FOREIGN = {  # how files begin that are no table of ours
    b"PK\x03\x04": "a zip or Excel file",
    b"\xd0\xcf\x11\xe0": "an Excel file of the old kind",
    b"BZh": "a bzip2 file",
    b"\xfd7zXZ": "an xz file",
    b"version https://git-lfs": "a pointer of Git LFS, not the file that it points to",
}
_TRUTH = dict.fromkeys(("1", "true", "t", "yes", "y", "wahr"), 1)
_TRUTH |= dict.fromkeys(("0", "false", "f", "no", "n", "falsch"), 0)
_USUAL_LABELS = re.compile(  # without signs between the words
    "class|label|target|truth|groundtruth|anomaly|outlier|abuse|fraud(label|flag|bool)?|fraudulent|txfraud"
    "|is(fraud|fraudulent|anomaly|outlier|abuse)"
)
_USUAL_TIMES = re.compile("time|timestamp|date(time)?|day|step|eventtime|txdatetime|transactiontime")


class _WrongTableError(ValueError):
    """A file that can be read but is not the table that the course needs."""


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
    raw, notes = _read(path, None if sort or stop >= 2**31 else stop, owner, schema)
    seen, first = len(raw), 0 if sort else start
    raw, when = _in_time(raw[first:], owner, schema, sort, first)
    if sort:
        raw, notes = raw.iloc[start:stop], [*notes, f"sorted by {when}"]
    events = _numbers(raw[list(schema.columns)], owner, first)
    for name in filter(None, (schema.key, schema.time)):
        events[name] = raw[name]
    if schema.label in raw:
        events[schema.label] = _labels(raw[schema.label], owner, first)
    for name in schema.amounts:
        if refunds := int((events[name] < 0).sum()):
            notes.append(f"{refunds:,} of {name} below zero, which count as refunds")
    return events, seen, notes


def read_reviews(path: Path) -> pd.Series:
    """What a person wrote beside alerts, in a spreadsheet or not: the columns `event` and `review`.

    Returns:
        event (int64) -> review, 1 or 0 (int8); rows without a review are left out.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a column is missing, an event is no whole number, a review is neither, or two reviews of
            one event contradict each other.
    """
    raw, _ = _read(path, None, path.name, Schema(counts=("event",), label="review"))
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


# --- files ---------------------------------------------------------------------------------------


def _read(path: Path, rows: int | None, owner: str, schema: Schema) -> tuple[pd.DataFrame, list[str]]:
    """The wanted columns of a file of any kind, as they are written there; its beginning tells the kind."""
    kind, head = suffix_of(path) or ".csv", path.open("rb").read(1 << 20)
    try:
        if head.startswith(b"PAR1"):
            kind, raw = ".parquet", pd.read_parquet(path, engine="pyarrow")[:rows]
            places, notes = _wanted(list(raw), owner, schema)
        else:
            for begin, what in _FOREIGN.items():
                if head.startswith(begin):
                    raise _WrongTableError(f"{owner} is {what}: export it as CSV, or unpack it first.")
            if kind in (".parquet", ".pq"):
                raise _WrongTableError(f"{owner} is not a readable .parquet file: it does not begin as one.")
            names, begin, options = _layout(path, head, {_bare(name) for name in schema.carried})
            places, notes = _wanted(names, owner, schema, begin)
            wanted = dict.fromkeys(places.values(), str)
            raw = pd.read_csv(
                path,
                header=None,
                names=range(len(names)),
                nrows=rows,
                dtype=wanted,
                na_filter=False,
                **options,
            )
    except _WrongTableError:
        raise
    except Exception as error:  # the readers' libraries promise no particular errors
        raise ValueError(f"{owner} is not a readable {kind} file: {plain(error)}.") from None
    return raw.iloc[:, list(places.values())].set_axis(list(places), axis=1), notes


def _layout(path: Path, head: bytes, wanted: set[str]) -> tuple[list[str], str, dict[str, Any]]:
    """The names of a text file's columns, its first line, and how pandas is to read what follows."""
    squeezed = head.startswith(b"\x1f\x8b")
    with gzip.open(path) if squeezed else path.open("rb") as file:
        content = file.read()
    encoding = _encoding(content)
    lines = content[: 1 << 16].decode(encoding, "replace").splitlines() or [""]
    options = {
        "encoding": encoding,
        "encoding_errors": "replace",
        "compression": "gzip" if squeezed else None,
    }
    skipped = next((i for i, line in enumerate(lines) if line.strip()), 0)
    if lines[skipped].lstrip().startswith(("@", "%")):  # .arff: named columns, then rows with commas
        names = re.findall(r"(?im)^@attribute\s+('[^']*'|\"[^\"]*\"|\S+)", "\n".join(lines))
        data = next(i for i, line in enumerate(lines) if line.strip().lower() == "@data")
        return names, "", options | {"skiprows": data + 1, "quotechar": "'"}
    marks = ",;\t|"
    if told := re.fullmatch(r"\"?sep=(.)\"?", lines[skipped]):  # as Excel writes it
        marks, skipped = told[1], skipped + 1
    split = {mark: list(csv.reader(lines[skipped : skipped + 2], delimiter=mark)) or [[]] for mark in marks}
    mark = max(marks, key=lambda mark: len(wanted & {_bare(name) for name in split[mark][0]}))
    names, *first = split[mark]
    if wanted & {_bare(name) for name in names} and first and len(first[0]) != len(names):
        raise _WrongTableError(
            f"{path.name} names {len(names)} columns but its first row has {len(first[0])}."
        )
    return names, lines[skipped], options | {"sep": mark, "skiprows": skipped + 1, "low_memory": False}


def _encoding(content: bytes) -> str:
    """UTF-8 where every byte is; UTF-16 where a mark or the zeros say so; else Windows' own for the West."""
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    if content[:4096].count(0) > len(content[:4096]) / 4:
        return "utf-16-le" if content[1] == 0 else "utf-16-be"
    try:
        content.decode()
    except UnicodeDecodeError:
        return "cp1252"
    return "utf-8-sig"


def _bare(name: str) -> str:
    return name.strip(" \t'\"\ufeff").casefold()


def _squeezed(name: str) -> str:
    return re.sub(r"[\W_]", "", name.casefold())


def _wanted(
    names: list[str], owner: str, schema: Schema, begin: str = ""
) -> tuple[dict[str, int], list[str]]:
    """The place of every wanted column in the file, and what is to be said of it.

    Names may differ in case, padding and quotes; the truth may have another usual name.
    """
    places, notes = {}, []
    named = [*schema.carried, *filter(None, [schema.label])]
    times = [name for name in names if _USUAL_TIMES.fullmatch(_squeezed(name)) and _bare(name) not in named]
    for name in [*named, *(times if len(times) == 1 and not schema.time else [])]:
        found = [i for i, other in enumerate(names) if other == name]
        found = found or [i for i, other in enumerate(names) if _bare(other) == _bare(name)]
        if len(found) > 1:
            raise _WrongTableError(f"{owner} has more than one column {name}.")
        if found:
            places[name] = found[0]
    missing = [name for name in schema.carried if name not in places]
    if missing:
        needed = "Amount and V1 to V6" if schema == CARDS else ", ".join(schema.carried)
        begin = "".join(c for c in begin if c.isprintable())[:60].replace(". ", ": ").strip(" .")
        shown = f"; it begins with '{begin}'" if begin and len(missing) == len(schema.carried) else ""
        raise _WrongTableError(f"{owner} has no column {', '.join(missing)} ({needed} are needed){shown}.")
    if schema.label and schema.label not in places:
        usual = [i for i, name in enumerate(names) if _USUAL_LABELS.fullmatch(_squeezed(name))]
        usual = [i for i in usual if i not in places.values()]
        if len(usual) > 1:
            several = ", ".join(names[i].strip() for i in usual)
            raise _WrongTableError(
                f"{owner} has several columns that may be the truth ({several}): call one {schema.label}."
            )
        for i in usual:
            places[schema.label] = i
            notes.append(f"its column {names[i].strip()} is taken as the truth, {schema.label}")
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


def _numbers(table: pd.DataFrame, owner: str, start: int) -> pd.DataFrame:
    """Columns as float64, or say where one does not hold a finite number.

    Text is read by `float`, exactly, once it is clear which of comma and point is the decimal mark.
    """
    texts = {name: [_text(v) for v in table[name]] for name in table if table[name].dtype.kind not in "iuf"}
    said = {name: _evidence(values) for name, values in texts.items()}
    columns = {}
    for name in table:
        if name in texts:
            others = set().union(*(marks for other, marks in said.items() if other != name))
            values = _spelt(texts[name], said[name], others, owner, name)
        else:
            values = table[name].to_numpy(np.float64)
        _check_all(np.isfinite(values), table[name], owner, start, "a finite number")
        _check_all(np.abs(values) < LARGEST, table[name], owner, start, f"a number below {LARGEST:g}")
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
    known = (_marks(text) for text in set(texts) if isinstance(text, str) and ("." in text or "," in text))
    return {marks[0] for marks in known if len(marks) == 1}


def _spelt(texts: list[str | float], own: set[str], others: set[str], owner: str, name: str) -> np.ndarray:
    """Numbers as a spreadsheet spells them; NaN where one is none."""

    def number(text: str) -> float:
        marks = _marks(text)
        if len(marks) == 2 and ("." in text or "," in text):
            marks = [mark for mark in own or others if own or mark not in text]
            if len(own or others) != 1 or not marks:
                raise _WrongTableError(
                    f"{owner} has '{text}' in column {name}, which may be {text.replace(',', '.')} or "
                    f"{re.sub('[.,]', '', text)}: write it without a mark between thousands."
                )
        if not marks:
            return np.nan
        mark, other = (marks[0], "," if marks[0] == "." else ".")
        return float(re.sub(f"[{other}{_GROUP}]", "", text).replace(mark, "."))

    read = {text: number(text) for text in dict.fromkeys(texts) if isinstance(text, str)}
    return np.array([read.get(text, text) for text in texts], dtype=np.float64)


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
    raw = raw.assign(**{when: moments}) if schema.time else raw
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
    numbers = pd.to_numeric(column, errors="coerce")
    dates = pd.to_datetime(column, errors="coerce", format="ISO8601") if numbers.isna().all() else numbers
    return dates if dates.notna().any() else None


def _check_all(good: np.ndarray, column: pd.Series, owner: str, start: int, need: str) -> None:
    if not good.all():
        row = int(np.argmin(good))
        raise ValueError(
            f"{owner} has '{str(column.iloc[row])[:40]}' in column {column.name}, row {start + row:,} "
            f"(counted from 0), where {need} is needed."
        )


def plain(error: BaseException) -> str:
    """Return what an error says, on one line, without paths, numbers of errors and full stop."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(text.split())[:160].replace(". ", ": ").rstrip(".")
