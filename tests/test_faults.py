"""What goes wrong in a run: kills, a full disk, damaged files, awkward names, dangerous contents."""

from __future__ import annotations

import ast
import importlib
import inspect
import os
import pkgutil
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import psutil
import pytest
from sandbox import assert_one_sentence, files, last_line, small_files_only
from toys import change, env, keep, load, read_json, rewrite, run_course, write_toys

import helpers
from helpers import data, runs
from helpers.detector import Detector
from helpers.files import to_json

ROOT = Path(runs.__file__).parents[1]
TESTS = Path(__file__).parent


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two toy notebooks after `run`, with results as if published."""
    root = tmp_path_factory.mktemp("faults") / "toys"
    write_toys(root, count=2)
    done = run_course(root, "run")
    assert done.returncode == 0, done.stderr
    (root / "results" / "figures").mkdir(parents=True)
    (root / "runs" / "default" / "figures").mkdir()
    for folder in (root / "results", root / "runs" / "default"):
        (folder / "summary.json").write_text("{}\n")
        (folder / "summary.md").write_text("# Results\n")
        (folder / "figures" / "curves.png").write_bytes(b"png of " + folder.name.encode())
    return root


@pytest.fixture
def repository(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("COURSE_RUNS", raising=False)
    return Path(shutil.copytree(finished, tmp_path / "toys"))


# --- kill -9 -------------------------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kill -9 needs a POSIX system")
@pytest.mark.parametrize("action", ["hand_over", "notebooks", "publish"])
def test_killed_at_any_moment_old_or_new_is_there_and_the_next_run_works(repository, action):
    command = [sys.executable, str(TESTS / "killing.py"), action]
    paths = env() | {"PYTHONPATH": str(repository)}
    done = subprocess.run(command, cwd=repository, env=paths, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 40


# --- a full disk, a damaged file -----------------------------------------------------------------


def test_a_full_disk_is_one_sentence_and_nothing_half_written_stays(detector, small, tmp_path):
    import matplotlib.pyplot as plt

    run = runs.Run(tmp_path / "run", "04_autoencoder", {})
    table = pd.DataFrame({"error": np.random.default_rng(0).random(2_000)})
    names = runs.STAGES[run.stage].writes
    run.hand_over({name: {} for name in names})
    before = files(run.folder)
    large = {"weights": detector.autoencoder, "table": table, "settings": {"a": list(range(900))}}
    for value in large.values():
        contents = dict.fromkeys(names, pd.DataFrame({"a": [1]})) | {names[-1]: value}
        with small_files_only(2_500), pytest.raises(runs.CourseError, match=r"^Cannot write") as caught:
            run.hand_over(contents)
        assert_one_sentence(str(caught.value))
        assert files(run.folder) == before

    def figure():
        """A figure that no disk takes."""
        return plt.subplots()[0]

    with small_files_only(2_500), pytest.raises(runs.CourseError, match=r"Cannot write into .*figures"):
        run.show(figure)
    with small_files_only(100), pytest.raises(runs.CourseError, match="Cannot write into"):
        first = runs.Run(run.folder, "01_data_loading", {})
        first.checkpoint(**{f"value_{i}": i for i in range(50)})
    with small_files_only(2_500), pytest.raises(runs.CourseError, match="File too large"):
        detector.save(tmp_path / "run" / "detector.zip")
    assert files(run.folder) == before


ENTRY = {"parameters": {}, "inputs": {}, "outputs": {}, "sealed": {}}
OTHER_SHAPES = [{"01_data_loading": entry} for entry in (3, {}, ENTRY | {"inputs": ["events.parquet"]})]
DAMAGED = [
    b"",
    b"{",
    b"[]",
    b"null",
    b"\xff\xfe",
    b'{"a": 1',
    *(to_json(one).encode() for one in OTHER_SHAPES),
]


@pytest.mark.parametrize("content", DAMAGED)
def test_a_damaged_manifest_is_said(repository, content):
    toy = load(repository)
    path = repository / "runs" / "default" / "manifest.json"
    path.write_bytes(content)
    with pytest.raises(toy.CourseError, match=r"manifest.json is damaged; delete it and run") as caught:
        toy.start("02_heuristic_labels").read("events.parquet")
    assert_one_sentence(str(caught.value))


@pytest.mark.parametrize(
    ("name", "manifest"),
    [
        ("09_sessions", {"09_sessions": ENTRY}),
        ("sessions.parquet", {"02_heuristic_labels": ENTRY | {"inputs": {"sessions.parquet": "0"}}}),
        ("sessions.parquet", {"01_data_loading": ENTRY | {"outputs": {"sessions.parquet": "0"}}}),
    ],
)
def test_a_manifest_of_another_version_is_said(repository, name, manifest):
    toy = load(repository)
    (repository / "runs" / "default" / "manifest.json").write_text(to_json(manifest))
    with pytest.raises(toy.CourseError, match=f"names {name}, which this version .* delete it and") as caught:
        toy.start("03_behavioral_features")
    assert_one_sentence(str(caught.value))


def test_every_damaged_artifact_is_recognised(repository):
    toy, folder = load(repository), repository / "runs" / "default"
    for name in ("events.parquet", "settings.json"):
        path = folder / "artifacts" / name
        whole = path.read_bytes()
        for damaged in (whole[:-1], whole + b" ", b"", whole[:9] + bytes([whole[9] ^ 1]) + whole[10:]):
            path.write_bytes(damaged)
            with pytest.raises(toy.CourseError, match=rf"{name} is damaged or .*re-run 01_data_loading"):
                toy.start("02_heuristic_labels").read(name)
        path.write_bytes(whole)
        toy.start("02_heuristic_labels").read(name)


def test_the_command_names_the_stale_artifact(repository):
    """Settings of 01 edited after 02 ran: what 02 handed over is refused, by name."""
    toy, folder = load(repository), repository / "runs" / "default"
    rewrite(toy, folder, rows=9)
    with pytest.raises(
        toy.CourseError, match=r"events.parquet has changed since; re-run 02_heuristic_labels"
    ):
        toy.checked_artifact(folder, "votes.parquet")
    done = run_course(repository, "run", "--only", "02_heuristic_labels")
    assert done.returncode == 0, done.stderr
    toy.checked_artifact(folder, "votes.parquet")


def test_two_runs_at_once_in_two_folders_do_not_meet(repository):
    """One hands over what it hands over alone, beside another with other settings."""
    commands = [["run", "--out", "same"], ["run", "--out", "other", "--rows", 6]]
    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(lambda command: run_course(repository, *command), commands))
    assert [one.returncode for one in done] == [0, 0], done
    alone, same, other = (repository / "runs" / name for name in ("default", "same", "other"))
    assert files(same / "artifacts") == files(alone / "artifacts") != files(other / "artifacts")
    assert read_json(same / "manifest.json") == read_json(alone / "manifest.json")
    assert read_json(other / "artifacts" / "settings.json")["rows"] == 6


def test_a_kernel_that_dies_is_one_sentence_and_what_was_handed_over_stays(repository):
    change(repository, "02_heuristic_labels", "import time", "import os; os._exit(9)")
    done = run_course(repository, "run")
    copy = repository / "runs" / "default" / "notebooks" / "02_heuristic_labels.ipynb"
    assert done.returncode == 1 and copy.is_file() and "Traceback" not in done.stderr
    said = last_line(done.stderr)
    assert said.startswith("02_heuristic_labels stopped: its kernel died, often for lack of memory; close")
    assert said.endswith(f"(the executed copy is {copy})")
    toy = load(repository)
    toy.checked_artifact(repository / "runs" / "default", "events.parquet")


@pytest.mark.skipif(os.name != "posix", reason="sends POSIX signals")
def test_ctrl_c_is_one_sentence_and_leaves_no_kernel(repository):
    command = [sys.executable, "-m", "course", "run", "-p", "SLEEP", "60"]
    manifest = repository / "runs" / "default" / "manifest.json"
    manifest.unlink()
    run = psutil.Popen(command, cwd=repository, env=env(), stderr=subprocess.PIPE, encoding="utf-8")
    while not (manifest.is_file() and list(read_json(manifest)) == ["01_data_loading"]):
        assert run.poll() is None
        time.sleep(0.1)
    time.sleep(2)  # into 02, which sleeps
    kernels = run.children(recursive=True)
    run.send_signal(signal.SIGINT)
    said = run.communicate(timeout=60)[1].replace("\r", "\n").split("\n")
    assert run.returncode == 130 and psutil.wait_procs(kernels, timeout=10)[1] == []
    words = [line for line in said if line.strip() and "cell" not in line]
    assert words == ["Stopped; what was handed over so far is kept."]


@pytest.mark.parametrize("content", ["", "{", "[]", '{"cells": 3, "nbformat": 4, "nbformat_minor": 5}'])
@pytest.mark.parametrize("command", ["run", "notebooks"])
def test_a_damaged_notebook_is_one_sentence(repository, capsys, content, command):
    (repository / "notebooks" / "02_heuristic_labels.ipynb").write_text(content)
    assert load(repository, "course.__main__").main([command]) == 1
    said = last_line(capsys.readouterr().err)
    assert said.endswith(
        "02_heuristic_labels.ipynb is not a readable notebook; take it again from the course."
    )


# --- awkward names and parameters ----------------------------------------------------------------

NASTY = "a b'ä\"{0}\n$(touch x)`touch x`;%s|日\\"


@pytest.mark.parametrize("name", [NASTY, "-p", "../beside"])
def test_awkward_names_of_runs_are_folders_and_nothing_more(repository, name):
    """The name goes from `--out` through papermill into the notebook and comes out as it went in."""
    keep(repository, 1)
    before = {path for path in repository.parent.rglob("*") if "__pycache__" not in path.parts}
    done = run_course(repository, "run", f"--out={name}", f"--source={name}")
    assert done.returncode == 0, done.stderr
    base = repository if "/" in name else repository / "runs"
    folder = Path(os.path.abspath(base / name))
    assert read_json(folder / "artifacts" / "settings.json")["source"] == name
    made = {path for path in repository.parent.rglob("*") if "__pycache__" not in path.parts}
    assert [path for path in made - before if not path.is_relative_to(folder)] == []


@pytest.mark.parametrize("name", ["", "  ", ".", "..", "a\0b"])
def test_what_is_no_name_is_said(name):
    with pytest.raises(runs.CourseError, match="is no name for a run; give a name such as") as caught:
        runs.run_folder(name)
    assert_one_sentence(str(caught.value))


def test_a_name_too_long_for_a_folder_is_one_sentence(repository, capsys):
    assert load(repository, "course.__main__").main(["run", "--out", "x" * 300]) == 1
    said = capsys.readouterr().err
    assert "File name too long" in said and "Traceback" not in said and said.count("\n") == 1


@pytest.mark.parametrize("seed", [-1, 2**32, 0.5, True, None, "3", NASTY])
def test_what_is_no_seed_is_said(seed):
    with pytest.raises(runs.CourseError, match="SEED must be a whole number from 0 to ") as caught:
        runs.start("01_data_loading", SEED=seed)
    assert_one_sentence(str(caught.value))


def test_a_source_is_looked_for_where_the_reader_is(repository, monkeypatch):
    """Kernels work in notebooks/, so `--source my.csv` must not stay relative; other words stay words."""
    commands, given = load(repository, "course.__main__"), []
    monkeypatch.setattr(commands, "_run_notebooks", lambda *arguments, **_: given.append(arguments[2]))
    (folder := repository / "a folder").mkdir()
    (folder / "my.csv").write_text("")
    (folder / "auto").write_text("")
    monkeypatch.chdir(folder)
    for source in ("my.csv", "auto", "none.csv", NASTY, "x" * 300):
        commands.main(["run", f"--source={source}"])
        commands.main(["run", "-p", "SOURCE", source])
    expected = [str(folder / "my.csv"), "auto", "none.csv", NASTY, "x" * 300]
    assert [one["SOURCE"] for one in given] == [source for source in expected for _ in range(2)]


# --- nothing dangerous ---------------------------------------------------------------------------

FORBIDDEN_MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
FORBIDDEN_CALLS = re.compile(
    r"^(eval|exec|compile|__import__|(os\.)?(system|popen)|subprocess\.getoutput|yaml\.load"
    r"|(shutil\.)?unpack_archive|torch\.(load|save)|(np|numpy)\.(load|save)|(pd\.)?read_pickle|.*\.(to_pickle|extractall|extract)"
    r"|(get_ipython\(\)|ip)\.(system|getoutput|run_cell_magic|run_line_magic))$"
)


def sources() -> dict[str, str]:
    """The course's code by name: both packages, each notebook's cells but for the first one."""
    files = [path for package in ("helpers", "course") for path in (ROOT / package).rglob("*.py")]
    found = {path.name: path.read_text(encoding="utf-8") for path in files}
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        cells = nbformat.read(path, as_version=4).cells
        found[path.name] = "\n".join([cell.source for cell in cells if cell.cell_type == "code"][1:])
    return found


def dangers(text: str) -> list[str]:
    """What in the code reads or writes pickle, unpacks archives, or hands text to a shell or to eval."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [getattr(node, "module", None) or "", *(alias.name for alias in node.names)]
            found += [name for name in names if name.partition(".")[0] in FORBIDDEN_MODULES]
        if isinstance(node, ast.Call):
            keywords = {word.arg: ast.unparse(word.value) for word in node.keywords}
            safe = keywords.get("allow_pickle") == "False"
            name = ast.unparse(node.func)
            if keywords.get("shell", "False") != "False" or (FORBIDDEN_CALLS.match(name) and not safe):
                found.append(ast.unparse(node))
    return found


def test_no_pickle_shell_or_eval_is_in_the_code():
    found = sources()
    assert len(found) > 12
    assert found.pop("sweep.py").count("joblib") == 1  # keeps finished fits in runs/, for itself alone
    assert {name: dangers(text) for name, text in found.items() if dangers(text)} == {}


@pytest.mark.parametrize(
    "text",
    [
        "import pickle",
        "from joblib import load",
        "subprocess.run(f'x {a}', shell=True)",
        "subprocess.run(a, shell=a)",
        "torch.load(a)",
        "np.load(a, allow_pickle=True)",
        "np.load(a)",
        "eval(a)",
        "os.system(a)",
        "pd.read_pickle(a)",
        "zipfile.ZipFile(a).extractall()",
        "shutil.unpack_archive(a)",
        "get_ipython().system(a)",
    ],
)
def test_the_search_for_dangers_finds_them(text):
    assert len(dangers(text)) >= 1
    assert dangers("subprocess.run([a])\nnp.save(a, b, allow_pickle=False)\njson.load(a)") == []


def test_a_bundle_from_outside_writes_nothing_outside(detector, tmp_path):
    """Names that climb out, absolute names, links: the three parts are read, nothing is unpacked."""
    detector.save(tmp_path / "inside.zip")
    shutil.copyfile(tmp_path / "inside.zip", tmp_path / "evil.zip")
    with zipfile.ZipFile(tmp_path / "evil.zip", "a") as bundle:
        for name in ("../climbed", str(tmp_path / "absolute"), "settings.json/under"):
            bundle.writestr(name, b"x")
        link = zipfile.ZipInfo("link")
        link.external_attr = 0o120777 << 16
        bundle.writestr(link, "/etc")
    before = {path for path in tmp_path.parent.rglob("*")}
    loaded = Detector.load(tmp_path / "evil.zip")
    assert {path for path in tmp_path.parent.rglob("*")} == before
    assert loaded.alert_threshold == detector.alert_threshold


def loaders() -> dict[str, type]:
    """Every class of the helpers that reads back a file which it wrote."""
    found = {}
    for module in pkgutil.iter_modules(helpers.__path__):
        for name, kind in vars(importlib.import_module(f"helpers.{module.name}")).items():
            if inspect.isclass(kind) and {"save", "load"} <= set(dir(kind)):
                found[name] = kind
    return found


@pytest.mark.parametrize("name", loaders())
@pytest.mark.parametrize("damage", ["text", "half", "parts of others"])
def test_a_damaged_bundle_is_one_sentence_and_writes_nothing(detector, tmp_path, name, damage):
    detector.save(path := tmp_path / "damaged.zip")
    if damage == "text":
        path.write_text("PK, but no more")
    elif damage == "half":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    else:
        names = zipfile.ZipFile(path).namelist()
        with zipfile.ZipFile(path, "w") as bundle:
            for part in (*names, "../climbed", str(tmp_path / "absolute")):
                bundle.writestr(part, b"\x80\x04cos\nsystem\n(S'x'\ntR.")
    before = set(tmp_path.parent.rglob("*"))
    with pytest.raises(ValueError, match=r"^damaged.zip is not ") as caught:
        loaders()[name].load(path)
    assert_one_sentence(str(caught.value))
    assert set(tmp_path.parent.rglob("*")) == before


def test_a_parquet_with_python_objects_is_not_run(tmp_path):
    """pandas' own metadata in a parquet file are ignored, and an object column is text that is refused."""
    events = data.load_events("snapshot", rows=10).assign(V1=b"\x80\x04cos\nsystem\n(S'x'\ntR.")
    events.to_parquet(tmp_path / "x.parquet")
    with pytest.raises(ValueError, match=r"column V1, row 0 .*a finite number is needed"):
        data.load_events(tmp_path / "x.parquet", rows=10)
