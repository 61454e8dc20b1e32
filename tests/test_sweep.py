"""The sweep: variants, restarting, and the table."""

from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from course import jobs, sweep
from helpers import evaluation
from helpers.files import CourseError
from helpers.rules import RULES


def rows(start, seed, judge=0.5, rules=0.25):
    common = {"start": start, "seed": seed, "found": 1, "difference": 0.0, "low": 0.0, "high": 0.0}
    return [
        common | {"variant": sweep.FULL, "average_precision": judge + seed / 10, "verdict": "reference"},
        common | {"variant": "rules only", "average_precision": rules, "verdict": "cannot tell"},
    ]


@pytest.fixture
def sandbox(monkeypatch, tmp_path):
    monkeypatch.setattr(sweep, "TABLE", tmp_path / "results" / "sweep.csv")
    monkeypatch.setattr(sweep, "STREAM_TABLE", tmp_path / "results" / "stream.csv")
    monkeypatch.setattr(sweep, "WRONG_TABLE", tmp_path / "results" / "wrong.csv")
    monkeypatch.setattr(sweep, "WORLDS_TABLE", tmp_path / "results" / "worlds.csv")
    monkeypatch.setattr(sweep, "PLACES", [(start, seed) for start in sweep.WINDOWS for seed in (0, 1)])
    monkeypatch.setattr(sweep, "STREAMS", sweep.PLACES)
    monkeypatch.setattr(sweep, "WORLDS", (0, 1))
    return tmp_path


def test_every_rule_but_the_ordinary_one_is_left_out_once(monkeypatch):
    books = []
    score = SimpleNamespace(score=lambda events: None)
    monkeypatch.setattr(sweep.Detector, "fit", lambda events, seed, rules: books.append(rules) or score)
    study = sweep.Study(0, 0, 10)
    left_out = [name for name in sweep.VARIANTS if name.startswith("without rule")]
    for name in left_out:
        sweep.VARIANTS[name](study)
    everything = {rule.name for rule in RULES}
    missing = [everything - {rule.name for rule in book} for book in books]
    assert missing == [{name.removeprefix("without rule ")} for name in left_out]
    assert set().union(*missing) == everything - {"ordinary_profile"}


def test_measure_compares_variants_with_the_full_judge(monkeypatch, detector):
    monkeypatch.setattr(sweep.Study, "fitted", detector)
    chosen = (sweep.FULL, "judge alone", "naive rule", "rules only", "no refinement")
    monkeypatch.setattr(sweep, "VARIANTS", {name: sweep.VARIANTS[name] for name in chosen})
    table = pd.DataFrame(sweep.measure(0, 0, rows=8_000)).set_index("variant")
    assert list(table.index) == list(chosen)
    assert table["average_precision"].between(0, 1).all()
    assert table.loc[sweep.FULL, ["difference", "verdict"]].tolist() == [0.0, "reference"]
    others = table.drop(index=sweep.FULL)
    spans_zero = (others["low"] <= 0) & (others["high"] >= 0)
    assert ((others["verdict"] == "cannot tell") == spans_zero).all()
    assert table["average_precision"].nunique() == len(chosen)


def test_a_variant_does_not_depend_on_the_truth(monkeypatch, detector):
    monkeypatch.setattr(sweep.Study, "fitted", detector)
    as_it_is, flipped = sweep.Study(0, 0, 4_000), sweep.Study(0, 0, 4_000)
    flipped.stream["Class"] = 1 - flipped.stream["Class"]
    for name in ("no refinement", "normal: all but the organised"):
        assert (sweep.VARIANTS[name](as_it_is) == sweep.VARIANTS[name](flipped)).all(), name


@pytest.fixture
def fits(monkeypatch) -> list:
    """What is fitted, in order; no fit takes time, and one that is listed in `broken` fails."""

    class Fits(list):
        broken: tuple = ()

    done = Fits()
    told = {
        "measure": rows,
        "measure_stream": lambda start, seed: (
            streamed(start, seed),
            [{"start": start, "wrong": 0.1, "found": 7}] if seed == 0 else [],
        ),
        "measure_world": lambda seed: [{"seed": seed, "model": "detector", "found": 7}],
    }

    def here(job, given, log, limit):
        if (job.__name__, *given) in done.broken:
            raise CourseError("MemoryError: too little memory")
        done.append((job.__name__, *given))
        return told[job.__name__](*given)

    monkeypatch.setattr(jobs, "run", here)
    return done


PLACES = [(0, 0), (0, 1), (50_000, 0), (50_000, 1)]


def test_a_sweep_that_was_stopped_fits_only_what_is_missing(sandbox, fits, monkeypatch):
    fits.broken = [("measure_stream", 50_000, 0)]
    with pytest.raises(CourseError) as no:
        sweep.run(sandbox / "runs", workers=1)
    said = "The sweep failed at measure_stream-50000-0: MemoryError: too little memory; run it again."
    assert str(no.value) == said
    assert sweep.TABLE.exists() and not sweep.STREAM_TABLE.exists()
    fits.broken = ()
    tables = sweep.run(sandbox / "runs", workers=1)
    everything = [(job, *place) for job in ("measure", "measure_stream") for place in PLACES]
    everything += [("measure_world", 0), ("measure_world", 1)]
    assert len(fits) == len(everything) and set(fits) == set(everything)
    paths = (sweep.TABLE, sweep.STREAM_TABLE, sweep.WRONG_TABLE, sweep.WORLDS_TABLE)
    for table, path in zip(tables, paths, strict=True):
        pd.testing.assert_frame_equal(pd.read_csv(path), table, check_dtype=False)
    assert tables[0][["start", "seed"]].drop_duplicates().to_numpy().tolist() == [list(p) for p in PLACES]
    assert tables[2]["start"].tolist() == [0, 50_000]
    monkeypatch.setattr(jobs, "code", lambda *_: "another method")
    sweep.run(sandbox / "runs", workers=1)
    assert len(fits) == 2 * len(everything)


def test_the_code_that_a_sweep_depends_on():
    one = jobs.code()
    assert one == jobs.code() != jobs.code(Path(sweep.__file__))


def test_windows_table_gives_mean_and_range_over_seeds_best_last():
    table = pd.DataFrame([row for start in sweep.WINDOWS for seed in (0, 1) for row in rows(start, seed)])
    shown = evaluation.over_windows(table, "variant", "average_precision")
    windows = ["events 0 to 49,999", "events 50,000 to 99,999"]
    assert list(shown.columns) == [*windows, "geometric mean over 2 starts", "not behind the detector"]
    assert list(shown.index) == ["rules only", sweep.FULL]
    assert shown.loc[sweep.FULL].tolist() == [*["0.550 (0.500 to 0.600)"] * 2, "0.500", "2 of 2"]
    assert shown.loc["rules only"].tolist()[2:] == ["0.250", "0 of 2"]


def streamed(start: int, seed: int) -> list[dict]:
    common = {"start": start, "seed": seed, "possible": 9}
    return [
        common | {"detector": name, "found": found + seed} for name, found in (("detector", 2), ("stream", 6))
    ]


def test_stream_table_counts_frauds_found_and_what_is_possible():
    table = pd.DataFrame([row for s in sweep.WINDOWS for seed in (0, 1) for row in streamed(s, seed)])
    shown = evaluation.found_over_windows(table)
    assert list(shown.index) == ["detector", "stream", "perfect"]
    assert shown.iloc[:, 0].tolist() == ["2.5 (2 to 3)", "6.5 (6 to 7)", "9.0 (9 to 9)"]


@pytest.mark.slow
def test_the_learner_and_its_references_are_measured(monkeypatch):
    monkeypatch.setattr(sweep, "WARM_UP", 3_000)
    monkeypatch.setattr(sweep, "WRONG", (0.0, 0.5))
    replays, replay = [], sweep.stream.replay
    monkeypatch.setattr(sweep.stream, "replay", lambda *a, **way: replays.append(way) or replay(*a, **way))
    first, second = map(pd.DataFrame, sweep.measure_stream(5_000, 0, rows=5_000))
    table = first.set_index("detector")
    assert list(table.index) == [
        *("stream", "complaints", "told_everything", "wrong_reviews", "wrong_reviews_and_complaints"),
        *("detector", "seed_rules", "oracle_prequential"),
    ]
    assert table["possible"].nunique() == 1 and (table["found"] <= table["possible"]).all()
    assert table["average_precision"].between(0, 1).all()
    wrong = second.set_index(["told", "wrong"])["found"]
    assert wrong["reviews", 0.0] == wrong["wrong on frauds alone", 0.0] == table.loc["stream", "found"]
    assert wrong["reviews and complaints", 0.0] == table.loc["complaints", "found"]
    ways = [(*way["wrong"], way["complained"]) for way in replays]
    assert len(set(ways)) == len(ways)
    five = [(0.0, 0.0, None), (0.0, 0.0, 10_000), (0.0, 0.0, 1_000), (0.1, 0.1, None), (0.1, 0.1, 10_000)]
    half = [(0.5, 0.5, None), (0.5, 0.0, None), (0.0, 0.5, None), (0.5, 0.5, 10_000)]
    assert ways == five + half
