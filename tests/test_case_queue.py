"""helpers/case_queue.py and notebook 10: look, alert, review, learn, with tables as people have them."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sandbox import refused

import n10
from helpers import case_queue
from helpers.detector import Detector
from helpers.schema import Schema
from helpers.settings import ROOT
from helpers.stream import Learner

NOTEBOOK = ROOT / "notebooks/10_your_own_stream.ipynb"
TRAIN = 1_500
SHOPS = Schema(("sum",), ("tries",), categories=("land",), missing="flag", key="who", time="ms")


@pytest.fixture(scope="module")
def shops() -> pd.DataFrame:
    """Sums of many digits, times in epoch milliseconds, gaps, and a customer whose name is a formula."""
    draw = np.random.default_rng(1)
    table = pd.DataFrame({"sum": draw.lognormal(9, 2, 2_600).round(2), "tries": draw.poisson(1, 2_600) * 1.0})
    table.loc[2_000:, "sum"] *= np.where(draw.random(600) < 0.02, 300, 1)
    table.loc[draw.random(2_600) < 0.1, "tries"] = np.nan
    table.loc[1_600::90, "sum"] = np.nan  # the first gaps of a column come late
    table["land"] = draw.choice(["DE", "-FR", None], 2_600)
    who, ms = draw.choice(["=1+1", "b", "@c"], 2_600), 1_730_137_000_000.0 + np.arange(2_600)
    return table.assign(who=who, ms=ms)


once = pytest.fixture(scope="module")
fitted = once(lambda shops: Detector.fit(shops[:TRAIN], schema=SHOPS))


def begun(fitted: Detector, shops: pd.DataFrame, alerts: float, end: int) -> Learner:
    """After its first round, with 10 alerts."""
    learner = Learner.start(fitted, shops[:TRAIN], alerts=alerts, keep=1_000)
    learner.watch(shops[TRAIN:end])
    learner.close()
    return learner


served = pytest.fixture(lambda fitted, shops: begun(fitted, shops, 10, 2_500))


def test_look_says_what_a_table_holds_and_what_it_can_support():
    (x, moved), place = np.random.default_rng(0).normal(size=(2, 3_000)), np.arange(3_000)
    table = pd.DataFrame({"x": x, "copy": 2 * x + 1, "heavy": np.where(place % 3, 0, x), "one": 1.0})
    table = table.assign(moved=moved + 5 * (place >= 1_800), fraud=place % 150 == 0, who=place, t=1.0)
    table.iloc[10:40] = table.iloc[40:70]
    schema = Schema(axes=("x", "copy", "heavy", "one", "moved"), label="fraud")
    found = n10.look(table, 1_800, schema)
    told = {"events": "3,000, of which 1,800 train", "order": "no time is named", "key": "none"}
    told |= {"constant": "one", "mostly one value": "heavy", "copies": "copy", "repeated rows": "1.0%"}
    assert told.items() <= found["found"].to_dict().items() and found.loc["constant", "so"] == "left out"
    assert found.loc["truth", "found"] == "12 in the training set, 8 later"
    assert found.loc["drift", "found"].startswith("moved (")
    for left, so in ((10, "enough to evaluate"), (9, "too few to evaluate, so trust no number")):
        assert n10.look(table, place[table["fraud"]][-left], schema).loc["truth", "so"] == so
    for n_train, so in ((999, "too few"), (1_000, "few: "), (4_999, "few: "), (5_000, "enough")):
        assert n10._enough(n_train).startswith(so)
    alike = pd.DataFrame(1.0, range(2_000), list("abcdef"))
    alike = n10.look(alike, 1_500, Schema(axes=list("abcdef")))
    assert alike.loc["constant", "found"] == "a, b, c, d and 2 more"
    keyed = replace(schema, key="who", time="t", label=None)
    found = n10.look(table, 1_800, keyed)
    assert found["found"][["order", "truth"]].tolist() == ["t never falls", "no label is named"]
    assert found.loc["key", "so"] == "too few return to count bursts per key"
    found = n10.look(table.assign(who=place // 2, t=place), 1_800, keyed)["so"]
    assert found["key"] == "bursts and repeats are counted per key"
    assert found["order"] == "1,000 events span 1000.0 in t"


def test_alerts_are_the_riskiest_with_their_columns_and_no_formula(served, fitted, shops, tmp_path):
    written = case_queue.write_alerts(served, path := tmp_path / "alerts.csv")
    raw = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig", index_col="event")
    raw.index = raw.index.astype(int)
    own = shops.loc[raw.index]
    assert len(raw) == 10 and list(raw.index) == list(written.index) and set(raw.index) == set(served.pending)
    assert raw["risk"].astype(float).is_monotonic_decreasing and (raw["review"] == "").all()
    assert list(raw) == ["review", "risk", "one_in", "why", *SHOPS.carried]
    reasons = fitted.reasons(shops[TRAIN:2_500], shops[:TRAIN]).loc[written.index]
    pd.testing.assert_frame_equal(written[["one_in", "why"]], reasons[["one_in", "why"]])
    assert (raw["ms"] == own["ms"].astype("int64").astype(str)).all()
    assert (raw["sum"].astype(float) == own["sum"]).all()
    assert (raw["tries"] == own["tries"].astype("Int64").astype(str).replace("<NA>", "")).all()
    assert not raw[["who", "land", "why"]].stack().str.startswith(tuple("=+-@")).any()
    assert raw["who"].str.startswith("'=1+1").any() and (raw["land"] == "'-FR").any()
    drawn = case_queue.write_audit(served, tmp_path / "audit.csv", 300)
    audit = pd.read_csv(tmp_path / "audit.csv", encoding="utf-8-sig", index_col="event")
    assert len(audit) == 300 and not set(audit.index) & set(served.pending) and audit.index.min() >= TRAIN
    for name in ("tries", "sum"):
        lacks = audit[name].isna()
        assert (lacks == shops[name][audit.index].isna()).all() and lacks.any()
    assert drawn.index.equals(case_queue.write_audit(served, tmp_path / "audit.csv", 300).index)
    quiet = case_queue.write_alerts(Learner.start(fitted, shops[:TRAIN]), path)
    header = path.read_text(encoding="utf-8-sig").strip().split(",")
    assert len(quiet) == 0 and set(header) == {"event", *raw}


def test_rounds_with_files_as_people_edit_them(fitted, shops, tmp_path):
    written, back, kept = (tmp_path / name for name in ("alerts.csv", "reviews.csv", "learner.zip"))
    learner = begun(fitted, shops, 20, 2_000)
    for left_open in (0, 2):
        alerts = case_queue.write_alerts(learner, written)
        table = pd.read_csv(written, encoding="utf-8-sig")
        table["review"] = (table["event"] % 2).map({1: "Yes", 0: "no"}).mask(table.index < left_open, "")
        back.write_bytes(table.to_csv(index=False, sep=";", decimal=",").encode("cp1252"))
        reviews = case_queue.reviewed(learner, back)
        assert len(reviews) == len(alerts) - left_open and (reviews == reviews.index % 2).all()
        learner.learn(reviews)
        assert len(learner.pending) == left_open
        assert len(case_queue.reviewed(learner, back)) == 0  # the same file again teaches nothing twice
        learner.save(kept)
        learner = Learner.load(kept)
        learner.watch(shops[learner.now : learner.now + 300])
        learner.close()
        assert len(learner.pending) == left_open + 6  # 20 of every 1,000 survive the restart
    assert (learner.memory["truth"] != -1).sum() == 14
    event = reviews.index[0]
    back.write_text(f"event,review\n{event},{1 - event % 2}\n")  # a correction counts
    assert case_queue.reviewed(learner, back).to_dict() == {event: 1 - event % 2}


def test_a_broken_file_of_reviews_is_one_sentence(served, tmp_path):
    path, bad = tmp_path / "reviews.csv", {"7,yse": "has 'yse' in column review, row 0"}
    for review, sentence in (bad | {"9999,0": "reviews event 9999, which has not come yet"}).items():
        path.write_text(f"event,review\n{review}\n")
        with refused(f"{sentence}.*; nothing was learned"):
            case_queue.reviewed(served, path)


def test_reviews_of_any_event_count_and_open_alerts_wait(served, shops, tmp_path, capsys):
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
    latest = shops[-100:].assign(ms=shops["ms"].iloc[-1])
    for number in (3_000, 5_000):
        served.watch(latest.set_axis(range(number, number + 100)))
    served.learn(pd.Series(dtype=int))
    assert second in served.pending
    later = case_queue.write_alerts(served, tmp_path / "alerts.csv")
    assert later["why"][second] == why[second] and first not in later.index


def test_another_table_budget_or_schema_is_one_sentence(served, shops):
    book = served.detector.rules
    case_queue.check_same(served, shops, SHOPS, 10, book)
    with refused("was fitted without mine: refit it, or begin afresh"):
        case_queue.check_same(served, shops, SHOPS, 10, (*book, replace(book[0], name="mine")))
    for events, schema, alerts, sentence in (
        (shops, SHOPS, 5, "The learner's budget is 10 of 1,000 events, not 5"),
        (shops, Schema(amounts=("sum",), key="who", time="ms"), 10, "fitted on another schema: land, tries"),
        (shops[10:].reset_index(drop=True), SHOPS, 10, "Event 1500 is not what it was when the learner saw"),
        (shops[:2_000], SHOPS, 10, "Event 2000 is not what it was"),
    ):
        with refused(sentence):
            case_queue.check_same(served, events, schema, alerts)


def test_a_late_batch_is_refused_and_nothing_of_it_remembered(served, shops, tmp_path):
    now, late = served.now, shops[2_500:].assign(ms=0.0)
    with refused("ms of event 2500 is before that of the event above it"):
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
    bad = [(shops, "2026-01-03"), *((dates, train) for train in ("05.04.2026", -5, 1.5, 2_600))]
    for events, train in bad:
        with refused(r"^TRAIN is "):
            n10.training_rows(events, SHOPS, train)
    with refused(r"50 alerts a day are more than its 1 events: .* set DAY to the length"):
        n10.per_thousand(50, shops, SHOPS)
    assert n10.per_thousand(0.12, dates, SHOPS) == 4.998 and n10.per_thousand(13, shops, SHOPS, 2_599) == 5
    folder = tmp_path / "queue"
    assert n10.put_aside(folder) is None
    for name in ("queue-1", "queue-2"):
        (folder / "kept").mkdir(parents=True)
        assert n10.put_aside(folder) == tmp_path / name and not folder.exists()


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


raw = once(lambda: pd.read_csv(ROOT / "data/example_payments.csv")[-4_000:])


NOTHING = {role: [] for role in ("AMOUNTS", "COUNTS", "SHARES", "AXES")}
NOTHING |= {name: "" for name in ("KEY", "TIME", "LABEL")}
OTHER = {"AMOUNTS": ["amount_eur"], "AXES": [f"component_{i}" for i in range(1, 7)], "TRAIN": TRAIN / 4_000}
OTHER = NOTHING | OTHER


def test_it_runs_on_the_other_example_and_goes_on_with_reviews(raw, monkeypatch, tmp_path):
    (tmp_path / "data").mkdir()
    for example in (own := tmp_path / "own.csv", tmp_path / "data/example_payments.csv"):
        raw.to_csv(example, index=False)
    choice = OTHER | {"FILE": str(example), "LABEL": "confirmed_fraud", "PER_THOUSAND": 10, "BATCH": 300}
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
    mine = lived(monkeypatch, tmp_path, **choice | {"FILE": str(own)})  # whose label reviews nothing
    assert mine["found"] == [] and not (folder / "reviews.csv").exists() and mine["truth"].any()


def test_a_broken_table_is_one_sentence(raw, monkeypatch, tmp_path):
    path = tmp_path / "away.csv"
    for table, told, sentence in (
        (None, {}, "no file .*away.csv"),
        (raw, NOTHING, "A schema needs at least one column"),
        (raw.replace(raw.iloc[17, 2], np.nan), {}, "in column component_2, row 17"),
        (raw[:900], {}, "A profile needs 1,000 training events or more"),
    ):
        if table is not None:
            table.to_csv(path, index=False)
        with refused(sentence, (ValueError, FileNotFoundError)):
            lived(monkeypatch, tmp_path, **OTHER | {"FILE": str(path)} | told)


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
