"""The sources of events: OpenML (the real client, a loopback server), the snapshot, own files."""

from __future__ import annotations

import gzip
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from openml_server import EXTRA_ROWS, OpenMLServer, openml_frame, parquet_bytes

from helpers import data, openml_source
from helpers.settings import AXES, COLUMNS, ROOT


@pytest.fixture(scope="module")
def snapshot() -> pd.DataFrame:
    return data.load_events("snapshot", rows=100_000)


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    """A user of our own: home, configuration, cache, temporary files, and time on a busy machine."""
    monkeypatch.setattr(data, "AUTO_DEADLINE", 60)
    for name in ("home", "config/openml", "home/.openml", "tmp"):
        (tmp_path / name).mkdir(parents=True)
    for name, value in {
        "HOME": "home",
        "USERPROFILE": "home",
        "XDG_CONFIG_HOME": "config",
        "COURSE_CACHE": "cache",
        "TMPDIR": "tmp",
    }.items():
        monkeypatch.setenv(name, str(tmp_path / value))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    monkeypatch.delenv("COURSE_OFFLINE", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", None)
    use_server(tmp_path, "http://openml.invalid/api/v1/xml")
    return tmp_path


def use_server(home: Path, url: str) -> None:
    """Name the server in OpenML's own configuration file."""
    for folder in ("config/openml", "home/.openml"):
        (home / folder / "config").write_text(f"server = {url}\n")


def assert_nothing_left(home: Path, kept: tuple[str, ...] = ()) -> None:
    assert [p for p in psutil.Process().children(True) if "helpers.openml_source" in p.cmdline()] == []
    assert list((home / "tmp").iterdir()) == []
    assert sorted(p.name for p in (home / "cache").glob("*")) == sorted(kept)


def assert_one_sentence(message: str) -> None:
    assert message.endswith(".") and "\n" not in message and len(message) < 300
    assert "Traceback" not in message


# --- the snapshot --------------------------------------------------------------------------------


def test_snapshot_is_the_pinned_one(snapshot):
    assert snapshot.dtypes.astype(str).to_dict() == dict.fromkeys(COLUMNS, "float64") | {"Class": "int8"}
    assert data.fingerprint(snapshot) == data.FINGERPRINTS[100_000]
    window = data.load_events("snapshot")
    assert data.fingerprint(window) == data.FINGERPRINTS[50_000]
    assert (len(window), window["Class"].sum()) == (50_000, 148)
    assert window["Amount"].sum() == pytest.approx(4_663_329.33)
    assert window.attrs == {"source": "snapshot", "note": "Source: the course's snapshot."}


def test_rows_and_start_name_the_events(snapshot):
    part = data.load_events("snapshot", rows=1_000, start=99_000)
    assert (part.index.name, part.index.dtype) == ("event", np.int64)
    pd.testing.assert_frame_equal(part, snapshot.iloc[99_000:], check_index_type=False)


@pytest.mark.parametrize("damage", ["missing", "truncated", "other value", "other truth"])
def test_damaged_snapshot_says_what_to_do(tmp_path, monkeypatch, snapshot, damage):
    file = tmp_path / "creditcard_100k.parquet"
    if damage == "truncated":
        file.write_bytes(data.SNAPSHOT.read_bytes()[:-1_000])
    elif damage != "missing":
        column = "Class" if damage == "other truth" else "V6"
        changed = snapshot.copy()
        changed.iloc[77_777, changed.columns.get_loc(column)] = 1
        changed.to_parquet(file, index=False)
    monkeypatch.setattr(data, "SNAPSHOT", file)
    state = "missing" if damage == "missing" else "damaged"
    error = FileNotFoundError if damage == "missing" else ValueError
    with pytest.raises(error, match=f"{state}: take this file again") as caught:
        data.load_events("snapshot", rows=10)
    assert_one_sentence(str(caught.value))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"rows": 0}, ValueError, "rows must be at least 1, not 0"),
        ({"rows": -5}, ValueError, "rows must be at least 1, not -5"),
        ({"rows": 10.0}, TypeError, "rows must be a whole number, not 10.0"),
        ({"rows": "10"}, TypeError, "rows must be a whole number, not '10'"),
        ({"rows": True}, TypeError, "rows must be a whole number, not True"),
        ({"start": -1}, ValueError, "start must be at least 0, not -1"),
        ({"start": None}, TypeError, "start must be a whole number, not None"),
        ({"rows": 100_001}, ValueError, "100,000 events, too few .* source='openml' and your own"),
        ({"rows": 10**30}, ValueError, "100,000 events, too few"),
        ({"start": 100_000, "rows": 1}, ValueError, "100,000 events, too few for rows=1 from"),
        ({"source": "kaggle"}, ValueError, "Unknown source 'kaggle': use 'auto', 'openml'"),
        ({"source": ""}, ValueError, "is a folder"),
        ({"source": 1597}, TypeError, "source must be a text or a path, not 1597"),
        ({"source": "no/such.csv"}, FileNotFoundError, "There is no file 'no/such.csv'"),
    ],
)
def test_bad_arguments(arguments, error, message):
    with pytest.raises(error, match=message) as caught:
        data.load_events(**{"source": "snapshot"} | arguments)
    assert_one_sentence(str(caught.value))


# --- split, seal, fingerprint -------------------------------------------------------------------


def test_split_is_chronological(snapshot):
    train, test = data.split(snapshot.iloc[:50_000])
    assert (train.index[0], train.index[-1]) == (0, 29_999)
    assert (test.index[0], test.index[-1]) == (30_000, 49_999)
    with pytest.raises(ValueError, match="at least 2 events, not 1"):
        data.split(snapshot.iloc[:1])
    with pytest.raises(ValueError, match="not in time order"):
        data.split(snapshot.iloc[[2, 1, 0]])


def test_seal_takes_the_truth_off(snapshot):
    events, truth = data.seal(snapshot)
    assert list(events) == COLUMNS and "Class" in snapshot
    assert (truth.dtype, truth.sum()) == (np.int8, 223)
    again, nothing = data.seal(events)
    assert nothing is None and list(again) == COLUMNS


def test_fingerprint_ignores_the_truth_and_sees_the_last_bit(snapshot):
    events = snapshot.iloc[:100].copy()
    before = data.fingerprint(events)
    events["Class"] = 1 - events["Class"]
    assert data.fingerprint(events[["Class", *reversed(COLUMNS)]]) == before
    events.iloc[50, events.columns.get_loc("V6")] = np.nextafter(events["V6"].iloc[50], 9)
    assert data.fingerprint(events) != before


# --- OpenML --------------------------------------------------------------------------------------


def test_openml_parquet_is_checked_kept_and_read_again(home, snapshot):
    with OpenMLServer() as server:
        use_server(home, server.url)
        events = data.load_events("openml", rows=200, start=99_900)
        assert server.requests == [
            "GET /api/v1/xml/data/1597",
            "HEAD /datasets/0000/1597/dataset_1597.pq",
            "GET /datasets/0000/1597/dataset_1597.pq",
        ]
    assert_nothing_left(home, kept=("openml_1597.parquet",))
    assert events.attrs["source"] == "openml"
    assert events.attrs["note"] == ("Source: OpenML, data set 1597, checked against the course's snapshot.")
    expected = openml_frame().iloc[99_900:100_100][[*COLUMNS, "Class"]].astype(float)
    np.testing.assert_array_equal(events.astype(float), expected)

    again = data.load_events("auto", rows=200, start=99_900)
    assert again.attrs["source"] == "cache"
    assert "kept from an earlier download" in again.attrs["note"]
    pd.testing.assert_frame_equal(again, events)
    with pytest.raises(ValueError, match="OpenML's copy has 100,500 events, too few"):
        data.load_events("auto", rows=EXTRA_ROWS + 1, start=100_000)


def test_a_corrupt_cache_of_the_client_is_neither_read_nor_changed(home):
    """What a kill left of an earlier use of openml-python, in the folder that its settings name."""
    with OpenMLServer() as server:
        server_folder = "/".join(reversed(server.url.split("/")[2].split(".")))
        folder = home / "old cache" / server_folder / "org/openml/www/datasets/1597"
        plain = home / "old cache" / server_folder / "datasets/1597"
        left = [each / name for each in (folder, plain) for name in ("description.xml", "dataset_1597.pq")]
        for path in left:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"half")
        use_server(home, f"{server.url}\ncachedir = {home / 'old cache'}")
        assert data.load_events("auto", rows=10).attrs["source"] == "openml"
    assert [path.read_bytes() for path in left] == [b"half"] * 4
    assert sorted(path for path in (home / "old cache").rglob("*") if path.is_file()) == sorted(left)
    assert_nothing_left(home, kept=("openml_1597.parquet",))


def test_openml_arff_gives_the_same_events(home, monkeypatch):
    """It takes so long to read that the child process reads it, within the deadline."""
    read, seen = openml_source.read_events, []
    monkeypatch.setattr(
        openml_source, "read_events", lambda path, *more: seen.append(path) or read(path, *more)
    )
    with OpenMLServer("arff only") as server:
        use_server(home, server.url)
        events = data.load_events("auto", rows=100_000)
        assert server.requests[-1] == "GET /data/v1/download/1673544/creditcard.arff"
    assert events.attrs["source"] == "openml" and [path.suffix for path in seen] == [".parquet"] * 2
    assert data.fingerprint(events) == data.FINGERPRINTS[100_000]
    assert_nothing_left(home, kept=("openml_1597.parquet",))


def once(function):
    """Keep what the real client brought, so that one download answers two calls."""
    seen = []

    def wrapped(*arguments) -> pd.DataFrame:
        if not seen:
            try:
                seen.append(function(*arguments))
            except Exception as error:
                seen.append(error)
        if isinstance(seen[0], Exception):
            raise seen[0]
        return seen[0]

    return wrapped


def assert_auto_goes_on_and_openml_stops(home: Path, monkeypatch, reason: str) -> None:
    monkeypatch.setattr(openml_source, "fetch", once(openml_source.fetch))
    events = data.load_events("auto")
    note = events.attrs["note"]
    assert events.attrs["source"] == "snapshot" and reason in note
    assert note.startswith("Source: the course's snapshot (") and note.endswith(").")
    assert_one_sentence(note)
    assert str(home) not in note
    assert data.fingerprint(events) == data.FINGERPRINTS[50_000]
    with pytest.raises((OSError, ValueError), match="source='snapshot' needs no network") as caught:
        data.load_events("openml")
    assert reason in str(caught.value) and not caught.type.__name__.startswith("_")
    assert_one_sentence(str(caught.value))
    assert_nothing_left(home)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("404", "OpenML answered: status 404"),
        ("500", "OpenML answered: status 500"),
        ("unknown", "OpenML answered: Unknown dataset"),
        ("connection lost", "the download from OpenML failed: IncompleteRead"),
        ("changed value", "OpenML's copy differs from the snapshot in row 12,345, column V4"),
        ("truncated", "OpenML's copy is not a readable .parquet file: "),
        ("wrong columns", "OpenML's copy has no column V3 (Amount and V1 to V6 are needed)"),
        ("few rows", "OpenML's copy has only 30,000 of the 284,807 events"),
        ("no class", "OpenML's copy has no column Class"),
    ],
)
def test_bad_openml(home, monkeypatch, fault, reason):
    with OpenMLServer(fault) as server:
        use_server(home, server.url)
        assert_auto_goes_on_and_openml_stops(home, monkeypatch, reason)


def test_an_error_that_takes_more_than_a_sentence_comes_as_one(monkeypatch):
    def fetch(*_: object) -> pd.DataFrame:
        return b"\xff".decode()

    monkeypatch.setattr(openml_source, "fetch", fetch)
    with pytest.raises(ValueError, match=r"can't decode byte .*; source='snapshot' needs no network[.]$"):
        data.load_events("openml", rows=10)


def test_hanging_openml_is_given_up_at_the_deadline(home, monkeypatch):
    """Two notebooks at once: one hangs at the description, the other in mid-download."""
    for deadline in (6, 18, 54):
        with OpenMLServer("hang") as server, ThreadPoolExecutor(2) as pool:
            use_server(home, server.url)
            monkeypatch.setattr(data, "AUTO_DEADLINE", deadline)
            begin = time.monotonic()
            both = list(pool.map(data.load_events, ["auto"] * 2, [10] * 2))
            assert time.monotonic() - begin < deadline + 3
        if len(server.hanging) == 2:
            break
    assert sorted(server.hanging) == ["description", "download"]
    note = f"Source: the course's snapshot (OpenML did not finish within {deadline} s)."
    assert [events.attrs["note"] for events in both] == [note] * 2
    assert_nothing_left(home)
    monkeypatch.setattr(data, "OPENML_DEADLINE", 0.2)
    with pytest.raises(OSError, match=r"did not finish within 0.2 s; source='snapshot'"):
        data.load_events("openml", rows=10)
    assert_nothing_left(home)


def test_refused_and_unknown_host_come_back_at_once(home, monkeypatch):
    with monkeypatch.context() as patch:
        assert_auto_goes_on_and_openml_stops(home, patch, "OpenML could not be reached: ")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        use_server(home, f"http://127.0.0.1:{free.getsockname()[1]}/api/v1/xml")
        begin = time.monotonic()
        assert_auto_goes_on_and_openml_stops(home, monkeypatch, "reached: connection refused")
        assert time.monotonic() - begin < data.AUTO_DEADLINE


def test_a_client_that_cannot_start_is_no_trouble(home, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/bin/false")
    assert_auto_goes_on_and_openml_stops(home, monkeypatch, "the download ended with code 1")


def other_process(source: str, **options) -> subprocess.Popen:
    code = (
        "from helpers import data\n"
        f"events = data.load_events({source!r})\n"
        "print(events.attrs['source'], data.fingerprint(events))\n"
    )
    return subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True, **options
    )


@pytest.mark.skipif(os.name != "posix", reason="sends POSIX signals")
def test_an_interrupted_or_killed_parent_leaves_nothing(home):
    with OpenMLServer("hang") as server:
        use_server(home, server.url)
        parents = [other_process("openml", stderr=subprocess.DEVNULL) for _ in range(2)]
        wait_until(lambda: len(server.hanging) == 2)
        folders = [str(path) for path in (home / "tmp").iterdir()]
        assert len(folders) == 2 and len(downloads(folders)) == 2
        for parent, number in zip(parents, (signal.SIGINT, signal.SIGKILL), strict=True):
            parent.send_signal(number)
            parent.communicate(timeout=20)
        wait_until(lambda: not downloads(folders) and not any((home / "tmp").iterdir()))
    assert_nothing_left(home)


def downloads(folders: list[str]) -> list[psutil.Process]:
    found = psutil.process_iter(["cmdline"])
    return [p for p in found if set(folders) & set(p.info["cmdline"] or [])]


def wait_until(condition, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def test_two_processes_at_once_do_not_meet_nor_touch_pickle(home, monkeypatch):
    """Two notebooks ask OpenML's client at once; what they and their children open is written down."""
    monkeypatch.setenv("COURSE_TRACE", str(trace := home / "trace.txt"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "tests" / "faults" / "traced"))
    with OpenMLServer() as server:
        use_server(home, server.url)
        both = [other_process("openml") for _ in range(2)]
        answers = [process.communicate(timeout=60)[0].split() for process in both]
    assert answers == [["openml", data.FINGERPRINTS[50_000]]] * 2
    assert_nothing_left(home, kept=("openml_1597.parquet",))
    events = [line.split("\t") for line in trace.read_text(encoding="utf-8").splitlines()]
    assert sum("helpers.openml_source" in what for kind, what in events if kind == "started") == 2
    assert [event for event in events if event[0] not in ("started", "write")] == []


# --- OpenML without the client: what a download holds, what is kept -------------------------------


@pytest.fixture
def downloaded(home, monkeypatch):
    """Let the download bring the given bytes."""

    def bring(body: bytes) -> None:
        file = home / "download.pq"
        file.write_bytes(body)
        monkeypatch.setattr(openml_source, "_download_in_child", lambda folder, deadline: file)

    return bring


def damage_kept(file: Path, damage: str) -> None:
    body = bytearray(file.read_bytes())
    if damage == "truncated":
        body = body[: len(body) // 2]
    elif damage == "empty":
        body = b""
    elif damage == "last rows":
        chunk = pq.read_metadata(file).row_group(0).column(6)
        begin = chunk.dictionary_page_offset or chunk.data_page_offset
        body[begin + chunk.total_compressed_size - 100] ^= 1
    elif damage == "other columns":
        pd.DataFrame({"a": [1]}).to_parquet(file)
        return
    elif damage == "other values":
        pd.read_parquet(file).assign(V2=0.0).to_parquet(file)
        return
    file.write_bytes(body)


@pytest.mark.parametrize("damage", ["truncated", "empty", "last rows", "other columns", "other values"])
def test_a_damaged_kept_copy_is_never_used(home, downloaded, monkeypatch, damage):
    downloaded(parquet_bytes())
    data.load_events("auto")
    kept = home / "cache" / "openml_1597.parquet"
    whole = kept.read_bytes()
    damage_kept(kept, damage)
    assert kept.read_bytes() != whole

    with monkeypatch.context() as patch:
        patch.setattr(openml_source, "_download_in_child", refuse)
        events = data.load_events("auto")
    assert events.attrs["note"] == (
        "Source: the course's snapshot (the copy kept from an earlier download is damaged; "
        "OpenML could not be reached: connection refused)."
    )
    assert data.load_events("auto").attrs["source"] == "openml"
    assert kept.read_bytes() == whole


def refuse(folder: str, deadline: float) -> Path:
    raise ConnectionError("OpenML could not be reached: connection refused")


def test_a_download_that_cannot_be_kept_is_used(home, downloaded, monkeypatch):
    (home / "cache").write_text("a file where the folder should be")
    downloaded(parquet_bytes())
    events = data.load_events("auto", rows=100_100)
    assert events.attrs["note"] == (
        "Source: OpenML, data set 1597, checked against the course's snapshot "
        "(no copy could be kept on this machine)."
    )


def test_what_a_kill_left_in_the_cache_is_swept(home, downloaded):
    (home / "cache").mkdir()
    old, fresh = (home / "cache" / name for name in ("part-old", "part-fresh"))
    for folder in (old, fresh):
        folder.mkdir()
        (folder / "openml_1597.parquet").write_bytes(b"half")
    os.utime(old, (0, 0))
    downloaded(parquet_bytes())
    data.load_events("openml", rows=10)
    assert_nothing_left(home, kept=("openml_1597.parquet", fresh.name))


def test_importing_is_light():
    heavy = "{'openml', 'arff', 'sklearn', 'torch', 'xgboost', 'pyarrow.parquet'}"
    code = f"import sys, helpers.data; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.stdout == "[]\n"


# --- files of one's own --------------------------------------------------------------------------


@pytest.fixture
def kaggle(snapshot) -> pd.DataFrame:
    """Thirty events in Kaggle's column order, with columns that the course ignores."""
    part = snapshot.iloc[:30].reset_index(drop=True)
    return pd.DataFrame({"Time": range(30), **part[AXES], "V7": "ignored"}).join(part[["Amount", "Class"]])


def arff_text(frame: pd.DataFrame) -> str:
    kinds = {"Class": "{0,1}", "V7": "string"}
    header = "".join(f"@attribute '{n}' {kinds.get(n, 'real')}\n" for n in frame)
    return f"@relation x\n{header}@data\n{frame.to_csv(index=False, header=False)}"


def write(frame: pd.DataFrame, path: Path, kind: str) -> Path:
    """Write the frame as one of the files that people really have."""
    quoted = {"index": False, "quoting": 2}
    if kind == "kaggle csv":
        frame.rename(columns=str).to_csv(path := path / "a b\u00fc.csv", **quoted)
    elif kind == "semicolon and BOM":
        amount_first = frame[["Amount", *frame.columns.drop("Amount")]]
        amount_first.to_csv(path := path / "x.CSV", index=False, sep=";", encoding="utf-8-sig")
    elif kind == "decimal comma":
        frame.to_csv(path := path / "x.csv", index=False, sep=";", decimal=",")
    elif kind == "gzip":
        frame.to_csv(path := path / "x.csv.gz", index=False)
    elif kind == "permuted":
        frame[sorted(frame)].to_csv(path := path / "x.csv", index=False, lineterminator="\r\n")
    elif kind == "parquet":
        frame.to_parquet(path := path / "x.parquet", row_group_size=7)
    elif kind == "arff":
        (path := path / "x.arff").write_text(arff_text(frame))
    return path


KINDS = ["kaggle csv", "semicolon and BOM", "decimal comma", "gzip", "permuted", "parquet", "arff"]


@pytest.mark.parametrize("kind", KINDS)
def test_own_file(tmp_path, kaggle, snapshot, kind):
    path = write(kaggle, tmp_path, kind)
    events = data.load_events(path, rows=20, start=10)
    same = {"check_exact": True, "check_index_type": False}
    pd.testing.assert_frame_equal(events, snapshot.iloc[10:30], **same)
    assert events.attrs == {"source": "file", "note": f"Source: your file {path.name}."}
    assert len(data.load_events(str(path), rows=30)) == 30
    for rows, start in ((31, 0), (1, 30), (10, 10**9), (10**30, 0)):
        with pytest.raises(ValueError, match=f"{path.name} has 30 events, too few") as caught:
            data.load_events(path, rows=rows, start=start)
        assert_one_sentence(str(caught.value))


@pytest.mark.parametrize("kind", KINDS)
def test_own_file_without_class(tmp_path, kaggle, kind):
    path = write(kaggle.drop(columns="Class"), tmp_path, kind)
    events = data.load_events(path, rows=30)
    assert list(events) == COLUMNS
    assert "has no column Class" in events.attrs["note"]


@pytest.mark.parametrize("kind", ["kaggle csv", "parquet"])
@pytest.mark.parametrize("marks", ["{}", "'{}'", " {}", "{}.0"])
def test_class_as_text(tmp_path, kaggle, kind, marks):
    kaggle["Class"] = [marks.format(i % 2) for i in range(30)]
    events = data.load_events(write(kaggle, tmp_path, kind), rows=30)
    assert events["Class"].dtype == np.int8 and events["Class"].tolist() == [0, 1] * 15


@pytest.mark.parametrize("kind", ["kaggle csv", "gzip", "parquet"])
@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("V2", "abc", "has 'abc' in column V2, row 17 .counted from 0., where a finite number"),
        ("V6", None, "column V6, row 17 .counted from 0., where a finite number is needed"),
        ("Amount", np.inf, "has 'inf' in column Amount, row 17"),
        ("Amount", -np.inf, "has '-inf' in column Amount, row 17"),
        ("V4", 1e101, r"has '1e[+]101' in column V4, row 17 .counted from 0., where a number below 1e[+]100"),
        ("Class", 2, "has '2' in column Class, row 17 .counted from 0., where 0 or 1 is needed"),
        ("Class", 0.5, "has '0.5' in column Class, row 17"),
        ("Class", "fraud", "has 'fraud' in column Class, row 17"),
        ("Class", None, "column Class, row 17"),
    ],
)
def test_bad_value_in_own_file(tmp_path, kaggle, kind, column, value, message):
    kaggle[column] = kaggle[column].astype(object)
    kaggle.loc[17, column] = value
    if isinstance(value, str):
        kaggle[column] = kaggle[column].astype(str)
    path = write(kaggle, tmp_path, kind)
    with pytest.raises(ValueError, match=message) as caught:
        data.load_events(path, rows=20, start=5)
    assert_one_sentence(str(caught.value))
    assert str(caught.value).endswith(" is needed; repair the file or export it again.")
    assert len(data.load_events(path, rows=10)) == 10


def test_columns_of_a_wrong_type(tmp_path, kaggle):
    for value in (True, pd.Timestamp(0), [1.0]):
        kaggle["V1"] = [value] * 30
        kaggle.to_parquet(tmp_path / "x.parquet")
        with pytest.raises(ValueError, match=r"column V1, row 0 .*a finite number is needed"):
            data.load_events(tmp_path / "x.parquet", rows=5)


@pytest.mark.parametrize("kind", KINDS)
def test_missing_column_is_named(tmp_path, kaggle, kind):
    path = write(kaggle.drop(columns=["V3", "V5"]), tmp_path, kind)
    with pytest.raises(ValueError, match=f"{path.name} has no column V3, V5 .*; repair the file") as caught:
        data.load_events(path, rows=5)
    assert_one_sentence(str(caught.value))


def test_repeated_column_and_shifted_header(tmp_path, kaggle):
    path = tmp_path / "x.csv"
    header, *lines = kaggle.to_csv(index=False).splitlines(keepends=True)
    path.write_text("".join([header.replace("V7", "V1"), *lines]))
    with pytest.raises(ValueError, match="more than one column V1"):
        data.load_events(path, rows=5)
    path.write_text("".join([header, *(f"{i},{line}" for i, line in enumerate(lines))]))
    with pytest.raises(ValueError, match="names 10 columns but its first row has 11"):
        data.load_events(path, rows=5)
    path.write_text("".join([header, *lines[:9], f"9,{lines[9]}"]))
    with pytest.raises(ValueError, match=r"not a readable [.]csv file: .* line 11"):
        data.load_events(path, rows=10)
    path.write_text(header)
    with pytest.raises(ValueError, match=r"x.csv has 0 events, too few"):
        data.load_events(path, rows=5)


@pytest.mark.parametrize("name", ["x.csv", "x.csv.gz", "x.parquet", "x.arff"])
def test_what_a_file_begins_with_decides_not_its_name(tmp_path, kaggle, snapshot, name):
    path = tmp_path / name
    for kind in KINDS:
        other = write(kaggle, tmp_path, kind)
        other.rename(path)
        if name == "x.parquet" and kind != "parquet":
            with pytest.raises(ValueError, match=r"x.parquet is not a readable .parquet file") as caught:
                data.load_events(path, rows=30)
            assert_one_sentence(str(caught.value))
        else:
            assert data.load_events(path, rows=30)[COLUMNS].equals(snapshot[COLUMNS].iloc[:30])


@pytest.mark.parametrize("name", ["x.csv", "x.csv.gz", "x.parquet", "x.arff"])
def test_what_is_no_table_is_one_sentence(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(b"")
    with pytest.raises(ValueError, match=f"{name} is empty"):
        data.load_events(path)
    bodies = [b"\x89PNG\r\n\x1a\n\xff\xfe\x00" * 50, b"PAR1", gzip.compress(b"x,y")[:-9], b"\n", b"\0", b"@x"]
    bodies += [b"PK\x03\x04", b"BZh91AY", b"\xfd7zXZ\0", b"version https://git-lfs.github.com/spec/v1\n"]
    for body in bodies:
        path.write_bytes(body)
        with pytest.raises(ValueError, match=f"{name} (is not a readable|has no column|is a)") as caught:
            data.load_events(path, rows=5)
        assert_one_sentence(str(caught.value))
    path.unlink()
    path.mkdir()
    with pytest.raises(ValueError, match=r"is a folder: name a .csv, .csv.gz, .parquet or .arff file"):
        data.load_events(path)


@pytest.mark.parametrize("kind", ["gzip", "parquet", "arff"])
def test_truncated_file(tmp_path, snapshot, kind):
    path = write(snapshot.iloc[:3_000], tmp_path, kind)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ValueError, match=r"is not a readable|too few for|is needed") as caught:
        data.load_events(path, rows=3_000)
    assert_one_sentence(str(caught.value))


def test_a_small_file_that_claims_gigabytes(tmp_path):
    """The footer's every count of 93 rows becomes 650 million: 5 GB a column, 34 GB in all."""
    path = tmp_path / "x.parquet"
    table = pa.table(dict.fromkeys(COLUMNS, np.zeros(93)))
    pq.write_table(table, path, use_dictionary=False, store_schema=False)
    body = path.read_bytes()
    size = int.from_bytes(body[-8:-4], "little")
    footer = body[-8 - size : -8].replace(varint(93), varint(650_000_000))
    path.write_bytes(body[: -8 - size] + footer + len(footer).to_bytes(4, "little") + b"PAR1")
    assert pq.read_metadata(path).num_rows == 650_000_000 and path.stat().st_size < 2_500

    before = pa.default_memory_pool().max_memory()
    with pytest.raises(ValueError, match=r"x.parquet (is not a readable|has 93 events)"):
        data.load_events(path, rows=50_000, start=600_000_000)
    assert pa.default_memory_pool().max_memory() - before < 100_000_000


def varint(value: int) -> bytes:
    """Thrift's compact form of a positive number."""
    value, out = 2 * value, b""
    while value > 127:
        out, value = out + bytes([value % 128 + 128]), value // 128
    return out + bytes([value])


def test_offline_by_choice_takes_the_snapshot_without_a_look_at_the_network(monkeypatch):
    monkeypatch.setenv("COURSE_OFFLINE", "1")
    monkeypatch.setattr(openml_source, "fetch", lambda *_: pytest.fail("the network was tried"))
    events = data.load_events("auto", 10)
    assert (events.attrs["source"], len(events)) == ("snapshot", 10)
    assert events.attrs["note"] == "Source: the course's snapshot (offline by choice)."


# --- any number of events ------------------------------------------------------------------------
