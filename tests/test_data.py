"""The sources of events: the snapshot, and OpenML through its real client and a loopback server."""

import tempfile
import threading
from itertools import pairwise

import numpy as np
import openml
import pandas as pd
import pyarrow.parquet as pq
import pytest
from openml_server import EXTRA_ROWS, OpenMLServer, openml_frame
from sandbox import assert_one_sentence, refused

from helpers import data, openml_source
from helpers.schema import Schema
from helpers.settings import COLUMNS

NOTE = "Source: OpenML, data set 1597, checked against the course's snapshot."


once = pytest.fixture(scope="module")
snapshot = once(lambda: data.load_events("snapshot", rows=100_000))


def test_snapshot_is_the_pinned_one(snapshot):
    assert snapshot.dtypes.astype(str).to_dict() == dict.fromkeys(COLUMNS, "float64") | {"Class": "int8"}
    assert data.fingerprint(snapshot) == data.FINGERPRINT and snapshot["Class"].sum() == 223
    window = data.load_events("snapshot")
    assert window.attrs == {"source": "snapshot", "note": "Source: the course's snapshot."}
    part = data.load_events("snapshot", rows=1_000, start=99_000)
    assert (part.index.name, part.index.dtype) == ("event", np.int64)
    for events, same in ((window, snapshot[:50_000]), (part, snapshot[99_000:])):
        pd.testing.assert_frame_equal(events, same)


@pytest.mark.parametrize("damage", ["missing", "truncated", "V6", "Class"])
def test_damaged_snapshot_says_what_to_do(tmp_path, monkeypatch, snapshot, damage):
    monkeypatch.setattr(data, "SNAPSHOT", file := tmp_path / data.SNAPSHOT.name)
    if damage in snapshot:
        values = np.where(snapshot.index == 77_777, 1, snapshot[damage])
        snapshot.assign(**{damage: values}).to_parquet(file, index=False)
    elif damage == "truncated":
        file.write_bytes(b"PAR1")
    state = "missing" if damage == "missing" else "damaged"
    with refused(f"^data/{file.name} is {state}: take this file again"):
        data.load_events("snapshot", rows=10)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rows": 0}, "rows must be at least 1 and start at least 0, not 0 and 0"),
        ({"start": -1}, "rows must be at least 1 and start at least 0, not 50000 and -1"),
        ({"rows": None}, "holds card payments and needs ROWS"),
        ({"schema": Schema(axes=["V1"])}, "holds card payments and needs ROWS"),
        ({"start": 100_000, "rows": 1}, "100,000 events, too few for rows=1 from start=100000"),
        ({"source": "kaggle"}, "Unknown source 'kaggle': use 'auto', 'openml', 'snapshot' or"),
        ({"source": "no/such.csv"}, "There is no file 'no/such.csv'"),
    ],
)
def test_bad_arguments(arguments, message):
    with refused(message, (ValueError, FileNotFoundError)):
        data.load_events(**{"source": "snapshot"} | arguments)


def test_split_is_chronological_and_offline_by_choice_nobody_looks_at_the_network(snapshot, monkeypatch):
    train, test = data.split(snapshot[:50_000])
    assert [*train.index[[0, -1]], *test.index[[0, -1]]] == [0, 29_999, 30_000, 49_999]
    assert [len(part) for part in data.split(snapshot[:2])] == [1, 1]
    for events, sentence in (
        (snapshot[:1], "at least 2 events, not 1"),
        (snapshot[1::-1], "not in time order"),
    ):
        with refused(sentence):
            data.split(events)
    monkeypatch.setenv("COURSE_OFFLINE", "1")
    monkeypatch.setattr(openml_source, "fetch", lambda *_: pytest.fail("the network was tried"))
    events = data.load_events("auto", 10)
    note = "Source: the course's snapshot (offline by choice)."
    assert (events.attrs, len(events)) == ({"source": "snapshot", "note": note}, 10)


def test_seal_takes_the_truth_off_and_fingerprint_ignores_it_and_sees_the_last_bit(snapshot):
    events, truth = data.seal(snapshot)
    assert list(events) == COLUMNS and "Class" in snapshot and data.seal(events)[1] is None
    assert (truth.dtype, truth.sum()) == (np.int8, 223)
    some = snapshot[:100].assign(Class=1)
    assert data.fingerprint(some[["Class", *reversed(COLUMNS)]]) == data.fingerprint(events[:100])
    some.loc[50, "V6"] = np.nextafter(some.loc[50, "V6"], 9)
    assert data.fingerprint(some) != data.fingerprint(events[:100])


@pytest.fixture
def server(tmp_path, monkeypatch):
    """OpenML on the loopback, for a user of our own, whose cache and temporary files lie in one folder."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    monkeypatch.delenv("COURSE_OFFLINE", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    monkeypatch.setattr(data, "AUTO_DEADLINE", 25)  # no time for another try
    with OpenMLServer() as server:
        config = {"server": server.url, "_root_cache_directory": tmp_path / "the client's own cache"}
        for name, value in (config | {"retry_policy": "human", "connection_n_retries": 5}).items():
            monkeypatch.setattr(openml.config, name, value)
        yield server


def test_openml_parquet_is_checked_kept_and_read_again(server, tmp_path):
    events = data.load_events("openml", rows=200, start=99_900)
    file = "/datasets/0000/1597/dataset_1597.pq"
    asked = ["GET /api/v1/xml/data/1597", f"HEAD {file}", f"GET {file}"]
    assert server.requests == asked
    assert {path.name for path in tmp_path.rglob("*")} == {"tmp", "cache", "openml_1597.parquet"}
    assert events.attrs == {"source": "openml", "note": NOTE}
    expected = openml_frame().iloc[99_900:100_100][[*COLUMNS, "Class"]].astype(float)
    np.testing.assert_array_equal(events.astype(float), expected)
    again = data.load_events("auto", rows=200, start=99_900)
    assert again.attrs == events.attrs and server.requests == asked
    pd.testing.assert_frame_equal(again, events)
    with refused("There are 100,500 events, too few for rows=501 from start=100000"):
        data.load_events("auto", rows=EXTRA_ROWS + 1, start=100_000)


@pytest.fixture
def fetched(server, snapshot, monkeypatch):
    """What becomes of a table that OpenML serves, held against the first hundred events."""

    def fetched(table: pd.DataFrame) -> pd.DataFrame:
        monkeypatch.setattr(openml_source, "_download", lambda answer: answer.put(table.to_parquet()))
        return openml_source.fetch(60, snapshot[:100])

    return fetched


def test_a_damaged_kept_copy_is_never_used(tmp_path, fetched):
    """Every byte of a kept copy is held against the snapshot or a checksum."""
    table, kept = openml_frame()[:110], tmp_path / "cache" / "openml_1597.parquet"
    kept.parent.write_text("a file where the folder should be")  # nothing can be kept
    expected = fetched(table)
    kept.parent.unlink()
    pd.testing.assert_frame_equal(fetched(table), expected)
    whole = kept.read_bytes()
    expected.to_parquet(kept, compression=None, use_dictionary=False, write_page_checksum=True)
    last = pq.read_metadata(kept).row_group(0).column(6)
    (one_bit := bytearray(kept.read_bytes()))[last.data_page_offset + last.total_compressed_size - 4] ^= 1
    for bad in (whole[:-9], bytes(one_bit), pd.DataFrame({"a": [1]}).to_parquet()):
        kept.write_bytes(bad)
        pd.testing.assert_frame_equal(fetched(table), expected, check_exact=True)
        pd.testing.assert_frame_equal(pd.read_parquet(kept), expected)
    pd.testing.assert_frame_equal(fetched(table[:0]), expected)  # which is kept


FAULTS = {
    "404": "OpenML could not be reached: status code: 404",
    "unknown": "Unknown dataset",
    "connection lost": "OpenML could not be reached: IncompleteRead",
    "refused": "OpenML could not be reached: Connection refused",
    "no parquet": "OpenML's copy is not a readable parquet file: ",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_download_that_fails(server, tmp_path, monkeypatch, snapshot, capfd, fault):
    """With "auto" the lesson goes on with the snapshot, with "openml" it stops."""
    server.fault = fault
    if fault == "refused":
        monkeypatch.setattr(openml.config, "server", "http://127.0.0.1:1/api/v1/xml")
    if fault == "no parquet":
        monkeypatch.setattr(openml_source, "_download", lambda answer: answer.put(b"PAR1"))
    events = data.load_events("auto")
    note = events.attrs["note"]
    assert events.attrs["source"] == "snapshot" and FAULTS[fault] in note
    assert note.startswith("Source: the course's snapshot (") and note.endswith(").")
    assert_one_sentence(note)
    assert str(tmp_path) not in note and "WARNING:openml" not in capfd.readouterr().err
    pd.testing.assert_frame_equal(events, snapshot[:50_000])
    with refused(rf"{FAULTS[fault]}.*; source='snapshot' needs no network[.]$", (OSError, ValueError)):
        data.load_events("openml")
    assert {path.name for path in tmp_path.rglob("*")} <= {"tmp", "cache"}


def test_what_openml_brings_is_held_against_the_snapshot(fetched, snapshot):
    table = openml_frame()[:110]
    changes = {"has no column V3, Class": table.rename(columns={"V3": "PCA3", "Class": "y"})}
    changes["has only 99 events"] = table[:99]
    for column, row, value in (
        *(("V4", 12, table.loc[12, "V4"] + 2e-6), ("V1", 99, np.nan), ("V6", 100, np.inf)),
        *(("Class", 101, 2), ("Amount", 102, "much")),
    ):
        changes[f"is wrong in row {row}, column {column}"] = changed = table.astype({column: object})
        changed.loc[row, column] = value
        changed[column] = changed[column].astype(str if value == "much" else float)
    for reason, changed in changes.items():
        with pytest.raises(ValueError, match=f"^OpenML's copy {reason}$"):
            fetched(changed)
    table = table.assign(V2=table["V2"] + 9e-7)  # which agrees, and becomes the snapshot's value
    events = fetched(table)
    pd.testing.assert_frame_equal(events[:100], snapshot[:100].reset_index(drop=True), check_exact=True)
    assert events["V2"][100:].tolist() == table["V2"][100:].tolist()


def test_hanging_openml_is_given_up_at_the_deadline(server, monkeypatch):
    """The lesson does not wait for what is left behind."""
    for server.fault in ("description", "download"):
        for deadline in (2, 8, 32):  # a busy machine may need longer to get so far
            monkeypatch.setattr(data, "AUTO_DEADLINE", deadline)
            note = data.load_events("auto", rows=10).attrs["note"]
            assert note == f"Source: the course's snapshot (OpenML did not finish within {deadline} s)."
            if server.fault in server.hanging:
                break
    assert server.hanging == {"description", "download"}
    monkeypatch.setattr(data, "OPENML_DEADLINE", 0.1)
    with refused(r"did not finish within 0.1 s; source='snapshot'", OSError):
        data.load_events("openml", rows=10)
    assert all(thread.daemon for thread in threading.enumerate() if thread is not threading.main_thread())


def test_resampled_keys_take_turns_and_replay_the_real_stream_from_a_place_of_their_own(snapshot):
    real = snapshot[:1_500]
    made = data.resample(real, 5_000, keys=2, seed=1)
    parts = [data.resample(real, b - a, 2, 1, start=a) for a, b in pairwise([0, 1, 1_999, 2_001, 5_000])]
    pd.testing.assert_frame_equal(pd.concat(parts, ignore_index=True), made)
    assert not made.equals(data.resample(real, 5_000, keys=2, seed=2))
    assert made["event"].tolist() == list(range(5_000)) and list(made) == ["key", "event", *COLUMNS]
    np.testing.assert_array_equal(made["key"], made["event"] % 2)
    for key, first in enumerate(np.random.default_rng(1).integers(1_500, size=2)):
        replayed = real[COLUMNS].to_numpy()[(first + np.arange(2_500)) % 1_500]
        np.testing.assert_array_equal(made[COLUMNS][made["key"] == key], replayed)
