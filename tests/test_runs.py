"""helpers/runs.py and the commands, on toy notebooks in a repository of their own."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import nbformat
import pytest
from sandbox import files
from toys import TOYS, change, env, keep, load, read_json, rewrite, run_course, write_toys

from helpers.settings import ROOT


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory):
    """A toy repository whose path is awkward, after `results`."""
    root = tmp_path_factory.mktemp("toys") / "a {höhle} of toys"
    write_toys(root)
    command = [sys.executable, "-m", "course", "results"]
    done = subprocess.run(command, cwd=root, env=env(), capture_output=True, timeout=600)
    return root, done.stdout.decode(), done.stderr, done.returncode


@pytest.fixture
def repository(finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("COURSE_RUNS", raising=False)
    return Path(shutil.copytree(finished[0], tmp_path / "a toy"))


@pytest.fixture
def runs(repository: Path):
    return load(repository)


@pytest.fixture
def commands(repository: Path):
    return load(repository, "course.__main__")


@pytest.fixture
def run_folder(repository: Path) -> Path:
    return repository / "runs" / "default"


def test_results_runs_all_in_order_and_publishes(finished) -> None:
    root, output, errors, code = finished
    assert code == 0, errors
    folder = root / "runs" / "default"
    manifest, summary = read_json(folder / "manifest.json"), read_json(folder / "summary.json")
    assert set(manifest) == set(TOYS)
    assert set(manifest["03_behavioral_features"]["inputs"]) == {"events.parquet", "profile.json"}
    assert manifest["02_heuristic_labels"]["parameters"] == {"SEED": 0}
    assert set(manifest["01_data_loading"]["sealed"]) == {"truth.parquet"}
    assert set(summary) == {"data", "detectors", "timings_s", "versions"}
    assert summary["data"]["frauds_test"] == 2 and set(summary["timings_s"]) == set(TOYS)
    row = ["judge", "0.250", "0.100 to 0.500", "0.125", "0.900", "-", "-", "3,388"]
    printed = [[cell.strip() for cell in line.split("|")[1:-1]] for line in output.split("\n")]
    assert row in printed and str(root / "results") in output
    published = {str(p.relative_to(root / "results")) for p in (root / "results").rglob("*.*")}
    assert published == {"README.md", "summary.json", "summary.md", "figures/curves.png"}
    assert not list(root.glob(".results*")) and not list(folder.rglob("*.tmp*"))
    assert b"Software" not in (root / "results" / "figures" / "curves.png").read_bytes()


def test_one_bar_counts_every_cell(finished) -> None:
    bar = finished[2]
    cells = sum(len(cells) + 1 for cells in TOYS.values()) + len(TOYS)  # RUN is injected into each
    lines = [line.strip() for line in bar.decode().replace("\r", "\n").split("\n")]
    assert [line for line in lines if line and f"/{cells} [" not in line] == []
    assert lines[-2].startswith("06_evaluation: 100%") and f"{cells}/{cells} [" in lines[-2]


def test_figure_has_its_alternative_text(finished) -> None:
    copy = finished[0] / "runs" / "default" / "notebooks" / "06_evaluation.ipynb"
    outputs = [o for cell in nbformat.read(copy, 4).cells for o in cell.get("outputs", [])]
    (shown,) = [output for output in outputs if output.output_type == "display_data"]
    assert shown.data["text/plain"] == "An empty pair of axes." and "image/png" in shown.data
    assert shown.metadata["image/png"]["alt"] == "An empty pair of axes. Above. Nothing to see."


def test_same_settings_same_bytes(repository: Path, run_folder: Path) -> None:
    first = (run_folder / "manifest.json").read_bytes()
    other = repository.parent / "elsewhere"
    done = run_course(repository, "run", "--out", other, "--only", "01_data_loading", "--rows", 4)
    assert done.returncode == 0, done.stderr
    entry = read_json(other / "manifest.json")["01_data_loading"]
    assert entry == json.loads(first)["01_data_loading"]


def test_catches_up_quietly_in_any_folder(repository: Path, run_folder: Path) -> None:
    """Plain papermill, another working directory, stages missing in the middle."""
    (run_folder / "artifacts" / "votes.parquet").unlink()
    (run_folder / "artifacts" / "labels.parquet").unlink()
    elsewhere = repository.parent / "elsewhere"
    elsewhere.mkdir()
    source = repository / "notebooks" / "04_autoencoder.ipynb"
    command = ["-m", "papermill", str(source), "out.ipynb", "-p", "SEED", "3"]
    path = env() | {"PYTHONPATH": str(repository)}
    done = subprocess.run(
        [sys.executable, *command], cwd=elsewhere, env=path, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    outputs = [o for c in nbformat.read(elsewhere / "out.ipynb", 4).cells for o in c.get("outputs", [])]
    said = "".join(output.text for output in outputs)
    assert re.fullmatch(r"Catching up by running 02_heuristic_labels \(\d+ s\)\.\n", said)
    manifest = read_json(run_folder / "manifest.json")
    assert manifest["04_autoencoder"]["parameters"] == {"SEED": 3}
    assert manifest["02_heuristic_labels"]["parameters"] == {"SEED": 3}


def test_catching_up_says_what_it_runs_and_leaves_the_exercises_alone(repository: Path, runs, capsys) -> None:
    """Half-finished exercises belong to the learner, and what is handed over comes before them."""
    path = repository / "notebooks" / "02_heuristic_labels.ipynb"
    notebook = nbformat.read(path, 4)
    notebook.cells += [nbformat.v4.new_markdown_cell("## Exercises"), nbformat.v4.new_code_cell("oops")]
    nbformat.write(notebook, path)
    runs.start("03_behavioral_features", "anew {of} [braces]")
    said = capsys.readouterr().out
    stages = r"01_data_loading \(\d+ s\), 02_heuristic_labels \(\d+ s\)"
    assert re.fullmatch(rf"Catching up by running {stages}\.\n", said)
    copy = repository / "runs" / "anew {of} [braces]" / "notebooks" / "02_heuristic_labels.ipynb"
    assert "oops" not in copy.read_text() and nbformat.read(path, 4).cells[-1].source == "oops"


def test_a_number_is_a_name_of_a_run(runs, repository: Path) -> None:
    assert runs.run_folder(7) == repository / "runs" / "7"
    with pytest.raises(runs.CourseError, match=r"^None is no name for a run"):
        runs.run_folder(None)


def test_a_foreign_checkpoints_file_is_one_sentence(runs, run_folder: Path) -> None:
    (run_folder / "checkpoints.json").write_text('{"06_evaluation": 3}')
    with pytest.raises(runs.CourseError, match=r"checkpoints.json is damaged; delete it and run"):
        runs.start("06_evaluation").checkpoint(seen=1)


def test_missing_stages_come_in_order(runs, tmp_path: Path, run_folder: Path) -> None:
    first_four = list(TOYS)[:4]
    assert runs._missing(tmp_path, "05_supervised_judge") == first_four
    assert runs._missing(run_folder, "06_evaluation") == []


def test_a_failing_catch_up_is_one_sentence(
    repository: Path, runs, run_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    change(repository, "02_heuristic_labels", "FAIL: bool = False", "FAIL: bool = True")
    (run_folder / "artifacts" / "profile.json").unlink()
    with pytest.raises(runs.CourseError, match=r"^02_heuristic_labels stopped at cell \[4\]: ValueError"):
        runs.start("03_behavioral_features", SEED=0)


def test_stale_names_the_notebook_to_re_run(runs, run_folder: Path) -> None:
    rewrite(runs, run_folder, rows=4)
    runs.start("05_supervised_judge").read("errors.parquet")
    rewrite(runs, run_folder, rows=7)
    assert len(runs.start("02_heuristic_labels").read("events.parquet")) == 7
    run = runs.start("05_supervised_judge")
    with pytest.raises(runs.CourseError, match=r"events.parquet has changed.*re-run 02_heur"):
        run.read("errors.parquet")


def test_damaged_and_missing_are_said(runs, run_folder: Path) -> None:
    run = runs.start("05_supervised_judge")
    path = run_folder / "artifacts" / "errors.parquet"
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(runs.CourseError, match=r"errors.parquet is damaged.*re-run 04_auto"):
        run.read("errors.parquet")
    path.unlink()
    with pytest.raises(runs.CourseError, match=r"errors.parquet is missing; re-run 04_auto"):
        run.read("errors.parquet")


def test_the_truth_is_sealed(runs, run_folder: Path) -> None:
    assert list(runs.start("06_evaluation").read("truth.parquet")["Class"]) == [0, 1]
    for stage in list(TOYS)[1:5]:
        with pytest.raises(runs.CourseError, match=r"truth.parquet is sealed"):
            runs.start(stage).path("truth.parquet")


def test_another_truth_makes_nothing_but_06_stale(runs, run_folder: Path) -> None:
    import pandas as pd

    before = read_json(run_folder / "manifest.json")
    run = runs.Run(run_folder, "01_data_loading", {"SEED": 0})
    events = runs.start("02_heuristic_labels").read("events.parquet")
    files = {"events.parquet": events, "settings.json": run_folder_settings(run_folder)}
    run.hand_over(files, sealed={"truth.parquet": pd.DataFrame({"Class": [1, 1]})})
    manifest = read_json(run_folder / "manifest.json")
    assert manifest["01_data_loading"].pop("sealed") != before["01_data_loading"].pop("sealed")
    assert manifest == before
    runs.start("06_evaluation").read("scores.parquet")
    with pytest.raises(runs.CourseError, match="re-run 06_evaluation"):
        runs.checked_artifact(run_folder, "evaluation.json")


def run_folder_settings(folder: Path) -> dict:
    return read_json(folder / "artifacts" / "settings.json")


def test_a_source_without_truth_is_said_in_06_only(runs, run_folder: Path) -> None:
    run = runs.Run(run_folder, "01_data_loading", {"SEED": 0})
    events = runs.start("02_heuristic_labels").read("events.parquet")
    run.hand_over({"events.parquet": events, "settings.json": run_folder_settings(run_folder)})
    runs.start("05_supervised_judge").read("errors.parquet")
    with pytest.raises(runs.CourseError, match="has no column Class"):
        runs.start("06_evaluation").read("truth.parquet")


def test_hand_over_is_by_the_table_and_all_or_none(runs, run_folder: Path) -> None:
    before = (run_folder / "manifest.json").read_bytes()
    run = runs.start("04_autoencoder")

    class Unwritable:
        def save(self, path: Path) -> None:
            raise OSError(28, "No space left on device")

    with pytest.raises(runs.CourseError, match="by STAGES, but was given"):
        run.hand_over({"errors.parquet": {}})
    files = {name: {"half": 1} for name in runs.STAGES["04_autoencoder"].writes}
    with pytest.raises(runs.CourseError, match="No space left on device"):
        run.hand_over(files | {"autoencoder.safetensors": Unwritable()})
    assert (run_folder / "manifest.json").read_bytes() == before
    runs.start("05_supervised_judge").read("errors.parquet")
    with pytest.raises(runs.CourseError, match=r"04_autoencoder does not list events.parquet"):
        run.read("events.parquet")
    with pytest.raises(runs.CourseError, match="99_none is not in STAGES"):
        runs.start("99_none")


def test_attributes_do_not_change_a_tables_bytes(runs, tmp_path: Path) -> None:
    import pandas as pd

    table = pd.DataFrame({"a": [1.0, 2.0]})
    runs._save(table, tmp_path / "plain.parquet")
    table.attrs["note"] = "of the moment"
    runs._save(table, tmp_path / "noted.parquet")
    assert (tmp_path / "plain.parquet").read_bytes() == (tmp_path / "noted.parquet").read_bytes()
    assert table.attrs == {"note": "of the moment"}


@pytest.mark.parametrize("after", ["files", "manifest"])
def test_killed_within_hand_over_the_stage_is_run_again(
    runs, run_folder: Path, after: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cut at every os.replace of a hand-over: never a wrong read, at most a missing stage."""
    replace, allowed = os.replace, {"files": 2, "manifest": 1}[after]
    calls = []

    def cut(source, target) -> None:
        calls.append(target)
        if len(calls) > allowed:
            raise SystemExit("killed")
        replace(source, target)

    monkeypatch.setattr(runs.os, "replace", cut)
    with pytest.raises(SystemExit):
        rewrite(runs, run_folder, rows=9)
    monkeypatch.undo()
    assert runs._missing(run_folder, "02_heuristic_labels") == ["01_data_loading"]
    rewrite(runs, run_folder, rows=9)
    assert runs._missing(run_folder, "02_heuristic_labels") == []


def test_a_failing_cell_is_named_and_its_copy_kept(repository: Path) -> None:
    keep(repository, 2)
    awkward = "a\"b'c\nd\\"
    done = run_course(repository, "run", "--out", "x", "-p", "FAIL", "True", "-p", "SOURCE", awkward)
    copy = repository / "runs" / "x" / "notebooks" / "02_heuristic_labels.ipynb"
    assert done.returncode == 1 and copy.is_file() and "Traceback" not in done.stderr
    sentence = f"02_heuristic_labels stopped at cell [4]: ValueError: no (the executed copy is {copy})"
    assert done.stderr.strip().split("\n")[-1] == sentence
    settings = read_json(repository / "runs" / "x" / "artifacts" / "settings.json")
    assert settings["source"] == awkward


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["-p", "SEDE", "3"], "No selected notebook has a parameter SEDE"),
        (["--rows", "5", "--from", "02_heuristic_labels"], "parameter ROWS; they have FAIL, RUN"),
        (["--only", "1"], "There is no notebook 1; choose from 01_data_loading"),
        (["--out", ""], "'' is no name for a run"),
        (["--out", "README.md/."], "README.md is a file"),
        (["-p", "RUN", "x"], "The parameter RUN is given with --out"),
    ],
)  # fmt: skip
def test_bad_arguments_end_before_anything_runs(
    commands, repository: Path, arguments, sentence, capsys, monkeypatch
) -> None:
    monkeypatch.chdir(repository)
    before = (repository / "runs" / "default" / "manifest.json").read_bytes()
    assert commands.main(["run", *arguments]) == 1
    assert sentence in capsys.readouterr().err
    assert (repository / "runs" / "default" / "manifest.json").read_bytes() == before


def test_values_are_read_as_papermill_does(commands) -> None:
    given = [
        "3",
        "0.5",
        "True",
        "None",
        "snapshot",
        "a b",
        "'x'",
        "[1]",
        "1e-3",
        "__import__('os')",
    ]
    read = [3, 0.5, True, None, "snapshot", "a b", "'x'", "[1]", 0.001, "__import__('os')"]
    assert [commands._value(text) for text in given] == read


def test_help_without_a_command(commands, capsys) -> None:
    assert commands.main([]) == 0
    assert "reference" in capsys.readouterr().out


def test_second_process_waits_for_no_one_and_a_killed_one_blocks_no_one(repository: Path) -> None:
    keep(repository, 2)
    command = [sys.executable, "-m", "course", "run", "-p", "SLEEP", "60"]
    first = subprocess.Popen(
        command, cwd=repository, env=env(), stderr=subprocess.DEVNULL, start_new_session=True
    )
    manifest = repository / "runs" / "default" / "manifest.json"
    try:
        while not (manifest.is_file() and set(read_json(manifest)) == {"01_data_loading"}):
            assert first.poll() is None
            time.sleep(0.1)
        second = run_course(repository, "run", "--only", "01_data_loading")
        assert second.returncode == 1
        assert second.stderr.startswith("Another process is working in ")
    finally:
        os.killpg(first.pid, signal.SIGKILL)
        first.wait(timeout=60)
    third = run_course(repository, "run")
    assert third.returncode == 0, third.stderr
    assert set(read_json(manifest)) == set(list(TOYS)[:2])


def test_notebooks_are_rewritten_clean_and_all_or_none(repository: Path) -> None:
    keep(repository, 2)
    names = {p.name for p in (repository / "notebooks").iterdir()}
    source = nbformat.read(repository / "notebooks" / "01_data_loading.ipynb", 4)
    folded = {"cellView": "form", "jupyter": {"source_hidden": True}}
    source.cells[-1].metadata.update(folded)
    nbformat.write(source, repository / "notebooks" / "01_data_loading.ipynb")
    done = run_course(repository, "notebooks")
    assert done.returncode == 0, done.stderr
    cleaned = nbformat.read(repository / "notebooks" / "01_data_loading.ipynb", 4)
    assert [cell.id for cell in cleaned.cells] == [cell.id for cell in source.cells]
    assert [cell.source for cell in cleaned.cells] == [cell.source for cell in source.cells]
    assert [c.execution_count for c in cleaned.cells if c.cell_type == "code"] == [1, 2, 3, 4]
    assert cleaned.cells[-1].metadata == folded
    (said,) = cleaned.cells[-1].outputs
    assert said.text.startswith("one\ntwo\nCheckpoint: there is no reference yet")
    for path in (repository / "notebooks").iterdir():
        text = path.read_text(encoding="utf-8")
        assert set(nbformat.read(path, 4).metadata) == {"kernelspec", "language_info"}
        assert "version" not in nbformat.read(path, 4).metadata.language_info
        assert "papermill" not in text and str(repository) not in text
        assert "Caught up" not in text and '"execution":' not in text
    assert not list((repository / "runs").glob(".notebooks"))
    assert names == {p.name for p in (repository / "notebooks").iterdir()}
    change(repository, "02_heuristic_labels", "import time", "import time; sys.stderr.write('w')")
    changed = {p.name: p.read_bytes() for p in (repository / "notebooks").iterdir()}
    failed = run_course(repository, "notebooks")
    assert failed.returncode == 1
    assert "02_heuristic_labels wrote to stderr in cell [4], which must not be: w" in failed.stderr
    assert changed == {p.name: p.read_bytes() for p in (repository / "notebooks").iterdir()}


def test_reference_and_checkpoint_verdicts(repository: Path, capsys) -> None:
    done = run_course(repository, "reference")
    assert done.returncode == 0, done.stderr
    reference = read_json(repository / "results" / "reference.json")
    assert reference["settings"] == {"rows": 4, "start": 0, "seed": 0}
    assert reference["checkpoints"]["01_data_loading"] == {"total": 6}
    assert reference["detectors"]["judge"]["average_precision"] == 0.25
    readme = (repository / "results" / "README.md").read_text()
    assert (
        readme.startswith("a\n<!-- results:start -->\n| detector ")
        and "2 frauds" in readme
        and readme.endswith("-->\nz\n")
    )
    runs, folder = load(repository), repository / "runs" / "default"
    seen = reference["checkpoints"]["06_evaluation"]["seen"]

    def verdict(value: float, tolerance: float = 0.1, **parameters: int) -> str:
        run = runs.start("06_evaluation", **parameters)
        run.checkpoint(tolerance=tolerance, seen=value)
        return capsys.readouterr().out

    assert verdict(seen * 1.05) == "Checkpoint: as in the reference run.\n"
    assert verdict(seen + 1e-9, tolerance=0) != "Checkpoint: as in the reference run.\n"
    off = verdict(99.5)
    assert off.startswith(f"Checkpoint: seen is 99.5, in the reference run {seen:g}. Training on another")
    assert "no more than 10 %" in off and "a larger difference matters" in off
    assert "no more than 0.1 %;" in verdict(99.5, tolerance=0.001)
    assert "a cell above was changed or left out" in verdict(99.5, tolerance=0)
    expected = "Checkpoint: not the reference settings (seed 3 instead of 0), so nothing to compare.\n"
    assert verdict(99.5, SEED=3) == expected
    rewrite(runs, folder, rows=8000)
    assert "settings (rows 8,000 instead of 4), so nothing" in verdict(99.5)


def test_results_stay_as_published_until_the_run_says_something_else(repository: Path) -> None:
    """On another machine seconds, versions and a pixel differ: that is no reason to touch results/."""
    assert run_course(repository, "reference").returncode == 0
    summary = repository / "results" / "summary.json"
    summary.write_text(summary.read_text().replace('"timings_s"', '"seconds_of_another_machine"'))
    before = files(repository / "results")
    done = run_course(repository, "results")
    assert done.returncode == 0 and "As published in results/, which stays as it is;" in done.stdout
    assert files(repository / "results") == before
    change(repository, "01_data_loading", "ROWS: int = 4", "ROWS: int = 6")
    done = run_course(repository, "results")
    assert done.returncode == 0 and "Other than the reference run, so published in" in done.stdout
    assert "timings_s" in summary.read_text()


def test_a_seed_of_an_earlier_notebook_counts(runs, repository: Path) -> None:
    reference = {"settings": {"seed": 0}, "checkpoints": {"05_supervised_judge": {"a": 1}}}
    (repository / "results" / "reference.json").write_text(json.dumps(reference))
    run = runs.start("05_supervised_judge", SEED=0)
    run.read("errors.parquet")
    assert run._seed() == 0
    manifest = repository / "runs" / "default" / "manifest.json"
    changed = read_json(manifest)
    changed["02_heuristic_labels"]["parameters"]["SEED"] = 3
    manifest.write_text(json.dumps(changed))
    assert run._seed() == 3


def test_another_parameter_of_the_notebook_is_not_the_reference(runs, repository: Path, capsys) -> None:
    reference = {"settings": {"seed": 0}, "parameters": {"09_streaming_sessions": {"ACCOUNTS": 1_250}}}
    reference["checkpoints"] = {"09_streaming_sessions": {"found": 7}}
    (repository / "results" / "reference.json").write_text(json.dumps(reference))
    for accounts, verdict in (
        (1_250, "found is 8, in the reference run 7."),
        (600, "not the reference settings (ACCOUNTS 600 instead of 1,250), so nothing to compare."),
    ):
        runs.start("09_streaming_sessions", SEED=0, ACCOUNTS=accounts).checkpoint(found=8)
        assert verdict in capsys.readouterr().out


def test_a_killed_publication_is_undone(runs, repository: Path, run_folder: Path) -> None:
    old = (repository / "results" / "summary.md").read_text()
    os.replace(repository / "results", repository / ".results.old")
    (repository / ".results.new").mkdir()
    os.replace(run_folder / "summary.md", run_folder / "aside.md")
    publish = load(repository, "course.results").publish
    with pytest.raises(runs.CourseError, match="Cannot write into"):
        publish(run_folder)
    assert (repository / "results" / "summary.md").read_text() == old
    (run_folder / "summary.md").write_text("newer")
    publish(run_folder)
    assert (repository / "results" / "summary.md").read_text() == "newer"
    assert not list(repository.glob(".results*"))


def test_lab_serves_the_whole_course_and_passes_options_on() -> None:
    """So that a notebook's link to its contents, ../README.md, leads somewhere."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ["--no-browser", "--allow-root", f"--port={port}", "--IdentityProvider.token=known"]
    command = [sys.executable, "-m", "course", "lab", *options]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL, start_new_session=True) as server:
        try:
            for name in ("README.md", "notebooks/01_data_loading.ipynb"):
                address = f"http://127.0.0.1:{port}/api/contents/{name}?content=0&token=known"
                assert json.load(patiently(address))["path"] == name
        finally:
            os.killpg(server.pid, signal.SIGTERM)
            server.wait(timeout=30)


def patiently(address: str):
    """An answer, as soon as the server is there."""
    for _ in range(300):
        try:
            return urllib.request.urlopen(address, timeout=10)
        except OSError:
            time.sleep(0.1)
    raise AssertionError(f"no answer from {address}")
