"""helpers/spark.py and course/growth.py: one process, Spark, and that both say the same.

One Spark session serves all tests. The reference of every stream is `Detector.reasons` on each key's
events in one piece.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from sandbox import assert_one_sentence, last_line, small_files_only, with_mounts, without_network
from test_schema import SESSIONS, sessions

from course import growth, jobs
from helpers import scaling, spark
from helpers.detector import Detector
from helpers.files import CourseError
from helpers.judge import JUDGE_INPUTS, Judge
from helpers.settings import ROOT

KEYS, FILES, ROWS = 3, 8, 600  # of the stream: 1,600 events a key, more than its memory holds
ALL = -1.0  # a threshold that reports every event


@pytest.fixture(scope="session")
def saved(detector, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("saved") / "detector.zip"
    detector.save(path)
    return path


@pytest.fixture(scope="session")
def stream(window) -> pd.DataFrame:
    return scaling.resample(window, FILES * ROWS, KEYS)


@pytest.fixture(scope="session")
def reference(detector, stream) -> pd.DataFrame:
    """What one process says of every event, key by key, without batches."""
    parts = [
        detector.reasons(events.set_index("event")).assign(key=key) for key, events in stream.groupby("key")
    ]
    return pd.concat(parts).reset_index()


@pytest.fixture(scope="session")
def session(needs_spark, short_lived_java, tmp_path_factory) -> Iterator:
    running = spark.session(2, tmp_path_factory.mktemp("spark"))
    yield running
    running.stop()


@pytest.fixture(scope="session", autouse=True)
def short_lived_java() -> Iterator[None]:
    """Let Java compile for a quick start instead of for a long run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAVA_TOOL_OPTIONS", "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC")
        yield


def arrive(folder: Path, events: pd.DataFrame, files: int, begin: int = 0) -> Path:
    """Put events into the folder as files that came one after another."""
    (folder / "events").mkdir(parents=True, exist_ok=True)
    for n, part in enumerate(np.array_split(np.arange(len(events)), files), begin):
        file = folder / "events" / f"{n:03}.parquet"
        events.iloc[part].to_parquet(hidden := file.with_name(f".{n}"), index=False)
        os.utime(hidden, (1_600_000_000 + n, 1_600_000_000 + n))
        hidden.rename(file)
    return folder


def assert_said(alerts: pd.DataFrame, reference: pd.DataFrame) -> None:
    expected = reference[list(alerts)].sort_values(["key", "event"], ignore_index=True)
    pd.testing.assert_frame_equal(alerts, expected, check_exact=True)


# --- one process ---------------------------------------------------------------------------------


def test_a_file_is_scored_group_by_group_as_all_at_once(detector, window, tmp_path, monkeypatch):
    monkeypatch.setattr(scaling, "GROUP_ROWS", 1_000)
    source, target = tmp_path / "events.parquet", tmp_path / "risks.parquet"
    scaling.write_resampled(source, window, 2_500, KEYS)
    assert pq.ParquetFile(source).num_row_groups == 3
    seen = []
    monkeypatch.setattr(
        Detector,
        "score",
        lambda self, part, score=Detector.score: seen.append(len(part)) or score(self, part),
    )
    assert spark.score_file(detector, source, target) == 2_500 and seen == [1_000, 1_000, 500]
    events, risks = pd.read_parquet(source), pd.read_parquet(target)
    np.testing.assert_array_equal(risks["risk"], detector.score(events))
    pd.testing.assert_frame_equal(risks[["key", "event"]], events[["key", "event"]])


def test_a_full_disk_leaves_the_old_scores(detector, window, tmp_path):
    source, target = tmp_path / "events.parquet", tmp_path / "risks.parquet"
    scaling.write_resampled(source, window, 20_000, KEYS)
    target.write_bytes(b"old")
    with small_files_only(30_000), pytest.raises(OSError, match="too large"):
        spark.score_file(detector, source, target)
    assert target.read_bytes() == b"old" and sorted(p.name for p in tmp_path.iterdir()) == [
        source.name,
        target.name,
    ]


# --- what Spark needs ----------------------------------------------------------------------------


def fake_java(folder: Path, version: str) -> str:
    (folder / "bin").mkdir()
    java = folder / "bin" / "java"
    java.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\" 2020' >&2\n")
    java.chmod(0o755)
    return str(folder)


@pytest.mark.parametrize(
    ("version", "said"),
    [("11.0.2", "is of version 11"), ("1.8.0_292", "is of version 1"), (None, "no .*java was found")],
)
def test_a_missing_or_old_java_is_named(tmp_path, monkeypatch, version, said):
    pytest.importorskip("pyspark", reason="pyspark is not installed")
    monkeypatch.setenv("JAVA_HOME", fake_java(tmp_path, version) if version else str(tmp_path))
    with pytest.raises(CourseError, match=f"needs Java 17 or later, and .*{said}") as caught:
        spark.session(1, tmp_path)
    assert_one_sentence(str(caught.value))


@pytest.mark.parametrize("version", ["17.0.15", "21", "25-ea"])
def test_java_17_and_later_will_do(tmp_path, monkeypatch, version):
    pytest.importorskip("pyspark", reason="pyspark is not installed")
    monkeypatch.setenv("JAVA_HOME", fake_java(tmp_path, version))
    assert spark.lacking() == ""


def test_a_missing_pyspark_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(spark.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(CourseError, match="not installed: run `make scale` once") as caught:
        spark.session(1, tmp_path)
    assert_one_sentence(str(caught.value))


def test_a_notebook_shows_the_sentence_alone():
    from IPython.core.interactiveshell import InteractiveShell
    from IPython.utils.capture import capture_output

    with capture_output() as shown:
        InteractiveShell().run_cell("from helpers.files import CourseError\nraise CourseError('No Java.')")
    assert shown.stdout.strip() == "CourseError: No Java."


def test_what_spark_says_goes_into_its_log(session):
    log = Path(session.conf.get("spark.local.dir")).with_name("spark.log").read_text()
    assert "incubator" in log or "log4j" in log


# --- a table -------------------------------------------------------------------------------------


def test_a_table_gets_the_risks_of_one_process(session, saved, stream, reference):
    for partitions in (1, 5):
        table = session.createDataFrame(stream.sample(frac=1, random_state=0)).repartition(partitions)
        risks = spark.risks(session, saved, table).toPandas().sort_values(["key", "event"], ignore_index=True)
        pd.testing.assert_frame_equal(risks, reference[["key", "event", "risk"]], check_exact=True)


# --- a stream ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("files", "partitions"), [(FILES, 1), (3, 3)])
def test_a_stream_says_what_one_process_says(session, saved, stream, reference, tmp_path, files, partitions):
    folder = arrive(tmp_path, stream, FILES)
    progress = spark.serve(session, saved, folder, ALL, files, partitions)
    assert [p["numInputRows"] for p in progress if p["numInputRows"]] == (
        [FILES * ROWS] if files == FILES else [1_800, 1_800, 1_200]
    )
    assert_said(spark.alerts(session, folder), reference)
    assert (reference["burst"] > 5).sum() > 20 and (reference["repeats"] > 0).any()


def test_alerts_are_the_events_above_the_threshold(session, saved, detector, stream, reference, tmp_path):
    folder = arrive(tmp_path, stream, 2)
    spark.serve(session, saved, folder, files=1, partitions=2)
    alerts = spark.alerts(session, folder)
    assert 0 < len(alerts) < 0.1 * len(stream)
    assert_said(alerts, reference[reference["risk"] > detector.alert_threshold])


def test_killed_nothing_is_lost_and_nothing_comes_twice(session, saved, stream, reference, tmp_path):
    first = len(stream) // FILES * 3
    folder = arrive(tmp_path, stream[:first], 3)

    def later() -> None:
        for _ in range(6_000):  # two minutes at most
            time.sleep(0.02)
            if (folder / "checkpoint" / "commits" / "1").exists():
                break
        arrive(folder, stream[first:], FILES - 3, begin=3)

    with ThreadPoolExecutor(1) as pool:
        pool.submit(later)
        options = {"threshold": ALL, "partitions": 2, "every": "100 milliseconds"}
        finished = spark.serve_and_kill(saved, folder, 4, seconds=0.2, **options)
    assert 4 <= finished < FILES
    before = spark.alerts(session, folder)
    assert ROWS * finished <= len(before) < len(stream)
    spark.serve(session, saved, folder, ALL, files=3)
    assert_said(spark.alerts(session, folder), reference)


def test_a_query_that_fails_before_the_kill_says_why(needs_spark, saved, stream, tmp_path):
    with pytest.raises(CourseError, match="JAVA_HOME"), pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAVA_HOME", str(tmp_path))
        spark.serve_and_kill(saved, arrive(tmp_path, stream, 1), 1)


def test_served_again_nothing_happens_and_new_files_are_served(session, saved, stream, reference, tmp_path):
    half = len(stream) // 2
    folder = arrive(tmp_path, stream[:half], 1)
    for _ in range(2):
        spark.serve(session, saved, folder, ALL, partitions=1)
        assert len(spark.alerts(session, folder)) == half
    stream[half:].to_parquet(folder / "events" / "late.parquet", index=False)
    spark.serve(session, saved, folder, ALL)
    assert_said(spark.alerts(session, folder), reference)


def test_sessions_of_accounts_are_served_as_one_process_would(session, tmp_path):
    detector, told = Detector.fit(sessions(), schema=SESSIONS), sessions(2_400, seed=1)
    detector.save(tmp_path / "sessions.zip")
    table = told.astype(dict.fromkeys((*SESSIONS.columns, SESSIONS.time), float))
    table.insert(0, "key", told["account"].str[1:].astype(int) % 2)  # an account belongs to one market
    table.insert(1, "event", np.arange(len(table)))
    folder = arrive(tmp_path, table, 4)
    spark.serve(session, tmp_path / "sessions.zip", folder, ALL, partitions=1)
    parts = [
        detector.reasons(events.set_index("event")).assign(key=key) for key, events in table.groupby("key")
    ]
    assert_said(spark.alerts(session, folder), pd.concat(parts).reset_index())


def damaged(path: Path, events: pd.DataFrame) -> None:
    events.to_parquet(path)
    path.write_bytes(path.read_bytes()[:-200])


BAD_FILES = {
    "it is damaged": damaged,
    "V3 is missing or not finite": lambda path, e: e.drop(columns="V3").to_parquet(path),
    "Parquet column .V3.. Expected Spark type double": lambda path, e: e.assign(V3="x").to_parquet(path),
    "comes twice, or after a later one": lambda path, e: e.assign(event=e["event"] - 300).to_parquet(path),
}


@pytest.mark.parametrize("reason", BAD_FILES)
def test_a_bad_file_is_named_and_a_good_one_in_its_place_served(
    session, saved, stream, reference, tmp_path, reason
):
    events = stream[:600]
    folder = arrive(tmp_path, events, 2)
    good = (folder / "events" / "001.parquet").read_bytes()
    BAD_FILES[reason](folder / "events" / "001.parquet", events[300:])
    with pytest.raises(CourseError, match=f"^001.parquet cannot be served .*{reason}") as caught:
        spark.serve(session, saved, folder, ALL, partitions=1)
    assert_one_sentence(str(caught.value))
    assert_said(spark.alerts(session, folder), reference[reference["event"] < 300])
    (folder / "events" / "001.parquet").write_bytes(good)
    spark.serve(session, saved, folder, ALL)
    assert_said(spark.alerts(session, folder), reference[reference["event"] < 600])


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("key", None, "key is missing"),
        ("event", None, "event is missing"),
        ("V6", np.inf, "V6 is missing or not finite"),
        ("event", 9, "comes twice, or after a later one"),
        ("event", 11, "comes twice, or after a later one"),
    ],
)
def test_an_event_that_cannot_be_scored_names_its_file(stream, column, value, reason):
    events = stream[10:14].assign(file_name=["a", "a", "b", "b"]).astype({"key": float, "event": float})
    spark._check(1, events, last=9)
    events.loc[events.index[2], column] = value
    with pytest.raises(ValueError, match=f"^File b: .*{reason}"):
        spark._check(1, events.sort_values("event") if value == 9 else events, last=9)


def test_any_other_failure_is_one_sentence_too(tmp_path):
    page = "[STREAM_FAILED] Query [id = 1, runId = 2] terminated with exception: Java heap space\n\tat x\n"
    sentence = spark._sentence(page, tmp_path)
    assert_one_sentence(sentence)
    assert sentence.startswith("Spark stopped (Java heap space): look into spark.log")


FULL = """
import sys
from pathlib import Path
from helpers import spark
from helpers.files import CourseError

folder, saved = Path(sys.argv[1]), Path(sys.argv[2])
session = spark.session(1, folder.parent / "spark")
try:
    spark.serve(session, saved, folder, -1.0, partitions=1)
except CourseError as error:
    print(error)
print(len(spark.alerts(session, folder)))
(folder / "filler").unlink()
spark.serve(session, saved, folder, -1.0)
spark.alerts(session, folder).to_parquet(folder.parent / "alerts.parquet")
"""


def test_without_network_and_on_a_full_disk_the_progress_is_kept(
    needs_spark, saved, stream, reference, tmp_path
):
    folder = arrive(tmp_path / "disk", stream, FILES)
    mounts = (
        'cp -a "$folder" "$folder.kept"; mount -t tmpfs -o size=4m tmpfs "$folder"; '
        'cp -a "$folder.kept/." "$folder"; head -c 2800k /dev/zero > "$folder/filler"'
    )
    command = without_network(sys.executable, "-c", FULL, folder, saved)
    done = subprocess.run(
        with_mounts(mounts, folder, *command), cwd=ROOT, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr[-2_000:]
    sentence, kept = done.stdout.strip().splitlines()
    assert sentence == f"The disk of {folder} is full: free some space and start again; the progress is kept."
    assert 0 < int(kept) < len(stream)
    assert_said(pd.read_parquet(tmp_path / "alerts.parquet"), reference)


# --- the judge -----------------------------------------------------------------------------------


def test_one_worker_trains_the_local_judge_and_two_a_like_one(session, detector, small):
    seen = detector.seen(small)
    labels = np.where(detector.score(small) > 0.5, 1, 0).astype(np.int8)
    labels[::7] = -1
    judge = Judge(trees=10, seed=3)
    local = judge.fit(seen, labels).risk(seen)
    one, two = (spark.train_judge(session, seen, labels, judge, workers) for workers in (1, 2))
    assert one.names == two.names == JUDGE_INPUTS
    assert spark.agreement(local, one.risk(seen)) == {
        "same_bits": True,
        "rank_correlation": pytest.approx(1.0),
        "same_alerts": 1.0,
    }
    like = spark.agreement(local, two.risk(seen))
    assert not like["same_bits"] and like["rank_correlation"] > 0.5 and like["same_alerts"] > 0.7


# --- growth --------------------------------------------------------------------------------------


def test_a_measurement_is_that_of_its_process_alone(saved, window, tmp_path, monkeypatch):
    ballast = np.ones(2**28 // 8)  # 256 MB that only this process holds
    monkeypatch.setattr(growth, "CORES", {scaling.ONE: 0})
    (row,) = growth.run(tmp_path, saved, window, [20_000])["measured"]
    assert row["events"] == 20_000 and row["path"] == scaling.ONE
    assert 0.2 < row["start_s"] < 60 and 0 < row["work_s"] < 10 and row["xgboost_per_s"] > 10_000
    own = jobs.peak_mb(family=True)
    assert own is None or (row["peak_mb"] > 100 and own > row["peak_mb"] and own > ballast.nbytes / 2**20)
    assert list(tmp_path.iterdir()) == []


def test_sparks_measurement_writes_the_same_risks_and_counts_java(
    session, saved, stream, reference, tmp_path
):
    arrive(tmp_path, stream, 1)
    growth._spark(saved, tmp_path / "events" / "000.parquet", tmp_path / "risks", 2)()
    risks = pd.read_parquet(tmp_path / "risks").sort_values(["key", "event"], ignore_index=True)
    pd.testing.assert_frame_equal(risks, reference[["key", "event", "risk"]], check_exact=True)
    all_of_it, python_alone = jobs.peak_mb(family=True), jobs.peak_mb()
    assert all_of_it is None or all_of_it > python_alone + 300


def test_a_failed_measurement_is_one_sentence(window, tmp_path, monkeypatch):
    monkeypatch.setattr(growth, "CORES", {scaling.ONE: 0})
    (tmp_path / "no.zip").write_text("no detector")
    with pytest.raises(CourseError, match=r"A measurement failed: .*no\.zip is not a detector") as caught:
        growth.run(tmp_path, tmp_path / "no.zip", window, [1_000])
    assert_one_sentence(last_line(str(caught.value)))
