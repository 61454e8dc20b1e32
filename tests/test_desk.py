"""helpers/desk.py and notebook 10: look, alert, review, learn, with tables and files as people have them."""

from __future__ import annotations

import io
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest
from sandbox import assert_one_sentence

from helpers import data, desk
from helpers.detector import Detector
from helpers.files import CourseError
from helpers.readers import read_reviews
from helpers.runs import ROOT
from helpers.schema import Schema
from helpers.stream import Learner

NOTEBOOK = ROOT / "notebooks/10_your_own_stream.ipynb"
PAYMENTS = Schema(
    amounts=("amount_eur",), axes=tuple(f"component_{i}" for i in range(1, 7)), label="confirmed_fraud"
)
FIRST = 4_800


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return data.load_events(ROOT / "data/example_payments.csv", None, schema=PAYMENTS)


@pytest.fixture(scope="module")
def fitted(table) -> tuple[Detector, pd.DataFrame, pd.Series]:
    events, truth = data.seal(table, PAYMENTS)
    return Detector.fit(events[:FIRST], schema=PAYMENTS), events, truth


@pytest.fixture
def learner(fitted) -> Learner:
    detector, events, _ = fitted
    learner = Learner.start(detector, events[:FIRST], alerts=20)
    learner.watch(events[FIRST : FIRST + 1_000])
    learner.close()
    return learner


# --- look ----------------------------------------------------------------------------------------


def test_look_says_what_a_table_can_support(table):
    found = desk.look(table, FIRST, PAYMENTS)
    assert list(found) == ["found", "so"] and found.notna().all(axis=None)
    assert found.loc["events", "found"] == "8,000, of which 4,800 train"
    assert found.loc["order", "found"] == "no time is named" and found.loc["key", "found"] == "none"
    assert found.loc["truth"].tolist() == ["2 in the training part, 23 later", "enough to evaluate"]


def test_look_names_what_is_constant_heavy_copied_repeated_and_moved(table):
    odd = table.assign(
        component_1=1.0,
        component_2=np.where(np.arange(len(table)) % 3, 0.0, table["component_2"]),
        component_4=2 * table["component_3"] + 1,
        component_5=table["component_5"] + 5.0 * (np.arange(len(table)) >= FIRST),
    )
    found = desk.look(odd, FIRST, PAYMENTS)
    assert found.loc["constant"].tolist() == ["component_1", "left out"]
    assert found.loc["mostly one value", "found"] == "component_2"
    assert found.loc["copies", "found"] == "component_4"
    assert found.loc["drift", "found"].startswith("component_5 (")
    assert found.loc["repeated rows", "found"] == f"{odd[list(PAYMENTS.columns)].duplicated().mean():.1%}"


def test_look_at_a_key_a_time_and_no_label():
    schema = Schema(axes=("x",), key="who", time="t")
    rows = 3_000
    table = pd.DataFrame({"x": np.random.default_rng(0).normal(size=rows), "who": np.arange(rows), "t": 1.0})
    found = desk.look(table, 1_800, schema)
    assert found.loc["key", "so"] == "too few return to count bursts a key"
    assert (
        found.loc["order", "found"] == "t never falls" and found.loc["truth", "found"] == "no label is named"
    )
    assert desk.look(table, 900, schema).loc["events", "so"] == "too few: a profile needs 1,000 that train"


# --- the loop of alerts and reviews --------------------------------------------------------------


def test_alerts_are_the_riskiest_with_reasons_and_the_events_own_columns(learner, tmp_path):
    written = desk.write_alerts(learner, tmp_path / "alerts.csv")
    read = pd.read_csv(tmp_path / "alerts.csv", encoding="utf-8-sig")
    assert len(read) == len(written) == len(learner.pending) > 15
    assert read["risk"].is_monotonic_decreasing and read["review"].isna().all()
    assert set(read["event"]) == set(learner.pending)
    reasons = ["rules", "burst", "repeats", "worst_input", "pushed_by", "resembles"]
    assert set(read) == {"event", "review", "risk", *reasons, *PAYMENTS.carried}
    assert set(read["worst_input"]) <= set(PAYMENTS.columns)
    own = learner.memory.loc[read["event"], "amount_eur"].to_numpy()
    assert np.allclose(read["amount_eur"], own, rtol=1e-5)


def edited(written: Path, truth: pd.Series, how: str) -> bytes:
    """The alerts as a person sends them back."""
    table = pd.read_csv(written, encoding="utf-8-sig")
    verdicts = truth.loc[table["event"]].to_numpy()
    table["review"] = verdicts
    if how == "reordered, with notes, as semicolons":
        table["review"] = np.where(verdicts == 1, "Yes", "no")
        table = table.sort_values("event")[["review", "event", "risk"]].assign(note="called; twice")
        return table.to_csv(index=False, sep=";", decimal=",").encode("cp1252")
    if how == "some rows open, some missing":
        table["review"] = table["review"].astype(object)
        table.loc[1, "review"] = ""
        return table.drop(index=[2]).to_csv(index=False).encode()
    if how == "Excel's Unicode text":
        return table.to_csv(index=False, sep="\t").encode("utf-16")
    raise ValueError(how)


def test_three_rounds_with_files_as_people_edit_them(learner, fitted, tmp_path):
    _, events, truth = fitted
    written, back, kept = (tmp_path / name for name in ("alerts.csv", "reviews.csv", "learner.zip"))
    open_before = 0
    rounds = ("reordered, with notes, as semicolons", "some rows open, some missing", "Excel's Unicode text")
    for turn, how in enumerate(rounds):
        alerts = desk.write_alerts(learner, written)
        back.write_bytes(edited(written, truth, how))
        reviews = desk.reviewed(learner, back)
        left_open = 2 if how.startswith("some") else 0
        assert len(reviews) == len(alerts) - left_open
        assert (reviews == truth.loc[reviews.index]).all()
        learner.learn(reviews)
        assert len(learner.pending) == left_open
        assert len(desk.reviewed(learner, back)) == 0  # the same file again teaches nothing twice
        learner.save(kept)
        learner = Learner.load(kept)
        assert learner.alerts == 20
        part = events[events.index >= learner.now][:500]
        learner.watch(part)
        learner.close()
        open_before = left_open
        assert len(learner.pending) == open_before + 10, turn
    assert (learner.memory["truth"] != -1).sum() >= 35


def test_a_correction_counts(learner, tmp_path):
    event = learner.pending[0]
    for verdict in (1, 0):
        (tmp_path / "reviews.csv").write_text(f"event,review\n{event},{verdict}\n")
        learner.learn(desk.reviewed(learner, tmp_path / "reviews.csv"))
        assert learner.memory.loc[event, "truth"] == verdict


BROKEN = {
    "a typo": ("event,review\n{0},1\n{1},yse\n", "has 'yse' in column review, row 1"),
    "a number that is no event": ("event,review\n{0}.5,1\n", "where a whole number is needed"),
    "words for an event": ("event,review\nthe first,1\n", "where a finite number is needed"),
    "never alerted": ("event,review\n{0},1\n7,0\n", "reviews event 7, which was never alerted"),
    "two answers": ("event,review\n{0},1\n{0},no\n", "has two reviews of event {0} that differ"),
    "no column review": ("event,verdict\n{0},1\n", "has no column review"),
    "no column event": ("number,review\n{0},1\n", "has no column event"),
    "a login page": ("<!DOCTYPE html>\n<html>\n", "has no column event"),
    "nothing": ("", "reviews.csv"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_file_of_reviews_is_one_sentence_and_teaches_nothing(kind, learner, tmp_path):
    text, sentence = BROKEN[kind]
    known, path = learner.memory.copy(), tmp_path / "reviews.csv"
    path.write_text(text.format(*learner.pending))
    with pytest.raises(CourseError) as caught:
        desk.reviewed(learner, path)
    assert sentence.format(*learner.pending) in str(caught.value)
    assert "nothing was learned" in str(caught.value).lower()
    assert_one_sentence(str(caught.value))
    pd.testing.assert_frame_equal(learner.memory, known)


def test_a_spreadsheets_own_format_is_one_sentence(learner, tmp_path):
    (tmp_path / "reviews.csv").write_bytes(b"PK\x03\x04 and so on")
    with pytest.raises(CourseError, match="is a zip or Excel file: export it as CSV"):
        desk.reviewed(learner, tmp_path / "reviews.csv")


def test_reviews_that_are_all_open_are_none(tmp_path):
    (tmp_path / "reviews.csv").write_text("event,review\n5,\n6, \n")
    assert len(read_reviews(tmp_path / "reviews.csv")) == 0


def test_alerts_of_a_quiet_learner_are_an_empty_table(fitted, tmp_path):
    detector, events, _ = fitted
    written = desk.write_alerts(Learner.start(detector, events[:FIRST]), tmp_path / "alerts.csv")
    assert len(written) == 0 and "review" in pd.read_csv(tmp_path / "alerts.csv", encoding="utf-8-sig")


# --- the notebook, on other tables ---------------------------------------------------------------


def lived(monkeypatch, folder: Path, **parameters: object) -> dict:
    """The notebook's cells up to its exercises, in this process, with other parameters."""
    monkeypatch.setenv("COURSE_RUNS", str(folder))
    namespace: dict = {"display": lambda *_: None}
    cells = [cell for cell in nbformat.read(NOTEBOOK, 4).cells if cell.cell_type == "code"]
    exec("from helpers import runs", namespace)
    for cell in cells[1:]:
        if "Exercise" in cell.source or "ex10.check" in cell.source:
            break
        exec(cell.source, namespace)
        if "parameters" in cell.metadata.get("tags", []):
            assert set(parameters) <= set(namespace)
            namespace |= parameters
    return namespace


NOTHING = {role: [] for role in ("AMOUNTS", "COUNTS", "SHARES", "AXES")}
NOTHING |= {name: "" for name in ("KEY", "TIME", "LABEL")}
OTHER = NOTHING | {
    "FILE": "data/example_payments.csv",
    "AMOUNTS": list(PAYMENTS.amounts),
    "AXES": list(PAYMENTS.axes),
}


def test_it_runs_on_the_other_example(monkeypatch, tmp_path):
    did = lived(
        monkeypatch, tmp_path, **OTHER | {"LABEL": "confirmed_fraud", "PER_THOUSAND": 10, "BATCH": 500}
    )
    assert len(did["found"]) == 3 and did["learner"].alerts == 10
    assert (tmp_path / "default/desk/alerts.csv").is_file() and len(did["admitted"]) > 0


def test_it_runs_without_anything_optional_and_goes_on_with_reviews(monkeypatch, tmp_path):
    did = lived(monkeypatch, tmp_path, **OTHER)
    assert did["truth"] is None and did["found"] == []
    folder, first = tmp_path / "default/desk", did["learner"].now
    alerts = pd.read_csv(folder / "alerts.csv", encoding="utf-8-sig").assign(review="no")
    alerts.loc[0, "review"] = "yes"
    alerts.to_csv(folder / "reviews.csv", index=False, sep=";")
    again = lived(monkeypatch, tmp_path, **OTHER | {"AFRESH": False})["learner"]
    assert again.now == first + 1_000 and (again.memory["truth"] == 1).sum() == 1
    assert again.memory.loc[alerts["event"], "truth"].tolist() == [1] + [0] * (len(alerts) - 1)


def example(change) -> bytes:
    table = pd.read_csv(ROOT / "data/example_payments.csv")
    out = io.StringIO()
    change(table).to_csv(out, index=False)
    return out.getvalue().encode()


def hole(table: pd.DataFrame) -> pd.DataFrame:
    table.loc[17, "component_2"] = np.nan
    return table


TABLES = {
    "no such file": (None, {}, "no file .*away.csv"),
    "no roles": (lambda t: t, NOTHING, "A schema needs at least one column"),
    "a column that is not there": (lambda t: t, {"COUNTS": ["clicks"]}, "has no column clicks"),
    "two roles": (lambda t: t, {"COUNTS": ["amount_eur"]}, "a column one role, but amount_eur has more"),
    "a gap": (hole, {}, "in column component_2, row 17"),
    "a negative count": (
        lambda t: t.assign(n=np.arange(len(t)) - 1),
        {"COUNTS": ["n"]},
        "has -1.0 in n, where a number of 0 or more is needed",
    ),
    "time falls": (lambda t: t.assign(t=range(len(t), 0, -1)), {"TIME": "t"}, "is not in time order"),
    "too few": (lambda t: t[:900], {}, "A profile needs 1,000 training events or more"),
    "all the same": (lambda t: t.assign(**t.iloc[0]), {}, "Every column has one value"),
    "a label of words": (lambda t: t.assign(l="maybe"), {"LABEL": "l"}, "has 'maybe' in column l"),
    "no label column": (lambda t: t, {"LABEL": "truth"}, None),
    "a name that is taken": (
        lambda t: t.assign(risk=1.0),
        {"AXES": ["risk"]},
        "risk is a name that the course",
    ),
}


@pytest.mark.parametrize("kind", [kind for kind in TABLES if kind != "no label column"])
def test_a_broken_table_is_one_sentence(kind, monkeypatch, tmp_path):
    change, told, sentence = TABLES[kind]
    path = tmp_path / "away.csv"
    if change:
        path.write_bytes(example(change))
    with pytest.raises((ValueError, FileNotFoundError, CourseError), match=sentence) as caught:
        lived(monkeypatch, tmp_path, **OTHER | {"FILE": str(path)} | told)
    assert_one_sentence(str(caught.value))


def test_a_label_that_is_not_there_is_said_and_not_missed(monkeypatch, tmp_path):
    did = lived(monkeypatch, tmp_path, **OTHER | {"LABEL": "truth"})
    assert did["truth"] is None and "no column truth" in did["stream"].attrs["note"]
