"""helpers/runs.py and the commands, on toy notebooks in a repository of their own."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import papermill
import psutil
import pytest
from sandbox import files, killed_at_every_touch, last_line, refused
from toys import TOYS, change, env, hand_over_01, keep, modules, read_json, run_course, write_toys

from course import notebooks
from helpers.runs import earlier

posix = pytest.mark.skipif(os.name != "posix", reason="needs a POSIX system")
NASTY = "a b'ä\"{0}\n$(touch x)`touch x`;%s|日\\"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory):
    """A toy repository whose path is awkward, after `results`; what that printed."""
    root = write_toys(tmp_path_factory.mktemp("toys") / "a {höhle} of toys")
    done = run_course(root, "results")
    assert done.returncode == 0, done.stderr
    return root, done.stdout, done.stderr


@pytest.fixture
def repository(finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("COURSE_RUNS", raising=False)
    monkeypatch.chdir(tmp_path)
    return Path(shutil.copytree(finished[0], tmp_path / "a toy"))


runs = pytest.fixture(lambda repository: modules(repository)["helpers.runs"])
commands = pytest.fixture(lambda repository: modules(repository)["course.__main__"])
folder = pytest.fixture(lambda repository: repository / "runs" / "default")


def record(folder: Path, stage: str) -> dict:
    return read_json(folder / "artifacts" / f"{stage}.json")


def read(folder: Path, stage: str) -> nbformat.NotebookNode:
    return nbformat.read(folder / "notebooks" / f"{stage}.ipynb", 4)


def said_last(capsys) -> str:
    said = capsys.readouterr().err
    assert "Traceback" not in said
    return last_line(said)


@pytest.fixture
def executed(repository: Path, folder: Path, monkeypatch) -> Path:
    """The executed notebooks, which `execute` gives from now on, without a kernel."""

    def execute(stages, parameters, copies):
        copies.mkdir(parents=True)
        for stage in stages:
            shutil.copyfile(folder / "notebooks" / f"{stage}.ipynb", copies / f"{stage}.ipynb")
            yield stage, 0.0

    monkeypatch.setattr(modules(repository)["course.notebooks"], "execute", execute)
    return folder / "notebooks"


def test_results_runs_all_and_publishes(finished):
    root, output, bar = finished
    folder = root / "runs" / "default"
    assert set(record(folder, "03_behavioral_features")["inputs"]) == {"events.parquet", "profile.json"}
    assert record(folder, "02_heuristic_labels")["parameters"] == {"SEED": 0}
    summary = read_json(folder / "summary.json")
    assert set(summary) == {"data", "detectors", "timings_s", "versions"}
    assert summary["data"]["frauds_test"] == 2 and list(summary["timings_s"]) == list(TOYS)
    row = ["classifier", "0.250", "0.100 to 0.500", "0.125", "0.900", "-", "-", "3,388"]
    printed = [[cell.strip() for cell in line.split("|")[1:-1]] for line in output.split("\n")]
    assert row in printed and str(root / "results") in output
    published = {str(p.relative_to(root / "results")) for p in (root / "results").rglob("*.*")}
    assert published == {"README.md", "summary.json", "summary.md", "figures/curves.png"}
    assert not list(root.rglob("*.tmp*"))
    assert b"Software" not in (root / "results" / "figures" / "curves.png").read_bytes()
    assert f"{len(TOYS)}/{len(TOYS)} [" in last_line(bar)
    outputs = [o for c in read(folder, "06_evaluation").cells for o in c.get("outputs", [])]
    (shown,) = [output for output in outputs if output.output_type == "display_data"]
    assert shown.data["text/plain"] == "An empty pair of axes." and "image/png" in shown.data
    assert shown.metadata["image/png"]["alt"] == "An empty pair of axes. Above. Nothing to see."


def test_two_run_at_once_and_none_before_what_it_reads(monkeypatch, tmp_path):
    spans: dict[str, tuple[float, float]] = {}

    def execute(notebook, copy, parameters) -> None:
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
    assert notebooks.AT_ONCE < 2 or spans["09_streaming_sessions"][0] < spans["01_data_loading"][1]


def test_catches_up_quietly_in_any_folder(repository: Path, folder: Path, monkeypatch):
    """Plain papermill elsewhere, two stages missing in the middle. Half-finished exercises belong to the
    learner, and what is handed over comes before them."""
    before = {stage: record(folder, stage)["outputs"] for stage in TOYS}
    for name in ("votes.parquet", "inputs.parquet"):
        (folder / "artifacts" / name).unlink()
    notebook = read(repository, "02_heuristic_labels")
    notebook.cells += [nbformat.v4.new_markdown_cell("## Exercises"), nbformat.v4.new_code_cell("oops")]
    nbformat.write(notebook, repository / "notebooks" / "02_heuristic_labels.ipynb")
    monkeypatch.setenv("PYTHONPATH", str(repository))
    source, told = repository / "notebooks" / "04_autoencoder.ipynb", {"SEED": 3, "RUN": str(folder)}
    done = papermill.execute_notebook(source, "out.ipynb", told, progress_bar=False)
    said = "".join(output.text for cell in done.cells for output in cell.get("outputs", []))
    caught_up = [f"Catching up by running {stage}." for stage in list(TOYS)[1:3]]
    assert said.splitlines() == caught_up
    assert {stage: record(folder, stage)["outputs"] for stage in TOYS} == before  # the same bytes
    seeds = {stage: record(folder, stage)["parameters"]["SEED"] for stage in list(TOYS)[:4]}
    assert list(seeds.values()) == [0, 3, 3, 3] and "oops" not in str(read(folder, "02_heuristic_labels"))


def test_notebooks_are_rewritten_clean(commands, repository: Path):
    keep(repository, 2)
    source = read(repository, "01_data_loading")
    folded = {"cellView": "form", "jupyter": {"source_hidden": True}}
    source.cells[-1].metadata.update(folded)
    nbformat.write(source, repository / "notebooks" / "01_data_loading.ipynb")
    assert commands.main(["notebooks"]) == 0
    cleaned = read(repository, "01_data_loading")
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


def test_notebooks_are_rewritten_all_or_none(commands, repository, folder, executed, capsys):
    loud = read(folder, "02_heuristic_labels")
    loud.cells[-1].outputs = [nbformat.v4.new_output("stream", name="stderr", text="w\nx")]
    nbformat.write(loud, executed / "02_heuristic_labels.ipynb")
    before = files(repository / "notebooks")
    assert commands.main(["notebooks"]) == 1
    sentence = "02_heuristic_labels wrote to stderr in cell [6], which must not be: w"
    assert said_last(capsys) == sentence and files(repository / "notebooks") == before


def test_reference_and_verdicts(commands, runs, repository: Path, folder: Path, capsys, monkeypatch):
    """On another machine seconds and versions differ: that is no reason to touch results/."""

    def run_notebooks(into: Path, **_) -> None:
        if into != folder:
            shutil.copytree(folder, into, dirs_exist_ok=True)

    monkeypatch.setattr(commands, "_run_notebooks", run_notebooks)
    assert commands.main(["reference"]) == 0
    reference = read_json(repository / "results" / "reference.json")
    assert reference["settings"] == {"rows": 4, "start": 0, "seed": 0}
    assert reference["checkpoints"]["01_data_loading"] == {"total": 6}
    assert reference["detectors"]["classifier"]["average_precision"] == 0.25
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
    for as_reference, said in ((True, "As published in results/, which stays as"), (False, "Other than")):
        checks = {"total": {"value": 6, "as_reference": as_reference}}
        for stage in ("01_data_loading", "06_evaluation"):
            (folder / "checkpoints" / f"{stage}.json").write_text(json.dumps(checks))
        assert commands.main(["results"]) == 0 and capsys.readouterr().out.startswith(said)
        assert (files(repository / "results") == before) is as_reference
    assert "timings_s" in summary.read_text()

    reference = {"settings": {"seed": 0}, "parameters": {"09_streaming_sessions": {"ACCOUNTS": 1_250}}}
    reference["checkpoints"] = {"09_streaming_sessions": {"found": 7}}
    (repository / "results" / "reference.json").write_text(json.dumps(reference))
    other = "not the reference settings (ACCOUNTS 600 instead of 1,250), so nothing to compare."
    for accounts, said in ((1_250, "found is 8, in the reference run 7."), (600, other)):
        runs.start("09_streaming_sessions", SEED=0, ACCOUNTS=accounts).checkpoint(found=8)
        assert said in capsys.readouterr().out


def test_stale_damaged_and_missing_name_the_notebook_to_re_run(runs, folder: Path):
    hand_over_01(runs, folder, rows=4)
    run, path = runs.start("05_supervised_classifier"), folder / "artifacts" / "errors.parquet"
    run.read("errors.parquet")
    whole = path.read_bytes()
    for damaged in (whole[:-1], whole + b" ", b"", whole[:9] + bytes([whole[9] ^ 1]) + whole[10:]):
        path.write_bytes(damaged)
        with refused(r"^errors.parquet is damaged.*re-run 04_autoencoder\.$"):
            run.read("errors.parquet")
    path.unlink()
    with refused(r"errors.parquet is missing; re-run 04_auto"):
        run.read("errors.parquet")
    path.write_bytes(whole)
    hand_over_01(runs, folder, rows=7)
    assert len(runs.start("02_heuristic_labels").read("events.parquet")) == 7
    with refused(r"events.parquet has changed since; re-run 02_heur"):
        runs.start("05_supervised_classifier").read("errors.parquet")


def test_the_truth_is_sealed_and_makes_nothing_else_stale(runs, folder: Path):
    assert list(runs.start("06_evaluation").read("truth.parquet")["Class"]) == [0, 1]
    for stage in list(TOYS)[1:5]:
        with refused(r"truth.parquet is sealed"):
            runs.start(stage).path("truth.parquet")
    hand_over_01(runs, folder, rows=4, truth=(1, 1))
    runs.start("06_evaluation").read("scores.parquet")
    with refused("re-run 06_evaluation"):
        runs.checked_artifact(folder, "evaluation.json")
    hand_over_01(runs, folder, rows=4, truth=None)
    runs.start("05_supervised_classifier").read("errors.parquet")
    with refused("has no column of the truth"):
        runs.start("06_evaluation").read("truth.parquet")


@posix
def test_killed_at_any_touch_a_notebook_has_handed_over_old_or_new_or_nothing(runs, folder):
    where = folder / "artifacts"
    old = files(where)
    hand_over_01(runs, folder, rows=7)
    new = files(where)

    def prepare() -> None:
        for name, content in old.items():
            (where / name).write_bytes(content)

    def check() -> None:
        if runs.is_there(folder, "01_data_loading"):  # else it has not run, and nothing of it is read
            left = {name: content for name, content in files(where).items() if not name.endswith(".tmp")}
            assert all(content in (old[name], new[name]) for name, content in left.items())
            assert len(runs.Run(folder, "02_heuristic_labels", {}).read("events.parquet")) in (4, 7)

    assert killed_at_every_touch(prepare, lambda: hand_over_01(runs, folder, rows=7), check) > 5
    hand_over_01(runs, folder, rows=7)
    assert files(where) == new != old


@pytest.mark.parametrize(
    ("cell", "why"),
    [
        ("raise ValueError('no' + chr(10) + 'such luck')", " at cell [5]: ValueError: no"),
        ("import os; os._exit(9)", ": its kernel died, often for lack of memory; close other programs and "),
    ],
)
def test_a_cell_or_a_kernel_that_fails_is_named(
    commands, repository, runs, folder, capsys, cell, why
) -> None:
    change(repository, "02_heuristic_labels", "import time", cell)
    assert commands.main(["run", "02_heuristic_labels"]) == 1
    copy = folder / "notebooks" / "02_heuristic_labels.ipynb"
    said = said_last(capsys)
    assert said.startswith(f"02_heuristic_labels stopped{why}")
    assert said.endswith(f" (the executed copy is {copy})")
    assert cell in copy.read_text()
    runs.checked_artifact(folder, "events.parquet")


@posix
def test_ctrl_c_is_one_sentence_and_leaves_no_kernel(repository: Path, folder: Path):
    change(repository, "02_heuristic_labels", "SLEEP: float = 0.0", "SLEEP: float = 60.0")
    command = [sys.executable, "-m", "course", "run", "02_heuristic_labels"]
    (copy := folder / "notebooks" / "02_heuristic_labels.ipynb").unlink()
    run = psutil.Popen(command, cwd=repository, env=env(), stderr=subprocess.PIPE, encoding="utf-8")
    while not copy.is_file() or '"execution_count": 4' not in copy.read_text():  # the next cell sleeps
        assert run.poll() is None
        time.sleep(0.1)
    kernels = run.children(recursive=True)
    run.send_signal(signal.SIGINT)
    said = run.communicate(timeout=60)[1].replace("\r", "\n").split("\n")
    assert run.returncode == 130 and kernels and psutil.wait_procs(kernels, timeout=10)[1] == []
    words = [line for line in said if line.strip() and "notebook" not in line]
    assert words == ["Stopped; what was handed over so far is kept."]


def test_a_damaged_notebook_is_one_sentence(commands, repository, capsys):
    for command, content in (("run", ""), ("notebooks", '{"cells": 3, "nbformat": 4, "nbformat_minor": 5}')):
        (repository / "notebooks" / "02_heuristic_labels.ipynb").write_text(content)
        assert commands.main([command]) == 1
        sentence = "02_heuristic_labels.ipynb is not a readable notebook; take it again from the course."
        assert said_last(capsys).endswith(sentence)


def test_an_awkward_name_of_a_run_is_a_folder_and_nothing_more(commands, repository, monkeypatch):
    """It goes from `--out` through papermill into the notebook and comes out as it went in."""
    monkeypatch.chdir(repository)
    keep(repository, 1)

    def there() -> set[Path]:
        return {path for path in repository.parent.rglob("*") if "__pycache__" not in path.parts}

    before, made = there(), repository / "runs" / NASTY
    assert commands.main(["run", f"--out={NASTY}", f"--source={NASTY}"]) == 0
    assert read_json(made / "artifacts" / "settings.json")["source"] == NASTY
    assert [path for path in there() - before if not path.is_relative_to(made)] == []


def test_a_name_a_path_a_seed_and_a_stage_are_taken_or_refused(runs, repository, monkeypatch):
    monkeypatch.chdir(repository)
    monkeypatch.setenv("HOME", str(repository / "home"))
    lies = {7: "runs/7", "-p": "runs/-p", "../beside": "../beside", "~/x": "home/x"}  # `-p RUN 7` is a number
    for name, expected in lies.items():
        assert runs.run_folder(name) == Path(os.path.abspath(repository / expected))
    for name in ("  ", ".", ".."):
        with refused("is no name for a run; give a name such as"):
            runs.run_folder(name)
    for seed in (-1, 2**32, True, "3"):
        with refused("SEED must be a whole number from 0 to 4294967295, not"):
            runs.start("01_data_loading", SEED=seed)
    for seed in (0, 2**32 - 1):
        assert runs.start("01_data_loading", SEED=seed).parameters == {"SEED": seed}


def test_a_source_is_looked_for_where_the_reader_is(commands, tmp_path, monkeypatch):
    """Kernels work in notebooks/, so `--source my.csv` must not stay relative; other words stay words."""
    given: list = []
    monkeypatch.setattr(commands, "_run_notebooks", lambda *_, **told: given.append(told))
    for name in ("my.csv", "auto"):
        (tmp_path / name).write_text("")
    for source in ("my.csv", "auto", "none.csv", NASTY):
        for option in ("source", "schema"):
            commands.main(["run", f"--{option}={source}"])
            expected = str(tmp_path / "my.csv") if source == "my.csv" else source
            assert list(given.pop().values()) == [expected]


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["02_heuristic_labels", "--rows", "5"], 1, "No selected notebook has a parameter ROWS."),
        (["1"], 2, "'1' is not one of '01_data_loading', '02_heur"),
        (["--out", "x" * 300], 1, "File name too long"),
    ],
)
def test_bad_arguments_are_one_sentence(commands, folder, arguments, code, sentence, capsys):
    before = files(folder)
    assert commands.main(["run", *arguments]) == code
    assert sentence in said_last(capsys) and files(folder) == before
