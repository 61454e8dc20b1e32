"""course/jobs.py, and course/bench.py with toy peers: no package of requirements-bench.txt is needed."""

from __future__ import annotations

import contextlib
import json
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
import psutil
import pytest
from sklearn.metrics import average_precision_score

from course import __main__ as commands
from course import bench, jobs, results
from course.bench import NAIVE, OURS, PEERS, Peer
from helpers import data, evaluation
from helpers.files import CourseError

START, ROWS, TRAIN = 5_000, 2_000, 1_200
TOYS = """
import os, signal, time
import numpy as np

class Length:
    def __init__(self, power=2):
        self.power = power
    def fit(self, inputs):
        assert inputs.shape == (1_200, 7) and abs(inputs.mean()) < 1e-9, "not the scaled inputs"
    def decision_function(self, inputs):
        return (np.abs(inputs) ** self.power).sum(axis=1)

class Ordinary(Length):
    def decision_function(self, inputs):
        return -super().decision_function(inputs)

class Blind(Length):
    def decision_function(self, inputs):
        return np.full(len(inputs), np.nan)

class Counts:
    learned = 0
    def score_one(self, event):
        assert list(event) == ["Amount", "V1", "V2", "V3", "V4", "V5", "V6"]
        return self.learned
    def learn_one(self, event):
        self.learned += 1

class Whole:
    @classmethod
    def fit(cls, events, seed):
        assert len(events) == 1_200 and "Amount" in events and "Class" not in events and seed == 0
        return cls()
    def score(self, events):
        return events["V1"].to_numpy() ** 2

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


# --- a process of its own --------------------------------------------------------------------------


def test_a_measurement_runs_in_a_process_of_its_own_with_its_own_memory(tmp_path):
    ballast = np.ones(2**27 // 8)  # 128 MB
    assert jobs.run(os.getpid, (), tmp_path / "log") != os.getpid()
    own = jobs.peak_mb()
    if own:
        assert 5 < jobs.run(jobs.peak_mb, (), tmp_path / "log") < own - 100 and own > ballast.nbytes / 2**20
        with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE):
            assert jobs.peak_mb(family=True) > jobs.peak_mb()


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
    code = (
        "import sys; from pathlib import Path; sys.path.insert(0, sys.argv[1])\n"
        "import bench_toys; from course import jobs\n"
        "jobs.run(bench_toys.endless, (), Path(sys.argv[2]))"
    )
    log = tmp_path / "log"
    command = [sys.executable, "-c", code, str(os.path.dirname(toys.__file__)), str(log)]
    with subprocess.Popen(command, cwd=data.ROOT, stderr=subprocess.DEVNULL) as parent:
        found = None
        while not found and parent.poll() is None:
            time.sleep(0.05)
            found = re.search(r"pid (\d+)", log.read_text() if log.exists() else "")
        child = psutil.Process(int(found[1]))
        parent.send_signal(how)
        parent.wait(20)
    assert psutil.wait_procs([child], timeout=20)[1] == []


def test_finished_answers_are_kept_until_what_they_depend_on_changes(tmp_path, monkeypatch):
    asked = []

    def counted(job, given, log, limit):
        asked.append(given)
        if given == ("no",):
            raise CourseError("failed")
        return len(asked)

    monkeypatch.setattr(jobs, "run", counted)
    asks = [("a", "v1"), ("b", "v1"), ("a", "v1"), ("a", "v2")]
    answers = [jobs.kept(tmp_path)(len, (word,), known, tmp_path / "log") for word, known in asks]
    assert answers == [1, 2, 1, 3]
    for limit in (1, 2):
        with pytest.raises(CourseError):
            jobs.kept(tmp_path)(len, ("no",), "v1", tmp_path / "log", limit)
    assert len(asked) == 5


# --- the bench -------------------------------------------------------------------------------------

PAGES = {"benchmark.json", "benchmark.md", "benchmark.png"}
SHOWN = {
    NAIVE: PEERS[NAIVE],
    OURS: Peer("bench_toys:Whole", "events", PEERS[OURS].settings),
    "length": Peer("bench_toys:Length", settings={"power": 1}),
    "absent": Peer("pyodd.models.knn:KNN"),
}


def _run(folder, **options) -> dict:
    return bench.run(folder, **{"limit": 120, "peers": SHOWN, "starts": (START,), "rows": ROWS} | options)


@contextlib.contextmanager
def _here() -> Iterator[list[str]]:
    """Measure in this process; gives the peers that were measured."""
    measured = []

    def here(job, given, log, limit):
        measured.append(given[0].path)
        return job(*given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jobs, "run", here)
        yield measured


@pytest.fixture(scope="module")
def result(toys, tmp_path_factory) -> dict:
    """One bench of a peer of three kinds, and one that is not installed."""
    with _here():
        return _run(tmp_path_factory.mktemp("bench"))


def test_figures_are_those_of_the_scores_on_the_test_part(toys, result):
    events, truth = data.seal(data.load_events("snapshot", ROWS, START))
    truth, peers = truth[TRAIN:], result["windows"][str(START)]["peers"]
    scores = {
        name: bench._measure(peer, ROWS, START)["scores"] for name, peer in SHOWN.items() if name != "absent"
    }
    np.testing.assert_array_equal(scores[OURS], events["V1"][TRAIN:] ** 2)
    for name, score in scores.items():
        assert peers[name]["average_precision"] == average_precision_score(truth, score)
        low, high = peers[name]["average_precision_ci"]
        assert low <= peers[name]["average_precision"] <= high
    budget = evaluation.budget_report(truth, scores["length"], START + TRAIN)
    assert peers["length"]["budget_precision"] == budget["precision"]
    assert peers[NAIVE]["budget_precision"] is peers[OURS]["against_ours"] is None
    assert peers["length"]["against_ours"]["verdict"] in ("better", "cannot tell", "worse")
    assert result["windows"][str(START)]["frauds_test"] == truth.sum()
    assert peers["absent"] == {"error": f"pyodd is not installed: run {bench.INSTALL}"}
    assert peers["length"]["fit_s"] > peers[NAIVE]["fit_s"] > 0
    assert (
        peers["length"]["peak_mb"] is None or 50 < peers["length"]["start_mb"] <= peers["length"]["peak_mb"]
    )


def test_a_peer_is_measured_in_a_process_of_its_own(result, tmp_path):
    alone = _run(tmp_path, peers={NAIVE: PEERS[NAIVE]})["windows"][str(START)]["peers"][NAIVE]
    here = result["windows"][str(START)]["peers"][NAIVE]
    assert alone["average_precision"] == here["average_precision"]
    assert alone["peak_mb"] is None or 50 < alone["start_mb"] <= alone["peak_mb"] < 2_000
    assert [log.name for log in tmp_path.glob("*.log")] == ["naive-rule-5000.log"]


def test_a_second_run_repeats_only_what_failed_or_changed(toys, tmp_path, monkeypatch):
    everything = [peer.path for peer in SHOWN.values()]
    monkeypatch.setattr(bench, "_figures", lambda *_: {})
    monkeypatch.setattr(evaluation, "episodes", lambda *_, **__: None)

    def again(**options) -> list[str]:
        with _here() as measured:
            _run(tmp_path, **options)
        return measured

    assert again() == everything
    assert again() == [SHOWN["absent"].path]
    assert again(starts=(START + 1,)) == everything
    with monkeypatch.context() as patch:
        patch.setattr(results, "distributions", lambda: [SimpleNamespace(name="PyOD", version="99")])
        assert again() == everything
    with monkeypatch.context() as patch:
        patch.setattr(jobs, "code", lambda: "another method")
        assert again() == [SHOWN[NAIVE].path, SHOWN["absent"].path]
    assert again(fresh=True) == everything


def test_higher_is_more_suspicious_whatever_the_package_thinks(toys):
    usual, turned = (
        bench._measure(peer, ROWS, START)["scores"]
        for peer in (Peer("bench_toys:Length"), Peer("bench_toys:Ordinary", sign=-1))
    )
    np.testing.assert_array_equal(usual, turned)


def test_a_stream_is_scored_before_it_is_learned(toys, monkeypatch):
    class PassOn:
        def __or__(self, model):
            return model

    river = SimpleNamespace(preprocessing=SimpleNamespace(MinMaxScaler=PassOn))
    monkeypatch.setitem(sys.modules, "river", river)
    scores = bench._measure(Peer("bench_toys:Counts", "stream"), ROWS, START)["scores"]
    assert scores.tolist() == list(range(TRAIN, ROWS))


def test_scores_that_are_not_finite_are_an_error(toys):
    with pytest.raises(ValueError, match="every event a finite score"):
        bench._measure(Peer("bench_toys:Blind"), ROWS, START)


def test_pages_show_every_peer_and_the_finding(result):
    pages = bench.pages(result)
    assert json.loads(pages["benchmark.json"]) == result
    assert pages["benchmark.png"].startswith(b"\x89PNG")
    table = [re.split(" *[|] *", line)[1:-1] for line in re.findall(r"^\|.*", pages["benchmark.md"], re.M)]
    assert {len(row) for row in table} == {8} and {row[0] for row in table[2:]} == set(SHOWN)
    assert table[-1][:3] == ["absent", f"pyodd is not installed: run {bench.INSTALL}", "-"]
    values = [float(row[1]) for row in table[2:-1]]
    assert values == sorted(values, reverse=True)
    assert "{" not in pages["benchmark.md"]


def test_the_published_pages_are_those_of_the_published_measurement():
    published = json.loads((data.ROOT / "results" / "benchmark.json").read_text())
    assert set(published["windows"]["0"]["peers"]) == set(PEERS)
    assert bench._markdown(published) == (data.ROOT / "results" / "benchmark.md").read_text()


def _row(ap: float, verdict: str | None = "worse") -> dict:
    return {"average_precision": ap, "against_ours": verdict and {"verdict": verdict}}


@pytest.mark.parametrize(("verdict", "chance"), [("worse", "beyond"), ("cannot tell", "within")])
def test_the_title_says_who_leads_and_whether_chance_could_do_it(verdict, chance):
    rows = {OURS: _row(0.5, None), NAIVE: _row(0.9), "B": _row(0.1), "A": _row(0.3, verdict)}
    title = bench._finding(0, rows)
    assert title == f"From event 0: ours 0.500, best peer 0.300 (A)\nThe difference is {chance} chance"


def test_publishing_results_keeps_the_bench(tmp_path, monkeypatch):
    monkeypatch.setattr(results, "ROOT", tmp_path)
    for folder, names in (("run", ("summary.json", "summary.md")), ("results", PAGES)):
        (tmp_path / folder).mkdir()
        for name in names:
            (tmp_path / folder / name).write_text(name)
    results.publish(tmp_path / "run")
    kept = {path.name for path in (tmp_path / "results").glob("*.*")}
    assert kept == {"summary.json", "summary.md"} | PAGES


def test_the_command_publishes_three_pages_or_says_what_is_wrong(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(commands, "ROOT", tmp_path)
    monkeypatch.setenv("COURSE_RUNS", str(tmp_path / "runs"))
    asked = []
    monkeypatch.setattr(bench, "run", lambda *arguments: asked.append(arguments))
    monkeypatch.setattr(bench, "pages", lambda _: dict.fromkeys(PAGES, "a page"))
    assert commands.main(["bench", "--limit", "7", "--fresh"]) == 0
    assert asked == [(tmp_path / "runs" / "bench", 7.0, True)]
    assert {path.name for path in (tmp_path / "results").iterdir()} == PAGES

    def damaged(*_):
        raise FileNotFoundError("The course's snapshot is missing: take it again.")

    monkeypatch.setattr(bench, "run", damaged)
    assert commands.main(["bench"]) == 1
    assert capsys.readouterr().err == "The course's snapshot is missing: take it again.\n"
