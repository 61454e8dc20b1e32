"""The whole course: no network, LANG=C, awkward path, read-only surroundings."""

from __future__ import annotations

import ast
import json
import pickletools
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest
from conftest import ROWS, Clone
from sandbox import files, without_network

from course import notebooks
from helpers import data
from helpers.detector import Detector

TRACED = Path(__file__).parent / "traced"  # its sitecustomize.py
STAGES = notebooks.sequence()
MOMENTS = 3


def committed(clone: Clone) -> dict[str, bytes]:
    """Files of the clone that a commit would hold."""
    return {
        f"{name}/{path}": content
        for name in ("helpers", "notebooks", "data", "tests")
        for path, content in files(clone.root / name).items()
        if "__pycache__" not in path and not path.endswith(".tmp")
    }


@pytest.fixture(scope="module")
def before(clone) -> dict[str, bytes]:
    return committed(clone)


@pytest.fixture(scope="module")
def killed(clone, before) -> list[int]:
    """`course run` of the real notebooks, killed at random moments in some of them."""
    seed = time.time_ns()
    print("moments from seed", seed)
    moments, codes = random.Random(seed), []
    command = without_network(sys.executable, "-m", "course", "run")
    for stage in moments.sample(STAGES, MOMENTS):
        copy, begin = clone.root / "runs/default/notebooks" / f"{stage}.ipynb", time.time_ns()
        quiet = {"stderr": subprocess.DEVNULL, "stdout": subprocess.DEVNULL}
        run = subprocess.Popen(command, cwd=clone.root, env=clone.environment(), **quiet)
        while run.poll() is None and not (copy.is_file() and copy.stat().st_mtime_ns > begin):
            time.sleep(0.05)
        time.sleep(moments.uniform(0, 2))
        run.send_signal(signal.SIGKILL)
        codes.append(run.wait(timeout=60))
        assert committed(clone) == before
    return codes


@pytest.fixture(scope="module")
def results(clone, killed) -> subprocess.CompletedProcess[str]:
    """`course results` after the kills; what it opened is written down in trace.txt."""
    told = {"PYTHONPATH": f"{TRACED}:{clone.root}", "COURSE_TRACE": str(clone.folder / "tmp" / "trace.txt")}
    return clone.run("-m", "course", "results", **told)


@pytest.fixture(scope="module")
def trace(clone, results) -> list[tuple[str, str]]:
    text = (clone.folder / "tmp" / "trace.txt").read_text(encoding="utf-8")
    return [tuple(line.split("\t", 1)) for line in text.splitlines()]


def test_after_kills_the_whole_course_runs_without_network(clone, killed, results):
    assert len(killed) == MOMENTS and -signal.SIGKILL in killed
    assert results.returncode == 0, results.stderr[-2_000:]
    summary = json.loads((clone.root / "results" / "summary.json").read_text(encoding="utf-8"))
    assert list(summary["timings_s"]) == STAGES and summary["data"]["rows"] == ROWS
    assert summary["data"]["source"] == "snapshot"
    first = nbformat.read(clone.root / "runs/default/notebooks/01_data_loading.ipynb", as_version=4)
    shown = [output for cell in first.cells for output in cell.get("outputs", [])]
    said = "".join(output.get("text", "") for output in shown)
    assert "Source: the course's snapshot (OpenML " in said  # no network, or no answer on a busy machine
    assert [output.text for output in shown if output.get("name") == "stderr"] == []


def test_no_committed_file_is_changed(clone, before, results):
    assert committed(clone) == before


def test_no_pickle_is_read_or_written_and_no_shell_is_called(trace):
    assert sum("ipykernel" in what for kind, what in trace if kind == "started") == len(STAGES)
    assert [event for event in trace if event[0] not in ("started", "write")] == []


def test_what_is_written_lies_in_the_run_or_is_temporary(clone, trace):
    written = {ast.literal_eval(what) for kind, what in trace if kind == "write"}
    paths = {Path(one) for one in written if isinstance(one, str) and ".pyc" not in one}
    allowed = [clone.root / "runs", clone.folder / "home", clone.folder / "tmp", Path("/dev")]
    allowed += [clone.root / name for name in ("results", ".results.new", ".results.old")]
    outside = [path for path in paths if not any(path.is_relative_to(one) for one in allowed)]
    assert len(paths) > 50 and outside == []


def is_pickle(content: bytes) -> bool:
    try:
        return content.endswith(b".") and sum(1 for _ in pickletools.genops(content)) > 1
    except Exception:
        return False


def test_no_file_of_a_run_is_a_pickle(clone, results):
    kept = files(clone.root / "runs")
    assert len(kept) > 30 and [name for name, content in kept.items() if is_pickle(content)] == []
    assert is_pickle(b"\x80\x04]\x94.") and is_pickle(b"(lp0\n.")


def test_openml_asked_for_without_network_is_one_sentence(clone):
    out = ("--out", clone.folder / "tmp" / "openml")
    said = clone.refuses(*out, "--source", "openml", "--only", STAGES[0])
    assert "OpenML could not be reached: " in said and "source='snapshot' needs no network." in said


def test_a_folder_that_cannot_be_written_is_one_sentence(clone):
    for out in ("/nowhere", clone.folder / "beside the clone"):
        said = clone.refuses("--out", out, "--only", STAGES[0])
        assert said.startswith(f"Cannot write into {out}") and "(Read-only file system); free some" in said


BAD_FILES = {  # what is done to 2,500 events, the notebook that stops, and its sentence
    "a missing column": (
        lambda events: events.drop(columns="V3"),
        "01_data_loading",
        "has no column V3 (Amount, V1, V2, V3, V4, V5, V6 are needed); repair the file or export it again.",
    ),
    "one event": (lambda events: events[:1], "01_data_loading", "A split needs at least 2 events, not 1."),
    "all events identical": (
        lambda events: events.assign(**events.iloc[0]),
        "02_heuristic_labels",
        "Every column has one value in all training events: there is nothing to learn.",
    ),
    "fewer events than a window": (
        lambda events: events[:1_500],
        "02_heuristic_labels",
        "A profile needs 1,000 training events or more, not 900: ask for more rows.",
    ),
}


def test_a_constant_column_is_left_out_with_a_sentence(clone):
    path, out = clone.folder / "tmp" / "constant.csv", clone.folder / "tmp" / "constant"
    data.load_events("snapshot", rows=8_000).assign(V3=1.5).to_csv(path, index=False)
    told = ("--source", path, "--rows", 8_000, "--out", out, "--only", *STAGES[:5])
    done = clone.run("-m", "course", "run", *told)
    assert done.returncode == 0, done.stderr[-2_000:]
    sentence = "Left out, because all events have one value in it: V3."
    assert sentence in (out / "notebooks/02_heuristic_labels.ipynb").read_text()
    assert "V3" not in Detector.load(out / "artifacts/detector.zip").schema.columns


@pytest.mark.parametrize("kind", BAD_FILES)
def test_events_that_teach_nothing_stop_the_run_in_one_sentence(clone, kind):
    change, stage, sentence = BAD_FILES[kind]
    path, out = clone.folder / "tmp" / f"{kind}.csv", clone.folder / "tmp" / kind
    events = change(data.load_events("snapshot", rows=2_500))
    events.to_csv(path, index=False)
    said = clone.refuses("--source", path, "--rows", len(events), "--out", out)
    assert f"{stage} stopped at cell [" in said and sentence in said and "the executed copy is" in said
