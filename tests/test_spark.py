"""helpers/spark.py and course/growth.py: Spark says what `Detector.reasons` says of each key in one piece."""

import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sandbox import assert_one_sentence, last_line, small_files_only
from test_schema import SESSIONS, sessions

import n08
from course import growth, jobs
from helpers import data, spark
from helpers.detector import Detector, score_file
from helpers.files import CourseError
from helpers.schema import CARDS, Schema
from helpers.settings import BUDGET

KEYS, FILES, ROWS = 2, 8, 300  # of the stream: 1,200 events a key, more than its memory holds
ALL = -1.0  # a threshold that reports every event


@pytest.fixture(scope="session")
def detector(window) -> Detector:
    return Detector.fit(window[3_800:5_800])


@pytest.fixture(scope="session")
def saved(detector, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("saved") / "detector.zip"
    detector.save(path)
    return path


@pytest.fixture(scope="session")
def stream(window) -> pd.DataFrame:
    return data.resample(window, FILES * ROWS, KEYS)


def in_one_piece(detector: Detector, events: pd.DataFrame) -> pd.DataFrame:
    """What one process says of every event, key by key, without batches."""
    parts = [detector.reasons(own.set_index("event")).assign(key=key) for key, own in events.groupby("key")]
    return pd.concat(parts).reset_index()


@pytest.fixture(scope="session")
def reference(detector, stream) -> pd.DataFrame:
    return in_one_piece(detector, stream)


@pytest.fixture(scope="session")
def session(needs_spark, tmp_path_factory) -> Iterator:
    """Java compiles for a quick start instead of for a long run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAVA_TOOL_OPTIONS", "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC")
        running = spark.session(2, tmp_path_factory.mktemp("spark"))
        running.conf.set("spark.sql.shuffle.partitions", 2)
        yield running
        running.stop()


def arrive(folder: Path, events: pd.DataFrame, files: int, begin: int = 0) -> Path:
    """Put events into the folder as files that came one after another."""
    (folder / "events").mkdir(parents=True, exist_ok=True)
    for n, part in enumerate(np.array_split(np.arange(len(events)), files), begin):
        file = folder / "events" / f"{n:03}.parquet"
        events.iloc[part].to_parquet(hidden := file.with_name(f".{n}"), index=False)
        os.utime(hidden, (1_600_000_000 + n, 1_600_000_000 + n))
        hidden.rename(file)
    return folder


def assert_said(alerts: pd.DataFrame, reference: pd.DataFrame, exact: bool = True) -> None:
    expected = reference[list(alerts)].sort_values(["key", "event"], ignore_index=True)
    pd.testing.assert_frame_equal(alerts, expected, check_exact=exact)


def test_a_file_is_scored_in_groups_as_at_once_or_not_at_all(detector, window, tmp_path, monkeypatch):
    source, target = tmp_path / "events.parquet", tmp_path / "risks.parquet"
    data.resample(window, 2_500, KEYS).to_parquet(source, row_group_size=1_000)
    seen, score = [], Detector.score
    monkeypatch.setattr(Detector, "score", lambda self, part: seen.append(len(part)) or score(self, part))
    target.write_bytes(b"old")
    with small_files_only(10_000), pytest.raises(OSError):
        score_file(detector, source, target)
    assert target.read_bytes() == b"old" and set(tmp_path.iterdir()) == {source, target}
    seen.clear()
    assert score_file(detector, source, target) == 2_500 and seen == [1_000, 1_000, 500]
    events, risks = pd.read_parquet(source), pd.read_parquet(target)
    np.testing.assert_array_equal(risks["risk"], detector.score(events))
    pd.testing.assert_frame_equal(risks[["key", "event"]], events[["key", "event"]])


def test_java_17_and_later_will_do_and_what_lacks_is_named(tmp_path, monkeypatch):
    java = tmp_path / "bin" / "java"
    java.parent.mkdir()
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    for found, version, said in (
        (None, "17", "not installed: run `make scale` once"),
        ("pyspark", None, "needs Java 17 or later, and no .*java was found"),
        ("pyspark", "16.0.2", "needs Java 17 or later, and .* is of version 16"),
        ("pyspark", "1.8.0_292", "needs Java 17 or later, and .* is of version 1"),
        ("pyspark", "17.0.15", None),
        ("pyspark", "25-ea", None),
    ):
        monkeypatch.setattr(spark.importlib.util, "find_spec", lambda _, found=found: found)
        if version:
            java.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\" 2020' >&2\n")
            java.chmod(0o755)
        assert said or spark.lacking() == ""
        if said:
            with pytest.raises(CourseError, match=said) as caught:
                spark.session(1, tmp_path)
            assert_one_sentence(str(caught.value))
            java.unlink(missing_ok=True)


def test_a_stream_says_what_one_process_says_and_goes_on(session, saved, stream, reference, tmp_path):
    most = (FILES - 1) * ROWS
    folder = arrive(tmp_path, stream[:most], FILES - 1)
    served = spark.serve(session, saved, folder, ALL, files=3)
    assert [p["numInputRows"] for p in served if p["numInputRows"]] == [900, 900, 300]
    arrive(folder, stream[most:], 1, begin=FILES)
    spark.serve(session, saved, folder, ALL)
    assert_said(spark.alerts(session, folder), reference)
    assert (reference["burst"] > 5).sum() >= 10 and (reference["repeats"] > 0).any()


def test_killed_nothing_is_lost_and_nothing_comes_twice(session, saved, stream, reference, tmp_path):
    first = len(stream) // FILES * 3
    folder = arrive(tmp_path, stream[:first], 3)

    def later() -> None:
        end = time.monotonic() + 120
        while time.monotonic() < end and not (folder / "checkpoint" / "commits" / "1").exists():
            time.sleep(0.02)
        arrive(folder, stream[first:], FILES - 3, begin=3)

    with ThreadPoolExecutor(1) as pool:
        pool.submit(later)
        options = {"threshold": ALL, "every": "100 milliseconds"}
        finished = n08.serve_and_kill(saved, folder, 4, seconds=0.2, **options)
    assert 4 <= finished < FILES
    before = spark.alerts(session, folder)
    assert ROWS * finished <= len(before) < len(stream)
    spark.serve(session, saved, folder, ALL, files=3)
    assert_said(spark.alerts(session, folder), reference)


def test_a_query_that_fails_before_the_kill_says_why(needs_spark, saved, stream, tmp_path):
    with pytest.raises(CourseError, match="JAVA_HOME"), pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAVA_HOME", str(tmp_path))
        n08.serve_and_kill(saved, arrive(tmp_path, stream, 1), 1)


def test_alerts_of_another_schema_are_the_events_above_its_threshold(session, tmp_path):
    """An account belongs to one market; 12 of its days are remembered, not 1,000 events."""
    detector, told = Detector.fit(sessions(3_000), schema=SESSIONS), sessions(1_200, seed=1)
    detector.save(tmp_path / "sessions.zip")
    table = told.astype(dict.fromkeys((*SESSIONS.columns, SESSIONS.time), float))
    table.insert(0, "key", told["account"].str[1:].astype(int) % 2)
    table.insert(1, "event", np.arange(len(table)))
    folder, reference = arrive(tmp_path, table, 3), in_one_piece(detector, table)
    spark.serve(session, tmp_path / "sessions.zip", folder)
    above = reference[reference["risk"] > 1 - BUDGET]
    assert 5 < len(above) < 0.2 * len(table) and above["burst"].any()
    assert_said(spark.alerts(session, folder), above, exact=False)
    risks = spark.risks(session, tmp_path / "sessions.zip", session.createDataFrame(table)).toPandas()
    expected = reference.set_index(["key", "event"])["risk"]
    found = risks.set_index(["key", "event"])["risk"].reindex(expected.index)
    pd.testing.assert_series_equal(found, expected, rtol=1e-9)


BAD_FILES = {
    "V3 is missing or out of range": lambda events: events.drop(columns="V3"),
    "Parquet column .V3.. Expected Spark type double": lambda events: events.assign(V3="x"),
    "comes twice, or after a later one": lambda events: events.assign(event=events["event"] - 300),
    "it is damaged": None,
}


def test_a_bad_file_is_named_and_a_good_one_in_its_place_served(session, saved, stream, reference, tmp_path):
    folder = arrive(tmp_path, stream[:600], 2)
    file = folder / "events" / "001.parquet"
    good = file.read_bytes()
    for reason, change in BAD_FILES.items():
        change(stream[300:600]).to_parquet(file) if change else file.write_bytes(good[:-200])
        with pytest.raises(CourseError, match=f"^001.parquet cannot be served .*{reason}") as caught:
            spark.serve(session, saved, folder, ALL)
        assert_one_sentence(str(caught.value))
    assert_said(spark.alerts(session, folder), reference[reference["event"] < 300])
    file.write_bytes(good)
    spark.serve(session, saved, folder, ALL)
    assert_said(spark.alerts(session, folder), reference[reference["event"] < 600])


def test_an_event_that_cannot_be_scored_names_its_file_and_any_other_failure_is_one_sentence_too(stream):
    good = stream[10:14].assign(file_name=["a", "a", "b", "b"]).astype({"key": float, "event": float})
    spark._check(1, good, 9, CARDS)
    wrong, twice = "is missing or out of range", "comes twice, or after a later one"
    other = Schema(counts=("V1",), categories=("V2",))
    for column, value, reason, schema in (
        ("key", None, f"key {wrong}", CARDS),
        ("event", None, f"event {wrong}", CARDS),
        ("V6", 1e30, f"V6 {wrong}", CARDS),
        ("event", 9, twice, CARDS),
        ("event", 11, twice, CARDS),
        ("V1", -1, f"V1 {wrong}", other),
        ("V2", None, f"V2 {wrong}", other),
    ):
        events = good.assign(V1=good["V1"].abs())
        events.loc[events.index[2], column] = value
        with pytest.raises(ValueError, match=f"^File b: .*{reason}"):
            spark._check(1, events.sort_values("event") if value == 9 else events, 9, schema)
    spark._check(1, events, 9, replace(other, missing="flag"))
    page = "[STREAM_FAILED] Query [id = 1, runId = 2] terminated with exception: Java heap space\n\tat x\n"
    sentence = spark._sentence(page)
    assert_one_sentence(sentence)
    assert sentence.startswith("Spark stopped (Java heap space): look into spark.log and start again; the")


def test_a_measurement_is_that_of_its_process_alone(saved, window, tmp_path, monkeypatch):
    monkeypatch.setattr(growth, "CORES", {"one process": 0})
    (row,) = growth.run(tmp_path, saved, window, [20_000])["measured"]
    assert row["events"] == 20_000 and row["path"] == "one process"
    assert row["start_s"] > 0.2 and row["work_s"] > 0 and row["xgboost_per_s"] > 1_000
    own = jobs.peak_mb(family=True)
    assert own is None or own > row["peak_mb"] > 100
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "no.zip").write_text("no detector")
    with pytest.raises(CourseError, match=r"A measurement failed: .*no\.zip is not a detector") as caught:
        growth.run(tmp_path, tmp_path / "no.zip", window, [1_000])
    assert_one_sentence(last_line(str(caught.value)))


def test_sparks_measurement_writes_one_processs_risks_and_counts_java(
    session, saved, stream, reference, tmp_path
):
    arrive(tmp_path, stream.sample(frac=1, random_state=0), 1)
    growth._spark(saved, tmp_path / "events" / "000.parquet", tmp_path / "risks", 2)()
    risks = pd.read_parquet(tmp_path / "risks").sort_values(["key", "event"], ignore_index=True)
    pd.testing.assert_frame_equal(risks, reference[["key", "event", "risk"]], check_exact=True)
    log = Path(session.conf.get("spark.local.dir")).with_name("spark.log").read_text()
    assert "incubator" in log or "log4j" in log  # what Spark says goes there
    all_of_it, python_alone = jobs.peak_mb(family=True), jobs.peak_mb()
    assert all_of_it is None or all_of_it > python_alone + 300
