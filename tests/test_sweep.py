"""The sweep: variants, restarting, and the table."""

import numpy as np
import pandas as pd
import pytest

from course import jobs, sweep
from helpers.files import CourseError
from helpers.rules import RULES

TABLES = ("TABLE", "STREAM_TABLE", "WRONG_TABLE", "WORLDS_TABLE")


@pytest.fixture(autouse=True)
def short(monkeypatch) -> None:
    """Short windows, one after another."""
    monkeypatch.setattr(sweep, "WINDOW_ROWS", 8_000)
    monkeypatch.setattr(sweep, "WORKERS", 1)


@pytest.fixture
def books(monkeypatch, detector) -> list:
    """No detector is fitted; with which rule books one was asked for."""
    asked = []
    monkeypatch.setattr(
        sweep.Detector, "fit", lambda *_, rules=RULES, **_profile: asked.append(rules) or detector
    )
    return asked


def test_every_rule_but_the_ordinary_one_is_left_out_once(books):
    study = sweep.Study(0, 0)
    left_out = [name for name in sweep.VARIANTS if name.startswith("without rule")]
    for name in left_out:
        sweep.VARIANTS[name](study)
    everything = {rule.name for rule in RULES}
    missing = [everything - {rule.name for rule in book} for book in books[1:]]
    assert missing == [{name.removeprefix("without rule ")} for name in left_out]
    assert set().union(*missing) == everything - {"ordinary_profile"}


def test_measure_compares_variants_with_the_full_classifier(monkeypatch, books):
    chosen = (sweep.FULL, "classifier alone", "naive rule", "rules only", "no refinement")
    monkeypatch.setattr(sweep, "VARIANTS", {name: sweep.VARIANTS[name] for name in chosen})
    table = pd.DataFrame(sweep.measure(0, 0)).set_index("variant")
    assert list(table.index) == list(chosen)
    assert table["average_precision"].between(0, 1).all()
    assert table["average_precision"].nunique() == len(chosen)
    assert table["verdict"].tolist() == ["reference", "worse", "worse", "cannot tell", "cannot tell"]


def test_a_variant_does_not_depend_on_the_truth(monkeypatch):
    load, studies = sweep.data.load_events, [sweep.Study(0, 0)]
    monkeypatch.setattr(sweep.data, "load_events", lambda *told: load(*told).eval("Class = 1 - Class"))
    studies.append(sweep.Study(0, 0))
    assert (studies[0].truth + studies[1].truth == 1).all()
    for name in ("no refinement", "undecided left out"):
        one, other = map(sweep.VARIANTS[name], studies)
        assert (one == other).all(), name


@pytest.fixture
def broken(monkeypatch, tmp_path) -> dict:
    """A sweep of two windows, seeds and worlds into a folder of its own. No fit takes time; what is done, in
    order, and which one fails."""
    for name in (*TABLES, "UNSEEN"):
        monkeypatch.setattr(sweep, name, tmp_path / getattr(sweep, name).name)
    monkeypatch.setattr(sweep, "PLACES", [(start, seed) for start in sweep.WINDOWS for seed in (0, 1)])
    monkeypatch.setattr(sweep, "STREAMS", sweep.PLACES)
    monkeypatch.setattr(sweep, "STARTS", sweep.WINDOWS)
    monkeypatch.setattr(sweep, "SLIPS", (0, 1))
    monkeypatch.setattr(sweep, "WORLDS", (0, 1))
    state = {"done": [], "fails": None}

    def here(job, given, log, limit):
        if (job.__name__, *given) == state["fails"]:
            raise CourseError("MemoryError: too little memory")
        state["done"].append((job.__name__, *given))
        return [{"fit": f"from {given}", "found": 7}]

    monkeypatch.setattr(jobs, "run", here)
    return state


def test_a_sweep_that_was_stopped_fits_only_what_is_missing(broken, tmp_path, monkeypatch):
    broken["fails"] = ("measure_stream", 50_000, 0)
    with pytest.raises(CourseError) as no:
        sweep.run(tmp_path / "runs")
    said = "The sweep failed at measure_stream-50000-0: MemoryError: too little memory; run it again."
    assert str(no.value) == said
    assert sweep.TABLE.exists() and not sweep.STREAM_TABLE.exists()
    broken["fails"] = None
    tables = sweep.run(tmp_path / "runs")
    places = [(0, 0), (0, 1), (50_000, 0), (50_000, 1)]
    fits = (places, places, places, [(0,), (1,)])
    names = ("measure", "measure_stream", "measure_wrong", "measure_world")
    everything = [(name, *place) for name, done in zip(names, fits, strict=True) for place in done]
    assert sorted(broken["done"]) == sorted(everything)
    for name, table, expected in zip(TABLES, tables, fits, strict=True):
        read = pd.read_csv(getattr(sweep, name))
        pd.testing.assert_frame_equal(read, table, check_dtype=False)
        assert read["fit"].tolist() == [f"from {place}" for place in expected], name
    assert jobs.code() == jobs.code() != jobs.code("course/sweep.py") != jobs.code("course/jobs.py")
    monkeypatch.setattr(jobs, "code", lambda *_: "another method")
    sweep.run(tmp_path / "runs")
    assert len(broken["done"]) == 2 * len(everything)


@pytest.mark.slow
def test_the_unseen_run_measures_any_source_and_its_tables_add_up(monkeypatch, tmp_path, books):
    source = tmp_path / "full.csv"
    sweep.data.load_events("snapshot", 14_000).to_csv(source)
    chosen = (sweep.FULL, "classifier alone", "naive rule")
    monkeypatch.setattr(sweep, "VARIANTS", {name: sweep.VARIANTS[name] for name in chosen})
    monkeypatch.setattr(sweep, "TELLING", {"stream": None})
    monkeypatch.setattr(sweep, "WARM_UP", 4_000)
    monkeypatch.setattr(sweep, "UNSEEN", tmp_path / "unseen.csv")
    monkeypatch.setattr(jobs, "run", lambda job, given, log, limit: job(*given))
    monkeypatch.setattr(sweep, "UNSEEN_STARTS", starts := (0, 4_000))
    table = sweep.run_unseen(tmp_path / "runs", str(source), "9.9.1")
    read = pd.read_csv(sweep.UNSEEN)
    pd.testing.assert_frame_equal(read, table.reset_index(drop=True), check_dtype=False, atol=1e-5)
    assert set(read["version"]) == {"9.9.1"} and set(read["start"]) == set(starts)
    said = sweep.unseen_block(read)
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in said.splitlines()]
    rows = {name: others for name, *others in cells}
    assert {*chosen, "learns from its reviews"} <= rows.keys() and "version 9.9.1, 2 starts" in said
    alone = read[read["detector"] == "classifier alone"]
    assert rows["classifier alone"][0] == f"{np.exp(np.log(alone['average_precision']).mean()):.3f}"
    assert rows["classifier alone"][1] == str(alone["found"].sum())
    assert sum(map(int, rows["classifier alone"][2:])) == 2 and rows[sweep.FULL][2:] == ["0", "0", "0"]


@pytest.mark.slow
def test_the_learner_and_its_references_are_measured(monkeypatch):
    monkeypatch.setattr(sweep, "WARM_UP", 3_000)
    monkeypatch.setattr(sweep, "WINDOW_ROWS", 5_000)
    replays, replay = [], sweep.stream.replay
    monkeypatch.setattr(sweep.stream, "replay", lambda *a, **way: replays.append(way) or replay(*a, **way))
    table = pd.DataFrame(sweep.measure_stream(5_000, 0)).set_index("detector")
    assert list(table.index) == [*sweep.TELLING, "detector", "seed_rules", "full_feedback"]
    assert table["possible"].nunique() == 1 and (table["found"] <= table["possible"]).all()
    ways = [(late, 0.0) for late in (None, 10_000, 20_000, 30_000, 1_000)]
    assert [(way["reported"], way["wrong"]) for way in replays] == ways
    half = {name: (late, tuple(5 * share for share in wrong)) for name, (late, wrong) in sweep.ERRING.items()}
    monkeypatch.setattr(sweep, "ERRING", half | {"none wrong": (None, (0.0, 0.0))})
    replays.clear()
    wrong = pd.DataFrame(sweep.measure_wrong(5_000, 3)).set_index("detector")
    assert [(way["reported"], way["wrong"]) for way in replays] == list(sweep.ERRING.values())
    assert {way["seed"] for way in replays} == {3}
    none = wrong.loc["none wrong"]
    assert none["found"] == none["stopped"] == table.loc["stream", "found"]
    legitimate, frauds = (wrong.loc[f"wrong on {whose} alone"] for whose in ("legitimate events", "frauds"))
    assert legitimate["stopped"] == legitimate["found"] and frauds["stopped"] < frauds["found"]
    assert (wrong["stopped"] <= wrong["found"]).all()
