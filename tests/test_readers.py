"""helpers/readers.py: files as people have them; a number is never read as another number."""

from __future__ import annotations

import gzip
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sandbox import assert_one_sentence

from helpers.data import load_events, seal
from helpers.readers import read_events, read_reviews
from helpers.schema import Schema
from helpers.settings import AXES, COLUMNS

PAYMENTS = Schema(amounts=["Betr\u00e4ge"], axes=["V1"], key="H\u00e4ndler", time="Zeit", label="Betrug")


def rows(*amounts: str, point: str = ".", mark: str = ",", truth: str = "01", header: str = "") -> str:
    """A file of cards as text: the amounts as they are spelt, axes with the decimal mark `point`."""
    axes = mark.join(f"0{point}{i}" for i in range(1, 7))
    lines = [mark.join([f'"{a}"', axes, truth[i % len(truth)]]) for i, a in enumerate(amounts)]
    return "\n".join([header or mark.join([*COLUMNS, "Class"]), *lines, ""])


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


def refused(folder: Path, content: str | bytes | pd.DataFrame, sentence: str, **options) -> None:
    with pytest.raises(ValueError, match=f"^x[.][a-z.]+ {sentence}") as caught:
        read(folder, content, **options)
    assert_one_sentence(str(caught.value))
    assert str(caught.value).endswith("; repair the file or export it again.")


# --- numbers -------------------------------------------------------------------------------------


@pytest.mark.parametrize("point", [".", ","])
@pytest.mark.parametrize("group", [",", ".", " ", "'", "\u2019", "\u00a0", "\u202f"])
def test_whole_amounts_with_a_mark_between_thousands(tmp_path, point, group):
    text = rows(f"1{group}299", "52", f"2{group}500", point=point, mark=";")
    if group == point:
        refused(tmp_path, text, rf"has '1[{group}]299' in column Amount, which may be 1.299 or 1299: write")
    else:
        assert read(tmp_path, text)["Amount"].tolist() == [1299, 52, 2500]


@pytest.mark.parametrize(
    ("spelt", "values"),
    [
        (["1,299.50", "1,299"], [1299.5, 1299]),
        (["1.299,50", "1.299"], [1299.5, 1299]),
        (["1,299,000", "1,299"], [1299000, 1299]),
        (["1.299", "12.5"], [1.299, 12.5]),
        (["1,299", "12,5"], [1.299, 12.5]),
        (["1 299,5", "1 299"], [1299.5, 1299]),
        (["0.299", "1.299"], [0.299, 1.299]),
        (["12,5", "12.5"], [12.5, 12.5]),
        (["-1,299.5", "\u2212 3".replace(" ", "")], [-1299.5, -3]),
        (["+7", "1e3", " 7 ", "'8'"], [7, 1000, 7, 8]),
    ],
)
def test_the_column_itself_tells_its_decimal_mark(tmp_path, spelt, values):
    assert read(tmp_path, rows(*spelt, mark=";"))["Amount"].tolist() == values


@pytest.mark.parametrize(
    "spelt",
    [["12,34,567.5"], ["1,29.5"], ["1_000"], ["12.5 euro"], ["1..5"], ["1,2,3"], ["(5)"], ["0x10"], [""]],
)
def test_what_is_no_number_in_any_spelling_is_named(tmp_path, spelt):
    refused(
        tmp_path, rows(*spelt, mark=";"), r"has .* in column Amount, row 0 .*where a finite number is needed"
    )


@pytest.mark.parametrize("spelt", [["1.299", "1,299"], ["12.5", "3,25", "1.299"], ["1,299", "2500"]])
def test_where_both_readings_are_possible_a_sentence_names_both(tmp_path, spelt):
    text = rows(*spelt, mark=";").replace("0.", "0") if "2500" in spelt else rows(*spelt, mark=";")
    refused(tmp_path, text, r"has .* which may be 1.299 or 1299")


@settings(max_examples=25, deadline=None)
@given(values=st.lists(st.floats(-1e9, 1e9), min_size=2, max_size=5), point=st.sampled_from(".,"))
def test_text_is_read_to_the_last_bit(tmp_path_factory, values, point):
    folder = tmp_path_factory.mktemp("text")
    spelt = [repr(value).replace(".", point) for value in values]
    text = rows(*spelt, point=point, mark=";")
    try:
        events = read(folder, text)
    except ValueError as error:
        assert "which may be" in str(error)
        return
    assert events["Amount"].tolist() == values


@settings(max_examples=25, deadline=None)
@given(
    cents=st.lists(st.integers(-(10**9), 10**9), min_size=1, max_size=5),
    style=st.sampled_from([".,", ",.", " ,", "'."]),
)
def test_what_a_spreadsheet_writes_is_what_it_holds(tmp_path_factory, cents, style):
    group, point = style
    spelt = [f"{value / 100:,.2f}".translate({ord(","): group, ord("."): point}) for value in cents]
    events = read(tmp_path_factory.mktemp("sheet"), rows(*spelt, point=point, mark=";"))
    assert events["Amount"].tolist() == [value / 100 for value in cents]


def test_numbers_and_truth_of_other_types_in_parquet(tmp_path):
    table = pd.DataFrame({"Amount": [Decimal("1.299"), Decimal("2.5")], **dict.fromkeys(AXES, 1)})
    events = read(tmp_path, table.assign(Class=[True, False]), "x.parquet")
    assert events["Amount"].tolist() == [1.299, 2.5] and events["Class"].tolist() == [1, 0]
    assert read(tmp_path, table.assign(Amount=["1,5", "2,25"]))["Amount"].tolist() == [1.5, 2.25]
    for value in (True, pd.Timestamp(0), [1.0]):
        refused(
            tmp_path, table.assign(V1=[value] * 2), "has .* in column V1, row 0 .*a finite number is needed"
        )


def test_refunds_are_read_and_counted(tmp_path):
    events = read(tmp_path, rows("5.5", "-30", "-0.5"))
    assert events["Amount"].tolist() == [5.5, -30, -0.5]
    assert events.attrs["what"] == "your file x.csv (2 of Amount below zero, which count as refunds)"


@pytest.mark.parametrize(
    ("column", "value", "shown", "need"),
    [
        ("V2", "abc", "abc", "a finite number"),
        ("V6", None, "", "a finite number"),
        ("Amount", np.inf, "inf", "a finite number"),
        ("Amount", -np.inf, "-inf", "a finite number"),
        ("V4", 1e101, r"1e[+]101", r"a number below 1e[+]100"),
        ("Class", 2.0, "2.0", "0 or 1"),
        ("Class", 0.5, "0.5", "0 or 1"),
        ("Class", None, "", "0 or 1"),
    ],
)
@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_the_first_bad_value_is_named_with_its_row(tmp_path, kind, column, value, shown, need):
    table = pd.DataFrame(dict.fromkeys([*COLUMNS, "Class"], [1.0] * 20)).astype({column: object})
    table.loc[17:, column] = value
    table[column] = table[column].astype(str) if isinstance(value, str) else table[column]
    content = table.to_csv(index=False) if kind == "csv" else table
    shown = shown if kind == "csv" or value is not None else "(nan|None)"
    said = f"has '{shown}' in column {column}, row 17 .counted from 0., where {need} is needed"
    refused(tmp_path, content, said, number=15, start=5)
    assert len(read(tmp_path, content, number=10, start=7)) == 10  # what is not asked for is not looked at


# --- the truth -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "spelt",
    ["01", ["False", "TRUE"], ["no", "Yes"], ["n", "Y"], ["f", "t"], ["0.0", "1.0"], ["FALSCH", " 'WAHR'"]],
)
def test_truth_in_its_usual_spellings(tmp_path, spelt):
    truth = read(tmp_path, rows("1", "2", "3", truth=spelt))["Class"]
    assert truth.tolist() == [0, 1, 0] and truth.dtype == np.int8


@pytest.mark.parametrize("spelt", [["0", "2"], ["no", "perhaps"], ["", "1"], ["fraud", "legit"], ["-1", "1"]])
def test_anything_else_is_no_truth(tmp_path, spelt):
    text = rows("1", "2", truth=spelt)
    refused(tmp_path, text, "has .* in column Class, row [01] .*where 0 or 1 is needed")


@pytest.mark.parametrize(
    "name", ["isFraud", "is_fraud", "TX_FRAUD", "fraud_bool", "Label", "target", "Is Fraud"]
)
def test_the_truth_under_a_usual_name(tmp_path, name):
    events = read(tmp_path, rows("1", "2", header=",".join([*COLUMNS, name])))
    assert events["Class"].tolist() == [0, 1]
    assert events.attrs["what"].endswith(f" (its column {name} is taken as the truth, Class)")


def test_without_a_truth_it_is_said(tmp_path):
    events = read(tmp_path, rows("1", "2", header=",".join([*COLUMNS, "note"])))
    assert list(events) == COLUMNS and "(it has no column Class, so there is no truth" in events.attrs["what"]
    assert read(tmp_path, rows("1"), schema=Schema(axes=["V1"])).attrs["what"] == "your file x.csv"


def test_two_that_may_be_the_truth_are_named(tmp_path):
    text = rows("1", "2", header=",".join([*COLUMNS[:-1], "isFraud", "label"]))
    text = text.replace("isFraud", "V6,isFraud").replace(",0\n", ",0,0\n").replace(",1\n", ",1,1\n")
    refused(tmp_path, text, r"has several columns that may be the truth \(isFraud, label\): call one Class")


# --- names, separators, encodings, compression ---------------------------------------------------


@pytest.mark.parametrize("change", [str.lower, str.upper, lambda n: f" {n} ", lambda n: f"'{n}'"])
def test_names_may_differ_in_case_padding_and_quotes(tmp_path, change):
    header = ",".join(change(name) for name in [*COLUMNS, "Class"])
    assert list(read(tmp_path, rows("1", header=header))) == [*COLUMNS, "Class"]


def test_a_name_as_it_is_wins_and_two_others_are_one_too_many(tmp_path):
    text = rows("1,7", mark=";", point=",").replace("Amount", "amount;Amount").replace('"1,7"', '"1,7";"2,7"')
    assert read(tmp_path, text)["Amount"].tolist() == [2.7]
    refused(tmp_path, text.replace("Amount", "AMOUNT"), "has more than one column Amount")


@pytest.mark.parametrize("mark", [",", ";", "\t", "|"])
@pytest.mark.parametrize("before", ["", "\n", "sep={}\n", '"sep={}"\r\n'])
def test_separators_are_found(tmp_path, mark, before):
    text = before.format(mark) + rows("1.5", "2.5", mark=mark)
    for name in ("x.csv", "x.tsv", "x.txt"):
        assert read(tmp_path, text, name)["Amount"].tolist() == [1.5, 2.5]


TEXT = "Händler;Zeit;Beträge;V1;Betrug\nCafé;2026-01-01;1,5;0,5;nein\nCafé;2026-01-02;2,5;0,5;ja\n"
TEXT = TEXT.replace("nein", "no").replace("ja", "yes")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("squeezed", [False, True])
def test_encodings_of_text_and_gzip_under_any_name(tmp_path, encoding, squeezed):
    content = TEXT.encode(encoding)
    events = read(tmp_path, gzip.compress(content, mtime=0) if squeezed else content, schema=PAYMENTS)
    assert events["Beträge"].tolist() == [1.5, 2.5] and events["Händler"].tolist() == ["Café"] * 2
    assert events["Zeit"].dt.day.tolist() == [1, 2] and events["Betrug"].tolist() == [0, 1]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"<!DOCTYPE html>\n<html>", "has .*; it begins with '<!DOCTYPE html>'"),
        (b"Export of May\n4,5,6\n", "has .*; it begins with 'Export of May'"),
        (b"1,2,3\n4,5,6\n", "has .*; it begins with '1,2,3'"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "is a pointer of Git LFS"),
        (b"PK\x03\x04xx", "is a zip or Excel file"),
        (b"\xd0\xcf\x11\xe0xx", "is an Excel file of the old kind"),
        (b"\x89PNG\r\n\x1a\n\xff\xfe\x00" * 50, "has no column"),
        (b"PAR1", "is not a readable .csv file: "),
        (gzip.compress(b"x,y", mtime=0)[:-9], "is not a readable .csv file: "),
        (b"", "has no column Amount, V1, V2, V3, V4, V5, V6; repair"),
        (b"sep=;", "has no column"),
        (b"\0", "has no column"),
        (b'{"a": 1}\n', "has .*; it begins with"),
        (b"\n\n\n", "has no column"),
    ],
)
def test_what_is_no_table_shows_how_it_begins(tmp_path, content, sentence):
    refused(tmp_path, content, sentence)


# --- time ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["Time", "timestamp", "TX_DATETIME", "step", " Date "])
@pytest.mark.parametrize("times", [["3", "1", "1"], ["2026-01-03", "2026-01-01 10:00", "2026-01-02"]])
def test_rows_out_of_time_are_refused_or_sorted(tmp_path, name, times):
    header, *lines = rows("1", "2", "3").splitlines()
    text = "\n".join([f"{name},{header}", *(f"{t},{line}" for t, line in zip(times, lines, strict=True))])
    refused(tmp_path, text, rf"is not in time order: {name} falls at row 1 .*use SORT")
    events = read(tmp_path, text, sort=True)
    assert (
        events["Amount"].tolist() == [2, 3, 1]
        and events.attrs["what"] == f"your file x.csv (sorted by {name})"
    )
    path = tmp_path / "x.csv"
    assert load_events(path, rows=2, start=1, sort=True)["Amount"].tolist() == [3, 1]
    sorted_lines = zip(sorted(times), lines, strict=True)
    text = "\n".join([f"{name},{header}", *(f"{t},{line}" for t, line in sorted_lines)])
    assert read(tmp_path, text)["Amount"].tolist() == [1, 2, 3]


def test_a_column_of_that_name_that_is_no_time_is_left_alone(tmp_path):
    header, *lines = rows("1", "2").splitlines()
    text = "\n".join(
        [f"date,{header}", *(f"{day},{line}" for day, line in zip(["tue", "mon"], lines, strict=True))]
    )
    assert read(tmp_path, text)["Amount"].tolist() == [1, 2]
    refused(tmp_path, text, "has no column of times to sort by", sort=True)


def test_the_schemas_time_must_be_one(tmp_path):
    for bad in ("soon", ""):
        refused(
            tmp_path,
            TEXT.replace("2026-01-02", bad),
            "has .* in column Zeit, row 1 .*a date such as",
            schema=PAYMENTS,
        )
    refused(tmp_path, TEXT.replace("2026-01-0", "soon"), "has no column of times", schema=PAYMENTS)


# --- any schema ----------------------------------------------------------------------------------


def test_a_table_of_ones_own_is_loaded_and_sealed(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text(TEXT, "utf-8")
    stream = load_events(path, rows=2, schema=PAYMENTS)
    events, truth = seal(stream, PAYMENTS)
    assert list(events) == ["Beträge", "V1", "Händler", "Zeit"] and truth.tolist() == [0, 1]
    with pytest.raises(ValueError, match=r"no column V1 .Beträge, V1, Händler, Zeit are needed") as caught:
        path.write_text(TEXT.replace("V1", "V2"), "utf-8")
        load_events(path, rows=2, schema=PAYMENTS)
    assert_one_sentence(str(caught.value))
    for source in ("auto", "snapshot", "openml"):
        with pytest.raises(ValueError, match="holds card payments and needs ROWS"):
            load_events(source, rows=2, schema=PAYMENTS)


# --- reviews -------------------------------------------------------------------------------------


def test_reviews_come_in_any_order_and_spelling_and_the_rest_is_open(tmp_path):
    (path := tmp_path / "x.csv").write_text("Review;event;note\nYes;5;a\n;7;b\nno;6;c\n no ;6;d\nnan;8;e\n")
    reviews = read_reviews(path)
    assert reviews.to_dict() == {5: 1, 6: 0} and (reviews.dtype, reviews.index.dtype) == (np.int8, np.int64)
    for text, said in {
        "event,review\n0,1\n1,yse\n": "has 'yse' in column review, row 1 .*where 0 or 1 is needed",
        "event,review\n0.5,1\n": "has '0.5' in column event, row 0 .*where a whole number is needed",
        "event,review\nfirst,1\n": "has 'first' in column event, row 0 .*where a finite number is needed",
        "event,review\n0,1\n3,1\n3,no\n": "has two reviews of event 3 that differ",
        "event,verdict\n0,1\n": "has no column review",
        "number,review\n0,1\n": "has no column event; it begins with 'number,review'",
    }.items():
        path.write_text(text)
        with pytest.raises(ValueError, match=f"^x.csv {said}") as caught:
            read_reviews(path)
        assert_one_sentence(str(caught.value))


# --- whole files ---------------------------------------------------------------------------------


def written(table: pd.DataFrame, folder: Path, kind: str) -> Path:
    """The table as one of the files that people really have."""
    name = {"gzip": "x.csv.gz", "parquet": "x.parquet", "kaggle csv": "a b\u00fc.csv"}.get(kind, "x.CSV")
    options = {
        "kaggle csv": {"quoting": 2},
        "semicolon and BOM": {"sep": ";", "encoding": "utf-8-sig"},
        "decimal comma": {"sep": ";", "decimal": ","},
        "permuted": {"columns": sorted(table), "lineterminator": "\r\n"},
    }
    if kind == "parquet":
        table.to_parquet(folder / name, row_group_size=7)
    else:
        table.to_csv(folder / name, index=False, **options.get(kind, {}))
    return folder / name


KINDS = ["kaggle csv", "semicolon and BOM", "decimal comma", "permuted", "gzip", "parquet"]


@pytest.fixture(scope="module")
def kaggle() -> pd.DataFrame:
    """Thirty events in Kaggle's column order, with columns that the course ignores."""
    part = load_events("snapshot", rows=30).reset_index(drop=True)
    return pd.DataFrame({"Time": range(30), **part[AXES], "V7": "ignored"}).join(part[["Amount", "Class"]])


@pytest.mark.parametrize("kind", KINDS)
def test_files_of_every_kind_hold_the_same_events(tmp_path, kaggle, kind):
    path = written(kaggle, tmp_path, kind)
    events = load_events(str(path), rows=20, start=10)
    expected = load_events("snapshot", rows=20, start=10)
    pd.testing.assert_frame_equal(events, expected, check_exact=True)
    assert events.attrs == {"source": "file", "note": f"Source: your file {path.name}."}
    assert len(load_events(path, rows=None, start=25)) == 5
    for number, start in ((31, 0), (1, 30), (10, 10**9), (10**30, 0)):
        with pytest.raises(ValueError, match=f"{path.name} has 30 events, too few for rows={number} from"):
            load_events(path, rows=number, start=start)
    for name in ("x.csv", "x.tsv.gz", "x.pq"):  # what a file begins with decides, not its name
        path.rename(tmp_path / name)
        path = tmp_path / name
        assert load_events(path, rows=30)["V6"].equals(load_events("snapshot", rows=30)["V6"])
    with pytest.raises(
        ValueError, match=r"x.pq has no column V3, V5 .Amount, V1, V2, V3, V4, V5, V6 are needed"
    ):
        load_events(written(kaggle.drop(columns=["V3", "V5"]), tmp_path, kind).rename(path), rows=5)


def test_lines_of_another_length_are_refused(tmp_path, kaggle):
    header, *lines = kaggle.to_csv(index=False).splitlines(keepends=True)
    refused(tmp_path, "".join([header.replace("V7", "V1"), *lines]), "has more than one column V1")
    shifted = "".join([header, *(f"{i},{line}" for i, line in enumerate(lines))])
    refused(tmp_path, shifted, "names 10 columns but its first row has 11")
    late = "".join([header, *lines[:9], f"9,{lines[9]}", *lines[10:]])
    refused(tmp_path, late, r"is not a readable [.]csv file: .* line 11")
    assert len(read(tmp_path, late, number=8)) == 8
    with pytest.raises(ValueError, match=r"x.csv has 0 events, too few for rows=None"):
        read(tmp_path, header)


@pytest.mark.parametrize("kind", ["gzip", "parquet"])
def test_a_truncated_file_is_refused(tmp_path, kaggle, kind):
    path = written(kaggle, tmp_path, kind)
    content = path.read_bytes()
    refused(tmp_path, content[: len(content) // 2], "is not a readable", name=path.name)


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        (
            "kaggle",
            ValueError,
            "Unknown source 'kaggle': use 'auto', 'openml', 'snapshot' or the path of a .csv",
        ),
        ("x.xlsx", ValueError, "Unknown source 'x.xlsx'"),
        ("", ValueError, "'' is a folder: name a .csv, .csv.gz or .parquet file in it"),
        ("no/such.csv", FileNotFoundError, "There is no file 'no/such.csv'"),
    ],
)
def test_what_is_no_source(source, error, message):
    with pytest.raises(error, match=message) as caught:
        load_events(source)
    assert_one_sentence(str(caught.value))
