"""course/jobs.py, and course/bench.py with toy peers: no package of requirements-bench.txt is needed."""

import contextlib
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from types import SimpleNamespace

import numpy as np
import pandas as pd
import psutil
import pytest
from sklearn.metrics import average_precision_score

from course import __main__ as commands
from course import bench, jobs, results
from course.bench import NAIVE, OURS, PEERS, peer
from helpers import data, evaluation
from helpers.files import CourseError
from helpers.rules import naive_rule

START, ROWS, TRAIN = 5_000, 2_000, 1_200
TOYS = """
import os, signal, time
import numpy as np

class Length:
    def fit(self, inputs):
        assert inputs.shape == (1_200, 7) and abs(inputs.mean()) < 1e-9, "not the scaled inputs"
    def decision_function(self, inputs):
        return np.abs(inputs).sum(axis=1)

class Blind(Length):
    def decision_function(self, inputs):
        return np.full(len(inputs), np.nan)

class HalfSpaceTrees:
    learned = 0
    def __init__(self, seed):
        pass
    def __ror__(self, scaler):
        return self
    def score_one(self, event):
        assert list(event) == ["Amount", "V1", "V2", "V3", "V4", "V5", "V6"]
        return self.learned
    def learn_one(self, event):
        self.learned += 1

def killed():
    os.kill(os.getpid(), signal.SIGKILL)

def endless():
    print("pid", os.getpid(), flush=True)
    time.sleep(600)

def fails():
    print("before")
    raise ValueError("no\\nmemory")
"""


@pytest.fixture(scope="module")
def toys(tmp_path_factory):
    """`bench_toys` can be imported here and in every child."""
    folder = tmp_path_factory.mktemp("toys")
    (folder / "bench_toys.py").write_text(TOYS)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        import bench_toys

        yield bench_toys


@pytest.mark.parametrize(
    ("job", "sentence"),
    [
        ("fails", "ValueError: no memory"),
        ("killed", "was ended with code -9, often for lack of memory"),
        ("endless", "exceeded its limit of 2 s"),
    ],
)
def test_a_measurement_that_fails_is_one_sentence_and_leaves_no_process(toys, tmp_path, job, sentence):
    with pytest.raises(CourseError) as error:
        jobs.run(getattr(toys, job), (), tmp_path / "log", limit=2 if job == "endless" else 60)
    assert str(error.value) == sentence
    assert multiprocessing.active_children() == []
    if job == "fails":
        assert re.search("^before\n.*Traceback.*no\nmemory", (tmp_path / "log").read_text(), re.S)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_measurement_ends_with_the_command(toys, tmp_path, how):
    code = "import sys, pathlib, bench_toys; from course import jobs\n"
    code += "jobs.run(bench_toys.endless, (), pathlib.Path(sys.argv[1]))"
    log, env = tmp_path / "log", os.environ | {"PYTHONPATH": os.path.dirname(toys.__file__)}
    command = [sys.executable, "-c", code, str(log)]
    with subprocess.Popen(command, cwd=data.ROOT, env=env, stderr=subprocess.DEVNULL) as parent:
        found = None
        while not found and parent.poll() is None:
            time.sleep(0.05)
            found = re.search(r"pid (\d+)", log.read_text() if log.exists() else "")
        child = psutil.Process(int(found[1]))
        parent.send_signal(how)
        parent.wait(20)
    assert psutil.wait_procs([child], timeout=20)[1] == []


def squares(train, test):
    return test["V1"].to_numpy() ** 2


SHOWN = {NAIVE: PEERS[NAIVE], OURS: squares, "length": peer("bench_toys:Length")}
SHOWN["absent"] = peer("pyodd.models.knn:KNN")


@pytest.fixture(autouse=True)
def short(monkeypatch) -> None:
    """One short window, and toys for peers."""
    for name, value in {"PEERS": SHOWN, "WINDOWS": (START,), "WINDOW_ROWS": ROWS}.items():
        monkeypatch.setattr(bench, name, value)


@contextlib.contextmanager
def _here() -> Iterator[list]:
    """Measure in this process; gives the peers that were measured."""
    measured = []

    def here(job, given, log, limit):
        measured.append(given[0])
        try:
            return job(*given)
        except ModuleNotFoundError as error:
            raise CourseError(str(error)) from None

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jobs, "run", here)
        yield measured


def test_figures_are_those_of_the_scores_on_the_test_part(toys, tmp_path):
    with _here():
        table = bench.run(tmp_path)
    _, truth = data.split(data.seal(data.load_events("snapshot", ROWS, START))[1])
    assert (table["start"] == START).all() and (table["frauds"] == truth.sum()).all()
    assert table["average_precision"][:3].is_monotonic_decreasing
    rows = table.set_index("detector").T
    for name in (NAIVE, OURS, "length"):
        score = bench._measure(SHOWN[name], ROWS, START)["scores"]
        assert rows[name]["average_precision"] == average_precision_score(truth, score)
        assert rows[name]["low"] <= rows[name]["average_precision"] <= rows[name]["high"]
        assert 0 < rows[name]["seconds"] < 60
    assert rows["length"]["precision"] == evaluation.budget_report(truth, score, START + TRAIN)["precision"]
    assert rows["length"]["verdict"] in ("better", "cannot tell", "worse")
    assert rows[NAIVE].isna()["precision"] and rows[OURS].isna()["verdict"]
    absent = {"start": START, "frauds": truth.sum(), "error": "No module named 'pyodd'"}
    assert rows["absent"].dropna().to_dict() == absent
    lines = [re.split(" *[|] *", line)[1:-1] for line in re.findall(r"^\|.*", bench.page(table), re.M)]
    assert {len(line) for line in lines} == {8} and [line[0] for line in lines[2:]] == list(rows)
    assert lines[-1] == ["absent", *["-"] * 6, "No module named 'pyodd'"]
    assert f"## Events 5,000 to 6,999: {truth.sum()} frauds to find" in bench.page(table)


def test_a_peer_runs_in_a_process_of_its_own_and_ours_is_the_detector(tmp_path, monkeypatch):
    monkeypatch.setattr(bench, "PEERS", {NAIVE: PEERS[NAIVE]})
    table = bench.run(tmp_path)
    events, truth = data.seal(data.load_events("snapshot", ROWS, START))
    expected = average_precision_score(truth[TRAIN:], naive_rule(events[TRAIN:]))
    assert table["average_precision"].tolist() == [expected]
    assert [log.name for log in tmp_path.glob("*.log")] == ["naive-rule-5000.log"]
    fitted = SimpleNamespace(fit=lambda train: SimpleNamespace(score=lambda test: [len(train), len(test)]))
    monkeypatch.setattr(bench, "Detector", fitted)
    assert PEERS[OURS](events[:TRAIN], events[TRAIN:]) == [1_200, 800]


def test_a_second_run_repeats_only_what_failed_or_changed(toys, tmp_path, monkeypatch):
    everything = list(SHOWN.values())
    monkeypatch.setattr(bench, "_figures", lambda *_: pd.DataFrame())
    monkeypatch.setattr(evaluation, "campaigns", lambda *_, **__: None)

    def again() -> list:
        with _here() as measured:
            bench.run(tmp_path)
        return [list(SHOWN)[everything.index(one)] for one in measured]

    assert again() == list(SHOWN)
    assert again() == ["absent"]
    with monkeypatch.context() as patch:
        patch.setattr(bench, "LIMIT", 60)
        assert again() == ["absent"]
        patch.setattr(bench, "WINDOWS", (START + 1,))
        assert again() == list(SHOWN)
    with monkeypatch.context() as patch:
        patch.setattr(results, "distributions", lambda: [SimpleNamespace(name="PyOD", version="99")])
        assert again() == list(SHOWN)
    with monkeypatch.context() as patch:
        patch.setattr(jobs, "code", lambda *_: "another method")
        assert again() == [NAIVE, OURS, "absent"]


def test_what_a_peer_gives_is_turned_checked_and_scored_before_it_is_learned(toys, monkeypatch):
    both = (peer("bench_toys:Length", sign) for sign in (1, -1))
    usual, turned = (bench._measure(one, ROWS, START)["scores"] for one in both)
    np.testing.assert_array_equal(usual, -turned)
    with pytest.raises(ValueError, match="every event a finite score"):
        bench._measure(peer("bench_toys:Blind"), ROWS, START)
    river = SimpleNamespace(preprocessing=SimpleNamespace(MinMaxScaler=object), anomaly=toys)
    monkeypatch.setitem(sys.modules, "river", river)
    scores = bench._measure(PEERS["HalfSpaceTrees"], ROWS, START)["scores"]
    assert scores.tolist() == list(range(TRAIN, ROWS))


def test_the_command_publishes_a_table_and_its_page(tmp_path, monkeypatch, capsys):
    published, page = pd.read_csv(bench.TABLE), bench.TABLE.with_suffix(".md").read_text()
    assert all(set(window["detector"]) == set(PEERS) for _, window in published.groupby("start"))
    monkeypatch.setattr(bench, "TABLE", tmp_path / "benchmark.csv")
    monkeypatch.setattr(bench, "WINDOW_ROWS", 50_000)
    monkeypatch.setattr(bench, "run", lambda folder: published)
    assert commands.main(["bench"]) == 0
    pd.testing.assert_frame_equal(pd.read_csv(bench.TABLE), published)
    assert (tmp_path / "benchmark.md").read_text() == page and page in capsys.readouterr().out
