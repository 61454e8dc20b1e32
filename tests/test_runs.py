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
from collections.abc import Callable
from pathlib import Path

import nbformat
import pandas as pd
import psutil
import pytest
from sandbox import assert_one_sentence, files, killed_at_every_touch, last_line, small_files_only
from toys import TOYS, change, env, hand_over_01, keep, modules, read_json, run_course, write_toys

from helpers.settings import ROOT

posix = pytest.mark.skipif(os.name != "posix", reason="needs a POSIX system")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory):
    """A toy repository whose path is awkward, after `results`; what that printed."""
    root = write_toys(tmp_path_factory.mktemp("toys") / "a {höhle} of toys")
    command = [sys.executable, "-m", "course", "results"]
    done = subprocess.run(command, cwd=root, env=env(), capture_output=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return root, done.stdout.decode(), done.stderr.decode()


@pytest.fixture
def repository(finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("COURSE_RUNS", raising=False)
    monkeypatch.chdir(tmp_path)
    return Path(shutil.copytree(finished[0], tmp_path / "a toy"))


@pytest.fixture
def runs(repository: Path):
    return modules(repository)["helpers.runs"]


@pytest.fixture
def commands(repository: Path):
    return modules(repository)["course.__main__"]


@pytest.fixture
def folder(repository: Path) -> Path:
    return repository / "runs" / "default"


def record(folder: Path, stage: str) -> dict:
    return read_json(folder / "artifacts" / f"{stage}.json")


# --- running all --------------------------------------------------------------------------------------------


def test_results_runs_all_and_publishes(finished) -> None:
    root, output, bar = finished
    folder = root / "runs" / "default"
    assert set(record(folder, "03_behavioral_features")["inputs"]) == {"events.parquet", "profile.json"}
    assert record(folder, "02_heuristic_labels")["parameters"] == {"SEED": 0}
    summary = read_json(folder / "summary.json")
    assert set(summary) == {"data", "detectors", "timings_s", "versions"}
    assert summary["data"]["frauds_test"] == 2 and list(summary["timings_s"]) == list(TOYS)
    row = ["judge", "0.250", "0.100 to 0.500", "0.125", "0.900", "-", "-", "3,388"]
    printed = [[cell.strip() for cell in line.split("|")[1:-1]] for line in output.split("\n")]
    assert row in printed and str(root / "results") in output
    published = {str(p.relative_to(root / "results")) for p in (root / "results").rglob("*.*")}
    assert published == {"README.md", "summary.json", "summary.md", "figures/curves.png"}
    assert not list(root.glob(".results*")) and not list(folder.rglob("*.tmp*"))
    assert b"Software" not in (root / "results" / "figures" / "curves.png").read_bytes()
    cells = sum(len(cells) + 1 for cells in TOYS.values()) + len(TOYS)  # RUN is injected into each
    assert f"{cells}/{cells} [" in last_line(bar)


def test_a_figure_has_its_alternative_text(finished) -> None:
    copy = finished[0] / "runs" / "default" / "notebooks" / "06_evaluation.ipynb"
    outputs = [o for cell in nbformat.read(copy, 4).cells for o in cell.get("outputs", [])]
    (shown,) = [output for output in outputs if output.output_type == "display_data"]
    assert shown.data["text/plain"] == "An empty pair of axes." and "image/png" in shown.data
    assert shown.metadata["image/png"]["alt"] == "An empty pair of axes. Above. Nothing to see."


def test_two_run_at_once_and_none_before_what_it_reads(monkeypatch, tmp_path) -> None:
    from course import notebooks
    from helpers.runs import earlier

    spans: dict[str, tuple[float, float]] = {}

    def execute(notebook, copy, parameters, on_cell) -> None:
        begin = time.perf_counter()
        time.sleep(0.05)
        spans[copy.stem] = begin, time.perf_counter()

    monkeypatch.setattr(notebooks.headless, "execute", execute)
    stages = notebooks.sequence()
    assert {stage for stage, _ in notebooks.execute(stages, {}, tmp_path)} == set(stages) == set(spans)
    for stage, (begin, _) in spans.items():
        assert all(spans[name][1] <= begin for name in earlier(stage))
        others = sum(b <= begin < e for name, (b, e) in spans.items() if name != stage)
        assert others < notebooks.AT_ONCE
    if notebooks.AT_ONCE == 2:
        assert spans["09_streaming_sessions"][0] < spans["01_data_loading"][1]


def test_same_settings_same_bytes(commands, repository: Path, folder: Path) -> None:
    other = repository.parent / "elsewhere"
    assert commands.main(["run", "--out", str(other), "--only", "01_data_loading", "--rows", "4"]) == 0
    assert record(other, "01_data_loading") == record(folder, "01_data_loading")


def test_catches_up_quietly_in_any_folder(repository: Path, folder: Path) -> None:
    """Plain papermill, another working directory, a stage missing in the middle."""
    (folder / "artifacts" / "votes.parquet").unlink()
    source = repository / "notebooks" / "04_autoencoder.ipynb"
    command = [
        sys.executable,
        "-m",
        "papermill",
        str(source),
        "out.ipynb",
        "-p",
        "SEED",
        "3",
        "-p",
        "RUN",
        folder,
    ]
    path = env() | {"PYTHONPATH": str(repository)}
    done = subprocess.run(list(map(str, command)), env=path, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    outputs = [o for c in nbformat.read("out.ipynb", 4).cells for o in c.get("outputs", [])]
    said = "".join(output.text for output in outputs)
    assert re.fullmatch(r"Catching up by running 02_heuristic_labels \(\d+ s\)\.\n", said)
    for stage in ("04_autoencoder", "02_heuristic_labels"):
        assert record(folder, stage)["parameters"] == {"SEED": 3}


def test_catching_up_leaves_the_exercises_alone(repository: Path, runs, capsys) -> None:
    """Half-finished exercises belong to the learner, and what is handed over comes before them."""
    path = repository / "notebooks" / "02_heuristic_labels.ipynb"
    notebook = nbformat.read(path, 4)
    notebook.cells += [nbformat.v4.new_markdown_cell("## Exercises"), nbformat.v4.new_code_cell("oops")]
    nbformat.write(notebook, path)
    runs.start("03_behavioral_features", "anew {of} [braces]")
    stages = r"01_data_loading \(\d+ s\), 02_heuristic_labels \(\d+ s\)"
    assert re.fullmatch(rf"Catching up by running {stages}\.\n", capsys.readouterr().out)
    copy = repository / "runs" / "anew {of} [braces]" / "notebooks" / "02_heuristic_labels.ipynb"
    assert "oops" not in copy.read_text()


def test_notebooks_are_rewritten_clean_and_all_or_none(commands, repository: Path, capsys) -> None:
    keep(repository, 2)
    first = repository / "notebooks" / "01_data_loading.ipynb"
    source = nbformat.read(first, 4)
    folded = {"cellView": "form", "jupyter": {"source_hidden": True}}
    source.cells[-1].metadata.update(folded)
    nbformat.write(source, first)
    assert commands.main(["notebooks"]) == 0
    cleaned = nbformat.read(first, 4)
    for name in ("id", "source"):
        assert [cell[name] for cell in cleaned.cells] == [cell[name] for cell in source.cells]
    assert [c.execution_count for c in cleaned.cells if c.cell_type == "code"] == [1, 2, 3, 4]
    assert cleaned.cells[-1].metadata == folded
    (said,) = cleaned.cells[-1].outputs
    assert said.text.startswith("one\ntwo\nCheckpoint: there is no reference yet")
    for path in (repository / "notebooks").glob("*.ipynb"):
        text, notebook = path.read_text(encoding="utf-8"), nbformat.read(path, 4)
        assert set(notebook.metadata) == {"kernelspec", "language_info"}
        assert "version" not in notebook.metadata.language_info
        assert "papermill" not in text and str(repository) not in text and '"execution":' not in text
    assert not list((repository / "runs").glob(".notebooks"))
    change(repository, "02_heuristic_labels", "import time", "import time; sys.stderr.write('w')")
    before = files(repository / "notebooks")
    assert commands.main(["notebooks"]) == 1
    said = capsys.readouterr().err
    assert "02_heuristic_labels wrote to stderr in cell [4], which must not be: w" in said
    assert files(repository / "notebooks") == before


def test_reference_and_verdicts(commands, runs, repository: Path, folder: Path, capsys, monkeypatch) -> None:
    """On another machine seconds and versions differ: that is no reason to touch results/."""

    def run_notebooks(into: Path, stages, parameters, afresh) -> None:
        if into != folder:
            shutil.copytree(folder, into, dirs_exist_ok=True)

    monkeypatch.setattr(commands, "_run_notebooks", run_notebooks)
    assert commands.main(["reference"]) == 0
    reference = read_json(repository / "results" / "reference.json")
    assert reference["settings"] == {"rows": 4, "start": 0, "seed": 0}
    assert reference["checkpoints"]["01_data_loading"] == {"total": 6}
    assert reference["detectors"]["judge"]["average_precision"] == 0.25
    readme = (repository / "results" / "README.md").read_text()
    assert readme.startswith("a\n<!-- results:start -->\n| detector ") and "2 frauds" in readme
    assert readme.endswith("-->\nz\n")
    capsys.readouterr()
    seen = reference["checkpoints"]["06_evaluation"]["seen"]

    def verdict(value: float, tolerance: float = 0.1, **parameters: int) -> str:
        runs.start("06_evaluation", **parameters).checkpoint(tolerance=tolerance, seen=value)
        return capsys.readouterr().out

    assert verdict(seen * 1.05) == "Checkpoint: as in the reference run.\n"
    assert verdict(seen + 1e-9, tolerance=0) != "Checkpoint: as in the reference run.\n"
    off = verdict(99.5)
    assert off.startswith(f"Checkpoint: seen is 99.5, in the reference run {seen:g}. Training on another")
    assert "no more than 10 %" in off and "a larger difference matters" in off
    assert "a cell above was changed or left out" in verdict(99.5, tolerance=0)
    other = "Checkpoint: not the reference settings (seed 3 instead of 0), so nothing to compare.\n"
    assert verdict(99.5, SEED=3) == other
    told = record(folder, "02_heuristic_labels") | {"parameters": {"SEED": 3}}  # of an earlier notebook
    (folder / "artifacts" / "02_heuristic_labels.json").write_text(json.dumps(told))
    assert verdict(99.5) == verdict(99.5, SEED=0) == other
    hand_over_01(runs, folder, rows=8000)
    assert "settings (rows 8,000 instead of 4" in verdict(99.5)

    summary = repository / "results" / "summary.json"
    summary.write_text(summary.read_text().replace('"timings_s"', '"seconds_of_another_machine"'))
    before = files(repository / "results")
    for as_reference, said in (
        (True, "As published in results/, which stays as it is;"),
        (False, "Other than"),
    ):
        checks = {"total": {"value": 6, "as_reference": as_reference}}
        for stage in ("01_data_loading", "06_evaluation"):
            (folder / "checkpoints" / f"{stage}.json").write_text(json.dumps(checks))
        assert commands.main(["results"]) == 0 and capsys.readouterr().out.startswith(said)
        assert (files(repository / "results") == before) is as_reference
    assert "timings_s" in summary.read_text()


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


# --- what was handed over, and whether it still holds -----------------------------------------------------


def test_stale_damaged_and_missing_name_the_notebook_to_re_run(runs, folder: Path, monkeypatch) -> None:
    hand_over_01(runs, folder, rows=4)
    run = runs.start("05_supervised_judge")
    run.read("errors.parquet")
    path = folder / "artifacts" / "errors.parquet"
    whole = path.read_bytes()
    for damaged in (whole[:-1], whole + b" ", b"", whole[:9] + bytes([whole[9] ^ 1]) + whole[10:]):
        path.write_bytes(damaged)
        with pytest.raises(runs.CourseError, match=r"errors.parquet is damaged.*re-run 04_auto") as caught:
            run.read("errors.parquet")
        assert_one_sentence(str(caught.value))
    path.unlink()
    with pytest.raises(runs.CourseError, match=r"errors.parquet is missing; re-run 04_auto"):
        run.read("errors.parquet")
    path.write_bytes(whole)
    hand_over_01(runs, folder, rows=7)
    assert len(runs.start("02_heuristic_labels").read("events.parquet")) == 7
    with pytest.raises(runs.CourseError, match=r"events.parquet has changed since; re-run 02_heur"):
        runs.start("05_supervised_judge").read("errors.parquet")


def test_the_truth_is_sealed_and_makes_nothing_else_stale(runs, folder: Path) -> None:
    assert list(runs.start("06_evaluation").read("truth.parquet")["Class"]) == [0, 1]
    for stage in list(TOYS)[1:5]:
        with pytest.raises(runs.CourseError, match=r"truth.parquet is sealed"):
            runs.start(stage).path("truth.parquet")
    hand_over_01(runs, folder, rows=4, truth=(1, 1))
    runs.start("06_evaluation").read("scores.parquet")
    with pytest.raises(runs.CourseError, match="re-run 06_evaluation"):
        runs.checked_artifact(folder, "evaluation.json")
    hand_over_01(runs, folder, rows=4, truth=None)
    runs.start("05_supervised_judge").read("errors.parquet")
    with pytest.raises(runs.CourseError, match="has no column Class"):
        runs.start("06_evaluation").read("truth.parquet")


@posix
@pytest.mark.parametrize("action", ["hand over", "notebooks", "publish"])
def test_killed_at_any_touch_of_a_file_old_or_new_is_there(
    runs, commands, repository, folder, action
) -> None:
    """After kill -9 all is the old or the new, or is missing and will be made again; the next time works."""
    where, leftovers = folder / "artifacts", "*.tmp"
    if action == "hand over":
        act: Callable[[], object] = lambda: hand_over_01(runs, folder, rows=7)  # noqa: E731
    elif action == "publish":
        where, leftovers = repository / "results", ".results*"
        (folder / "summary.md").write_text("another run")
        act = lambda: modules(repository)["course.results"].publish(folder)  # noqa: E731
    else:
        where, executed = repository / "notebooks", folder / "notebooks"

        def execute(stages, parameters, copies):
            for stage in stages:
                shutil.copyfile(executed / f"{stage}.ipynb", copies / f"{stage}.ipynb")
                yield stage, 0.0

        modules(repository)["course.notebooks"].execute = execute
        act = lambda: commands.main(["notebooks"])  # noqa: E731
    old = files(where)
    act()
    new = files(where)
    assert old != new

    def prepare() -> None:
        shutil.rmtree(repository / ".results.old", ignore_errors=True)
        for name, content in old.items():
            (where / name).parent.mkdir(parents=True, exist_ok=True)
            (where / name).write_bytes(content)

    def check() -> None:
        if action == "hand over" and not runs.is_there(folder, "01_data_loading"):
            return  # it has not run, and nothing of it is read
        aside = repository / ".results.old"
        left = files(where if where.exists() else aside)
        left = {name: content for name, content in left.items() if not name.endswith(".tmp")}
        assert all(content in (old[name], new[name]) for name, content in left.items())
        assert action != "publish" or left in (old, new)
        if action == "hand over":
            assert len(runs.Run(folder, "02_heuristic_labels", {}).read("events.parquet")) in (4, 7)

    assert killed_at_every_touch(prepare, act, check) > 5
    act()
    assert files(where) == new and not list(where.glob(leftovers)) and not list(repository.glob(".results*"))


# --- what goes wrong ----------------------------------------------------------------------------------------


@posix
def test_a_full_disk_is_one_sentence_and_the_old_files_stay(runs, folder: Path, commands, capsys) -> None:
    import matplotlib.pyplot as plt

    def figure():
        """A figure that no disk takes."""
        return plt.subplots()[0]

    table, before = pd.DataFrame({"a": range(9_000)}).sample(frac=1, random_state=0), files(folder)
    run = runs.start("06_evaluation")
    values = {f"value_{i}": i for i in range(90)}
    for act in (
        lambda: run.hand_over({"evaluation.json": {}, "large.parquet": table}),
        lambda: run.hand_over({"evaluation.json": {"a": list(range(900))}}),
        lambda: run.show(figure),
        lambda: run.checkpoint(**values),
    ):
        with (
            small_files_only(2_500),
            pytest.raises(runs.CourseError, match=r"^Cannot write into .*too large"),
        ):
            act()
        after = files(folder)
        assert {name for name in before if after[name] != before[name]} <= {
            "artifacts/06_evaluation.json",  # it has not run, as far as the next notebook is told
            "artifacts/evaluation.json",
        }
    assert not [name for name in files(folder) if name.endswith(".tmp")]
    with small_files_only(100):
        assert commands.main(["run", "--only", "01_data_loading"]) == 1
    assert_one_sentence(last_line(capsys.readouterr().err))


def test_a_failing_cell_is_named_and_its_copy_kept(commands, repository: Path, capsys) -> None:
    keep(repository, 2)
    awkward = "a\"b'c\nd\\"
    told = ["--out", "x", "-p", "FAIL", "True", "-p", "SOURCE", awkward]
    assert commands.main(["run", *told]) == 1
    copy, said = (
        repository / "runs" / "x" / "notebooks" / "02_heuristic_labels.ipynb",
        capsys.readouterr().err,
    )
    sentence = f"02_heuristic_labels stopped at cell [4]: ValueError: no (the executed copy is {copy})"
    assert last_line(said) == sentence and copy.is_file() and "Traceback" not in said
    settings = read_json(repository / "runs" / "x" / "artifacts" / "settings.json")
    assert settings["source"] == awkward


def test_a_kernel_that_dies_is_one_sentence_and_what_was_handed_over_stays(repository, runs, folder) -> None:
    change(repository, "02_heuristic_labels", "import time", "import os; os._exit(9)")
    done = run_course(repository, "run")
    copy = folder / "notebooks" / "02_heuristic_labels.ipynb"
    said = [line for line in done.stderr.replace("\r", "\n").split("\n") if line.strip()]
    assert done.returncode == 1 and copy.is_file() and all("cell" in line for line in said[:-1])
    assert said[-1].startswith("02_heuristic_labels stopped: its kernel died, often for lack of memory;")
    assert said[-1].endswith(f"(the executed copy is {copy})") and "Traceback" not in done.stderr
    runs.checked_artifact(folder, "events.parquet")


@posix
def test_ctrl_c_is_one_sentence_and_leaves_no_kernel(repository: Path, folder: Path) -> None:
    command = [sys.executable, "-m", "course", "run", "-p", "SLEEP", "60"]
    (done := folder / "artifacts" / "01_data_loading.json").unlink()
    run = psutil.Popen(command, cwd=repository, env=env(), stderr=subprocess.PIPE, encoding="utf-8")
    while not done.is_file():
        assert run.poll() is None
        time.sleep(0.1)
    time.sleep(2)  # into 02, which sleeps
    kernels = run.children(recursive=True)
    run.send_signal(signal.SIGINT)
    said = run.communicate(timeout=60)[1].replace("\r", "\n").split("\n")
    assert run.returncode == 130 and psutil.wait_procs(kernels, timeout=10)[1] == []
    words = [line for line in said if line.strip() and "cell" not in line]
    assert words == ["Stopped; what was handed over so far is kept."]


@pytest.mark.parametrize("content", ["", '{"cells": 3, "nbformat": 4, "nbformat_minor": 5}'])
@pytest.mark.parametrize("command", ["run", "notebooks"])
def test_a_damaged_notebook_is_one_sentence(commands, repository, capsys, content, command) -> None:
    (repository / "notebooks" / "02_heuristic_labels.ipynb").write_text(content)
    assert commands.main([command]) == 1
    said = last_line(capsys.readouterr().err)
    assert said.endswith(
        "02_heuristic_labels.ipynb is not a readable notebook; take it again from the course."
    )


NASTY = "a b'ä\"{0}\n$(touch x)`touch x`;%s|日\\"


@pytest.mark.parametrize("name", [NASTY, "-p", "../beside"])
def test_awkward_names_of_runs_are_folders_and_nothing_more(commands, repository, monkeypatch, name) -> None:
    """The name goes from `--out` through papermill into the notebook and comes out as it went in."""
    monkeypatch.chdir(repository)
    keep(repository, 1)
    before = {path for path in repository.parent.rglob("*") if "__pycache__" not in path.parts}
    assert commands.main(["run", f"--out={name}", f"--source={name}"]) == 0
    made = Path(os.path.abspath((repository if "/" in name else repository / "runs") / name))
    assert read_json(made / "artifacts" / "settings.json")["source"] == name
    after = {path for path in repository.parent.rglob("*") if "__pycache__" not in path.parts}
    assert [path for path in after - before if not path.is_relative_to(made)] == []


@pytest.mark.parametrize("name", ["", "  ", "..", "a\0b", None])
def test_what_is_no_name_of_a_run_is_said(runs, repository, name) -> None:
    assert runs.run_folder(7) == repository / "runs" / "7"  # as papermill reads `-p RUN 7`
    with pytest.raises(runs.CourseError, match="is no name for a run; give a name such as"):
        runs.run_folder(name)


@pytest.mark.parametrize("seed", [-1, 2**32, 0.5, True, "3"])
def test_what_is_no_seed_is_said(runs, seed) -> None:
    with pytest.raises(runs.CourseError, match="SEED must be a whole number from 0 to "):
        runs.start("01_data_loading", SEED=seed)


def test_a_source_is_looked_for_where_the_reader_is(commands, tmp_path, monkeypatch) -> None:
    """Kernels work in notebooks/, so `--source my.csv` must not stay relative; other words stay words."""
    given: list = []
    monkeypatch.setattr(commands, "_run_notebooks", lambda *arguments, **_: given.append(arguments[2]))
    for name in ("my.csv", "auto"):
        (tmp_path / name).write_text("")
    monkeypatch.chdir(tmp_path)
    for source in ("my.csv", "auto", "none.csv", NASTY):
        commands.main(["run", f"--source={source}"])
        commands.main(["run", "-p", "SOURCE", source])
    expected = [str(tmp_path / "my.csv"), "auto", "none.csv", NASTY]
    assert [one["SOURCE"] for one in given] == [source for source in expected for _ in range(2)]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["-p", "SEDE", "3"], "No selected notebook has a parameter SEDE"),
        (["--rows", "5", "--from", "02_heuristic_labels"], "parameter ROWS; they have FAIL, RUN"),
        (["--only", "1"], "There is no notebook 1; choose from 01_data_loading"),
        (["--out", ""], "'' is no name for a run"),
        (["--out", "x" * 300], "File name too long"),
        (["-p", "RUN", "x"], "The parameter RUN is given with --out"),
    ],
)
def test_bad_arguments_are_one_sentence_before_anything_runs(
    commands, folder, arguments, sentence, capsys
) -> None:
    before = files(folder)
    assert commands.main(["run", *arguments]) == 1
    said = capsys.readouterr().err
    assert sentence in said and "Traceback" not in said
    assert files(folder) == before


def test_values_are_read_as_papermill_does(commands) -> None:
    given = ["3", "0.5", "True", "None", "snapshot", "'x'", "[1]", "1e-3", "__import__('os')"]
    read = [3, 0.5, True, None, "snapshot", "'x'", "[1]", 0.001, "__import__('os')"]
    assert [commands._value(text) for text in given] == read


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
    for _ in range(600):
        try:
            return urllib.request.urlopen(address, timeout=10)
        except OSError:
            time.sleep(0.1)
    raise AssertionError(f"no answer from {address}")
