"""helpers/readers.py: files as people have them; a number is never read as another number."""

import datetime
import gzip
import unicodedata
from decimal import Decimal
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sandbox import refused

from helpers.data import load_events, seal
from helpers.readers import read_events, read_reviews
from helpers.schema import Schema
from helpers.settings import AXES, COLUMNS

PAYMENTS = Schema(amounts=["Betr\u00e4ge"], axes=["V1"], key="H\u00e4ndler", time="Zeit", label="Betrug")
TEXT = "Händler;Zeit;Beträge;V1;Betrug\nCafé;2026-01-01;1.5;0.5;no\nCafé;2026-01-02;2.5;0.5;yes\n"
NAMES = [*COLUMNS, "Class"]


def rows(*amounts: str, point: str = ".", mark: str = ",", truth: str = "01", header: str = "") -> str:
    """A file of cards as text: the amounts as they are spelt, axes with the decimal mark `point`."""
    axes = mark.join(f"0{point}{i}" for i in range(1, 7))
    lines = [mark.join([f'"{a}"', axes, truth[i % len(truth)]]) for i, a in enumerate(amounts)]
    return "\n".join([header or mark.join(NAMES), *lines, ""])


def beside(name: str, values: list[str], text: str) -> str:
    return "".join(f"{more},{line}\n" for more, line in zip([name, *values], text.splitlines(), strict=True))


def read(folder: Path, content: str | bytes | pd.DataFrame, name: str = "x.csv", **options) -> pd.DataFrame:
    """The events of a file with this content; `attrs["what"]` is what is said of it."""
    path = folder / name
    if isinstance(content, pd.DataFrame):
        content.to_parquet(path)
    else:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    events, what = read_events(path, options.pop("number", None), **options)
    events.attrs["what"] = what
    return events


def check(folder: Path, content, expected: list | str, column: str = "Amount", **options) -> None:
    """The file holds these values, or is refused with this sentence."""
    if not isinstance(expected, str):
        assert read(folder, content, **options)[column].tolist() == expected
        return
    with refused(f"^x[.][a-z.]+ {expected}.*; repair the file or export it again[.]$"):
        read(folder, content, **options)


NONE = "has .* in column Amount, row 0 .counted from 0., where a finite number is needed"
EITHER = "has '1[.,]299' in column Amount, which may be 1[.]299 or 1299: write it without a mark"


@pytest.mark.parametrize("point", [".", ",", ""])
def test_whole_amounts_with_a_mark_between_thousands(tmp_path, point):
    for group in ",. '\u2019\u00a0\u202f":
        text = rows(f"1{group}299", "52", f"2{group}500", point=point, mark=";")
        open_ = group == point or (not point and group in ",.")
        check(tmp_path, text, EITHER if open_ else [1299, 52, 2500])


@pytest.mark.parametrize(
    ("spelt", "expected"),
    [
        (["1,299,000", "1,299"], [1299000, 1299]),
        (["1.299", "12.5"], [1.299, 12.5]),
        (["1 299,5", "1,299"], [1299.5, 1.299]),
        (["0.299", "1.299"], [0.299, 1.299]),
        (["12,5", "12.5"], [12.5, 12.5]),
        (["-1,299.5", "\u22123"], [-1299.5, -3]),
        (["+7", "1e3", " 7 ", "'8'"], [7, 1000, 7, 8]),
        (["0,30000000000000004", "9,999999999999999e29"], [0.30000000000000004, 9.999999999999999e29]),
        *(([text], NONE) for text in ("12,34,567.5", "1,29.5", "1_000", "12.5 euro", "1..5", "1,2,3")),
        *(([text], NONE) for text in ("(5)", "0x10", "")),
        (["1.299", "1,299"], EITHER),
        (["12.5", "3,25", "1.299"], EITHER),
    ],
)
def test_an_amount_is_read_as_its_column_tells_or_named(tmp_path, spelt, expected):
    check(tmp_path, rows(*spelt, mark=";"), expected)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(-(10**9), 10**9), min_size=1), st.sampled_from([".,", ",.", " ,", "'."]))
def test_what_a_spreadsheet_writes_is_what_it_holds(tmp_path_factory, cents, style):
    group, point = style
    spelt = [f"{value / 100:,.2f}".translate({ord(","): group, ord("."): point}) for value in cents]
    text = rows(*spelt, point=point, mark=";")
    check(tmp_path_factory.mktemp("sheet"), text, [value / 100 for value in cents])


@pytest.mark.parametrize(
    ("column", "values", "expected"),
    [
        ("Amount", [Decimal("1.299"), Decimal("2.5")], [1.299, 2.5]),
        ("Amount", ["1,5", "2,25"], [1.5, 2.25]),
        ("Class", [True, False], [1, 0]),
        ("V1", [True, False], [1, 0]),
        *(("V1", [value] * 2, "has .* in column V1, row 0 ") for value in (pd.Timestamp(0), [1.0])),
    ],
)
def test_numbers_and_truth_of_other_types_in_parquet(tmp_path, column, values, expected):
    table = pd.DataFrame(dict.fromkeys(NAMES, 1), range(2)).assign(**{column: values})
    check(tmp_path, table, expected, column)


def test_refunds_are_read_and_counted(tmp_path):
    events = read(tmp_path, rows("5.5", "-30", "0", "-0.5"))
    assert events["Amount"].tolist() == [5.5, -30, 0, -0.5]
    assert events.attrs["what"] == "your file x.csv (2 of Amount below zero, which count as refunds)"


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("V2", "abc", "'abc' in column V2, row 17 .counted from 0., where a finite number"),
        ("V6", None, "'(|nan|None)' in column V6, row 17 .counted from 0., where a finite number"),
        ("Amount", -np.inf, "'-inf' in column Amount, row 17 .counted from 0., where a finite number"),
        ("V4", -1e30, "'-1e[+]30' in column V4, row 17 .counted from 0., where a number below 1e[+]30"),
        ("Class", 0.5, "'0.5' in column Class, row 17 .counted from 0., where 0 or 1"),
    ],
)
def test_the_first_bad_value_is_named_with_its_row(tmp_path, column, value, said):
    table = pd.DataFrame(dict.fromkeys(NAMES, 1.0), range(20))
    table[column] = [str(1) if value == "abc" else 1] * 17 + [value] * 3
    for content in (table, table.to_csv(index=False)):
        check(tmp_path, content, f"has {said} is needed", number=15, start=5)
        assert len(read(tmp_path, content, number=10, start=7)) == 10  # what is not asked for is not read


@pytest.mark.parametrize(
    "spelt",
    ["01", ["False", "TRUE"], ["no", "Yes"], ["n", "Y"], ["f", "t"], ["0.0", "1.0"], ["FALSCH", " 'WAHR'"]],
)
def test_truth_in_its_usual_spellings(tmp_path, spelt):
    truth = read(tmp_path, rows("1", "2", "3", truth=spelt))["Class"]
    assert truth.tolist() == [0, 1, 0] and truth.dtype == np.int8
    for other in ("2", "perhaps", "", "legit", "-1"):
        sentence = f"has '{other}' in column Class, row 1 .*where 0 or 1 is needed"
        check(tmp_path, rows("1", "2", truth=[spelt[0], other]), sentence)


def test_the_truth_under_a_usual_name_or_none_is_said(tmp_path):
    for name in ("isFraud", "is_fraud", "TX_FRAUD", "fraud_bool", "Label", "target", "Is Fraud"):
        text = rows("1", "2", header=",".join([*COLUMNS, name]))
        events = read(tmp_path, text)
        assert events["Class"].tolist() == [0, 1]
        assert events.attrs["what"] == f"your file x.csv (its column {name} is taken as the truth, Class)"
        sentence = f"has several columns that may be the truth .truth, {name}.: call one Class"
        check(tmp_path, beside("truth", "01", text), sentence)
    events = read(tmp_path, text.replace(name, "note"))
    assert list(events) == COLUMNS and "(it has no column Class, so there is no truth" in events.attrs["what"]
    assert read(tmp_path, text, schema=Schema(axes=["V1"])).attrs["what"] == "your file x.csv"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("mark", [",", ";", "\t", "|"])
def test_separators_and_encodings_are_found(tmp_path, mark, encoding):
    for before in ("", "\n", f"sep={mark}\n", f'"sep={mark}"\r\n'):
        content = (before + TEXT.replace(";", mark)).encode(encoding)
        events, truth = seal(read(tmp_path, content, schema=PAYMENTS), PAYMENTS)
        assert events["Beträge"].tolist() == [1.5, 2.5] and events["Händler"].tolist() == ["Café"] * 2
        assert events["Zeit"].dt.day.tolist() == [1, 2] and truth.tolist() == [0, 1]
        assert list(events) == ["Beträge", "V1", "Händler", "Zeit"]


TWICE = rows("1,7", mark=";", point=",").replace("Amount", "amount;Amount").replace('"1,7"', '"1,7";"2,7"')


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"<!DOCTYPE html>\n<html>", "has .*; it begins with '<!DOCTYPE html>'"),
        (b"\nExport. Of May\n4,5,6\n", "has .*; it begins with 'Export: Of May'"),
        (b"7" * 99, f"has .*; it begins with '{'7' * 60}'"),
        (b"\x89PNG\r\n\x1a\n\xff\xfe\x00" * 50, "has no column"),
        (b"PAR1", "is not a readable .csv file: "),
        (gzip.compress(b"x,y", mtime=0)[:-9], "is not a readable .csv file: "),
        *((text, "has no column Amount, .*V6(?=; repair)") for text in (b"", b"sep=;", b"\n")),
        *((rows("1", header=",".join(map(change, NAMES))), [1]) for change in (str.lower, str.upper)),
        *((rows("1", header=",".join(map(pad.format, NAMES))), [1]) for pad in (" {} ", "'{}'")),
        (rows("1").replace("V3", "V7").replace("V5", "V8"), "has no column V3, V5 .Amount, V1, V2, V3, V4, "),
        (TWICE, [2.7]),  # a name as it is wins
        (TWICE.replace("Amount", "AMOUNT"), "has more than one column Amount"),
        (beside("V1", ["0"], rows("1")), "has more than one column V1"),
        (beside("V7", ["0,0"], rows("1")), "names 9 columns but its first row has 10"),
        (rows("1", "2", truth=["0", "1,9"]), "is not a readable [.]csv file: .* line 3"),
    ],
)
def test_what_is_no_table_shows_how_it_begins_or_where_it_breaks(tmp_path, content, expected):
    check(tmp_path, content, expected)


DATES = ["2026-01-03", "2026-01-01 10:00", "2026-01-02"]
TIMES = {"Time": "311", "step": "311", " Date ": DATES, "timestamp": DATES, "TX_DATETIME": DATES}


@pytest.mark.parametrize(("name", "times"), TIMES.items())
def test_rows_out_of_time_are_refused_or_sorted(tmp_path, name, times):
    text = rows("1", "2", "3")
    falls = "is not in time order: {} falls at row {} .counted from 0.; use SORT"
    check(tmp_path, beside(name, times, text), falls.format(name, 1))
    check(tmp_path, beside(name, sorted(times), text), [1, 2, 3])
    check(tmp_path, beside(name, [times[1], times[0], times[1]], text), falls.format(name, 2), start=1)
    events = read(tmp_path, beside(name, times, text), sort=True)
    assert events.attrs["what"] == f"your file x.csv (sorted by {name})"
    assert events["Amount"].tolist() == [2, 3, 1]
    assert load_events(tmp_path / "x.csv", rows=2, start=1, sort=True)["Amount"].tolist() == [3, 1]
    bad = beside(name, times, rows("1", "2", "x"))
    check(tmp_path, bad, "has 'x' in column Amount, row 2 ", sort=True)  # as the file counts


def test_a_column_of_that_name_that_is_no_time_is_left_alone(tmp_path):
    text = beside("date", ["tue", "mon"], rows("1", "2"))
    check(tmp_path, text, [1, 2])
    check(tmp_path, text, "has 'tue' in column date, row 0 .*a date such as", sort=True)
    check(tmp_path, rows("1"), "has no column of times to sort by", sort=True)
    check(tmp_path, beside("day", "21", beside("step", "21", rows("1", "2"))), [1, 2])  # which of them?


STREAM = Schema(axes=["x"], key="who", time="ts")
NO_TIME = "a number or a date such as 2026-12-31 is needed"
WHERE = "has '{}' in column ts, row {} .counted from 0., where {}"


def stream(times: list, **more) -> pd.DataFrame:
    return pd.DataFrame({"ts": times, "who": "a", "x": 1.5} | more)


@pytest.mark.parametrize(
    ("spelt", "expected"),
    [
        (["998", "1700000000123456789"], [998, 1700000000123456789]),
        (["45594", "45594,5"], [45594, 45594.5]),
        (["2026-1-3", "2026-01-03T10:00", "20260103T1030", "2026-01-03 11:00:00,5"], None),
        (["2026-10-25T02:30:00+02:00", "2026-10-25 02:00:00.5+0100", "2026-10-25t02:00z"], "UTC"),
        (["3.4.2026 3:05", " 31.12.2026", "2027-01-01"], ["2026-04-03 03:05", "2026-12-31", "2027-01-01"]),
        (["03/04/2026", "13/04/2026 10:00"], ["2026-04-03", "2026-04-13 10:00"]),
        (["3/4/2026 9:00", "3/13/2026"], ["2026-03-04 09:00", "2026-03-13"]),
        (["03/04/2026", "04/12/2026"], "has '03/04/2026' in column ts, where the day or the month may come"),
        (["998", "1.000"], "has '1.000' in column ts, which may be 1.000 or 1000: write it without"),
        (["2026-10-27", "2026-10-28", "45594"], WHERE.format(45594, 2, "a date without .*, as above")),
        (["2026-10-27T01:00", "2026-10-27T02:00Z"], WHERE.format(".*Z", 1, "a date without a time zone")),
        (["2026-10-27T01:00Z", "2026-10-27T02:00"], WHERE.format(".*", 1, "a date with a time zone")),
        (["1", "2026-10-27"], WHERE.format("2026-10-27", 1, "a number, as above, is needed")),
        *(
            (["2026-01-01", bad], WHERE.format(bad, 1, NO_TIME))
            for bad in ("", "now", "2026-02-30", "9999-12-31", "31.13.2026", "2026-01-02Z")
        ),
    ],
)
def test_times_are_of_one_kind_however_they_are_spelt(tmp_path, spelt, expected):
    text = stream(spelt).to_csv(index=False, sep=";")
    if expected is None or expected == "UTC":
        expected = [pd.to_datetime(time.replace(",", ".").upper(), utc=expected) for time in spelt]
    elif not isinstance(expected, str):
        expected = [pd.Timestamp(time) if isinstance(time, str) else time for time in expected]
    check(tmp_path, text, expected, column="ts", schema=STREAM)
    check(tmp_path, text, [1.5] * len(spelt), column="x", schema=Schema(axes=["x"]))  # no time is named


def test_times_in_parquet_are_what_they_are(tmp_path):
    times = pd.date_range("2026-03-29 00:30", periods=3, freq="h", tz="Europe/Berlin")
    for column in (times, times.as_unit("ms"), times.tz_localize(None), [t.date() for t in times], [3, 4, 5]):
        events = read(tmp_path, stream(column), "x.parquet", schema=STREAM)
        assert events["ts"].tolist() == [*map(pd.Timestamp, column)] if column[0] != 3 else [3, 4, 5]
    for bad in ([True] * 3, [*times.as_unit("ms")[:2], None], [datetime.date.max] * 3):
        check(tmp_path, stream(bad), f"has .* row [02] .*where {NO_TIME}", name="x.parquet", schema=STREAM)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_key_a_category_or_a_number_that_is_missing_is_named_or_flagged(tmp_path, kind):
    def content(**columns: list) -> str | pd.DataFrame:
        table = stream([1, 2, 3], shop=["007", " b ", "1.0"]).assign(**columns)
        return table if kind == "parquet" else table.to_csv(index=False)

    for missing in ("refuse", "flag"):
        schema = Schema(axes=["x"], categories=["shop"], key="who", missing=missing)
        check(tmp_path, content(), ["007", " b ", "1.0"], "shop", schema=schema)
        check(tmp_path, content(shop=[7, 8, 9]), ["7", "8", "9"], "shop", schema=schema)
        check(tmp_path, content(x=["1", "2", "x"]), "has 'x' in column x, row 2 ", schema=schema)
        blanks = ("", " ", "NULL", "n/a", "NA", "NaN", "-", " null", None)
        for blank, name in product(blanks, ("who", "shop", "x")):
            table = content(**{name: ["1", blank, "3"]})
            if missing == "refuse" or name == "who":
                said = f"has '.*' in column {name}, row 1 .counted from 0., where a .* is needed"
                check(tmp_path, table, said, schema=schema)
                continue
            found = read(tmp_path, table, schema=schema)[name]
            assert found.isna().tolist() == [False, True, False] and found[2] == {"x": 3, "shop": "3"}[name]


def test_names_of_columns_are_found_however_their_letters_are_composed(tmp_path):
    one, two = (unicodedata.normalize(form, "Z\u00e4hler") for form in ("NFC", "NFD"))
    for name, other in ((one, two), (two, one)):
        check(tmp_path, f"{other}\n1\n", [1], name, schema=Schema(axes=[name]))


def test_a_table_in_memory_is_read_as_a_file_is():
    days = ["3.4.2026", "2.4.2026", "5.4.2026"]
    table = stream(days, x=pd.array([True, None, 3], "object")).set_axis([7, 7, 8])
    lacks = "'None' in column x, row 1 .counted from 0., where a finite number is needed; repair it"
    for rows, start, sentence in ((None, 0, lacks), (3, 1, "3 events, too few for rows=3 from start=1")):
        with refused(rf"^Your table has {sentence}[.]$"):
            load_events(table, rows, start, STREAM, sort=True)
    events = load_events(table.fillna({"x": 2}), rows=2, start=1, schema=STREAM, sort=True)
    assert events["x"].tolist() == [1, 3] and events.index.tolist() == [1, 2]
    assert events.attrs["note"] == "Source: your table (sorted by ts)."
    gap = pd.DataFrame({"x": pd.array([1, None], "Int64"), 5: 0})
    with refused(r"^Your table has '<NA>' in column x, row 1 "):
        read_events(gap, None, schema=Schema(axes=["x"]))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Review;event;note\nYes;5;a\n;7;b\nno;6;c\n no ;6;d\nnan;8;e\n", {5: 1, 6: 0}),
        ("event,review\n", {}),
        ("event,review\n4,Closed\n5,-\n6,1\n", {4: -1, 6: 1}),
        ("event,review\n0,\n1,yse\n", "has 'yse' in column review, row 1 .*where 0, 1 or closed is needed"),
        ("event,review\n1,-1\n", "has '-1' in column review, row 0 "),
        ("event,review\n0,1\n0,closed\n", "has two reviews of event 0 that differ"),
        ("event,review\ninf,1\n", "has 'inf' in column event, row 0 .*where a finite number is needed"),
        *(
            (f"event,review\n0,1\n7,\n{bad},1\n", f"has '{bad}' in column event, row 2 .* the whole number")
            for bad in ("0.5", "1e29", "-3", "9007199254740993")
        ),
        ("event,review\n0,1\n3,1\n3,no\n", "has two reviews of event 3 that differ"),
        ("event,verdict\n0,1\n", "has no column review"),
        ("number,review\n0,1\n", "has no column event; it begins with 'number,review'"),
    ],
)
def test_reviews_come_in_any_order_and_spelling_and_the_rest_is_open(tmp_path, text, expected):
    (path := tmp_path / "x.csv").write_text(text)
    if isinstance(expected, dict):
        reviews = read_reviews(path)
        assert reviews.to_dict() == expected and (reviews.dtype, reviews.index.dtype) == (np.int8, np.int64)
        return
    with refused(f"^x.csv {expected}"):
        read_reviews(path)


KINDS = {  # the files that people really have
    "a b\u00fc.CSV": lambda table: table.to_csv(index=False, quoting=2).encode(),
    "x.tsv": lambda table: table.to_csv(index=False, sep=";", decimal=",").encode(),
    "x.txt": lambda table: table[sorted(table)].to_csv(index=False, lineterminator="\r\n").encode(),
    "x.csv.gz": lambda table: gzip.compress(table.to_csv(index=False).encode(), mtime=0),
    "x.pq": lambda table: table.to_parquet(row_group_size=7),
}


@pytest.mark.parametrize("name", KINDS)
def test_files_of_every_kind_hold_the_same_events(tmp_path, name):
    """Thirty events in Kaggle's column order, with columns that the course ignores."""
    part = load_events("snapshot", rows=30).reset_index(drop=True)
    table = pd.DataFrame({"Time": range(30), **part[AXES], "V7": "ignored"}).join(part[["Amount", "Class"]])
    (path := tmp_path / name).write_bytes(content := KINDS[name](table))
    events, expected = load_events(str(path), rows=20, start=10), load_events("snapshot", rows=20, start=10)
    pd.testing.assert_frame_equal(events, expected, check_exact=True)
    assert events.attrs == {"source": "file", "note": f"Source: your file {name}."}
    assert len(load_events(path, rows=None, start=29)) == 1
    for number, start in ((31, 0), (None, 30), (10, 10**9)):
        with refused(f"{name} has 30 events, too few for rows={number} from start="):
            load_events(path, rows=number, start=start)
    if name in ("x.csv.gz", "x.pq"):
        check(tmp_path, content[: len(content) // 2], "is not a readable .(gz|pq) file: ", name=name)
