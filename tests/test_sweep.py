"""The sweep: variants, restarting, and the table."""

import pandas as pd
import pytest
from sandbox import assert_one_sentence

from course import sweep
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


def test_every_rule_but_the_ordinary_one_is_left_out_once():
    left_out = {
        name.removeprefix("without rule ") for name in sweep.VARIANTS if name.startswith("without rule")
    }
    assert left_out == {rule.name for rule in RULES} - {"ordinary_profile"}


def test_measure_compares_variants_with_the_full_judge(monkeypatch):
    chosen = (
        sweep.FULL,
        "rules only",
        "no refinement",
        "without rule burst",
        "labels by agreement",
        "oracle",
    )
    monkeypatch.setattr(sweep, "VARIANTS", {name: sweep.VARIANTS[name] for name in chosen})
    table = pd.DataFrame(sweep.measure(0, 0, rows=8_000)).set_index("variant")
    assert list(table.index) == list(chosen)
    assert table["average_precision"].between(0, 1).all()
    assert table.loc[sweep.FULL, ["difference", "verdict"]].tolist() == [0.0, "reference"]
    others = table.drop(index=sweep.FULL)
    spans_zero = (others["low"] <= 0) & (others["high"] >= 0)
    assert ((others["verdict"] == "cannot tell") == spans_zero).all()
    assert table["average_precision"].nunique() > 1


def test_a_variant_does_not_depend_on_the_truth(monkeypatch):
    honest, flipped = sweep.Study(0, 0, 4_000), sweep.Study(0, 0, 4_000)
    stream = flipped.stream
    stream["Class"] = 1 - stream["Class"]
    for name in ("no refinement", "labels by majority", "normal: all but the organised"):
        assert (sweep.VARIANTS[name](honest) == sweep.VARIANTS[name](flipped)).all(), name


@pytest.fixture
def fits(monkeypatch) -> list:
    """What is fitted, in order; no fit takes time, and one that is listed in `broken` fails."""
    done = []

    def pretend(job: str, told):
        def fit(*place):
            if (job, *place) in done.broken:
                raise MemoryError("too little memory")
            done.append((job, *place))
            return told(*place)

        fit.__name__ = job
        monkeypatch.setattr(sweep, job, fit)

    class Fits(list):
        broken: tuple = ()

    done = Fits()
    pretend("measure", rows)
    pretend("measure_stream", streamed)
    pretend("measure_wrong", lambda start, seed: [{"start": start, "wrong": 0.1, "found": 7}])
    pretend("measure_world", lambda seed: [{"seed": seed, "model": "detector", "found": 7}])
    return done


PLACES = [(0, 0), (0, 1), (50_000, 0), (50_000, 1)]


def test_a_sweep_that_was_stopped_fits_only_what_is_missing(sandbox, fits):
    fits.broken = [("measure_stream", 50_000, 0)]
    with pytest.raises(
        CourseError, match="at seed 0, start 50000: MemoryError: too little memory; run it again"
    ) as no:
        sweep.run(sandbox / "runs", workers=1)
    assert_one_sentence(str(no.value))
    everything = [(job, *place) for job in ("measure", "measure_stream") for place in PLACES]
    everything += [("measure_wrong", start, 0) for start in sweep.STARTS]
    everything += [("measure_world", 0), ("measure_world", 1)]
    assert fits == everything[:6] and sweep.TABLE.exists() and not sweep.STREAM_TABLE.exists()
    fits.broken = ()
    tables = sweep.run(sandbox / "runs", workers=1)
    assert fits == everything
    paths = (sweep.TABLE, sweep.STREAM_TABLE, sweep.WRONG_TABLE, sweep.WORLDS_TABLE)
    for table, path in zip(tables, paths, strict=True):
        pd.testing.assert_frame_equal(pd.read_csv(path), table, check_dtype=False)


def test_another_method_is_fitted_anew(sandbox, fits, monkeypatch):
    sweep.run(sandbox / "runs", workers=1)
    monkeypatch.setattr(sweep, "_recipe", lambda: "another")
    sweep.run(sandbox / "runs", workers=1)
    assert len(fits) == 2 * (4 + 4 + 6 + 2)


def test_a_traceback_names_the_variant():
    assert [name for name, score in sweep.VARIANTS.items() if "lambda" in score.__qualname__] == []


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
    monkeypatch.setattr(sweep, "WARM_UP", 4_000)
    table = pd.DataFrame(sweep.measure_stream(0, 0, rows=12_000)).set_index("detector")
    assert list(table.index) == [
        *("stream", "complaints", "told_everything", "wrong_reviews", "wrong_reviews_and_complaints"),
        *("detector", "seed_rules", "oracle_prequential"),
    ]
    assert table["possible"].nunique() == 1 and (table["found"] <= table["possible"]).all()
    assert table.loc["stream", "found"] > table.loc["seed_rules", "found"]
    monkeypatch.setattr(sweep, "WRONG", (0.0, 0.5))
    wrong = pd.DataFrame(sweep.measure_wrong(0, 0, rows=12_000)).set_index(["told", "wrong"])["found"]
    assert wrong["reviews", 0.0] == table.loc["stream", "found"] != wrong["reviews", 0.5]
    assert wrong["reviews and complaints", 0.0] == table.loc["complaints", "found"]
    assert table["average_precision"].between(0, 1).all()
