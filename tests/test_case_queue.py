"""helpers/case_queue.py and notebook 10: look, alert, review, learn, with tables as people have them."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sandbox import assert_one_sentence

import n10
from helpers import case_queue, data
from helpers.detector import Detector
from helpers.files import CourseError
from helpers.schema import Schema
from helpers.settings import ROOT
from helpers.stream import Learner

NOTEBOOK = ROOT / "notebooks/10_your_own_stream.ipynb"
PAYMENTS = Schema(
    amounts=("amount_eur",), axes=tuple(f"component_{i}" for i in range(1, 7)), label="confirmed_fraud"
)
FIRST, ROWS = 1_500, 4_000  # the first event that does not train, and all events


@pytest.fixture(scope="module")
def raw() -> pd.DataFrame:
    """The end of the other example, where most frauds are."""
    return pd.read_csv(ROOT / "data/example_payments.csv")[-ROWS:]


@pytest.fixture(scope="module")
def own(raw, tmp_path_factory) -> Path:
    raw.to_csv(path := tmp_path_factory.mktemp("own") / "own.csv", index=False)
    return path


@pytest.fixture(scope="module")
def table(own) -> pd.DataFrame:
    return data.load_events(own, None, schema=PAYMENTS)


@pytest.fixture(scope="module")
def sealed(table) -> tuple[pd.DataFrame, pd.Series]:
    return data.seal(table, PAYMENTS)


@pytest.fixture(scope="module")
def fitted(sealed) -> Detector:
    return Detector.fit(sealed[0][:FIRST], schema=PAYMENTS)


@pytest.fixture
def learner(fitted, sealed) -> Learner:
    learner = Learner.start(fitted, sealed[0][:FIRST], alerts=20)
    learner.watch(sealed[0][FIRST : FIRST + 500])
    learner.close()
    return learner


def test_look_says_what_a_table_can_support(table):
    found = n10.look(table, FIRST, PAYMENTS)["found"].to_dict()
    frauds = table["confirmed_fraud"].astype(bool)
    told = {"events": "4,000, of which 1,500 train", "order": "no time is named", "key": "none"}
    told |= {"truth": f"{frauds[:FIRST].sum()} in the training set, {frauds[FIRST:].sum()} later"}
    assert told.items() <= found.items() and frauds[:FIRST].any()
    for left, so in ((10, "enough to evaluate"), (9, "too few to evaluate, so trust no number")):
        assert n10.look(table, table.index[frauds][-left], PAYMENTS).loc["truth", "so"] == so
    for n_train, so in ((999, "too few"), (1_000, "few: "), (4_999, "few: "), (5_000, "enough")):
        assert n10._enough(n_train).startswith(so)


def test_look_names_what_is_constant_heavy_copied_repeated_and_moved(table):
    odd = table.assign(
        component_1=1.0,
        component_2=np.where(np.arange(len(table)) % 3, 0.0, table["component_2"]),
        component_4=2 * table["component_3"] + 1,
        component_5=table["component_5"] + 5.0 * (np.arange(len(table)) >= FIRST),
    )
    found = n10.look(odd, FIRST, PAYMENTS)
    told = {"constant": "component_1", "mostly one value": "component_2", "copies": "component_4"}
    told |= {"repeated rows": f"{odd[list(PAYMENTS.columns)].duplicated().mean():.1%}"}
    assert told.items() <= found["found"].to_dict().items() and found.loc["constant", "so"] == "left out"
    assert found.loc["drift", "found"].startswith("component_5 (")
    many = table.assign(**{f"component_{i}": 1.0 for i in range(1, 7)})
    assert n10.look(many, FIRST, PAYMENTS).loc["constant", "found"].endswith("component_4 and 2 more")


def test_look_at_a_key_a_time_and_no_label():
    schema = Schema(axes=("x",), key="who", time="t")
    table = pd.DataFrame({"x": np.random.default_rng(0).normal(size=3_000), "who": range(3_000), "t": 1.0})
    told = {"order": "t never falls", "truth": "no label is named"}
    found = n10.look(table, 1_800, schema)
    assert told.items() <= found["found"].to_dict().items()
    assert found.loc["key", "so"] == "too few return to count bursts per key"
    told = {"key": "bursts and repeats are counted per key", "order": "1,000 events span 1000.0 in t"}
    found = n10.look(table.assign(who=table["who"] // 2, t=range(3_000)), 1_800, schema)
    assert told.items() <= found["so"].to_dict().items()


def test_alerts_are_the_riskiest_with_reasons_and_the_events_own_columns(learner, fitted, sealed, tmp_path):
    written = case_queue.write_alerts(learner, tmp_path / "alerts.csv")
    read = pd.read_csv(tmp_path / "alerts.csv", encoding="utf-8-sig", index_col="event")
    assert set(read.index) == set(written.index) == set(learner.pending) and len(read) == 10
    assert read["risk"].is_monotonic_decreasing and read["review"].isna().all()
    own = learner.memory.loc[read.index]
    pd.testing.assert_frame_equal(read[PAYMENTS.carried], own[PAYMENTS.carried], check_exact=True)
    whole = learner.reasons(sealed[0][FIRST : FIRST + 500], sealed[0][:FIRST]).loc[written.index]
    assert list(read) == ["review", "risk", "one_in", "why", *PAYMENTS.carried]
    pd.testing.assert_frame_equal(written[["one_in", "why"]], whole[["one_in", "why"]])
    quiet = case_queue.write_alerts(Learner.start(fitted, sealed[0][:FIRST]), tmp_path / "alerts.csv")
    header = (tmp_path / "alerts.csv").read_text(encoding="utf-8-sig").strip().split(",")
    assert len(quiet) == 0 and set(header) == {"event", *read}


def noted(table: pd.DataFrame) -> bytes:
    table = table.sort_values("event")[["review", "event", "risk"]].assign(note="called; twice")
    table["review"] = table["review"].map({1: "Yes", 0: "no"})
    return table.to_csv(index=False, sep=";", decimal=",").encode("cp1252")


def some_left_open(table: pd.DataFrame) -> bytes:
    table["review"] = table["review"].astype(object)
    table.loc[1, "review"] = ""
    return table.drop(index=[2]).to_csv(index=False).encode()


def test_rounds_with_files_as_people_edit_them(learner, sealed, tmp_path):
    events, truth = sealed
    written, back, kept = (tmp_path / name for name in ("alerts.csv", "reviews.csv", "learner.zip"))
    for edited in (noted, some_left_open):
        alerts = case_queue.write_alerts(learner, written)
        table = pd.read_csv(written, encoding="utf-8-sig")
        back.write_bytes(edited(table.assign(review=truth.loc[table["event"]].to_numpy())))
        reviews, left_open = case_queue.reviewed(learner, back), 2 * (edited is some_left_open)
        assert len(reviews) == len(alerts) - left_open
        assert (reviews == truth.loc[reviews.index]).all()
        learner.learn(reviews)
        assert len(learner.pending) == left_open
        assert len(case_queue.reviewed(learner, back)) == 0  # the same file again teaches nothing twice
        learner.save(kept)
        learner = Learner.load(kept)
        learner.watch(events[events.index >= learner.now][:300])
        learner.close()
        assert len(learner.pending) == left_open + 6  # 20 of every 1,000 survive the restart
    assert (learner.memory["truth"] != -1).sum() == 14
    event = reviews.index[0]
    back.write_text(f"event,review\n{event},{1 - truth[event]}\n")  # a correction counts
    assert case_queue.reviewed(learner, back).to_dict() == {event: 1 - truth[event]}


def test_a_broken_file_of_reviews_is_one_sentence(learner, tmp_path):
    path = tmp_path / "reviews.csv"
    for text, sentence in (  # what else the reader finds, test_readers.py tests
        ("event,review\n{0},1\n{1},yse\n", "has 'yse' in column review, row 1"),
        ("event,review\n{0},1\n9999,0\n", "reviews event 9999, which has not come yet"),
    ):
        path.write_text(text.format(*learner.pending))
        with pytest.raises(CourseError, match=f"{sentence}.*; nothing was learned") as caught:
            case_queue.reviewed(learner, path)
        assert_one_sentence(str(caught.value))


def lived(monkeypatch, folder: Path, **parameters: object) -> dict:
    """The notebook's cells up to its exercises, in this process, with other parameters."""
    monkeypatch.setenv("COURSE_RUNS", str(folder))
    namespace: dict = {"display": lambda *_: None}
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    exec("from helpers import runs", namespace)
    for cell in [cell for cell in cells if cell["cell_type"] == "code"][1:]:
        source = "".join(cell["source"])
        if "n10.check" in source:
            break
        exec(source, namespace)
        if "parameters" in cell["metadata"].get("tags", []):
            assert set(parameters) <= set(namespace)
            namespace |= parameters
    return namespace


NOTHING = {role: [] for role in ("AMOUNTS", "COUNTS", "SHARES", "AXES")}
NOTHING |= {name: "" for name in ("KEY", "TIME", "LABEL")}
OTHER = NOTHING | {"AMOUNTS": list(PAYMENTS.amounts), "AXES": list(PAYMENTS.axes), "TRAIN": FIRST / ROWS}


def test_it_runs_on_the_other_example_and_goes_on_with_reviews(own, monkeypatch, tmp_path):
    choice = OTHER | {"FILE": str(own), "LABEL": "confirmed_fraud", "PER_THOUSAND": 10, "BATCH": 300}
    did, folder = lived(monkeypatch, tmp_path, **choice), tmp_path / "default/queue"
    assert len(did["found"]) == 3 and did["learner"].alerts == 10 and len(did["admitted"]) > 0
    alerts = pd.read_csv(folder / "alerts.csv", encoding="utf-8-sig").assign(review="no")
    alerts.loc[0, "review"] = "yes"
    alerts.to_csv(folder / "reviews.csv", index=False, sep=";")
    again = lived(monkeypatch, tmp_path, **choice | {"AFRESH": False, "LABEL": "truth"})  # which is not there
    assert again["truth"] is None and "no column truth" in again["stream"].attrs["note"]
    assert again["found"] == [] and again["learner"].now == did["learner"].now + 300
    told = again["learner"].memory.loc[alerts["event"], "truth"]
    assert told.tolist() == [1] + [0] * (len(alerts) - 1)


def test_a_broken_table_is_one_sentence(raw, monkeypatch, tmp_path):
    path = tmp_path / "away.csv"
    for table, told, sentence in (
        (None, {}, "no file .*away.csv"),
        (raw, NOTHING, "A schema needs at least one column"),
        (raw.replace(raw.iloc[17, 2], np.nan), {}, "in column component_2, row 17"),
        (raw.assign(t=range(ROWS, 0, -1)), {"TIME": "t"}, "is not in time order"),
        (raw[:900], {}, "A profile needs 1,000 training events or more"),
        (raw.assign(**raw.iloc[0]), {}, "Every column has one value"),
    ):
        if table is not None:
            table.to_csv(path, index=False)
        with pytest.raises((ValueError, FileNotFoundError, CourseError), match=sentence) as caught:
            lived(monkeypatch, tmp_path, **OTHER | {"FILE": str(path)} | told)
        assert_one_sentence(str(caught.value))


# --- Monday --------------------------------------------------------------------------------------

SHOPS = Schema(
    amounts=("sum",), counts=("tries",), categories=("land",), missing="flag", key="who", time="ms"
)


@pytest.fixture(scope="module")
def shops() -> pd.DataFrame:
    """Sums of many digits, times in epoch milliseconds, gaps, and a customer whose name is a formula."""
    draw = np.random.default_rng(1)
    table = pd.DataFrame({"sum": draw.lognormal(9, 2, 2_600).round(2), "tries": draw.poisson(1, 2_600) * 1.0})
    table.loc[2_000:, "sum"] *= np.where(draw.random(600) < 0.02, 300, 1)
    table.loc[draw.random(2_600) < 0.1, "tries"] = np.nan
    table["land"] = draw.choice(["DE", "-FR", None], 2_600)
    return table.assign(
        who=draw.choice(["=1+1", "b", "@c"], 2_600), ms=1_730_137_000_000.0 + np.arange(2_600)
    )


@pytest.fixture
def served(shops) -> Learner:
    learner = Learner.start(Detector.fit(shops[:1_500], schema=SHOPS), shops[:1_500], alerts=10, keep=1_000)
    learner.watch(shops[1_500:2_500])
    learner.close()
    return learner


def test_alerts_hold_columns_as_they_are_and_no_formula(served, shops, tmp_path):
    case_queue.write_alerts(served, path := tmp_path / "alerts.csv")
    raw = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig").set_index("event")
    own = shops.loc[raw.index.astype(int)]
    assert len(raw) == 10 and (raw["ms"] == own["ms"].astype("int64").astype(str).to_numpy()).all()
    assert (raw["sum"].astype(float).to_numpy() == own["sum"].to_numpy()).all()
    assert (raw["tries"] == own["tries"].astype("Int64").astype(str).replace("<NA>", "").to_numpy()).all()
    assert not raw[["who", "land", "why"]].stack().str.startswith(tuple("=+-@")).any()
    assert raw["who"].str.startswith("'=1+1").any() and (raw["land"] == "'-FR").any()
    drawn = case_queue.write_audit(served, tmp_path / "audit.csv", 300)
    audit = pd.read_csv(tmp_path / "audit.csv", encoding="utf-8-sig", index_col="event")
    assert len(audit) == 300 and not set(audit.index) & set(served.pending) and audit.index.min() >= 1_500
    assert (audit["tries"].isna() == shops["tries"][audit.index].isna()).all() and audit["tries"].isna().any()
    assert drawn.index.equals(case_queue.write_audit(served, tmp_path / "audit.csv", 300).index)


def test_reviews_of_any_event_count_and_open_alerts_wait_until_they_are_closed(
    served, shops, tmp_path, capsys
):
    path, (first, second, *_) = tmp_path / "reviews.csv", served.pending
    quiet = int(served.memory.index[served.memory["alert"] == 0][-1])
    served.learn(pd.Series(dtype=int))
    path.write_text(f"event,review\n{first},closed\n{quiet},1\n3,0\n")
    told = case_queue.reviewed(served, path)
    assert told.to_dict() == {first: -1, quiet: 1}  # a customer's report, and an alert without an answer
    assert capsys.readouterr().out == "1 of 3 reviews are of events too long ago to learn from.\n"
    why = case_queue.write_alerts(served, tmp_path / "alerts.csv")["why"]
    served.learn(told)
    assert first not in served.pending and served.memory["truth"][quiet] == 1
    assert case_queue.reviewed(served, path).empty
    for more in range(2):
        served.watch(
            shops[-100:]
            .assign(ms=shops["ms"].iloc[-1])
            .set_axis(range(3_000 + 2_000 * more, 3_100 + 2_000 * more))
        )
    served.learn(pd.Series(dtype=int))
    assert second in served.pending
    later = case_queue.write_alerts(served, tmp_path / "alerts.csv")
    assert later["why"][second] == why[second] and first not in later.index


def test_another_table_budget_or_schema_is_one_sentence(served, shops):
    book = served.detector.rules
    case_queue.check_same(served, shops, SHOPS, 10, book)
    with pytest.raises(CourseError, match="was fitted without mine: refit it, or begin afresh"):
        case_queue.check_same(served, shops, SHOPS, 10, (*book, replace(book[0], name="mine")))
    for events, schema, alerts, sentence in (
        (shops, SHOPS, 5, "The learner's budget is 10 of 1,000 events, not 5"),
        (shops, Schema(amounts=("sum",), key="who", time="ms"), 10, "fitted on another schema: land, tries"),
        (shops[10:].reset_index(drop=True), SHOPS, 10, "Event 1500 is not what it was when the learner saw"),
        (shops[:2_000], SHOPS, 10, "Event 2000 is not what it was"),
    ):
        with pytest.raises(CourseError, match=sentence) as caught:
            case_queue.check_same(served, events, schema, alerts)
        assert_one_sentence(str(caught.value))


def test_a_late_batch_is_refused_and_nothing_of_it_remembered(served, shops, tmp_path):
    now, late = served.now, shops[2_500:].assign(ms=0.0)
    with pytest.raises(ValueError, match="ms of event 2500 is before that of the event above it"):
        served.watch(late)
    assert served.now == now and len(case_queue.write_alerts(served, tmp_path / "alerts.csv")) == 10
    served.watch(shops[2_500:])


def test_a_review_queue_saves_every_click_and_goes_on_where_it_was(served, tmp_path):
    path = tmp_path / "reviews.csv"
    path.write_text(f"event,review\n{served.pending[-1]},closed\n")
    for clicks in (("fraud", "later", "legitimate"), ("fraud",)):
        said, buttons, _ = n10.review_queue(served, path).children
        for name in clicks:
            next(button for button in buttons.children if button.description == name).click()
    riskiest = served.memory.loc[served.pending].sort_values("risk", ascending=False, kind="stable").index
    closed = served.pending[-1]
    first, second, third, fourth = [event for event in riskiest if event != closed][:4]
    answers = pd.read_csv(path, index_col="event", dtype={"review": str})["review"].to_dict()
    assert answers == {closed: "closed", first: "1", third: "0", second: "1"}
    assert said.value.startswith(f"<b>Event {fourth}</b>, 6 to go: ")
    assert case_queue.reviewed(served, path).to_dict() == {closed: -1, first: 1, third: 0, second: 1}


def test_training_rows_budget_a_day_and_what_is_put_aside(shops, tmp_path):
    dates = shops.assign(ms=pd.Timestamp("2026-01-01") + pd.to_timedelta(np.arange(2_600), unit="h"))
    assert [n10.training_rows(dates, SHOPS, train) for train in (0.5, 700, "2026-01-03")] == [1_300, 700, 48]
    for events, train in (
        (shops, "2026-01-03"),
        (dates, "05.04.2026"),
        *((dates, n) for n in (-5, 1.5, 2_600)),
    ):
        with pytest.raises(CourseError, match=r"^TRAIN is ") as caught:
            n10.training_rows(events, SHOPS, train)
        assert_one_sentence(str(caught.value))
    with pytest.raises(
        CourseError, match=r"50 alerts a day are more than its 1 events: .* set DAY to the length"
    ):
        n10.per_thousand(50, shops, SHOPS)
    assert n10.per_thousand(0.12, dates, SHOPS) == 4.998 and n10.per_thousand(13, shops, SHOPS, 2_599) == 5
    folder = tmp_path / "queue"
    assert n10.put_aside(folder) is None
    for name in ("queue-1", "queue-2"):
        (folder / "kept").mkdir(parents=True)
        assert n10.put_aside(folder) == tmp_path / name and not folder.exists()


@pytest.mark.slow
def test_the_job_goes_on_after_a_call_that_was_killed(tmp_path):
    """As a job, in processes of its own; the second is killed before it has written its alerts."""
    folder, table = tmp_path / "case_queue", ROOT / "data/example_sessions.csv"
    kill = "import os, runpy, sys; from helpers import case_queue as q; "
    kill += "q.write_alerts = lambda *_: os._exit(9); "
    kill += "sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
    job, said = [ROOT / "notebooks/job.py", table, folder], []
    for killed in (False, True, False):
        command = [sys.executable, *(["-c", kill] if killed else []), *job]
        done = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=300, cwd=tmp_path)
        assert done.returncode == 9 * killed and not done.stderr, done.stderr
        said.append(done.stdout)
        pd.read_csv(folder / "alerts.csv").assign(review=1).to_csv(folder / "reviews.csv", index=False)
    assert said[0] == "0 reviews learned, 1,000 events scored, 5 alerts are open.\n"
    assert said[2] == "0 reviews learned, 1,000 events scored, 10 alerts are open.\n"
    assert pd.read_csv(folder / "alerts.csv")["event"].between(7_000, 8_999).all()
