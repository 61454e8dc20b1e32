"""The whole course: no network, LANG=C, awkward path, read-only surroundings."""

import json
import re

import nbformat
from conftest import ROWS, Clone
from sandbox import files

from course import notebooks
from helpers import data
from helpers.detector import Detector

STAGES = notebooks.sequence()


def committed(clone: Clone) -> dict[str, bytes]:
    """Files of the clone, but for what a run may write: runs/, results/ and caches."""
    passing = re.compile(r"\.?(runs|results)\b|.*(__pycache__|\.tmp$)")
    return {path: content for path, content in files(clone.root).items() if not passing.match(path)}


def test_the_whole_course_runs_without_network_and_changes_no_other_file(clone):
    before = committed(clone)
    results = clone.run("-m", "course", "results")
    assert results.returncode == 0, results.stderr[-2_000:]
    summary = json.loads((clone.root / "results" / "summary.json").read_text(encoding="utf-8"))
    assert list(summary["timings_s"]) == STAGES and summary["data"]["rows"] == ROWS
    assert summary["data"]["source"] == "snapshot"
    first = nbformat.read(clone.root / "runs/default/notebooks/01_data_loading.ipynb", as_version=4)
    shown = [output for cell in first.cells for output in cell.get("outputs", [])]
    said = "".join(output.get("text", "") for output in shown)
    assert "Source: the course's snapshot (OpenML " in said  # no network, or no answer on a busy machine
    assert [output.text for output in shown if output.get("name") == "stderr"] == []
    assert committed(clone) == before


def test_openml_asked_for_without_network_is_one_sentence(clone):
    out = ("--out", clone.folder / "tmp" / "openml")
    said = clone.refuses(*out, "--source", "openml", STAGES[0])
    assert "OpenML could not be reached: " in said and "source='snapshot' needs no network." in said


def test_a_constant_column_is_left_out_with_a_sentence(clone):
    path, out = clone.folder / "tmp" / "constant.csv", clone.folder / "tmp" / "constant"
    data.load_events("snapshot", rows=8_000).assign(V3=1.5).to_csv(path, index=False)
    told = ("--source", path, "--rows", 8_000, "--out", out, *STAGES[:5])
    done = clone.run("-m", "course", "run", *told)
    assert done.returncode == 0, done.stderr[-2_000:]
    sentence = "Left out, because all events have one value in it: V3."
    assert sentence in (out / "notebooks/02_heuristic_labels.ipynb").read_text()
    assert "V3" not in Detector.load(out / "artifacts/detector.zip").schema.columns
