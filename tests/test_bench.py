"""course/bench.py with toy peers: no package of requirements-bench.txt is needed."""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
from sklearn.metrics import average_precision_score

from course import __main__ as commands
from course import bench, results
from course.bench import NAIVE, OURS, PEERS, Peer
from helpers import data, evaluation

ROWS, TRAIN = 8_000, 4_800
TOYS = """
import os, signal, time
import numpy as np

class Length:
    def __init__(self, power=2):
        self.power = power
    def fit(self, inputs):
        assert inputs.shape == (4_800, 7) and abs(inputs.mean()) < 1e-9, "not the scaled inputs"
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

class Killed(Length):
    def fit(self, inputs):
        os.kill(os.getpid(), signal.SIGKILL)

class Endless(Length):
    def fit(self, inputs):
        print("pid", os.getpid(), flush=True)
        time.sleep(600)
"""


@pytest.fixture(scope="module")
def toys(tmp_path_factory):
    """`bench_toys` can be imported here and in every child."""
    folder = tmp_path_factory.mktemp("toys")
    (folder / "bench_toys.py").write_text(TOYS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(folder))
        patch.syspath_prepend(folder)
        yield folder


PAGES = {"benchmark.json", "benchmark.md", "benchmark.png"}
SHOWN = {
    NAIVE: PEERS[NAIVE],
    OURS: PEERS[OURS],
    "length": Peer("bench_toys:Length", settings={"power": 1}),
    "absent": Peer("pyodd.models.knn:KNN"),
    "killed": Peer("bench_toys:Killed"),
}


def _run(folder: Path, **options) -> dict:
    return bench.run(folder, **{"limit": 120, "peers": SHOWN, "starts": (0,), "rows": ROWS} | options)


@pytest.fixture(scope="module")
def finished(toys, tmp_path_factory):
    """One bench of own peers, a toy and two that fail: its folder and its result."""
    folder = tmp_path_factory.mktemp("bench")
    return folder, _run(folder)


@pytest.fixture(scope="module")
def truth():
    return data.seal(data.load_events("snapshot", ROWS))[1][TRAIN:]


def _measured(peer: Peer, folder: Path) -> tuple[np.ndarray, dict]:
    job = json.loads(json.dumps({"peer": asdict(peer), "rows": ROWS, "start": 0}))
    bench._measure(job, folder / "peer")
    return np.load(folder / "peer.npy"), json.loads((folder / "peer.json").read_text())


def test_figures_are_those_of_the_scores_on_the_test_part(finished, truth, small, detector):
    folder, result = finished
    peers = result["windows"]["0"]["peers"]
    kept = {name: np.load(next(folder.glob(f"{name.split()[0]}*.npy"))) for name in (OURS, NAIVE, "length")}
    np.testing.assert_array_equal(kept[OURS], detector.score(small[TRAIN:]))
    assert kept[NAIVE].dtype == bool and len(kept[NAIVE]) == len(truth)
    for name, scores in kept.items():
        assert peers[name]["average_precision"] == average_precision_score(truth, scores)
        low, high = peers[name]["average_precision_ci"]
        assert low <= peers[name]["average_precision"] <= high
    budget = evaluation.budget_report(truth, kept["length"], TRAIN)
    assert peers["length"]["budget_precision"] == budget["precision"]
    assert peers[NAIVE]["budget_precision"] is peers[OURS]["against_ours"] is None
    assert peers["length"]["against_ours"]["verdict"] in ("better", "cannot tell", "worse")
    assert result["windows"]["0"]["frauds_test"] == truth.sum()


def test_time_and_memory_are_those_of_the_peer(finished):
    peers = finished[1]["windows"]["0"]["peers"]
    assert peers[OURS]["fit_s"] > 20 * peers[NAIVE]["fit_s"] > 0
    assert peers[NAIVE]["events_per_s"] > 3 * peers[OURS]["events_per_s"]
    assert 50 < peers[NAIVE]["start_mb"] <= peers[NAIVE]["peak_mb"] < peers[OURS]["peak_mb"] < 5_000


def test_a_peer_that_fails_is_a_row_that_says_so(finished):
    peers = finished[1]["windows"]["0"]["peers"]
    assert peers["absent"] == {"error": f"pyodd is not installed: run {bench.INSTALL}"}
    assert peers["killed"] == {"error": "was ended by signal 9, often for lack of memory"}
    assert "Traceback" in next(finished[0].glob("absent*.log")).read_text()


def test_a_peer_that_takes_too_long_is_a_row_and_leaves_no_process(toys, tmp_path):
    result = _run(tmp_path, limit=0.3, peers={"endless": Peer("bench_toys:Endless")})
    assert result["windows"]["0"]["peers"] == {"endless": {"error": "exceeded its limit of 0.3 s"}}
    assert not [child for child in psutil.Process().children() if "course.bench" in child.cmdline()]


def test_a_second_run_repeats_only_what_failed_or_changed(finished, tmp_path, monkeypatch):
    folder = shutil.copytree(finished[0], tmp_path / "bench")
    before, started = finished[1]["windows"]["0"]["peers"], []

    def again(**options) -> dict:
        started.clear()
        return _run(folder, **options)

    def child(module, job, kept, **_):
        started.append(json.loads(job)["peer"]["path"])
        return "not again"

    everything = [peer.path for peer in SHOWN.values()]
    monkeypatch.setattr(bench.jobs, "run", child)
    peers = again()["windows"]["0"]["peers"]
    assert started == [SHOWN["absent"].path, SHOWN["killed"].path]
    assert [peers[name] == before[name] for name in SHOWN] == [True, True, True, False, False]
    again(starts=(1,))
    assert started == everything
    with monkeypatch.context() as patch:
        patch.setattr(bench, "distributions", lambda: [SimpleNamespace(name="PyOD", version="99")])
        assert again()["versions"]["pyod"] == "99"
    assert started == everything
    with monkeypatch.context() as patch:
        patch.setattr(bench, "METHOD", ("data",))
        again()
    assert started == [path for path in everything if path != SHOWN["length"].path]
    again(fresh=True)
    assert started == everything


ASKED = """
import subprocess, sys
def test_a_child_hears_ctrl_c():
    child = "import signal; print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)"
    done = subprocess.run([sys.executable, "-c", child], capture_output=True, text=True, timeout=60)
    assert done.stdout == "True\\n"
"""


def test_children_hear_ctrl_c_even_where_the_tests_were_started_with_it_ignored(tmp_path):
    """As a script's background job is, or what nohup starts."""
    (tmp_path / "test_asked.py").write_text(ASKED)
    paths = {"PYTHONPATH": os.pathsep.join([str(data.ROOT), str(data.ROOT / "tests")])}
    command = f"trap '' INT; exec '{sys.executable}' -m pytest -q -p conftest test_asked.py"
    done = subprocess.run(
        ["sh", "-c", command],
        cwd=tmp_path,
        env=os.environ | paths,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_bench_that_is_stopped_leaves_no_process(toys, tmp_path, how):
    code = (
        "import sys; from pathlib import Path; from course import bench\n"
        "bench.run(Path(sys.argv[1]), 600, peers={'endless': bench.Peer('bench_toys:Endless')}, rows=8_000)"
    )
    paths = {"PYTHONPATH": os.pathsep.join([str(toys), str(data.ROOT)])}
    command = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(command, env=os.environ | paths, stderr=subprocess.DEVNULL) as parent:
        found = None
        while not found and parent.poll() is None:
            time.sleep(0.05)
            found = re.search(r"pid (\d+)", "".join(log.read_text() for log in tmp_path.glob("*.log")))
        parent.send_signal(how)
        parent.wait(20)
    deadline = time.monotonic() + 20
    while _alive(int(found[1])) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _alive(int(found[1]))


def _alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_higher_is_more_suspicious_whatever_the_package_thinks(toys, tmp_path):
    usual, _ = _measured(Peer("bench_toys:Length"), tmp_path)
    turned, _ = _measured(Peer("bench_toys:Ordinary", sign=-1), tmp_path)
    np.testing.assert_array_equal(usual, turned)


def test_a_stream_is_scored_before_it_is_learned(toys, tmp_path, monkeypatch):
    class PassOn:
        def __or__(self, model):
            return model

    river = SimpleNamespace(preprocessing=SimpleNamespace(MinMaxScaler=PassOn))
    monkeypatch.setitem(sys.modules, "river", river)
    scores, _ = _measured(Peer("bench_toys:Counts", "stream"), tmp_path)
    assert scores.tolist() == list(range(TRAIN, ROWS))


def test_scores_that_are_not_finite_are_an_error(toys, tmp_path):
    with pytest.raises(ValueError, match="every event a finite score"):
        _measured(Peer("bench_toys:Blind"), tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_window_beyond_the_snapshot_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="too few"):
        _run(tmp_path, starts=(99_000,))


def test_pages_show_every_peer_and_the_finding(finished):
    result = finished[1]
    pages = bench.pages(result)
    assert json.loads(pages["benchmark.json"]) == result
    assert pages["benchmark.png"].startswith(b"\x89PNG")
    table = re.findall(r"^\| (.*) \|$", pages["benchmark.md"], re.MULTILINE)
    assert {line.count(" | ") for line in table} == {7}
    assert {line.split(" | ")[0] for line in table[2:]} == set(SHOWN)
    assert any(line.startswith(f"absent | pyodd is not installed: run {bench.INSTALL}") for line in table)
    assert "0 s" in pages["benchmark.md"] and "{" not in pages["benchmark.md"]


def _row(ap: float, verdict: str | None = "worse", fit_s: float = 1.0) -> dict:
    return {"average_precision": ap, "fit_s": fit_s, "against_ours": verdict and {"verdict": verdict}}


@pytest.mark.parametrize(("verdict", "chance"), [("worse", "beyond"), ("cannot tell", "within")])
def test_the_title_says_who_leads_and_whether_chance_could_do_it(verdict, chance):
    rows = {OURS: _row(0.5, None), NAIVE: _row(0.9), "B": _row(0.1), "A": _row(0.3, verdict)}
    title = bench._finding(0, rows)
    assert title == f"From event 0: ours 0.500, best peer 0.300 (A)\nThe difference is {chance} chance"


def test_labels_of_a_crowd_do_not_overlap():
    import matplotlib.pyplot as plt
    from matplotlib.text import Text

    from helpers import plots

    rng = np.random.default_rng(0)
    rows = {f"detector {i}": _row(0.2 * rng.uniform(0.8, 1), fit_s=rng.uniform(1, 1.5)) for i in range(12)}
    figure, axis = plt.subplots(figsize=(7, 5))
    bench._panel(
        axis, 0, rows | {NAIVE: _row(0.01), "far": _row(0.1, fit_s=90), "gone": {"error": "."}}, plots
    )
    figure.draw_without_rendering()
    bench._place_labels(axis)
    boxes = [Text.get_window_extent(label) for label in axis.texts]
    plt.close(figure)
    assert len(boxes) == 13
    assert not [pair for pair in itertools.combinations(boxes, 2) if pair[0].overlaps(pair[1])]


def test_publishing_results_keeps_the_bench(tmp_path, monkeypatch):
    monkeypatch.setattr(results, "ROOT", tmp_path)
    run = tmp_path / "run"
    run.mkdir()
    for name in ("summary.json", "summary.md"):
        (run / name).write_text("new")
    (tmp_path / "results").mkdir()
    for name in PAGES:
        (tmp_path / "results" / name).write_text(name)
    results.publish(run)
    kept = {path.name for path in (tmp_path / "results").glob("*.*")}
    assert kept == {"summary.json", "summary.md"} | PAGES


def test_the_command_publishes_three_pages(tmp_path, monkeypatch, capsys, finished):
    monkeypatch.setattr(commands, "ROOT", tmp_path)
    monkeypatch.setenv("COURSE_RUNS", str(tmp_path / "runs"))
    asked = []
    monkeypatch.setattr(bench, "run", lambda *arguments: asked.append(arguments) or finished[1])
    assert commands.main(["bench", "--limit", "7", "--fresh"]) == 0
    assert asked == [(tmp_path / "runs" / "bench", 7.0, True)]
    assert {path.name for path in (tmp_path / "results").iterdir()} == PAGES
    assert "| ours |" in capsys.readouterr().out


def test_the_command_says_in_one_sentence_what_is_wrong(tmp_path, monkeypatch, capsys):
    def damaged(*_):
        raise FileNotFoundError("The course's snapshot is missing: take it again.")

    monkeypatch.setenv("COURSE_RUNS", str(tmp_path))
    monkeypatch.setattr(bench, "run", damaged)
    assert commands.main(["bench"]) == 1
    assert capsys.readouterr().err == "The course's snapshot is missing: take it again.\n"
