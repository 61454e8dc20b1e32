"""Events from tables as people have them, in memory, .csv or .parquet: columns found, values checked."""

import csv
import gzip
import io
import re
import unicodedata
from collections.abc import Iterable
from datetime import date
from decimal import Decimal
from numbers import Real
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd

from helpers.files import CourseError, plain
from helpers.schema import CARDS, Schema

LARGEST = 1e30  # XGBoost counts in single precision, which ends at 3e38
BLANK = {"", "-", "n/a", "na", "nan", "nat", "none", "null"}  # how a missing value is spelt, in any case
NUMBER, LOCAL, ZONED = "a number", "a date without a time zone", "a date with a time zone"  # kinds of times
SUFFIXES = (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".txt", ".parquet", ".pq")
_TRUTH = dict.fromkeys(("1", "true", "t", "yes", "y", "wahr", "ja"), 1)
_TRUTH |= dict.fromkeys(("0", "false", "f", "no", "n", "falsch", "nein"), 0)
_REVIEWS = _TRUTH | {"closed": -1}
_USUAL_LABELS = re.compile(  # without signs between the words
    "class|label|target|truth|groundtruth|anomaly|outlier|abuse|fraud(label|flag|bool)?|fraudulent|txfraud"
    "|is(fraud|fraudulent|anomaly|outlier|abuse)"
)
_USUAL_TIMES = re.compile("time|timestamp|date(time)?|day|step|eventtime|txdatetime|transactiontime")


class _WrongError(ValueError):
    """What is wrong with a file: the end of a sentence that begins with its name."""


def read_events(
    source: str | Path | pd.DataFrame,
    rows: int | None,
    start: int = 0,
    schema: Schema = CARDS,
    sort: bool = False,
) -> tuple[pd.DataFrame, str]:
    """Read events start..start+rows-1 of a file or a table, all from `start` on for None, and check every
    value. `sort` puts the rows into the order of their time first. Gives the events, and in words whose they
    are and what a reader should know of them."""
    table, flag = isinstance(source, pd.DataFrame), schema.missing == "flag"
    source = source if table else _file(source)
    named = "Your table" if table else source.name
    stop = None if rows is None else start + rows
    try:
        raw, notes = _read(source, None if sort else stop, schema)
        if len(raw) < start + (rows or 1):
            needed = f"rows={rows} from start={start}"
            raise CourseError(f"{named} has {len(raw):,} events, too few for {needed}.")
        raw = _in_time(raw if sort else raw[start:], schema, sort, notes)
        raw = raw[start:stop] if sort else raw
        events = _numbers(raw[list(schema.numbers)], flag)
        for name in schema.categories:
            events[name] = codes(raw[name])
            _check_all(events[name].notna() | (flag & blanks(raw[name])), raw[name], "a category")
        if schema.key:
            _check_all(are_keys(raw[schema.key]), raw[schema.key], "a key")
        for name in filter(None, (schema.key, schema.time)):
            events[name] = raw[name]
        if schema.label in raw:
            events[schema.label] = _labels(raw[schema.label])
        elif schema.label:
            notes.append(f"it has no column {schema.label}, so there is no truth to read")
    except _WrongError as wrong:
        repair = "repair it" if table else "repair the file or export it again"
        raise CourseError(f"{named} {wrong}; {repair}.") from None
    for name in schema.amounts:
        if refunds := int((events[name] < 0).sum()):
            notes.append(f"{refunds:,} of {name} below zero, which count as refunds")
    what = "your table" if table else f"your file {named}"
    return events, what + (f" ({'; '.join(notes)})" if notes else "")


def read_reviews(path: Path) -> pd.Series:
    """What a person wrote beside alerts, in a spreadsheet or not, in the columns `event` and `review`: event
    (int64) -> review (int8), 1 or 0, or -1 for `closed`, an alert that nobody will answer. Rows without a
    review are left out."""
    try:
        raw, _ = _read(path, None, SimpleNamespace(carried=["event"], time=None, label="review"))
        if "review" not in raw:
            raise _WrongError("has no column review (1 or 0, yes or no, or closed) beside the alerts")
        told = raw[~blanks(raw["review"])]
        events = _numbers(told[["event"]])["event"]
        whole = (events % 1 == 0) & events.between(0, 2**53 - 1)
        _check_all(whole, told["event"], "the whole number of an event")
        values = _labels(told["review"], _REVIEWS, "0, 1 or closed")
        reviews = pd.Series(values, events.astype(np.int64), name="review")
        both = reviews.groupby(level=0).nunique()
        if (both > 1).any():
            raise _WrongError(f"has two reviews of event {both.idxmax()} that differ")
        return reviews[~reviews.index.duplicated()]
    except _WrongError as wrong:
        raise CourseError(f"{path.name} {wrong}.") from None


# --- files ---------------------------------------------------------------------------------------


def _file(source: str | Path) -> Path:
    """The path of a file that may be a table."""
    path = Path(source).expanduser()
    if not path.name.lower().endswith(SUFFIXES):
        known = "'auto', 'openml', 'snapshot' or the path of a .csv, .tsv, .txt or .parquet file"
        raise CourseError(f"Unknown source '{source}': use {known}.")
    if not path.is_file():
        raise FileNotFoundError(f"There is no file '{source}': check the name or give a full path.")
    return path


def _read(path: Path | pd.DataFrame, rows: int | None, schema: Schema) -> tuple[pd.DataFrame, list[str]]:
    """The wanted columns of a table or of a file of any kind, as they are written there. The beginning of a
    file tells its kind."""
    if isinstance(path, pd.DataFrame):
        places, notes = _wanted([str(name) for name in path], schema)
        return _named(path.iloc[:rows].reset_index(drop=True), places), notes
    try:
        content = path.read_bytes()
        if content.startswith(b"\x1f\x8b"):
            content = gzip.decompress(content)
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
    return _named(raw, places), notes


def _named(raw: pd.DataFrame, places: dict[str, int]) -> pd.DataFrame:
    return raw.iloc[:, list(places.values())].set_axis(list(places), axis=1)


def _layout(content: bytes, wanted: set[str]) -> tuple[list[str], str, dict[str, Any]]:
    """The names of a text file's columns, its first line, and how pandas is to read what follows."""
    encoding = "utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        content.decode(encoding)
    except UnicodeDecodeError:
        encoding = "cp1252"  # Windows' own for the West
    lines = content[: 1 << 16].decode(encoding, "replace").splitlines() or [""]
    skipped = next((i for i, line in enumerate(lines) if line.strip()), 0)
    skipped += bool(re.fullmatch(r"\"?sep=.\"?", lines[skipped]))  # as Excel writes it
    head = lines[skipped : skipped + 2]
    split = {mark: list(csv.reader(head, delimiter=mark)) or [[]] for mark in ",;\t|"}
    found = {mark: len(wanted & set(map(_bare, names))) for mark, (names, *_) in split.items()}
    mark = max(found, key=found.get)
    names, *first = split[mark]
    if found[mark] and first and len(first[0]) != len(names):
        raise _WrongError(f"names {len(names)} columns but its first row has {len(first[0])}")
    options = {"sep": mark, "skiprows": skipped + 1, "encoding": encoding, "encoding_errors": "replace"}
    return names, "".join(head[:1]), options


def _bare(name: str) -> str:
    return unicodedata.normalize("NFC", name).strip(" \t'\"\ufeff").casefold()


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


def is_blank(value: Any) -> bool:
    """Whether a value is missing, however it is spelt."""
    if isinstance(value, str):
        return _bare(value) in BLANK
    return not isinstance(value, Decimal) and pd.isna(value) is True


def blanks(column: Iterable[Any]) -> np.ndarray:
    """Which values are missing."""
    return np.fromiter(map(is_blank, column), dtype=bool)


def as_float(value: Any) -> float:
    """What an object that is a number stands for; NaN for any other."""
    try:
        is_one = isinstance(value, Real | Decimal) and not isinstance(value, np.timedelta64)
        return float(value) if is_one else np.nan
    except (OverflowError, ValueError):
        return np.nan


def are_keys(column: Iterable[Any]) -> np.ndarray:
    """Which values tell whose event it is, as a text or a number."""
    good = (not is_blank(v) if isinstance(v, str) else np.isfinite(as_float(v)) for v in column)
    return np.fromiter(good, dtype=bool)


def codes(column: pd.Series) -> pd.Series:
    """Categories as the text that is written there, whole numbers as their digits; None for the rest."""

    def code(value: Any) -> str | None:
        if isinstance(value, str | bool):
            return None if is_blank(value) else str(value)
        return str(int(value)) if as_float(value) % 1 == 0 and abs(as_float(value)) < 2**63 else None

    return pd.Series(map(code, column), column.index, dtype=object)


def _numbers(table: pd.DataFrame, flag: bool = False) -> pd.DataFrame:
    """Columns as float64, or say where one does not hold a finite number; with `flag` a missing one is NaN.
    Text is read by `float`, exactly, once it is clear which of comma and point is the decimal mark."""
    texts = {name: [_text(v) for v in table[name]] for name in table if table[name].dtype.kind not in "iuf"}
    sure = {name: _evidence(values) for name, values in texts.items()}
    columns = {}
    for name, column in table.items():
        known = name not in texts
        values = column.to_numpy(np.float64) if known else _spelt(texts[name], sure, name)
        _check_all(np.isfinite(values) | (flag and blanks(column)), column, "a finite number")
        _check_all(~(np.abs(values) >= LARGEST), column, f"a number below {LARGEST:g}")
        columns[name] = values
    return pd.DataFrame(columns, index=table.index)


def _text(value: Any) -> str | float:
    """A text ready to be read, or the number that it is already."""
    if isinstance(value, str):
        return value.strip(" \t'\"").replace("\u2212", "-")
    return as_float(value)


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


def _labels(column: pd.Series, words: dict[str, int] = _TRUTH, need: str = "0 or 1") -> np.ndarray:
    """The truth as int8, from 0 and 1 or from truth values in their usual spellings, quoted or not."""
    text = column.astype(object).map(lambda value: _bare(str(value)).removesuffix(".0"))
    values = text.map(words).to_numpy(np.float64)
    _check_all(~np.isnan(values), column, need)
    return values.astype(np.int8)


def _in_time(raw: pd.DataFrame, schema: Schema, sort: bool, notes: list[str]) -> pd.DataFrame:
    """Rows in the order of their time, which the schema or a usual name tells."""
    known = {*schema.carried, schema.label}
    when = schema.time or next((name for name in raw if name not in known), None)
    if when is None:
        if sort:
            raise _WrongError("has no column of times to sort by, as numbers or as 2026-12-31")
        return raw
    try:
        moments = _moments(raw[when])
    except _WrongError:
        if sort or schema.time:
            raise
        return raw
    raw = raw.assign(**{when: moments})
    if sort:
        notes.append(f"sorted by {when}")
        return raw.iloc[moments.argsort(kind="stable")]
    falls = (moments < moments.shift()).to_numpy()
    if falls.any():
        raise _WrongError(
            f"is not in time order: {when} falls at row {raw.index[falls.argmax()]:,} (counted from 0); "
            "use SORT (sort=True, --sort), or rename that column"
        )
    return raw


# --- times ---------------------------------------------------------------------------------------

_ISO = re.compile(  # the group is the time zone
    r"(?:\d{4}-\d\d?-\d\d?|\d{8}(?=T))(?:[T ][\d:.,]+ ?(Z|[+-]\d\d(?::?\d\d)?)?)?", re.IGNORECASE
)
_IN_SHEETS = re.compile(r"\W*(\d\d?)([./])(\d\d?)\2(\d{4})(?!\d)")


def times(column: pd.Series, numbers: np.ndarray) -> tuple[pd.Series, np.ndarray]:
    """Times of one kind, that of the first, and the kind of each value, which is "" where it is no time.

    Dates are objects or texts as in ISO 8601, and those with a time zone become UTC. `numbers` says which
    values are numbers. What is of another kind than the first is missing in the result.
    """
    found = [_ISO.fullmatch(_date_text(value)) for value in column]
    dates = pd.Series([m and m[0].replace(",", ".") for m in found], column.index, dtype=object)
    dates = pd.to_datetime(dates, format="ISO8601", errors="coerce", utc=True)
    dates = dates.where(dates.dt.year.between(1678, 2261)).dt.as_unit("ns")  # which nanoseconds can count
    kinds = np.where([bool(m and m[1]) for m in found], ZONED, LOCAL)
    kinds = np.where(np.isfinite(numbers), NUMBER, np.where(dates.isna(), "", kinds))
    kind = next(filter(None, kinds), NUMBER)
    dates = dates if kind == ZONED else dates.dt.tz_localize(None)
    return (pd.Series(numbers, column.index) if kind == NUMBER else dates).where(kinds == kind), kinds


def _date_text(value: Any) -> str:
    return str(value).strip(" \t'\"").upper() if isinstance(value, str | date | np.datetime64) else ""


def _moments(column: pd.Series) -> pd.Series:
    """The times of a column, or say where there is none or one of another kind."""
    if column.astype(str).str.fullmatch("[0-9]{1,18}|[1-8][0-9]{18}").all():
        return column.astype(np.int64)  # exactly as they are
    texts = [np.nan if isinstance(value, bool) else _text(value) for value in column]
    numbers = _spelt(texts, {column.name: _evidence(texts)}, column.name)
    moments, kinds = times(_in_iso(column), numbers)
    _check_all(kinds != "", column, "a number or a date such as 2026-12-31")
    _check_all(kinds == kinds[0], column, f"{kinds[0]}, as above,")
    return moments


def _in_iso(column: pd.Series) -> pd.Series:
    """The column, with dates as spreadsheets write them turned into ISO 8601. Before points stands the day;
    before slashes what the column tells."""
    found = [_IN_SHEETS.match(value) if isinstance(value, str) else None for value in column]
    slashed = [match for match in found if match and match[2] == "/"]
    day_first = any(int(match[1]) > 12 for match in slashed)
    if slashed and not day_first and all(int(match[3]) <= 12 for match in slashed):
        raise _WrongError(
            f"has '{slashed[0][0]}' in column {column.name}, where the day or the month may come first: "
            "write it as 2026-12-31"
        )

    def iso(match: re.Match[str]) -> str:
        order = r"\4-\3-\1" if match[2] == "." or day_first else r"\4-\1-\3"
        return match.expand(order) + match.string[match.end() :]

    values = [iso(match) if match else value for match, value in zip(found, column, strict=True)]
    return pd.Series(values, column.index, dtype=object)


def _check_all(good: np.ndarray | pd.Series, column: pd.Series, need: str) -> None:
    """Name the first value that is not good, with its row in the file."""
    if not good.all():
        row = int(np.argmin(good))
        raise _WrongError(
            f"has '{str(column.iloc[row])[:40]}' in column {column.name}, row {column.index[row]:,} "
            f"(counted from 0), where {need} is needed"
        )
