"""kill -9 at random moments of `course run` and `course notebooks`, on toy notebooks."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
import pytest
from sandbox import files
from toys import TOYS, env, load, read_json, run_course, write_toys

KILLS = 10  # of each job
COUNT = 2  # notebooks: enough for one to read what the other handed over


def kill_after(seconds: float, root: Path, group: bool, *arguments: str) -> bool:
    """Start the command and kill it, alone or with its kernels; says whether it was killed."""
    command = [sys.executable, "-m", "helpers.course", *arguments]
    run = subprocess.Popen(
        command,
        cwd=root,
        env=env(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        run.wait(seconds)
    except subprocess.TimeoutExpired:
        (os.killpg if group else os.kill)(run.pid, signal.SIGKILL)
    return run.wait() == -signal.SIGKILL


def seconds_of(root: Path, *arguments: str) -> float:
    """How long the whole command takes here."""
    begin = time.monotonic()
    done = run_course(root, *arguments)
    assert done.returncode == 0, done.stderr
    return time.monotonic() - begin


def assert_nothing_wrong_is_read(root: Path) -> None:
    """What a kill leaves is whole, or is missing and will be made again."""
    toy, folder = load(root), root / "runs" / "default"
    manifest = toy.read_manifest(folder)
    assert set(manifest) <= set(TOYS)
    for stage, entry in manifest.items():
        for name in entry["outputs"]:
            assert toy.checked_artifact(folder, name)[0].is_file(), (stage, name)


def kill_runs(root: Path, moments: random.Random, group: bool) -> int:
    """Kill `course run` over and over in one folder, each over what the last kill left; then let it end."""
    write_toys(root, COUNT)
    committed = {name: files(root / name) for name in ("notebooks", "tests")}
    whole, kills = seconds_of(root, "run"), 0
    expected = read_json(root / "runs/default/manifest.json")
    for _ in range(KILLS):
        kills += kill_after(moments.uniform(0.1, whole), root, group, "run")
        assert_nothing_wrong_is_read(root)
    seconds_of(root, "run")
    assert read_json(root / "runs/default/manifest.json") == expected
    assert not list((root / "runs").rglob("*.tmp")) and not list((root / "runs").rglob(".tmp-*"))
    assert {name: files(root / name) for name in committed} == committed
    return kills


def kill_notebooks(root: Path, moments: random.Random, group: bool) -> int:
    """Kill `course notebooks` over and over; every notebook stays the old one or becomes the new one."""
    write_toys(root, COUNT)
    old = files(root / "notebooks")
    whole, kills = seconds_of(root, "notebooks"), 0
    new = files(root / "notebooks")
    assert old.keys() == new.keys() and old != new
    for name, content in old.items():
        (root / "notebooks" / name).write_bytes(content)
    for _ in range(KILLS):
        kills += kill_after(moments.uniform(0.1, whole), root, group, "notebooks")
        for name in old:
            assert (root / "notebooks" / name).read_bytes() in (old[name], new[name])
            nbformat.validate(nbformat.read(root / "notebooks" / name, as_version=4))
    seconds_of(root, "notebooks")
    assert files(root / "notebooks") == new
    return kills


JOBS = {
    "run alone": (kill_runs, False),
    "run with its kernels": (kill_runs, True),
    "notebooks": (kill_notebooks, True),
}


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory):
    """The jobs, two at a time."""
    root, seed = tmp_path_factory.mktemp("kills"), time.time_ns()
    print("moments from seed", seed)
    with ThreadPoolExecutor(2) as pool:
        yield {
            name: pool.submit(kill, root / name, random.Random(f"{seed} {name}"), group)
            for name, (kill, group) in JOBS.items()
        }


@pytest.mark.parametrize("name", JOBS)
def test_after_every_kill_all_is_whole_and_the_next_run_works(killed, name):
    assert killed[name].result() >= KILLS // 2
