"""The sources of events: the snapshot, and OpenML through its real client and a loopback server."""

from __future__ import annotations

import io
import socket
import subprocess
import sys
import tempfile
import threading
import time
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openml_server import EXTRA_ROWS, OpenMLServer, openml_frame, parquet_bytes
from sandbox import assert_one_sentence

from helpers import data, openml_source
from helpers.settings import COLUMNS, ROOT

NOTE = "Source: OpenML, data set 1597, checked against the course's snapshot."


@pytest.fixture(scope="module")
def snapshot() -> pd.DataFrame:
    return data.load_events("snapshot", rows=100_000)


# --- the snapshot --------------------------------------------------------------------------------


def test_snapshot_is_the_pinned_one(snapshot):
    assert snapshot.dtypes.astype(str).to_dict() == dict.fromkeys(COLUMNS, "float64") | {"Class": "int8"}
    assert data.fingerprint(snapshot) == data.FINGERPRINTS[100_000]
    window = data.load_events("snapshot")
    assert data.fingerprint(window) == data.FINGERPRINTS[50_000]
    assert (len(window), window["Class"].sum()) == (50_000, 148)
    assert window["Amount"].sum() == pytest.approx(4_663_329.33)
    assert window.attrs == {"source": "snapshot", "note": "Source: the course's snapshot."}
    part = data.load_events("snapshot", rows=1_000, start=99_000)
    assert (part.index.name, part.index.dtype) == ("event", np.int64)
    pd.testing.assert_frame_equal(part, snapshot[99_000:])


@pytest.mark.parametrize("damage", ["missing", "truncated", "other value", "other truth"])
def test_damaged_snapshot_says_what_to_do(tmp_path, monkeypatch, snapshot, damage):
    file = tmp_path / data.SNAPSHOT.name
    if damage == "truncated":
        file.write_bytes(data.SNAPSHOT.read_bytes()[:-1_000])
    elif damage != "missing":
        changed = snapshot.copy()
        changed.iloc[77_777, changed.columns.get_loc("Class" if damage == "other truth" else "V6")] = 1
        changed.to_parquet(file, index=False)
    monkeypatch.setattr(data, "SNAPSHOT", file)
    state = "missing" if damage == "missing" else "damaged"
    with pytest.raises(ValueError, match=f"^data/{file.name} is {state}: take this file again") as caught:
        data.load_events("snapshot", rows=10)
    assert_one_sentence(str(caught.value))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"rows": 0}, ValueError, "rows must be at least 1, not 0"),
        ({"rows": "10"}, TypeError, "rows must be a whole number, not '10'"),
        ({"rows": True}, TypeError, "rows must be a whole number, not True"),
        ({"start": -1}, ValueError, "start must be at least 0, not -1"),
        ({"rows": None}, ValueError, "holds card payments and needs ROWS"),
        ({"rows": 100_001}, ValueError, "100,000 events, too few .* source='openml' and your own"),
        ({"start": 100_000, "rows": 1}, ValueError, "100,000 events, too few for rows=1 from start=100000"),
    ],
)
def test_bad_arguments(arguments, error, message):
    with pytest.raises(error, match=message) as caught:
        data.load_events(**{"source": "snapshot"} | arguments)
    assert_one_sentence(str(caught.value))


def test_offline_by_choice_takes_the_snapshot_without_a_look_at_the_network(monkeypatch):
    monkeypatch.setenv("COURSE_OFFLINE", "1")
    monkeypatch.setattr(openml_source, "fetch", lambda *_: pytest.fail("the network was tried"))
    events = data.load_events("auto", 10)
    assert (events.attrs["source"], len(events)) == ("snapshot", 10)
    assert events.attrs["note"] == "Source: the course's snapshot (offline by choice)."


def test_the_snapshot_is_read_without_what_only_other_sources_need():
    code = "import sys; from helpers import data; data.load_events('snapshot'); print(*sys.modules)"
    command = [sys.executable, "-c", code]
    loaded = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600).stdout.split()
    assert "helpers.openml_source" in loaded
    assert not {"helpers.readers", "openml", "arff", "sklearn", "torch", "xgboost"} & set(loaded)


# --- split, seal, fingerprint --------------------------------------------------------------------


def test_split_is_chronological(snapshot):
    train, test = data.split(snapshot[:50_000])
    assert (train.index[0], train.index[-1]) == (0, 29_999)
    assert (test.index[0], test.index[-1]) == (30_000, 49_999)
    assert [len(part) for part in data.split(snapshot[:2])] == [1, 1]
    with pytest.raises(ValueError, match="at least 2 events, not 1"):
        data.split(snapshot[:1])
    with pytest.raises(ValueError, match="not in time order"):
        data.split(snapshot.iloc[[2, 1, 0]])


def test_seal_takes_the_truth_off(snapshot):
    events, truth = data.seal(snapshot)
    assert list(events) == COLUMNS and "Class" in snapshot
    assert (truth.dtype, truth.sum()) == (np.int8, 223)
    again, nothing = data.seal(events)
    assert nothing is None and list(again) == COLUMNS


def test_fingerprint_ignores_the_truth_and_sees_the_last_bit(snapshot):
    events = snapshot[:100].copy()
    before = data.fingerprint(events)
    events["Class"] = 1 - events["Class"]
    assert data.fingerprint(events[["Class", *reversed(COLUMNS)]]) == before
    events.iloc[50, events.columns.get_loc("V6")] = np.nextafter(events["V6"].iloc[50], 9)
    assert data.fingerprint(events) != before


# --- OpenML --------------------------------------------------------------------------------------


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    """A user of our own, whose cache and temporary files lie in this folder."""
    import openml

    for name in ("cache", "tmp"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    monkeypatch.delenv("COURSE_OFFLINE", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    monkeypatch.setattr(data, "AUTO_DEADLINE", 60)
    monkeypatch.setattr(openml.config, "server", "http://openml.invalid/api/v1/xml")
    monkeypatch.setattr(openml.config, "_root_cache_directory", tmp_path / "the client's own cache")
    monkeypatch.setattr(openml.config, "retry_policy", "human")
    monkeypatch.setattr(openml.config, "connection_n_retries", 5)
    return tmp_path


@pytest.fixture
def serve(home, monkeypatch):
    """Let OpenML's client ask a server with this fault."""
    import openml

    servers = []

    def serving(fault: str | None = None) -> OpenMLServer:
        servers.append(server := OpenMLServer(fault).__enter__())
        monkeypatch.setattr(openml.config, "server", server.url)
        return server

    yield serving
    for server in servers:
        server.__exit__()


def left(home: Path) -> list[str]:
    """What lies there apart from the empty folders of the fixture."""
    return [path.name for path in home.rglob("*") if path.name not in ("cache", "tmp")]


def assert_auto_goes_on_and_openml_stops(home: Path, capfd, reason: str) -> None:
    events = data.load_events("auto")
    note = events.attrs["note"]
    assert events.attrs["source"] == "snapshot" and reason in note
    assert note.startswith("Source: the course's snapshot (") and note.endswith(").")
    assert_one_sentence(note)
    assert str(home) not in note and "WARNING:openml" not in capfd.readouterr().err
    assert data.fingerprint(events) == data.FINGERPRINTS[50_000]
    with pytest.raises((OSError, ValueError), match=r"; source='snapshot' needs no network[.]$") as caught:
        data.load_events("openml")
    assert reason in str(caught.value)
    assert_one_sentence(str(caught.value))
    assert left(home) == []


def test_openml_parquet_is_checked_kept_and_read_again(home, serve):
    server = serve()
    events = data.load_events("openml", rows=200, start=99_900)
    asked = [
        "GET /api/v1/xml/data/1597",
        *(f"{how} /datasets/0000/1597/dataset_1597.pq" for how in ("HEAD", "GET")),
    ]
    assert server.requests == asked and left(home) == ["openml_1597.parquet"]
    assert events.attrs == {"source": "openml", "note": NOTE}
    expected = openml_frame().iloc[99_900:100_100][[*COLUMNS, "Class"]].astype(float)
    np.testing.assert_array_equal(events.astype(float), expected)
    again = data.load_events("auto", rows=200, start=99_900)
    assert again.attrs == events.attrs and server.requests == asked
    pd.testing.assert_frame_equal(again, events)
    with pytest.raises(
        ValueError, match=r"There are 100,500 events, too few for rows=501 from start=100000[.]"
    ):
        data.load_events("auto", rows=EXTRA_ROWS + 1, start=100_000)


@pytest.mark.parametrize("damage", ["truncated", "empty", "one bit", "other columns", "other values"])
def test_a_damaged_kept_copy_is_never_used(home, monkeypatch, snapshot, damage):
    """Every byte of a kept copy is held against the snapshot or a checksum."""
    kept = home / "cache" / "openml_1597.parquet"
    whole = parquet_bytes()
    monkeypatch.setattr(openml_source, "_download", lambda answer: answer.put(whole))
    body = bytearray(whole)
    chunk = pq.read_metadata(io.BytesIO(whole)).row_group(0).column(6)
    body[(chunk.dictionary_page_offset or chunk.data_page_offset) + chunk.total_compressed_size - 100] ^= 1
    kept.write_bytes(
        {
            "truncated": whole[: len(whole) // 2],
            "empty": b"",
            "one bit": bytes(body),
            "other columns": pd.DataFrame({"a": [1]}).to_parquet(),
            "other values": openml_frame().assign(V2=0.0).to_parquet(),
        }[damage]
    )
    events = data.load_events("auto", rows=100_100)
    pd.testing.assert_frame_equal(events[:100_000], snapshot)
    assert events.attrs["note"] == NOTE and len(pd.read_parquet(kept)) == 100_500


def test_a_download_that_cannot_be_kept_is_used(home, monkeypatch):
    (home / "cache").rmdir()
    (home / "cache").write_text("a file where the folder should be")
    monkeypatch.setattr(openml_source, "_download", lambda answer: answer.put(parquet_bytes()))
    assert data.load_events("auto", rows=100_100).attrs["note"] == NOTE


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("404", "OpenML could not be reached: status code: 404"),
        ("unknown", "Unknown dataset"),
        ("connection lost", "OpenML could not be reached: IncompleteRead"),
    ],
)
def test_a_download_that_fails(home, serve, capfd, fault, reason):
    serve(fault)
    assert_auto_goes_on_and_openml_stops(home, capfd, reason)


def test_a_download_without_a_whole_parquet_file(home, monkeypatch, capfd):
    import openml

    nothing = SimpleNamespace(parquet_file=None)
    monkeypatch.setattr(openml.datasets, "get_dataset", lambda *_, **options: nothing)
    assert_auto_goes_on_and_openml_stops(home, capfd, "OpenML could not be reached: it gave no parquet file")
    monkeypatch.setattr(openml_source, "_download", lambda answer: answer.put(parquet_bytes()[:-1_000]))
    assert_auto_goes_on_and_openml_stops(home, capfd, "OpenML's copy is not a readable parquet file: ")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda table: table.rename(columns={"V3": "PCA3", "Class": "y"}), "has no column V3, Class"),
        (lambda table: table[:99_999], "has only 99,999 events"),
        (("V4", 12_345, 7.0), "is wrong in row 12,345, column V4"),
        (("V1", 9, np.nan), "is wrong in row 9, column V1"),
        (("V6", 100_400, np.inf), "is wrong in row 100,400, column V6"),
        (("Class", 100_401, 2), "is wrong in row 100,401, column Class"),
        (("Amount", 100_402, "much"), "is wrong in row 100,402, column Amount"),
    ],
)
def test_what_openml_brings_is_held_against_the_snapshot(home, monkeypatch, capfd, change, reason):
    table = openml_frame()
    if isinstance(change, tuple):
        column, row, value = change
        table[column] = table[column].astype(str if value == "much" else float)
        table.loc[row, column] = value
    body = (table if isinstance(change, tuple) else change(table)).to_parquet()
    monkeypatch.setattr(openml_source, "_download", lambda answer: answer.put(body))
    assert_auto_goes_on_and_openml_stops(home, capfd, f"OpenML's copy {reason}")


def test_what_agrees_within_the_tolerance_becomes_the_snapshots_value(home, monkeypatch, snapshot):
    table = openml_frame()
    table["V2"] += 9e-7
    monkeypatch.setattr(openml_source, "_download", lambda answer: answer.put(table.to_parquet()))
    events = data.load_events("auto", rows=100_500)
    pd.testing.assert_frame_equal(events[:100_000], snapshot)
    assert events["V2"].iloc[-1] == table["V2"].iloc[-1]


def test_hanging_openml_is_given_up_at_the_deadline(home, serve, monkeypatch):
    """Once at the description, once in mid-download; the lesson does not wait for what is left behind."""
    for deadline in (2, 8, 32):  # a busy machine may need longer to get so far
        server = serve("hang")
        monkeypatch.setattr(data, "AUTO_DEADLINE", deadline)
        for _ in range(2):
            begin = time.monotonic()
            note = data.load_events("auto", rows=10).attrs["note"]
            assert time.monotonic() - begin < deadline + 20
            assert note == f"Source: the course's snapshot (OpenML did not finish within {deadline} s)."
        if server.hanging == ["description", "download"]:
            break
    assert server.hanging == ["description", "download"]
    monkeypatch.setattr(data, "OPENML_DEADLINE", 0.1)
    with pytest.raises(OSError, match=r"did not finish within 0.1 s; source='snapshot'"):
        data.load_events("openml", rows=10)
    assert all(thread.daemon for thread in threading.enumerate() if thread is not threading.main_thread())


def test_refused_and_unknown_host_come_back_at_once(home, monkeypatch, capfd):
    import openml

    assert_auto_goes_on_and_openml_stops(home, capfd, "OpenML could not be reached: ")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setattr(openml.config, "server", f"http://127.0.0.1:{free.getsockname()[1]}/api/v1/xml")
        begin = time.monotonic()
        assert_auto_goes_on_and_openml_stops(home, capfd, "OpenML could not be reached: Connection refused")
        assert time.monotonic() - begin < 30


# --- any number of events ------------------------------------------------------------------------


@settings(max_examples=10, deadline=None)
@given(cuts=st.lists(st.integers(1, 7_499), max_size=6), keys=st.integers(1, 40), seed=st.integers(0, 9))
def test_a_resampled_stream_is_the_same_in_any_parts(snapshot, cuts, keys, seed):
    whole, borders = data.resample(snapshot, 7_500, keys, seed), [0, *sorted(set(cuts)), 7_500]
    parts = [data.resample(snapshot, b - a, keys, seed, start=a) for a, b in pairwise(borders)]
    pd.testing.assert_frame_equal(pd.concat(parts, ignore_index=True), whole)
    assert not whole.equals(data.resample(snapshot, 7_500, keys, seed + 1))


def test_resampled_keys_take_turns_and_replay_runs_of_real_events(snapshot):
    real = snapshot[:1_500]
    made = data.resample(real, 5_000, keys=2, seed=1)
    assert made["event"].tolist() == list(range(5_000)) and list(made) == ["key", "event", *COLUMNS]
    np.testing.assert_array_equal(made["key"], made["event"] % 2)
    values, wrapped, starts = real[COLUMNS].to_numpy(), 0, []
    for _, events in made.groupby("key"):
        for run in (slice(0, 1_000), slice(1_000, 2_000), slice(2_000, 2_500)):
            replayed = events[COLUMNS].to_numpy()[run]
            (start,) = np.flatnonzero(
                (np.roll(values, -1, 0) == replayed[1]).all(1) & (values == replayed[0]).all(1)
            )
            np.testing.assert_array_equal(replayed, values[(start + np.arange(len(replayed))) % 1_500])
            wrapped += start + len(replayed) > 1_500
            starts.append(start)
    assert 0 < wrapped < 6 and len(set(starts)) == 6


@pytest.mark.parametrize("wrong", [{"rows": 0}, {"rows": 5, "keys": 0}, {"rows": 5, "start": -1}])
def test_no_stream_of_nothing(snapshot, wrong):
    with pytest.raises(ValueError, match="must be at least"):
        data.resample(snapshot, **wrong)


def test_a_resampled_file_is_written_group_by_group_or_the_old_one_stays(snapshot, tmp_path, monkeypatch):
    def full(*given, resample=data.resample):
        if given[-1] > 2_000:
            raise OSError("full")
        return resample(*given)

    monkeypatch.setattr(data, "GROUP_ROWS", 400)
    monkeypatch.setattr(data, "resample", full)
    file = tmp_path / "x.parquet"
    data.write_resampled(file, snapshot, 1_000, 3, seed=2, start=50)
    assert [pq.read_metadata(file).row_group(i).num_rows for i in range(3)] == [400, 400, 200]
    pd.testing.assert_frame_equal(pd.read_parquet(file), data.resample(snapshot, 1_000, 3, 2, 50))
    before = file.read_bytes()
    with pytest.raises(OSError, match="full"):
        data.write_resampled(file, snapshot, 1_000, start=1_900)
    assert list(tmp_path.iterdir()) == [file] and file.read_bytes() == before
